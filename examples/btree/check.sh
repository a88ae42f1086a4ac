#!/bin/sh
# SPDX-License-Identifier: MIT
# check.sh PROGRAM DIRECTORY - a load that is killed three times; what was committed is there, and goes on being there
set -u
program=$1 directory=$2
rm -rf "$directory" && mkdir -p "$directory" || exit 1
file=$directory/tree
export BTREE_BUDGET=128
fail() { echo "FAILED: $*"; exit 1; }

for policy in db:s3fifo clock; do
	export BTREE_POLICY=$policy
	rm -f "$file" "$file.log"
	for seed in 1 2 3; do
		mkfifo "$directory/says"
		"$program" "$file" load 10000000 $seed >"$directory/says" &
		pid=$!
		# it is killed after the fifth thousand at the earliest, in the middle of something
		exec 3<"$directory/says"
		for thousand in 1 2 3 4 5; do read -r committed <&3; done
		kill -9 $pid
		wait $pid 2>/dev/null
		exec 3<&-
		rm "$directory/says"
		[ "$committed" = 5000 ] || fail "$policy: the load said '$committed'"
		for earlier in $(seq $seed); do
			"$program" "$file" check "$committed" "$earlier" || fail "$policy: seed $earlier"
		done
	done
	"$program" "$file" put 7 seven 8 eight || fail put
	[ "$("$program" "$file" get 7)" = seven ] || fail get
	"$program" "$file" remove 7 || fail remove
	"$program" "$file" get 7 2>/dev/null && fail "get of what was removed"
	"$program" "$file" scan >"$directory/all" || fail scan
	sort -n -c "$directory/all" || fail "a scan is not in order"
	[ "$(wc -l <"$directory/all")" -ge 15001 ] || fail "a scan of $(wc -l <"$directory/all") entries"
	[ "$("$program" "$file" scan 8 1)" = "8 eight" ] || fail "scan from a key"
done
rm -rf "$directory"
