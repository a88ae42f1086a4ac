#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Print line and branch coverage of each directory from a JSON summary of gcovr on standard input."""
import collections
import json
import os
import sys


def percent(covered, total):
    return f"{100 * covered / total:5.1f}%" if total else "    - "


def main():
    sums = collections.defaultdict(lambda: [0, 0, 0, 0])
    for file in json.load(sys.stdin)["files"]:
        for name in (os.path.dirname(file["filename"]), "total"):
            for i, key in enumerate(("line_covered", "line_total", "branch_covered", "branch_total")):
                sums[name][i] += file[key]
    print(f"    {'coverage':<16} {'lines':>14}        {'branches':>14}")
    for name in sorted(sums, key=lambda name: (name == "total", name)):
        lines, all_lines, branches, all_branches = sums[name]
        print(f"    {name:<16} {lines:>6} of {all_lines:>5} {percent(lines, all_lines)}"
              f" {branches:>6} of {all_branches:>5} {percent(branches, all_branches)}")


if __name__ == "__main__":
    main()
