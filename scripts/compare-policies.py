#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run all policies over a folder of traces, and put the tables into doc/policies-compared.md.

Usage: compare-policies.py HMM-SIM FOLDER [--into FILE]

FILE keeps its text; what stands between its lines <!-- tables --> and <!-- end of tables --> is replaced.  Without --into
the tables go to standard output.
"""
import argparse
import json
import math
import os
import subprocess
import sys

RATIOS = (0.01, 0.1, 0.3)
FEWEST = 32  # the smallest budget of the library: averages leave out rows with fewer frames
BEGIN, END = "<!-- tables -->\n", "<!-- end of tables -->\n"


def simulate(program, folder):
    """Results of all traces: { (trace, policy, ratio): result }, and names of traces and policies in their order."""
    paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    results, traces, policies = {}, [], []
    for ratio in RATIOS:
        done = subprocess.run([program, "--json", "-p", "all", "-r", str(ratio), *paths], stdout=subprocess.PIPE, check=True)
        for line in done.stdout.splitlines():
            row = json.loads(line)
            results[row["trace"], row["policy"], ratio] = row
            for name, names in ((row["trace"], traces), (row["policy"], policies)):
                if name not in names:
                    names.append(name)
    return results, traces, policies


def table(heading, rows):
    """A Markdown table: the first column to the left, the others to the right."""
    yield f"| {' | '.join(heading)} |"
    yield f"|---|{'--:|' * (len(heading) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def table_of_size(results, traces, policies, ratio):
    """Miss ratios in percent.  The fewest misses are bold; opt is no policy that can be had."""
    rows = []
    for trace in traces:
        of = [results[trace, policy, ratio] for policy in policies]
        fewest = min(row["misses"] for row in of if row["policy"] != "opt")
        cells = [f"**{100 * row['miss_ratio']:.2f}**" if row["misses"] == fewest and row["policy"] != "opt" else
                 f"{100 * row['miss_ratio']:.2f}" for row in of]
        rows.append([trace, f"{of[0]['frames']:,}", *cells])
    yield from table(["trace", "frames", *policies], rows)


def relative(results, traces, policy, ratio):
    """Misses by those of LRU, of each trace with frames enough."""
    return [results[trace, policy, ratio]["misses"] / results[trace, "lru", ratio]["misses"] for trace in traces
            if results[trace, policy, ratio]["frames"] >= FEWEST]


def mean(factors):
    return math.exp(sum(map(math.log, factors)) / len(factors))


def summary(results, traces, policies):
    rows = []
    for policy in policies:
        by_size = [relative(results, traces, policy, ratio) for ratio in RATIOS]
        everything = [factor for factors in by_size for factor in factors]
        rows.append((mean(everything), [policy, *(f"{mean(factors):.3f}" for factors in by_size),
                                        f"{mean(everything):.3f}", f"{min(everything):.2f}", f"{max(everything):.2f}"]))
    rows.sort(key=lambda row: row[0])
    counts = [len(relative(results, traces, "lru", ratio)) for ratio in RATIOS]
    yield from table(["policy", *(f"{ratio:.0%} ({count} traces)" for ratio, count in zip(RATIOS, counts)), "all", "best",
                      "worst"], [row for _, row in rows])


def pages_moved(results, traces, policies):
    """Page-ins and page-outs, of traces that write."""
    for trace in traces:
        if not any(results[trace, policy, ratio]["page_outs"] for policy in policies for ratio in RATIOS):
            continue
        yield f"\n### Pages moved: {trace}\n"
        rows = []
        for policy in policies:
            of = [results[trace, policy, ratio] for ratio in RATIOS]
            rows.append([policy, *(f"{row['page_ins'] + row['page_outs']:,}" for row in of)])
        frames = [f"{results[trace, policies[0], ratio]['frames']:,} frames" for ratio in RATIOS]
        yield from table(["policy", *frames], rows)


def tables(results, traces, policies):
    yield "### Misses relative to LRU\n"
    yield from summary(results, traces, policies)
    for ratio in RATIOS:
        yield f"\n### Miss ratios in percent, with frames for {ratio:.0%} of the pages\n"
        yield from table_of_size(results, traces, policies, ratio)
    yield from pages_moved(results, traces, policies)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", metavar="HMM-SIM")
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--into", metavar="FILE")
    options = parser.parse_args()
    text = "\n".join(tables(*simulate(options.program, options.folder))) + "\n"
    if not options.into:
        sys.stdout.write(text)
        return
    with open(options.into, encoding="utf-8") as file:
        before, begin, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{options.into}: the lines {BEGIN.strip()} and {END.strip()} are not there")
    with open(options.into, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
