#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plain implementations of policies, from their papers and doc/policies; slow, and sharing nothing with the library.

Usage: reference.py             prints expected.csv for the project's own traces
       reference.py DATA        compares with DATA/expected-misses.csv where traces are short enough

Each is a function of the pages and the number of frames, and returns the number of misses.
"""
import csv
import os
import struct
import subprocess
import sys
from collections import OrderedDict, deque

import generate


def fifo(pages, c):
    return clock(pages, c, 0)


def lru(pages, c):
    held, misses = OrderedDict(), 0
    for page in pages:
        if page in held:
            held.move_to_end(page)
            continue
        misses += 1
        if len(held) == c:
            held.popitem(last=False)
        held[page] = True
    return misses


def clock(pages, c, most=1):
    queue, count, misses = deque(), {}, 0
    for page in pages:
        if page in count:
            count[page] = min(count[page] + 1, most)
            continue
        misses += 1
        while len(count) == c:
            oldest = queue.popleft()
            if count[oldest] > 0:
                count[oldest] -= 1
                queue.append(oldest)
            else:
                del count[oldest]
        count[page] = 0
        queue.append(page)
    return misses


def clock2(pages, c):
    return clock(pages, c, 3)


def mru(pages, c):
    held, misses = OrderedDict(), 0
    for page in pages:
        if page in held:
            held.move_to_end(page)
            continue
        misses += 1
        if len(held) == c:
            held.popitem(last=True)
        held[page] = True
    return misses


def sieve(pages, c):
    newer, older, visited = {}, {}, {}  # neighbours in the queue
    head = tail = hand = None
    misses = 0
    for page in pages:
        if page in visited:
            visited[page] = True
            continue
        misses += 1
        if len(visited) == c:
            at = hand if hand is not None else tail
            while visited[at]:
                visited[at] = False
                at = newer[at] if newer[at] is not None else tail
            hand = newer[at]
            n, o = newer.pop(at), older.pop(at)
            del visited[at]
            if n is not None:
                older[n] = o
            else:
                head = o
            if o is not None:
                newer[o] = n
            else:
                tail = n
        visited[page] = False
        newer[page], older[page] = None, head
        if head is not None:
            newer[head] = page
        else:
            tail = page
        head = page
    return misses


class Segments:
    """S3-FIFO"""

    def __init__(self, c, fills_main):
        self.c, self.fills_main = c, fills_main
        self.small_most = max(1, c // 10)
        self.main_most = max(1, c - c // 10)
        self.ghost_most = max(1, c * 9 // 10)
        self.small, self.main, self.ghost, self.freq = deque(), deque(), OrderedDict(), {}
        self.has_evicted = False

    def evict_main(self):
        while True:
            page = self.main.pop()
            if self.freq[page] == 0:
                del self.freq[page]
                return
            self.freq[page] = min(self.freq[page], 3) - 1
            self.main.appendleft(page)

    def evict_small(self):
        """Goes through the small queue to its end, if need be, though main grows meanwhile."""
        while self.small:
            page = self.small.pop()
            if self.freq[page] < 2:
                del self.freq[page]
                if len(self.ghost) == self.ghost_most:
                    self.ghost.popitem(last=False)
                self.ghost[page] = True
                return
            self.freq[page] = 0
            self.main.appendleft(page)

    def evict_one(self):
        self.has_evicted = True
        if len(self.main) > self.main_most or not self.small:
            self.evict_main()
        else:
            self.evict_small()

    def request(self, page):
        if page in self.freq:
            self.freq[page] += 1
            return 0
        was_ghost = self.ghost.pop(page, False)
        while len(self.freq) >= self.c:
            self.evict_one()
        to_main = was_ghost or (self.fills_main and not self.has_evicted and len(self.small) >= self.small_most)
        (self.main if to_main else self.small).appendleft(page)
        self.freq[page] = 0
        return 1


def s3fifo(pages, c):
    cache = Segments(c, True)
    return sum(cache.request(page) for page in pages)


def s3fifo_v0(pages, c):
    cache = Segments(c, False)
    return sum(cache.request(page) for page in pages)


def two_q(pages, c):
    kin, kout = max(1, c // 4), max(1, c // 2)
    first, out, main, misses = OrderedDict(), OrderedDict(), OrderedDict(), 0
    for page in pages:
        if page in main:
            main.move_to_end(page)
            continue
        if page in first:
            continue
        misses += 1
        was_out = out.pop(page, False)
        if len(first) + len(main) == c:
            if len(first) > kin or not main:
                old, _ = first.popitem(last=False)
                out[old] = True
                if len(out) > kout:
                    out.popitem(last=False)
            else:
                main.popitem(last=False)
        (main if was_out else first)[page] = True
    return misses


def arc(pages, c):
    t1, t2, b1, b2 = OrderedDict(), OrderedDict(), OrderedDict(), OrderedDict()
    p, misses = 0.0, 0

    def replace(in_b2):
        if t1 and (len(t1) > p or (in_b2 and len(t1) == p) or not t2):
            old, _ = t1.popitem(last=False)
            b1[old] = True
        else:
            old, _ = t2.popitem(last=False)
            b2[old] = True

    for page in pages:
        if page in t1 or page in t2:
            (t1 if page in t1 else t2).pop(page)
            t2[page] = True
            continue
        misses += 1
        if page in b1:
            p = min(p + max(len(b2) / len(b1), 1), c)
            if len(t1) + len(t2) == c:
                replace(False)
            del b1[page]
            t2[page] = True
        elif page in b2:
            p = max(p - max(len(b1) / len(b2), 1), 0)
            if len(t1) + len(t2) == c:
                replace(True)
            del b2[page]
            t2[page] = True
        else:
            if len(t1) + len(b1) == c:
                if len(t1) < c:
                    b1.popitem(last=False)
                    if len(t1) + len(t2) == c:
                        replace(False)
                else:
                    t1.popitem(last=False)
            elif len(t1) + len(t2) + len(b1) + len(b2) >= c:
                if len(t1) + len(t2) + len(b1) + len(b2) == 2 * c:
                    b2.popitem(last=False)
                if len(t1) + len(t2) == c:
                    replace(False)
            t1[page] = True
    return misses


def car(pages, c):
    t1, t2, b1, b2 = deque(), deque(), OrderedDict(), OrderedDict()
    bit, p, misses = {}, 0.0, 0
    for page in pages:
        if page in bit:
            bit[page] = True
            continue
        misses += 1
        if len(t1) + len(t2) == c:
            while True:
                if len(t1) >= max(1, p):
                    old = t1.popleft()
                    if not bit[old]:
                        del bit[old]
                        b1[old] = True
                        break
                    bit[old] = False
                    t2.append(old)
                else:
                    old = t2.popleft()
                    if not bit[old]:
                        del bit[old]
                        b2[old] = True
                        break
                    bit[old] = False
                    t2.append(old)
            if page not in b1 and page not in b2:
                if len(t1) + len(b1) == c:
                    b1.popitem(last=False)
                elif len(t1) + len(t2) + len(b1) + len(b2) == 2 * c:
                    b2.popitem(last=False)
        if page in b1:
            p = min(p + max(1, len(b2) / len(b1)), c)
            del b1[page]
            t2.append(page)
        elif page in b2:
            p = max(p - max(1, len(b1) / len(b2)), 0)
            del b2[page]
            t2.append(page)
        else:
            t1.append(page)
        bit[page] = False
    return misses


def opt(pages, c):
    never, following, last = len(pages), [0] * len(pages), {}
    for i in range(len(pages) - 1, -1, -1):
        following[i] = last.get(pages[i], never)
        last[pages[i]] = i
    held, misses = {}, 0
    for i, page in enumerate(pages):
        if page not in held:
            misses += 1
            if len(held) == c:
                del held[max(held, key=held.__getitem__)]
        held[page] = following[i]
    return misses


POLICIES = {"fifo": fifo, "lru": lru, "clock": clock, "clock2": clock2, "mru": mru, "sieve": sieve, "s3fifo": s3fifo,
            "s3fifo-v0": s3fifo_v0, "2q": two_q, "arc": arc, "car": car, "opt": opt}
SIZES = (17, 100, 333, 900)


def print_expected():
    print("trace,policy,frames,misses")
    for trace, function in generate.READ_ONLY.items():
        pages = function()
        for policy, simulate in POLICIES.items():
            for frames in SIZES:
                print(f"{trace},{policy},{frames},{simulate(pages, frames)}")


def compare(folder, longest=60000):
    """Returns rows compared, and those that differ."""
    traces, compared, wrong = {}, 0, []
    with open(os.path.join(folder, "expected-misses.csv"), encoding="utf-8") as file:
        for row in csv.DictReader(file):
            simulate, name, frames = POLICIES.get(row["policy"]), row["trace"], int(row["frames"])
            if simulate is None or (row["policy"] == "opt" and frames > 500):
                continue
            if name not in traces:
                packed = os.path.join(folder, "traces", name + ".u64.zst")
                raw = subprocess.run(["zstd", "-dcq", packed], capture_output=True, check=True).stdout
                traces[name] = struct.unpack(f"<{len(raw) // 8}Q", raw)
            if len(traces[name]) > longest:
                continue
            compared += 1
            misses = simulate(traces[name], frames)
            if misses != int(row["misses"]):
                wrong.append((name, row["policy"], frames, misses, row["misses"]))
    return compared, wrong


def main():
    if len(sys.argv) < 2:
        print_expected()
        return 0
    compared, wrong = compare(sys.argv[1])
    for row in wrong:
        print(*row)
    print(f"{compared} rows compared, {len(wrong)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
