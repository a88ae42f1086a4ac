#!/bin/sh
# SPDX-License-Identifier: MIT
# check-hello.sh PROGRAM - the sum of 0 .. 2^24 - 1, within 16 MiB of frames
set -u
output=$("$1" 2>&1)
status=$?
echo "$output"
case $output in
*'Operation not permitted' | *'not supported')
	echo "skipped: userfaultfd(2), inline delivery"
	exit 77 ;;
esac
[ $status = 0 ] || exit 1
echo "$output" | awk -v most=$((16 * 1024 * 1024 / $(getconf PAGESIZE))) '
	$2 + 0 == 140737479966720 && $3 > 0 && $(NF - 1) > 0 && $(NF - 1) <= most { good = 1 }
	END { exit !good }'
