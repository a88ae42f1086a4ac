#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which suites and tests of a build took how long, from its log of `meson test` (testlog.json).

Usage: suite-times.py NAME TESTLOG.JSON

Two lines: seconds of each suite, the sum of its tests (several run at a time), and of the slowest tests.
"""
import collections
import json
import sys

SLOWEST = 6


def listed(times):
    return ", ".join(f"{name} {seconds:.0f}" for name, seconds in times)


def main():
    suites, tests = collections.Counter(), collections.Counter()
    with open(sys.argv[2], encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            suite, _, name = test["name"].rpartition(" / ")  # "project:suite / name"
            suites[suite.split(":")[-1]] += test["duration"]
            tests[name] += test["duration"]
    print(f"    {sys.argv[1]:<9} seconds of suites: {listed(suites.most_common())}")
    print(f"    {'':<9} slowest: {listed(tests.most_common(SLOWEST))}")


if __name__ == "__main__":
    main()
