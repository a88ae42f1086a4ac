#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Limits that do not know how fast the machine is: refused in tests.

Usage: limits.py ROOT

A limit in C is test_patience() of tests/scale.h or world_wait() of tests/world.h, in Python patience() of
tests/patience.py, in meson.build test_timeout.  Prints TAP, a line for each rule.
"""
import glob
import os
import re
import sys

RULES = [
    ("limits of cases are test_patience()", "tests/**/*.[ch]", r"tcase_set_timeout\s*\((?![^;]*test_patience)"),
    ("only the harness sets CK_DEFAULT_TIMEOUT", "tests/**/*.[ch]", r'setenv\s*\(\s*"CK_DEFAULT_TIMEOUT"'),
    ("alarms are test_patience()", "tests/**/*.[ch]", r"\balarm\s*\(\s*(?!0\s*\)|test_patience)\w"),
    ("no loop counts naps", "tests/**/*.[ch]", r"for \((?:unsigned|int|size_t|long) \w+ = 0; [^;]*\w+ < \d+[^;]*; [^)]*\) \{?\n\s*"
     r"(?:nanosleep|usleep)"),
    ("limits in Python are patience()", "tests/**/*.py", r"\btimeout\s*=\s*\d|\bPATIENCE\s*=\s*\d"),
    ("limits of tests in meson.build are test_timeout", "tests/**/meson.build", r"timeout:\s*\d+\s*[,)]"),
]
EXEMPT = {"only the harness sets CK_DEFAULT_TIMEOUT": ["tests/harness.c"], "limits in Python are patience()": ["tests/lint/limits.py"]}


def offences(root, pattern, rule, exempt):
    for path in sorted(glob.glob(os.path.join(root, pattern), recursive=True)):
        name = os.path.relpath(path, root)
        if name in exempt:
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for found in re.finditer(rule, text):
            yield f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found[0].splitlines()[0].strip()}"


def main():
    # What must be found is found: the rules are tried on a line of each kind.
    wrong = ["tcase_set_timeout(t, 120);", 'setenv("CK_DEFAULT_TIMEOUT", "60", 0);', "alarm(30)",
             "for (unsigned i = 0; i < 5000; i++) {\n\tnanosleep(&p, NULL);", "timeout=300", "timeout: 240)"]
    bad = 0
    print(f"1..{len(RULES)}")
    for number, ((name, pattern, rule), sample) in enumerate(zip(RULES, wrong, strict=True), 1):
        found = list(offences(sys.argv[1], pattern, rule, EXEMPT.get(name, [])))
        if not re.search(rule, sample):
            found.append("the rule does not find what it is for")
        bad += bool(found)
        print(f"{'not ' if found else ''}ok {number} - {name}")
        for line in found:
            print(f"# {line}")
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
