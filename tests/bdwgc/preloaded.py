#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unmodified programs with the module preloaded: the same answers on less memory than their heaps.

Usage: preloaded.py MODULE GCBENCH UNPAGED DIRECTORY

Prints TAP.
"""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from patience import patience  # pylint: disable=wrong-import-position

MODULE, GCBENCH, UNPAGED, HERE = sys.argv[1:5]
PATIENCE = patience(100)
number = failed = 0


def report(good, name, why=""):
    global number, failed
    number += 1
    failed += not good
    print(f"{'' if good else 'not '}ok {number} - {name}")
    if not good:
        print("# " + why.replace("\n", "\n# "))
    sys.stdout.flush()


def run(argv, **hurd):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("HURD_MM_", "GC_"))}
    if hurd:
        env.update({"LD_PRELOAD": MODULE, "HURD_MM_STATS": "1"})
        env.update({"HURD_MM_" + key.upper(): value for key, value in hurd.items()})
    done = subprocess.run(argv, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE,
                          check=False)
    stats = {}
    for line in done.stderr.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] in ("hurd-mm:", "gcbench:"):
            stats[words[1]] = int(words[2])
    return done, stats


def same(name, argv, plain, **hurd):
    """The answer is that of the plain run, pages moved, and the budget held."""
    try:
        done, stats = run(argv, **hurd)
    except subprocess.TimeoutExpired:
        report(False, name, f"not ready after {PATIENCE:.0f} s")
        return
    if hurd.get("delivery") == "thread" and "nothing is paged: Operation not permitted" in done.stderr:
        print(f"ok {number + 1} - {name} # SKIP a permission for thread delivery")
        globals()["number"] += 1
        return
    good = (done.returncode == 0 and done.stdout == plain.stdout and stats.get("frames", 0) > 0 and
            stats["peak_held"] <= stats["frames"] and stats["faults_failed"] == 0)
    report(good, name, f"status {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}")


def gcbench():
    for threads in "1", "3":
        argv = [GCBENCH, "14", threads]
        plain, stats = run(argv)
        report(plain.returncode == 0 and stats["heap"] > 0, f"gcbench, {threads} threads, as it is", plain.stderr)
        for parts in 2, 4:
            memory = str(stats["heap"] // parts)
            for policy in ("gc:scan=0.5:lru", "gc:clock", "lru", "s3fifo") if parts == 2 else ("gc:scan=0.5:lru",):
                same(f"gcbench, {threads} threads, heap/{parts}, {policy}", argv, plain, memory=memory, policy=policy,
                     delivery="inline")
            same(f"gcbench, {threads} threads, heap/{parts}, libgc left alone", argv, plain, memory=memory, policy="lru",
                 gc="none", delivery="inline")
        same(f"gcbench, {threads} threads, thread delivery", argv, plain, memory=memory, delivery="thread")


def guile():
    if not shutil.which("guile"):
        print(f"ok {number + 1} - guile # SKIP guile")
        globals()["number"] += 1
        return
    for script, memories in (("churn.scm", ("12M", "6M")), ("calls.scm", ("16M",))):
        argv = ["guile", "--no-auto-compile", os.path.join(HERE, script)]
        plain, _ = run(argv)
        report(plain.returncode == 0, f"guile {script}, as it is", plain.stderr)
        for memory in memories:
            same(f"guile {script}, {memory}", argv, plain, memory=memory, delivery="inline")
        same(f"guile {script}, {memories[0]}, default delivery", argv, plain, memory=memories[0])
        same(f"guile {script}, libgc left alone", argv, plain, memory=memories[0], gc="none", policy="lru")


def environment():
    done, stats = run([UNPAGED], memory="16M")
    report(done.returncode == 0 and done.stdout == "unpaged\n" and not done.stderr, "no libgc: left alone", done.stderr)
    done, stats = run([GCBENCH, "6"], stats="1")
    report(done.returncode == 0 and "frames" not in stats, "no HURD_MM_MEMORY: left alone", done.stderr)
    for key, value in (("memory", "16X"), ("memory", "-1"), ("memory", "4K"), ("memory", "99999999999G"),
                       ("policy", "nonesuch"), ("gc", "discard,dance"), ("delivery", "post"), ("swap", "drum")):
        done, stats = run([GCBENCH, "6"], **{"memory": "16M", key: value})
        report(done.returncode == 0 and "frames" not in stats and "nothing is paged" in done.stderr,
               f"HURD_MM_{key.upper()}={value} is refused, and the program runs", done.stderr)


def main():
    environment()
    gcbench()
    guile()
    print(f"1..{number}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
