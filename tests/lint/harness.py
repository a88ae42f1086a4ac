#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check that failures, crashes and skips come through from Check to the count at the end of ./check.

Usage: harness.py HARNESS_SAMPLE COUNT_TESTS
"""
import json
import os
import subprocess
import sys
import tempfile

EXPECTED = [
    "ok 1 - sample: passes",
    "not ok 2 - sample: fails",
    "not ok 3 - sample: crashes",
    "ok 4 - sample: lacks_something # SKIP UFFDIO_SAMPLE, Linux 9.9",
    "ok 5 - sample: lacks_something_the_second_time",
    "ok 6 - sample: lacks_something_the_second_time (1) # SKIP a second time",
    "ok 7 - sample: lacks_something_the_second_time (2)",
    "1..7",
]


def count(command, tests):
    """What count-tests.py makes of a log of these tests: (passed, failed, skipped)."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as log:
        for test in tests:
            print(json.dumps(test), file=log)
        log.flush()
        said = subprocess.run([command, log.name], check=True, text=True, capture_output=True).stdout
    return tuple(int(word) for word in said.split())


def main():
    sample, counter = sys.argv[1:]
    done = subprocess.run([sample], text=True, capture_output=True, env=dict(os.environ, CK_VERBOSITY="silent"),
                          check=False)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    results = [
        ("harness prints every outcome", lines == EXPECTED, done.stdout),
        ("harness says why a test failed", "1 == 2" in done.stdout, done.stdout),
        ("harness exits with a failure", done.returncode == 1, str(done.returncode)),
    ]
    for name, tests, wanted in [
        ("every outcome", [{"name": "a", "result": "FAIL", "stdout": done.stdout}], (3, 2, 2)),
        ("a crash after passes", [{"name": "a", "result": "ERROR", "stdout": "1..2\nok 1 - x\n"}], (1, 1, 0)),
        ("a crash without output", [{"name": "a", "result": "TIMEOUT"}], (0, 1, 0)),
        ("plain programs", [{"name": "a", "result": "OK"}, {"name": "b", "result": "FAIL", "stdout": "no TAP"},
                            {"name": "c", "result": "SKIP"}], (1, 1, 1)),
    ]:
        counted = count(counter, tests)
        results.append((f"count of {name}", counted == wanted, f"{counted}, not {wanted}"))
    print(f"1..{len(results)}")
    for number, (name, holds, why) in enumerate(results, 1):
        print(f"{'ok' if holds else 'not ok'} {number} - {name}")
        if not holds:
            print("# " + why.replace("\n", "\n# "))
    return 0 if all(holds for _, holds, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
