#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Count test cases in logs of `meson test` (testlog.json), each line of TAP on its own.

Usage: count-tests.py TESTLOG.JSON...

Prints failed and skipped cases on standard error and, last, one line of standard output: PASSED FAILED SKIPPED.
"""
import json
import re
import sys

PLAN = re.compile(r"^1\.\.\d+", re.M)
NOTHING = re.compile(r"^1\.\.0 *# *SKIP\b *([^\n]*)", re.M | re.I)
CASE = re.compile(r"^(not )?ok\b *\d* *-? *([^#\n]*?) *(?:# *(SKIP|TODO)\b *([^\n]*))?$", re.M | re.I)


def cases_of(test):
    """Yield (name, verdict, reason) for each case of one test program."""
    output = test.get("stdout", "")
    failed = False
    nothing = NOTHING.search(output)
    if nothing and test["result"] in ("OK", "SKIP"):
        yield test["name"], "skipped", nothing.group(1)
        return
    if PLAN.search(output):
        for bad, name, directive, reason in CASE.findall(output):
            verdict = "failed" if bad else "skipped" if directive.upper() == "SKIP" else "passed"
            failed = failed or verdict == "failed"
            yield f"{test['name']}: {name}", verdict, reason
    result = test["result"]
    if result == "SKIP" and not PLAN.search(output):
        yield test["name"], "skipped", ""
    elif result not in ("OK", "SKIP", "EXPECTEDFAIL"):
        if not failed:  # crashed, ran out of time, or broke its plan
            yield test["name"], "failed", result
    elif not PLAN.search(output):
        yield test["name"], "passed", ""


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as log:
            for line in log:
                for name, verdict, reason in cases_of(json.loads(line)):
                    counts[verdict] += 1
                    if verdict != "passed":
                        print(f"    {verdict}: {name}{' (' + reason + ')' if reason else ''}", file=sys.stderr)
    print(counts["passed"], counts["failed"], counts["skipped"])


if __name__ == "__main__":
    main()
