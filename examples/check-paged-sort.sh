#!/bin/sh
# SPDX-License-Identifier: MIT
# check-paged-sort.sh PROGRAM DELIVERY DIR - a small sort of this machine's own text, all policies
#
# The program itself checks: its exit status is 0 only if every output equals sort(1)'s and every budget was held.
set -u
"$1" --probe "$2" || exit 77
exec "$1" --size 12M --delivery "$2" --dir "$3"
