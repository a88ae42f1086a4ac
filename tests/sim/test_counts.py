#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hmm-sim misses exactly as often as it should: the project's own traces always, recorded ones where they are.

Usage: test_counts.py HMM-SIM
"""
import collections
import csv
import os
import tempfile

import generate
import reference
import tap

HERE = os.path.dirname(os.path.abspath(__file__))


def read_csv(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def compare(rows, path_of, *options):
    """Run the rows' policies at the rows' sizes.  Returns how many rows were compared and a note on what was not."""
    known, wanted, absent = set(tap.policies()), collections.defaultdict(dict), collections.Counter()
    for row in rows:
        if row["policy"] in known:
            wanted[row["trace"], row["policy"]][int(row["frames"])] = int(row["misses"])
        else:
            absent[row["policy"]] += 1
    compared, wrong = 0, []
    for (trace, policy), counts in wanted.items():
        for result in tap.results(*options, "-p", policy, "-n", ",".join(map(str, counts)), path_of(trace)):
            compared += 1
            expected = counts[result["frames"]]
            if result["misses"] != expected:
                wrong.append(f"{trace} {policy} {result['frames']}: {result['misses']}, expected {expected}")
    assert not wrong, "\n".join([f"{len(wrong)} of {compared} rows differ", *wrong[:40]])
    assert compared == len(rows) - sum(absent.values())
    assert not absent, f"{compared} rows agree, but no such policy: {dict(absent)}"
    return compared


@tap.case
def own_traces_miss_as_often_as_committed():
    rows = read_csv(os.path.join(HERE, "expected.csv"))
    with tempfile.TemporaryDirectory() as folder:
        generate.write_all(folder)
        compared = compare(rows, lambda trace: os.path.join(folder, trace + ".u64"))
    assert compared >= 288
    return f"{compared} rows compared"


@tap.case
def committed_counts_are_those_of_the_plain_implementations():
    rows = [row for row in read_csv(os.path.join(HERE, "expected.csv")) if row["frames"] == "100"]
    compared = 0
    for row in rows:
        if row["policy"] not in reference.POLICIES or row["policy"] == "opt":
            continue
        pages = generate.READ_ONLY[row["trace"]]()[:40000]
        if len(pages) == 40000:
            continue  # the longer ones take too long here; reference.py writes the file
        compared += 1
        assert reference.POLICIES[row["policy"]](pages, 100) == int(row["misses"]), row
    assert compared >= 22
    return f"{compared} rows compared"


@tap.case
def recorded_traces_miss_as_often_as_expected():
    folder = tap.data()
    rows = read_csv(os.path.join(folder, "expected-misses.csv"))
    compared = compare(tap.sample(rows, 3), lambda trace: os.path.join(folder, "traces", trace + ".u64.zst"))
    return f"{compared} rows compared"


@tap.case
def lirs_and_clockpro_miss_as_often_as_their_authors_say():
    folder, rows, requests = tap.data(), [], {}
    names = {"lirs": "lirs", "clockpro": "clockpro", "clockpro_adaptive": "clockpro-adaptive"}
    for row in read_csv(os.path.join(folder, "expected-misses-authors.csv")):
        requests[row["trace"]] = int(row["requests_deduplicated"])
        rows += [{"trace": row["trace"], "policy": policy, "frames": row["frames"], "misses": row[column]}
                 for column, policy in names.items()]

    def path_of(trace):
        return os.path.join(folder, "traces", trace + ".u64.zst")

    compared = compare(rows, path_of, "--dedup")
    for trace, expected in requests.items():
        assert tap.results("--dedup", "-p", "fifo", "-n", 1, path_of(trace))[0]["requests"] == expected, trace
    return f"{compared} rows compared"


# frames, policy, --discards: faults, page-ins, page-outs, zero fills
GARBAGE = [
    (4032, "lru", "auto", 132536, 124472, 117997, 8064),
    (4032, "lru", "unmap", 131804, 10340, 53300, 121464),
    (4032, "gc:lru", "auto", 131804, 10340, 53300, 121464),
    (5644, "lru", "auto", 112528, 104464, 106884, 8064),
    (5644, "lru", "unmap", 121464, 0, 0, 121464),
    (5644, "gc:lru", "auto", 75824, 0, 0, 75824),
    (7257, "gc:lru", "auto", 30660, 0, 0, 30660),
]


@tap.case
def garbage_costs_the_io_that_it_should():
    trace = os.path.join(tap.data(), "traces", "gc_semispace.ops.u64.zst")
    for frames, policy, discards, *expected in GARBAGE:
        result, = tap.results("-p", policy, "-n", frames, "--discards", discards, trace)
        found = [result[name] for name in ("faults", "page_ins", "page_outs", "zero_fills")]
        assert found == expected, (frames, policy, discards, found, expected)
    return f"{len(GARBAGE)} rows compared"


def plain_io(records, frames, honours):
    """LRU with I/O counted, by the rules: page-ins, page-outs, zero fills."""
    held, dirty, stored = collections.OrderedDict(), set(), set()
    ins = outs = zeros = 0
    for page, operation in records:
        if operation == generate.DISCARD:
            if honours:
                dirty.discard(page)
                stored.discard(page)
                if page in held:
                    held.move_to_end(page, last=False)
            continue
        if page in held:
            held.move_to_end(page)
        else:
            ins += page in stored
            zeros += page not in stored
            if len(held) == frames:
                old, _ = held.popitem(last=False)
                if old in dirty:
                    outs += 1
                    dirty.discard(old)
                    stored.add(old)
            held[page] = True
        if operation == generate.WRITE:
            dirty.add(page)
    return [ins, outs, zeros]


@tap.case
def own_collector_costs_the_io_of_the_plain_implementation():
    records = generate.collector()
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        generate.write_all(folder)
        for frames in (50, 200, 400, 600, 800):
            for policy, discards, honours in (("lru", "auto", False), ("lru", "honour", True), ("gc:lru", "auto", True)):
                result, = tap.results("-p", policy, "-n", frames, "--discards", discards,
                                      os.path.join(folder, "collector.ops"))
                found = [result[name] for name in ("page_ins", "page_outs", "zero_fills")]
                assert found == plain_io(records, frames, honours), (frames, policy, found)
                compared += 1
    return f"{compared} rows compared"


if __name__ == "__main__":
    tap.main()
