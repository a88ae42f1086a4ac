# SPDX-License-Identifier: MIT
"""Cases that speak TAP, and ways to run hmm-sim."""
import json
import os
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from patience import patience  # pylint: disable=wrong-import-position

CASES = []


def sample(rows, one_of):
    """By default one of so many rows, other ones each day; all with HMM_TEST_ALL.  A failure says which row it was."""
    rows = list(rows)
    if os.environ.get("HMM_TEST_ALL", "0") not in ("", "0"):
        return rows
    seed = int(os.environ.get("HMM_TEST_SEED", str(int(time.time() // 86400))), 0) % one_of
    chosen = rows[seed::one_of]
    print(f"# a sample: {len(chosen)} of {len(rows)} rows, from number {seed}; all with HMM_TEST_ALL=1", flush=True)
    return chosen


class Skip(Exception):
    """What is missing."""


def case(function):
    """A case: its name says what holds; it fails by any exception."""
    CASES.append(function)
    return function


def main():
    """Run all cases in their order."""
    print(f"1..{len(CASES)}", flush=True)
    bad = 0
    for number, function in enumerate(CASES, 1):
        name = function.__name__
        try:
            said = function()
            print(f"ok {number} - {name}{f': {said}' if said else ''}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:  # pylint: disable=broad-except
            bad += 1
            print(f"not ok {number} - {name}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
    sys.exit(1 if bad else 0)


PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "hmm-sim"


def run(*arguments, stdin=None):
    """The finished process; stdin: bytes."""
    return subprocess.run([PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, check=False, timeout=patience(300),
                          stdin=subprocess.DEVNULL if stdin is None else None)


def results(*arguments, stdin=None):
    """Objects that --json prints; the program has to succeed."""
    done = run("--json", *arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def policies():
    """Names that hmm-sim knows."""
    done = run("--list")
    assert done.returncode == 0
    lines = done.stdout.decode().split("Formats:")[0].splitlines()[1:]
    return [line.split()[0] for line in lines]


def data():
    """The folder with other people's traces: $HMM_TRACES, or data of $HMM_SHARED or of ../shared."""
    shared = os.environ.get("HMM_SHARED", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared"))
    folder = os.environ.get("HMM_TRACES", os.path.join(shared, "data"))
    if not os.path.exists(os.path.join(folder, "expected-misses.csv")):
        raise Skip("recorded traces: set HMM_TRACES to a folder with expected-misses.csv and traces/; tests/sim/README.md "
                   "says where they come from")
    return folder
