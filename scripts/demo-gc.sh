#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# demo-gc.sh BUILD [OPTION...] - GCBench and Guile with half the memory that their heaps take, with a table and a picture
#
# Options are those of bench/gc, --quick for one.
set -euo pipefail
build=$1
shift
mkdir -p "$build/gc"
rows=$build/gc/rows.json table=$build/gc/rows.txt picture=$build/gc/gc.png

cat <<'TEXT'
Programs on the Boehm collector, as they are, with the module preloaded.  What a program's heap takes by itself is twice
the budget here.  Each must print what it prints by itself.

  plain              all the memory that it wants
  hurd-mm-gc         hurd-mm, which knows what is garbage, and libgc, which knows how much memory there is
  hurd-mm-lru        hurd-mm with LRU; they know nothing of each other
  hurd-mm-gc-thread  as hurd-mm-gc, faults resolved by a thread
  swap-zram          the kernel: a memory cgroup, and swap on compressed memory (needs root)

TEXT
status=0
"$build/bench/gc" --json "$@" >"$rows" || status=$?
if [ $status = 77 ]; then
	echo "Nothing can be paged here: build/demo/examples/paged-sort --probe inline says why." >&2
	exit 77
fi

# case/impl seconds transfers, one line each, for gnuplot
sed -n 's/.*"case":"\([^"]*\)","impl":"\([^"]*\)".*"seconds":\([0-9.e+-]*\),"transfers":\([0-9.e+-]*\).*/"\1 \2" \3 \4/p' \
	"$rows" >"$table"
if command -v gnuplot >/dev/null && [ -s "$table" ]; then
	gnuplot <<-PLOT && echo "The picture: $picture"
		set terminal pngcairo size 1100,700
		set output "$picture"
		set style fill solid 0.7
		set boxwidth 0.7
		set grid ytics
		set xtics rotate by -35 left
		set yrange [0:*]
		unset key
		set multiplot layout 1,2
		set title "pages moved"
		plot "$table" using 0:3:xtic(1) with boxes
		set title "seconds"
		plot "$table" using 0:2:xtic(1) with boxes
		unset multiplot
	PLOT
fi
exit $status
