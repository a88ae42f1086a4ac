#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check that #include directives go only where the layers allow (the graph of the architecture).

Usage: layers.py SOURCE_ROOT

Own headers are included from the source root ("lib/base/lock.h"), public ones as <hurd-mm/x.h>.  Prints TAP: first that
violations planted in a scratch tree are found, then one line for each directory of the sources.
"""
import glob
import os
import re
import sys
import tempfile

# directory: the directories whose headers its files may include with quotes, besides its own
LAYERS = {
    "include/hurd-mm": [],
    "lib/base": [],
    "lib/sys": ["lib/base"],
    "lib/rpc": ["lib/sys", "lib/base"],
    "lib/mem": ["lib/rpc", "lib/sys", "lib/base"],
    "lib/store": ["lib/sys", "lib/base"],
    "lib/policy": ["lib/sys", "lib/base"],
    "lib/vm": ["lib/policy", "lib/store", "lib/mem", "lib/rpc", "lib/sys", "lib/base"],
    "lib/core": ["lib/vm", "lib/policy", "lib/store", "lib/mem", "lib/rpc", "lib/sys", "lib/base"],
    "policies": [],
    "physmem": ["lib/rpc", "lib/sys", "lib/base"],
    "tools": [],
    "examples": [],
    "bench": ["tools"],  # bench/policy measures the simulator's engine, from within
    "integrations": [],
}
# Programs, which are there to be copied: they may also name a header that stands beside the file.
PROGRAMS = ("tools", "examples", "bench", "integrations")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SUFFIXES = (".c", ".h", ".cc", ".cpp", ".hpp")


def layer_of(path):
    """The longest layer that the path lies in, or None."""
    inside = [layer for layer in LAYERS if path.startswith(layer + "/")]
    return max(inside, key=len, default=None)


def public_homes(root, layer):
    """Where <hurd-mm/x.h> may be: the library's own, and for programs those that integrations bring."""
    yield os.path.join(root, "include")
    if layer in PROGRAMS:
        yield from glob.glob(os.path.join(root, "integrations", "*", "include"))


def check_include(root, path, kind, target):
    """None, or what is wrong with an #include of target in the file at path."""
    layer = layer_of(path)
    if kind == "<":
        if target.startswith("hurd-mm/"):
            known = any(os.path.exists(os.path.join(home, target)) for home in public_homes(root, layer))
            return None if known else f"<{target}> does not exist"
        return f"<{target}> is a header of ours" if layer_of(target) else None
    if layer == "include/hurd-mm":
        return f'"{target}": a public header includes public ones only, with <>'
    beside = os.path.join(os.path.dirname(path), target)
    if layer in PROGRAMS and "/" not in target and os.path.exists(os.path.join(root, beside)):
        target = beside
    if not os.path.exists(os.path.join(root, target)):
        return f'"{target}" is not a path from the source root'
    if os.path.normpath(target) != target:
        return f'"{target}" is not the plain path'
    other = layer_of(target)
    if other == "include/hurd-mm":
        return f'"{target}": public headers are included with <>'
    if other != layer and other not in LAYERS[layer]:
        return f'"{target}": {layer} must not know {other or "it"}'
    return None


def check_file(root, path):
    """Yield "file:line: text" for each violation."""
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            found = INCLUDE.match(line)
            wrong = found and check_include(root, path, found[1], found[2])
            if wrong:
                yield f"{path}:{number}: {wrong}"


def files_of(root, layer):
    for directory, _, names in os.walk(os.path.join(root, layer)):
        for name in sorted(names):
            path = os.path.relpath(os.path.join(directory, name), root)
            if name.endswith(SUFFIXES) and layer_of(path) == layer:
                yield path


def check_layer(root, layer):
    return [wrong for path in files_of(root, layer) for wrong in check_file(root, path)]


# path, text, and whether that is a violation
PLANTED = [
    ("include/hurd-mm/public.h", "#include <stddef.h>\n#include <hurd-mm/other.h>\n", False),
    ("include/hurd-mm/other.h", "\n", False),
    ("lib/base/lock.h", "#include <pthread.h>\n", False),
    ("lib/sys/sys.h", '#include "lib/base/lock.h"\n', False),
    ("lib/mem/frames.h", '#  include "lib/sys/sys.h"\n#include <hurd-mm/public.h>\n', False),
    ("lib/vm/fault.c", '#include "lib/mem/frames.h"\n#include "lib/base/lock.h"\n', False),
    ("policies/fifo.c", '#include <hurd-mm/public.h>\n#include "policies/list.h"\n', False),
    ("policies/list.h", "\n", False),
    ("bench/deep/run.c", '#include "bench/deep/run.h"\n', False),
    ("bench/deep/run.h", "\n", False),
    ("bench/deep/beside.c", '#include "run.h"\n', False),
    ("bench/above.c", '#include "run.h"\n', True),
    ("lib/base/upward.c", '#include "lib/sys/sys.h"\n', True),
    ("lib/mem/sideways.c", '#include "lib/store/store.h"\n', True),
    ("lib/store/store.h", '#include "lib/vm/vm.h"\n', True),
    ("lib/vm/vm.h", '#include "policies/list.h"\n', True),
    ("lib/sys/relative.c", '#include "sys.h"\n', True),
    ("lib/sys/dots.c", '#include "lib/sys/../sys/sys.h"\n', True),
    ("lib/sys/quoted.c", '#include "include/hurd-mm/public.h"\n', True),
    ("lib/sys/missing.c", "#include <hurd-mm/missing.h>\n", True),
    ("lib/base/angle.c", "#include <lib/base/lock.h>\n", True),
    ("include/hurd-mm/leak.h", '#include "lib/base/lock.h"\n', True),
    ("policies/inside.c", '#include "lib/policy/instance.h"\n', True),
    ("lib/policy/instance.h", "\n", False),
    ("examples/inside.c", '\n\n #include "lib/base/lock.h"\n', True),
    ("tools/inside.c", '#include "bench/deep/run.h"\n', True),
    ("integrations/db/include/hurd-mm/db.h", "#include <hurd-mm/public.h>\n", False),
    ("integrations/db/install.c", "#include <hurd-mm/db.h>\n", False),
    ("integrations/db/cache.c", '#include "lib/base/lock.h"\n', True),
]


def self_test():
    """Pairs of a description and whether it holds."""
    with tempfile.TemporaryDirectory() as root:
        for path, text, _ in PLANTED:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        found = {w.split(":")[0] for layer in LAYERS for w in check_layer(root, layer)}
    for path, _, bad in PLANTED:
        yield f"self-test: {'finds' if bad else 'passes'} {path}", (path in found) == bad


def main():
    root = sys.argv[1]
    results = [(text, holds, []) for text, holds in self_test()]
    for layer in LAYERS:
        if os.path.isdir(os.path.join(root, layer)):
            wrong = check_layer(root, layer)
            results.append((f"layers: {layer}", not wrong, wrong))
    print(f"1..{len(results)}")
    for number, (text, holds, wrong) in enumerate(results, 1):
        print(f"{'ok' if holds else 'not ok'} {number} - {text}")
        for line in wrong:
            print(f"# {line}")
    return 0 if all(holds for _, holds, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
