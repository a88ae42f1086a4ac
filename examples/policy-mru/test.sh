#!/bin/sh
# SPDX-License-Identifier: MIT
# test.sh BUILD-DIR - build the module and its program as a user would: against an installed copy, knowing only
# pkg-config; then load it.  $CC: the compiler.
set -eu
build=$1
source=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

meson install -C "$build" --no-rebuild --destdir "$tmp/root" >"$tmp/install.log" 2>&1 || {
	cat "$tmp/install.log"
	exit 1
}
pc=$(find "$tmp/root" -name hurd-mm.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$tmp/root"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir hurd-mm)
case $LD_LIBRARY_PATH in
"$tmp/root"*) ;; # some versions of pkg-config add the root to variables
*) LD_LIBRARY_PATH=$tmp/root$LD_LIBRARY_PATH ;;
esac
export LD_LIBRARY_PATH

warn="-std=c11 -Wall -Wextra -Werror -O2"
# shellcheck disable=SC2046,SC2086 # flags are words
${CC:-cc} $warn -shared -fPIC -fvisibility=hidden -o "$tmp/mru.so" "$source/mru.c" $(pkg-config --cflags hurd-mm)
# shellcheck disable=SC2046,SC2086
${CC:-cc} $warn -o "$tmp/loop" "$source/loop.c" $(pkg-config --cflags --libs hurd-mm)
"$tmp/loop" "$tmp/mru.so" | tee "$tmp/out"

# FIFO, CLOCK, LRU and their relatives miss at every access of such a loop.  MRU misses each of the 100 pages at first,
# and then on about 20 of 99 accesses.
for name in fifo clock lru sieve arc car; do
	grep -q "^$name  *5000 misses" "$tmp/out"
done
misses=$(sed -n 's/^my-mru  *\([0-9]*\) misses.*/\1/p' "$tmp/out")
[ "$misses" -gt 1000 ] && [ "$misses" -lt 1100 ]
[ "$misses" = "$(sed -n 's/^mru  *\([0-9]*\) misses.*/\1/p' "$tmp/out")" ] # the library's own does the same

# The policy that policies/README.md explains: random replacement keeps a part of such a loop.
awk '/^```$/ { inside = 0 } inside { print } /^```c$/ { inside = 1 }' "$source/../../policies/README.md" >"$tmp/draw.c"
# shellcheck disable=SC2046,SC2086
${CC:-cc} $warn -shared -fPIC -fvisibility=hidden -o "$tmp/draw.so" "$tmp/draw.c" $(pkg-config --cflags hurd-mm)
misses=$("$tmp/loop" "$tmp/draw.so" | sed -n 's/^draw  *\([0-9]*\) misses.*/\1/p')
[ "$misses" -gt 1100 ] && [ "$misses" -lt 4000 ]

# The same module again is no error; a second file of that name, and what is no module, are.
cp "$tmp/mru.so" "$tmp/other.so"
cat >"$tmp/twice.c" <<'END'
#include <hurd-mm/policy.h>
#include <errno.h>
#include <string.h>
int main(int argc, char **argv)
{
	const char *why = "";
	if (argc != 4 || hmm_policy_load(argv[1], &why) != 0 || hmm_policy_load(argv[1], NULL) != 0)
		return 1;
	if (hmm_policy_load(argv[2], &why) != -EEXIST || strstr(why, "my-mru") == NULL)
		return 2;
	if (hmm_policy_load(argv[3], &why) != -ENOENT || strstr(why, argv[3]) == NULL)
		return 3;
	return hmm_policy_lookup("my-mru") != NULL ? 0 : 4;
}
END
# shellcheck disable=SC2046,SC2086
${CC:-cc} $warn -o "$tmp/twice" "$tmp/twice.c" $(pkg-config --cflags --libs hurd-mm)
"$tmp/twice" "$tmp/mru.so" "$tmp/other.so" "$source/mru.c"
