#!/bin/sh
# SPDX-License-Identifier: MIT
# lint-readme.sh SOURCE_ROOT - the example in README.md is examples/hello.c, which is built and tested
set -eu
shown=$(mktemp)
trap 'rm -f "$shown"' EXIT
awk '/^```$/ { inside = 0 } inside { print } /^```c$/ { inside = 1 }' "$1/README.md" >"$shown"
[ -s "$shown" ]
grep -v SPDX-License-Identifier "$1/examples/hello.c" | diff -u "$shown" -
