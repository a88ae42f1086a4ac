# SPDX-License-Identifier: MIT
"""Let Spin search all interleavings of a model, and check that it finds each of the seeded mistakes.

Usage: run.py MODEL.PML CC...

Prints TAP; one skipped line where Spin is not installed.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

MEMORY_MB = 900
STATES = re.compile(r"^ *(\d+) states, stored", re.M)
ERRORS = re.compile(r"errors: (\d+)")
WHY = re.compile(r"^pan:1: (.*?)(?: \(at depth \d+\))?$", re.M)

# Who takes part besides a writer and a reclaimer, and how often they work.  All of them at once are too many states.
NOBODY = {"READERS": 0, "RESCUERS": 0, "SYNCERS": 0, "DISCARDERS": 0, "DROPPERS": 0}
SOUND = [
    ("reader", {"READERS": 1, "MAP_ERRORS": 0}),
    ("rescuer", {"RESCUERS": 1}),
    ("sync", {"SYNCERS": 1, "PASSES": 1}),
    ("discard and sync", {"DISCARDERS": 1, "SYNCERS": 1, "WRITES": 1, "PASSES": 1, "MAP_ERRORS": 0, "WRITE_ERRORS": 0}),
    ("discard", {"DISCARDERS": 1, "PASSES": 1}),
    ("two reclaimers", {"RECLAIMERS": 2, "PASSES": 1, "WRITES": 1}),
    ("madvise by the application", {"DROPPERS": 1, "PASSES": 1}),
    ("madvise by the application, and sync", {"DROPPERS": 1, "SYNCERS": 1, "WRITES": 1, "PASSES": 1, "WRITE_ERRORS": 0}),
]
# What makes the mistake show, and what Spin must say of it.
BROKEN = [
    ("BREAK_REFS", {"READERS": 1, "MAP_ERRORS": 0, "WRITE_ERRORS": 0}, "slot_"),
    ("BREAK_WRITEBACK", {"SYNCERS": 1, "MAP_ERRORS": 0, "WRITE_ERRORS": 0}, "writes_under_way"),
    ("BREAK_PROTECT", {"READERS": 1, "MAP_ERRORS": 0, "WRITE_ERRORS": 0}, "latest"),
    ("BREAK_DIRTY", {"READERS": 1, "MAP_ERRORS": 0, "WRITE_ERRORS": 0}, "latest"),
    ("BREAK_WAKE", {"READERS": 1}, "invalid end state"),
    ("BREAK_STALE", {"READERS": 1, "MAP_ERRORS": 0, "WRITE_ERRORS": 0}, "there"),
    ("BREAK_LOST", {"DROPPERS": 1, "PASSES": 1, "MAP_ERRORS": 0}, "slot_"),
]


CACHE_NOBODY = {"PINNERS": 0, "HOLDERS": 0, "FLUSHERS": 0, "EVICTORS": 0, "OPTIMISTS": 0}
CACHE_SOUND = [
    ("flush and eviction", {"FLUSHERS": 1, "EVICTORS": 1, "PINNERS": 1}),
    ("two pinners", {"EVICTORS": 1, "PINNERS": 2, "ROUNDS": 1}),
    ("two flushes", {"FLUSHERS": 2, "PINNERS": 1}),
    ("flush and a writer with two pins", {"FLUSHERS": 1, "HOLDERS": 1}),
    ("two flushes, eviction and a writer with two pins", {"FLUSHERS": 2, "HOLDERS": 1, "EVICTORS": 1, "ROUNDS": 1}),
    ("optimistic reader", {"FLUSHERS": 1, "EVICTORS": 1, "OPTIMISTS": 1}),
    ("two optimistic readers", {"FLUSHERS": 1, "EVICTORS": 1, "OPTIMISTS": 2, "ROUNDS": 1}),
]
CACHE_BROKEN = [
    ("BREAK_CLAIM", {"FLUSHERS": 1}, "writers"),
    ("BREAK_ENTER", {"FLUSHERS": 1}, "writers"),
    ("BREAK_PINNED", {"FLUSHERS": 1, "EVICTORS": 1, "PINNERS": 1}, ""),
    ("BREAK_UNSAVED", {"EVICTORS": 1}, "latest"),
    ("BREAK_WRITER", {"OPTIMISTS": 1}, "a==b"),
    ("BREAK_EARLY", {"OPTIMISTS": 1}, "a==b"),
    ("BREAK_LEFT", {"FLUSHERS": 1, "EVICTORS": 1, "OPTIMISTS": 1}, "a==b"),
    ("BREAK_LOG", {"FLUSHERS": 1}, "durable"),
    ("BREAK_POSITION", {"FLUSHERS": 1}, "last"),
    ("BREAK_WAKE", {"FLUSHERS": 1}, "invalid end state"),
    ("BREAK_SLOT", {"EVICTORS": 1, "FLUSHERS": 1, "PINNERS": 1}, "a!=99"),
    ("BREAK_SCAN", {"EVICTORS": 1, "FLUSHERS": 1, "PINNERS": 1}, "a!=99"),
    ("BREAK_HOLD", {"FLUSHERS": 1, "HOLDERS": 1}, "invalid end state"),
    ("BREAK_OVERDUE", {"FLUSHERS": 2, "HOLDERS": 1}, "writ"),
    ("BREAK_RESTORE", {"EVICTORS": 1, "FLUSHERS": 1, "PINNERS": 1}, "invalid end state"),
]
MODELS = {"page": (NOBODY, SOUND, BROKEN), "cache": (CACHE_NOBODY, CACHE_SOUND, CACHE_BROKEN)}


def search(model, nobody, cc, defines, flags, directory):
    """(errors, what the first one says, states); -1 errors if the search did not end."""
    arguments = [f"-D{name}={value}" for name, value in {**nobody, **defines}.items()] + flags
    subprocess.run(["spin", *arguments, "-a", model], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    # the search is short: optimising takes longer than it saves
    subprocess.run([*cc, "-O0", "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MB}", "-o", "pan", "pan.c"],
                   cwd=directory, check=True)
    out = subprocess.run(["./pan", "-m100000", "-n"], cwd=directory, check=False, capture_output=True, text=True).stdout
    errors, states, why = ERRORS.search(out), STATES.search(out), WHY.search(out)
    if not errors or not states or "Search not completed" in out and errors[1] == "0":
        return -1, out[:2000], 0
    return int(errors[1]), why[1] if why else "", int(states[1])


def main():
    model, cc = os.path.abspath(sys.argv[1]), sys.argv[2:]
    page = os.path.splitext(os.path.basename(model))[0]
    nobody, sound, broken = MODELS[page]
    if not shutil.which("spin"):
        print(f"1..1\nok 1 - {page}: all interleavings # SKIP Spin is not installed (package spin)")
        return 0
    print(f"1..{len(sound) + len(broken)}")
    number, bad = 0, 0
    with tempfile.TemporaryDirectory() as directory:
        for name, defines, flag, said in [(n, d, "", "") for n, d in sound] + [(f, d, f, s) for f, d, s in broken]:
            number += 1
            errors, why, states = search(model, nobody, cc, defines, [f"-D{flag}"] if flag else [], directory)
            good = errors > 0 and said in why if flag else errors == 0
            bad += not good
            title = f"{page}: finds {flag}" if flag else f"{page}: {name}"
            print(f"{'ok' if good else 'not ok'} {number} - {title}", flush=True)
            print(f"# {states} states, {errors} errors {why}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
