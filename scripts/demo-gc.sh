#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# demo-gc.sh BUILD [OPTION...] - GCBench and Guile with half the memory that their heaps take, with a table and a picture
#
# Options are those of bench/gc, --quick for one.
set -euo pipefail
build=$1
shift
mkdir -p "$build/gc"
rows=$build/gc/rows.json moved=$build/gc/transfers.txt took=$build/gc/seconds.txt picture=$build/gc/gc.png

cat <<'TEXT'
Programs on the Boehm collector, as they are, with the module preloaded.  What a program's heap takes by itself is twice
the budget here.  Each must print what it prints by itself.  Transfers are pages read and written; "peak MiB" is memory of
the process's own, without files.

  plain              all the memory that it wants
  hurd-mm-gc         hurd-mm, which knows what is garbage, and libgc, which knows how much memory there is
  hurd-mm-lru        hurd-mm with LRU; they know nothing of each other
  hurd-mm-gc-thread  as hurd-mm-gc, faults resolved by a thread
  swap-zram          the kernel: a memory cgroup of what hurd-mm-gc took, and swap on compressed memory (needs root)

TEXT
status=0
"$build/bench/gc" --json "$@" >"$rows" || status=$?
if [ $status = 77 ]; then
	echo "Nothing can be paged here: build/demo/examples/paged-sort --probe inline says why." >&2
	exit 77
fi

# For gnuplot a line for each program, a column for each kind of memory; "?" where there was no run.
awk -v moved="$moved" -v took="$took" '
	function field(name, text) {
		if (!match($0, "\"" name "\":"))
			return ""
		text = substr($0, RSTART + RLENGTH)
		sub("^\"", "", text)
		sub("[\",}].*", "", text)
		return text
	}
	{
		impl = field("impl")
		if (!(impl in known)) { known[impl] = 1; impls[++n] = impl }
		if (!(field("case") in seen)) { seen[field("case")] = 1; cases[++k] = field("case") }
		transfers[field("case"), impl] = field("transfers")
		seconds[field("case"), impl] = field("seconds")
	}
	function print_table(file, values, c, i) {
		printf "case" >file
		for (i = 1; i <= n; i++)
			printf " \"%s\"", impls[i] >file
		for (c = 1; c <= k; c++) {
			printf "\n\"%s\"", cases[c] >file
			for (i = 1; i <= n; i++)
				printf " %s", values[cases[c], impls[i]] == "" ? "?" : values[cases[c], impls[i]] >file
		}
		print "" >file
	}
	END {
		print_table(moved, transfers)
		print_table(took, seconds)
	}' "$rows"

if command -v gnuplot >/dev/null && [ -s "$moved" ]; then
	columns=$(awk 'NR == 1 { print NF; exit }' "$moved")
	gnuplot <<-PLOT && echo "The picture: $picture"
		set terminal pngcairo size 1200,600
		set output "$picture"
		set datafile missing "?"
		set style data histograms
		set style histogram clustered gap 1
		set style fill solid 0.8 border -1
		set grid ytics
		set yrange [0:*]
		set multiplot layout 1,2 title "programs on the Boehm collector, with half the memory that their heaps take"
		set key below horizontal center
		set xrange [-0.6:$(awk 'END { print NR - 1.4 }' "$moved")]
		set title "pages read and written"
		set format y "%.0s%c"
		plot for [i=3:$columns] "$moved" using i:xtic(1) linecolor i title columnheader(i)
		set title "seconds"
		set format y "%g"
		plot for [i=2:$columns] "$took" using i:xtic(1) linecolor i title columnheader(i)
		unset multiplot
	PLOT
fi
exit $status
