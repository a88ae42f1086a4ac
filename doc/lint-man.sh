#!/bin/sh
# SPDX-License-Identifier: MIT
# lint-man.sh SOURCE_ROOT PAGE... - the man pages format without a warning, and name every public function
set -u
root=$1
shift
bad=0

for page; do
	for width in 60 80 120; do
		said=$(MANWIDTH=$width man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
		if [ -n "$said" ]; then
			echo "$page, $width columns wide: $said"
			bad=1
		fi
	done
done

# A declaration may go over several lines: the function's name is the first one before a parenthesis.
functions=$(cat "$root"/include/hurd-mm/*.h | tr '\n' ' ' | grep -o 'HMM_API [^;{(]*(' |
	sed -n 's/.*[ *]\(hmm_[a-z0-9_]*\)($/\1/p' | sort -u)
count=$(echo "$functions" | wc -l)
if [ "$count" -lt 20 ]; then
	echo "only $count functions found in the headers: this script does not understand them any more"
	bad=1
fi
for function in $functions; do
	if ! grep -qw -- "$function" "$@"; then
		echo "no man page names $function()"
		bad=1
	fi
done
echo "$# pages, $count public functions"
exit $bad
