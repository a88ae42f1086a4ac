#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The project's own traces: small, and the same on every machine (integers only, a generator of our own).

Usage: generate.py DIRECTORY     writes NAME.u64 and NAME.ops

loop      twenty times round 1000 pages, a little larger than most caches here
zipf      40,000 requests, Zipf's law (exponent 1) over 4000 pages, in no order of numbers
scans     a hot set of 300 pages; every 2000 requests a scan of 700 new pages
phases    six phases, each with a hot set of its own
btree     look-ups in a tree of fan-out 16: root, inner node, inner node, leaf by Zipf's law; now and then a range of leaves
mixed     all of them, in turns
collector a copying collector: allocation and mutation in one half; then it is read, survivors are written to the other half,
          and the first half is discarded (ops)
"""
import bisect
import itertools
import os
import struct
import sys

READ, WRITE, DISCARD = 0, 1, 2


class Random:
    """splitmix64"""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        x = self.state
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return ((x ^ x >> 31) >> 32) * n >> 32


class Zipf:
    """Ranks 0 to n - 1 with probability about 1 / (rank + 1)."""

    def __init__(self, n, random):
        self.sums = list(itertools.accumulate((1 << 24) // (rank + 1) for rank in range(n)))
        self.random = random

    def rank(self):
        return bisect.bisect_right(self.sums, self.random.below(self.sums[-1]))


def loop():
    return [page for _ in range(20) for page in range(1000)]


def zipf():
    ranks = Zipf(4000, Random(1))
    return [ranks.rank() * 7919 % 4001 for _ in range(40000)]


def scans():
    random, pages = Random(2), []
    for i in range(15):
        pages += [random.below(300) for _ in range(2000)]
        pages += range(1000 + 700 * i, 1700 + 700 * i)
    return pages


def phases():
    random, pages = Random(3), []
    for i in range(6):
        ranks = Zipf(900, random)
        pages += [i * 600 + ranks.rank() for _ in range(6000)]
    return pages


def btree():
    random, pages = Random(4), []
    ranks = Zipf(4096, random)
    for i in range(9000):
        leaf = ranks.rank() * 1663 % 4096
        pages += [0, 1 + leaf // 256, 17 + leaf // 16, 273 + leaf]
        if i % 500 == 499:
            pages += [273 + (leaf + j) % 4096 for j in range(200)]
    return pages


def mixed():
    parts = [iter(part) for part in (loop(), zipf(), scans(), phases(), btree())]
    pages = []
    for turn in range(75):
        at = turn % len(parts)
        pages += [page * 5 + at for page in itertools.islice(parts[at], 1500)]
    return pages


def collector():
    random, records = Random(5), []
    half, live = 0, []
    for _ in range(12):
        base, other = half * 400, (1 - half) * 400
        for page in range(base + len(live), base + 400):
            records += [(page, WRITE), (page, WRITE)]
            for _ in range(3):
                old = base + random.below(page - base + 1)
                records.append((old, WRITE if random.below(4) == 0 else READ))
        live = [base + i for i in range(400) if random.below(3) == 0]
        for i, page in enumerate(live):
            records += [(page, READ), (other + i, WRITE)]
        records += [(page, DISCARD) for page in range(base, base + 400)]
        half = 1 - half
    return records


READ_ONLY = {function.__name__: function for function in (loop, zipf, scans, phases, btree, mixed)}


def pack(pages):
    return struct.pack(f"<{len(pages)}Q", *pages)


def pack_ops(records):
    return pack([page << 2 | op for page, op in records])


def write_all(directory):
    for name, function in READ_ONLY.items():
        with open(os.path.join(directory, name + ".u64"), "wb") as file:
            file.write(pack(function()))
    with open(os.path.join(directory, "collector.ops"), "wb") as file:
        file.write(pack_ops(collector()))


if __name__ == "__main__":
    write_all(sys.argv[1])
