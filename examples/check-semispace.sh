#!/bin/sh
# SPDX-License-Identifier: MIT
# check-semispace.sh PROGRAM DELIVERY - what a collector tells the pager saves transfers
#
# The program checks every record itself.  Of the table: collections took place, pages moved, and the run that says all it
# knows moved less than a third of what the run that says nothing did.
set -u
output=$("$1" --live 3 --budget 12 --heap 24 --rounds 6 --delivery "$2" 2>&1)
status=$?
echo "$output"
[ $status = 77 ] && echo "skipped: userfaultfd(2), $2 delivery"
[ $status = 0 ] || exit $status
echo "$output" | awk '
	/nothing said/ { first = $(NF - 5) + $(NF - 4); collections = $(NF - 6) }
	/the estimate/ { last = $(NF - 5) + $(NF - 4); dropped = $(NF - 1) }
	END { exit !(collections > 1 && first > 3000 && 3 * last < first && dropped > 1000) }'
