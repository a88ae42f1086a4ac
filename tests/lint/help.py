#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""./demo --help and ./check --help tell all there is, and touch nothing.

Usage: help.py ROOT [PART=PROGRAM...]

They run in a directory that has no commands but bash: what would install, build or measure anything fails.  Each option
that a part's program prints with --help must be in the help of that part.  Prints TAP.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = sys.argv[1]
PROGRAMS = dict(argument.split("=", 1) for argument in sys.argv[2:])
OWN = {"--help", "--usage", "--json"}  # argp's, and what the demo itself says


def options(text):
    return set(re.findall(r"^ *(?:-\w, +)?(--[a-z-]+)", text, re.M))


def helped(script, *arguments):
    """What it prints with no command in PATH."""
    bash = shutil.which("bash")
    with tempfile.TemporaryDirectory() as empty:
        before = sorted(os.listdir(ROOT))
        done = subprocess.run([bash, os.path.join(ROOT, script), *arguments, "--help"], cwd=ROOT, env={"PATH": empty}, text=True,
                              capture_output=True, check=False)
        assert done.returncode == 0, f"{script} {arguments}: status {done.returncode}: {done.stderr}"
        assert not done.stderr, done.stderr
        assert sorted(os.listdir(ROOT)) == before, "something was made"
    return done.stdout


def check_help_needs_nothing():
    text = helped("check")
    for option in ("--quick", "--all", "--soak"):
        assert option in text, option


def demo_help_shows_all_parts():
    text = helped("demo")
    for part in ("sort", "gc", "sqlite"):
        assert f"./demo {part}" in text or f"./demo [{part}]" in text, part
        assert options(helped("demo", part)) <= options(text), part
        assert len(options(helped("demo", part))) > 4, part


def demo_help_has_the_options_of_the_programs():
    for part, program in PROGRAMS.items():
        said = subprocess.run([program, "--help"], text=True, capture_output=True, check=True).stdout
        missing = options(said) - OWN - options(helped("demo", part))
        assert not missing, f"{part}: {missing}"


def main():
    cases = [check_help_needs_nothing, demo_help_shows_all_parts, demo_help_has_the_options_of_the_programs]
    bad = 0
    print(f"1..{len(cases)}")
    for number, case in enumerate(cases, 1):
        try:
            case()
            print(f"ok {number} - {case.__name__}")
        except (AssertionError, subprocess.CalledProcessError) as why:
            bad += 1
            print(f"not ok {number} - {case.__name__}")
            print("# " + str(why).replace("\n", "\n# "))
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
