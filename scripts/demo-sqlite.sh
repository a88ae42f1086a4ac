#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# demo-sqlite.sh BUILD [OPTION...] - a database in use, with less memory than it has pages, with a table and a picture
#
# Options are those of bench/sqlite, --quick for one.
set -euo pipefail
build=$1
shift
mkdir -p "$build/sqlite"
rows=$build/sqlite/rows.json read=$build/sqlite/pages-read.txt fewer=$build/sqlite/fewer.txt
picture=$build/sqlite/sqlite.png

cat <<'TEXT'
The file lists of the installed packages as an SQLite database: looked up, scanned, changed, vacuumed, with memory for a
part of its pages.  First with SQLite's own page cache, then with hurd-mm's under several policies; the memory is the same,
and so must be the answers.  Two or three minutes; --quick takes half of one.

The file is in the kernel's memory here, so a page that is read costs next to nothing: "seconds" of processor time are what
page caches and policies cost beside SQLite's work.  On a disk the pages read are what counts.

TEXT
status=0
"$build/bench/sqlite" --json --case=mixed "$@" | tee "$rows" | awk '
	function field(name, text) {
		if (!match($0, "\"" name "\":"))
			return ""
		text = substr($0, RSTART + RLENGTH)
		sub("^\"", "", text)
		sub("[\",}].*", "", text)
		return text
	}
	field("case") != now {
		now = field("case")
		part = now
		sub("mixed ", "", part)
		printf "%s%s of the database in memory, %.1f MiB\n", (NR == 1 ? "" : "\n"), part, field("memory") / 1048576
		printf "  %-10s %10s %11s %9s\n", "", "pages read", "to SQLite", "seconds"
	}
	{
		name = field("impl") == "sqlite" ? "SQLite" : field("policy")
		change = field("impl") == "sqlite" ? "" : sprintf("%+.1f%%", -field("fewer_misses_percent"))
		printf "  %-10s %10d %11s %9.2f%s\n", name, field("misses"), change, field("seconds"),
			(field("bad") == 0 ? "" : "  WRONG")
		fflush()
	}' || status=$?

# For gnuplot a line for each size of memory, a column for each page cache.
awk -v read="$read" -v fewer="$fewer" '
	function field(name, text) {
		if (!match($0, "\"" name "\":"))
			return ""
		text = substr($0, RSTART + RLENGTH)
		sub("^\"", "", text)
		sub("[\",}].*", "", text)
		return text
	}
	{
		impl = field("impl") == "sqlite" ? "SQLite" : field("policy")
		size = field("case")
		sub("mixed ", "", size)
		if (!(impl in known)) { known[impl] = 1; impls[++n] = impl }
		if (!(size in seen)) { seen[size] = 1; sizes[++k] = size }
		misses[size, impl] = field("misses")
		percent[size, impl] = -field("fewer_misses_percent")
	}
	function print_table(file, values, c, i) {
		printf "memory" >file
		for (i = 1; i <= n; i++)
			printf " \"%s\"", impls[i] >file
		for (c = 1; c <= k; c++) {
			printf "\n\"%s\"", sizes[c] >file
			for (i = 1; i <= n; i++)
				printf " %s", values[sizes[c], impls[i]] == "" ? "?" : values[sizes[c], impls[i]] >file
		}
		print "" >file
	}
	END {
		print_table(read, misses)
		print_table(fewer, percent)
	}' "$rows"

echo
if command -v gnuplot >/dev/null && [ -s "$rows" ]; then
	columns=$(awk 'NR == 1 { print NF; exit }' "$read")
	gnuplot <<-PLOT && echo "The picture: $picture"
		set terminal pngcairo size 1200,600
		set output "$picture"
		set datafile missing "?"
		set style data histograms
		set style histogram clustered gap 1
		set style fill solid 0.8 border -1
		set grid ytics
		set linetype 2 linecolor rgb "gray50"
		set multiplot layout 1,2 title "an SQLite database, with memory for a part of it"
		set key at screen 0.5, screen 0.03 center horizontal maxrows 1
		set bmargin 5
		set xrange [-0.6:$(awk 'END { print NR - 1.4 }' "$read")]
		set title "pages read from the file"
		set format y "%.0s%c"
		set yrange [0:*]
		plot for [i=2:$columns] "$read" using i:xtic(1) linetype i title columnheader(i)
		unset key
		set title "the same to SQLite's own page cache, percent"
		set format y "%+g"
		set yrange [*:*]
		set xtics scale 0
		plot for [i=3:$columns] "$fewer" using i:xtic(1) linetype i title columnheader(i)
		unset multiplot
	PLOT
fi
exit $status
