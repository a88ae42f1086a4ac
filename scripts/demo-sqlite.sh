#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# demo-sqlite.sh BUILD [OPTION...] - a database in use, with less memory than it has pages, with a table and a picture
#
# Options are those of bench/sqlite, --quick for one.
set -euo pipefail
build=$1
shift
mkdir -p "$build/sqlite"
rows=$build/sqlite/rows.json table=$build/sqlite/misses picture=$build/sqlite/sqlite.png

cat <<'TEXT'
The file lists of the installed packages as an SQLite database: looked up, scanned, changed, with a part of its size as
page cache.  The same memory for SQLite's own page cache and for hurd-mm's under several policies; all must give the same
answers.

TEXT
status=0
"$build/bench/sqlite" --json --case=mixed "$@" >"$rows" || status=$?

# Of each case the misses of each page cache: a line a case, a column an implementation.
awk -v table="$table" '
	function field(name,  text) {
		text = $0
		if (!sub(".*\"" name "\":\"?", "", text))
			return ""
		sub("[\",}].*", "", text)
		return text
	}
	{
		impl = field("impl") == "sqlite" ? "SQLite" : field("policy")
		if (!(impl in known)) { known[impl] = 1; impls[++n] = impl }
		if (!(field("case") in seen)) { seen[field("case")] = 1; cases[++k] = field("case") }
		misses[field("case"), impl] = field("misses")
		fewer[field("case"), impl] = field("fewer_misses_percent")
	}
	END {
		printf "%-12s", "pages read"
		printf "case" >table
		for (i = 1; i <= n; i++) { printf " %16s", impls[i]; printf " \"%s\"", impls[i] >table }
		for (c = 1; c <= k; c++) {
			printf "\n%-12s", cases[c]
			printf "\n\"%s\"", cases[c] >table
			for (i = 1; i <= n; i++) {
				if (impls[i] == "SQLite")
					printf " %16d", misses[cases[c], impls[i]]
				else
					printf " %9d (%+3.0f%%)", misses[cases[c], impls[i]], -fewer[cases[c], impls[i]]
				printf " %d", misses[cases[c], impls[i]] >table
			}
		}
		print ""
		print "" >table
	}' "$rows"

if command -v gnuplot >/dev/null && [ -s "$table" ]; then
	gnuplot <<-PLOT && echo "The picture: $picture"
		set terminal pngcairo size 1000,600
		set output "$picture"
		set style data histograms
		set style fill solid 0.7
		set grid ytics
		set yrange [0:*]
		set key outside
		set title "pages read from the database file; memory as a part of its size"
		plot for [i=2:$(awk 'NR == 2 { print NF - 1; exit }' "$table")] "$table" using i:xtic(1) title columnheader(i)
	PLOT
fi
exit $status
