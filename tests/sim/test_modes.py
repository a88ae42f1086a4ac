#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ways to run a trace that have to agree: streamed and loaded, with threads and without, curve and simulation; batches; samples;
and how results are printed.

Usage: test_modes.py HMM-SIM [NEWEST.SO]
"""
import csv
import io
import os
import subprocess
import sys
import tempfile

import generate
import reference
import tap

FOLDER = tempfile.TemporaryDirectory()
TRACES = [os.path.join(FOLDER.name, name) for name in
          [*(name + ".u64" for name in generate.READ_ONLY), "collector.ops"]]
TIMES = ("seconds", "mreq_per_s")


def counts(*arguments, **options):
    """Results without what differs from run to run."""
    return [{key: value for key, value in result.items() if key not in TIMES}
            for result in tap.results(*arguments, **options)]


@tap.case
def streaming_gives_what_loading_gives():
    for trace in TRACES:
        online = ",".join(name for name in tap.policies() if name != "opt")
        for mode in ("exact", "batched", "refbits"):
            arguments = ["--mode", mode, "-p", online, "-n", "30,300", trace]
            loaded = counts(*arguments)
            assert len(loaded) >= 6
            assert counts("--stream", *arguments) == loaded, (trace, mode)
            assert counts("--memory=1k", *arguments) == loaded, (trace, mode)


@tap.case
def a_trace_longer_than_a_piece_streams_right():
    pages = [i * 2654435761 % 2**32 % 5000 if i % 3 else i % 70000 for i in range(1200000)]
    path = os.path.join(FOLDER.name, "long.txt")
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(map(str, pages)))
    for arguments in (["-p", "lru,clock", "-n", "100,20000"], ["--mrc"], ["--sample=0.1", "-p", "lru,fifo", "-n", "2000"],
                      ["--sample-size=500", "-n", "2000,9000"]):
        loaded = counts(*arguments, path)
        assert loaded[0]["requests"] == len(pages)
        assert counts("--stream", *arguments, path) == loaded, arguments
        assert counts("--memory=4M", "-j", 2, *arguments, path) == loaded, arguments


@tap.case
def what_needs_the_whole_trace_says_so_when_streaming():
    for arguments in (["-p", "opt", "-n", 10], ["-p", "lru", "-r", 0.1], ["-p", "fifo", "--mrc"]):
        done = tap.run("--stream", *arguments, TRACES[0])
        assert done.returncode == 1 and b"streamed" in done.stderr and done.stdout == b"", (arguments, done)


@tap.case
def threads_change_nothing_but_time():
    arguments = ["-p", "all", "-n", "10,50,250,1000", *TRACES]
    one = counts(*arguments)
    assert len(one) >= 4 * len(TRACES) * 3
    for threads in (2, 5, 64):
        assert counts("-j", threads, *arguments) == one, threads


@tap.case
def results_come_by_trace_policy_and_size():
    found = [(result["trace"], result["policy"], result["frames"])
             for result in tap.results("-j", 4, "-p", "lru,fifo,opt", "-n", "300,20,100,20", *TRACES[:2])]
    assert found == [(trace, policy, frames) for trace in ("loop", "zipf") for policy in ("lru", "fifo", "opt")
                     for frames in (20, 100, 300)], found


@tap.case
def ratios_are_parts_of_the_pages():
    found = tap.results("-p", "lru", "-r", "0.01,0.5,1", TRACES[1])
    unique = found[0]["unique"]
    assert [result["frames"] for result in found] == [unique // 100, unique // 2, unique]
    assert found[-1]["misses"] == found[-1]["cold"] == unique


@tap.case
def the_curve_is_the_simulation_at_every_size():
    compared = 0
    for trace in TRACES:
        curve = tap.results("--mrc=all", trace)
        assert [result["frames"] for result in curve] == list(range(1, curve[0]["unique"] + 1))
        chosen = curve if len(curve) <= 1500 else curve[:200] + curve[200::37]
        sizes = ",".join(str(result["frames"]) for result in chosen)
        simulated = tap.results("-p", "lru", "-n", sizes, trace)
        assert [r["misses"] for r in simulated] == [r["misses"] for r in chosen], trace
        assert {result["mode"] for result in curve} == {"mrc"}
        compared += len(simulated)
    return f"{compared} sizes compared"


@tap.case
def the_curve_has_as_many_points_as_asked_for():
    curve = tap.results("--mrc=12", TRACES[1])
    assert len(curve) == 12 and curve[-1]["frames"] == curve[0]["unique"]
    both = tap.results("--mrc=12", "-p", "lru,fifo", TRACES[1])
    assert [result["frames"] for result in both[12:]] == [result["frames"] for result in curve]
    assert both[:12] != both[12:]


def truth_of(path):
    return {result["frames"]: result for result in tap.results("--mrc=all", path)}


def check_sample(truth, sampled):
    """How many of the stated intervals hold."""
    held = 0
    for result in sampled:
        exact = truth[result["frames"]]
        assert result["mode"] == "shards" and 0 < result["rate"] <= 1 and result["requests"] == exact["requests"]
        held += abs(result["miss_ratio"] - exact["miss_ratio"]) <= result["error"] + 1e-9
    return held


def sample_trace():
    """Enough pages to be sampled: 300,000 requests of 30,000 pages."""
    random, path = generate.Random(9), os.path.join(FOLDER.name, "sampled.u64")
    ranks = generate.Zipf(30000, random)
    pages = [ranks.rank() for _ in range(200000)]
    for turn in range(10):
        pages += range(turn * 3000, turn * 3000 + 10000)
    with open(path, "wb") as file:
        file.write(generate.pack(pages))
    return path


@tap.case
def samples_are_as_far_off_as_they_say():
    path = sample_trace()
    truth, held, n, widest = truth_of(path), 0, 0, 0
    for arguments in (["--sample=0.1"], ["--sample=0.03"], ["--sample-size=2000"], ["--sample-size=600"]):
        for seed in range(1, 7):
            sampled = tap.results(*arguments, "--seed", seed, "-p", "lru", "-n", "300,1000,3000,6000,12000,20000", path)
            held, n = held + check_sample(truth, sampled), n + len(sampled)
            widest = max(widest, *(result["error"] for result in sampled))
    assert held >= 0.9 * n, (held, n)
    assert widest < 0.2, widest
    return f"{held} of {n} within the stated error, widest {widest:.4f}"


@tap.case
def a_sample_of_all_pages_is_exact():
    for trace in TRACES:
        for arguments in (["--sample=1"], ["--sample-size=100000"]):
            sampled = tap.results(*arguments, "-p", "lru", "-n", "16,128,256,512", trace)
            exact = tap.results("-p", "lru", "-n", "16,128,256,512", trace)
            for one, other in zip(sampled, exact):
                # classes of distances are 1/256 wide, and their edges are exact up to 512
                assert abs(one["misses"] - other["misses"]) <= 1, (trace, one, other)
                assert one["error"] == 0


@tap.case
def a_sample_of_fixed_size_is_no_larger():
    sampled = tap.results("--sample-size=100", "-n", 1000, TRACES[1])
    unique = sampled[0]["unique"]
    assert sampled[0]["rate"] < 2 * 100 / unique, sampled


@tap.case
def samples_of_other_policies_are_as_far_off_as_they_say():
    path, held, n = sample_trace(), 0, 0
    exact = {(r["policy"], r["frames"]): r for r in tap.results("-p", "fifo,clock", "-n", "1000,3000,12000", path)}
    for seed in range(1, 9):
        for result in tap.results("--sample=0.1", "--seed", seed, "-p", "fifo,clock", "-n", "1000,3000,12000", path):
            off = abs(result["miss_ratio"] - exact[result["policy"], result["frames"]]["miss_ratio"])
            held, n = held + (off <= result["error"]), n + 1
    assert held >= 0.85 * n, (held, n)
    return f"{held} of {n} within the stated error"


@tap.case
def batches_of_one_without_a_list_are_nearly_exact():
    for trace in TRACES:
        for policy in ("lru", "fifo", "clock"):
            exact, = tap.results("-p", policy, "-n", 300, trace)
            batched, = tap.results("-p", policy, "-n", 302, "--mode=batched", "--batch=1", "--low=1", "--high=2",
                                   "--available=0", trace)
            assert abs(batched["misses"] - exact["misses"]) <= 0.02 * exact["requests"], (trace, exact, batched)
            assert batched["faults"] == batched["misses"]


@tap.case
def an_available_list_rescues():
    result, = tap.results("-p", "fifo", "-n", 400, "--mode=batched", TRACES[1])
    none, = tap.results("-p", "fifo", "-n", 400, "--mode=batched", "--available=0", TRACES[1])
    assert result["faults"] > result["misses"] and none["faults"] == none["misses"]
    assert result["misses"] < none["misses"], "a second chance is better than none"
    assert result["page_ins"] + result["zero_fills"] == result["misses"]


@tap.case
def reference_bits_tell_less_than_accesses():
    for trace in TRACES:
        exact, = tap.results("-p", "lru", "-n", 500, trace)
        refbits, = tap.results("-p", "lru", "-n", 500, "--mode=refbits", trace)
        assert refbits["misses"] >= exact["cold"] and refbits["mode"] == "refbits"
        assert abs(refbits["misses"] - exact["misses"]) < 0.25 * exact["requests"], (trace, exact, refbits)


@tap.case
def io_adds_up_in_every_mode():
    for mode in ("exact", "batched", "refbits"):
        for discards in ("ignore", "honour", "unmap"):
            for result in tap.results("-p", "lru,fifo,clock", "-n", "20,100,500", "--mode", mode, "--discards", discards,
                                      TRACES[-1]):
                assert result["page_ins"] + result["zero_fills"] == result["misses"], result
                assert result["faults"] >= result["misses"] and result["page_outs"] > 0, result


@tap.case
def tiny_sizes_work_in_every_mode():
    for mode in ("exact", "batched", "refbits"):
        for result in tap.results("-p", "all", "-n", "1,2,3,7,9,16", "--mode", mode, TRACES[-1], TRACES[2]):
            assert result["cold"] <= result["misses"] <= result["requests"], result


@tap.case
def backing_says_what_a_first_miss_costs():
    file, = tap.results("-p", "lru", "-n", 100, TRACES[1])
    zero, = tap.results("-p", "lru", "-n", 100, "--backing=zero", TRACES[1])
    assert file["page_ins"] == zero["zero_fills"] == file["misses"] and file["zero_fills"] == zero["page_ins"] == 0


FIELDS = ["trace", "policy", "frames", "requests", "misses", "cold", "page_ins", "page_outs", "zero_fills", "faults",
          "seconds", "mreq_per_s"]


@tap.case
def json_has_the_fields_and_csv_the_same_values():
    arguments = ["-p", "lru,clock:bits=2", "-n", "10,100", *TRACES[:2]]
    objects = tap.results(*arguments)
    assert list(objects[0])[:12] == FIELDS
    rows = list(csv.DictReader(io.StringIO(tap.run("--csv", *arguments).stdout.decode())))
    assert len(rows) == len(objects) == 8
    for row, found in zip(rows, objects):
        assert list(row)[:12] == FIELDS
        for key in found:
            if key not in TIMES:
                assert row[key] == str(found[key]) or float(row[key]) == found[key], (key, row, found)


@tap.case
def the_table_is_aligned():
    done = tap.run("-p", "lru,clock", "-n", "10,1000", *TRACES[:2])
    assert done.returncode == 0
    blocks = done.stdout.decode().rstrip("\n").split("\n\n")
    assert len(blocks) == 2
    for block in blocks:
        lines = block.split("\n")[1:]
        assert len(lines) == 5 and len({len(line) for line in lines}) == 1, block


@tap.case
def no_bar_where_stderr_is_no_terminal():
    assert tap.run("-p", "all", "-n", "100", *TRACES).stderr == b""


@tap.case
def a_policy_of_the_users_own_loads():
    if len(sys.argv) < 3:
        raise tap.Skip("a module, as second argument")
    result, = tap.results("--policy", sys.argv[2], "-n", 100, TRACES[0])
    assert result["misses"] == reference.mru(generate.loop(), 100), result
    again, = tap.results("-p", sys.argv[2] + "," + sys.argv[2], "-n", 100, TRACES[0])[:1]
    assert again["misses"] == result["misses"]


@tap.case
def a_broken_pipe_or_full_disk_is_told():
    if not os.path.exists("/dev/full"):
        raise tap.Skip("/dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([tap.PROGRAM, "-p", "lru", "-n", "10", TRACES[0]], stdout=full, stderr=subprocess.PIPE,
                              check=False)
    assert done.returncode == 1 and b"standard output" in done.stderr, done


@tap.case
def opt_is_never_worse():
    for trace in TRACES:
        found = {(r["policy"], r["frames"]): r["misses"] for r in tap.results("-p", "all", "-n", "10,100,700", trace)}
        for (policy, frames), misses in found.items():
            assert misses >= found["opt", frames], (trace, policy, frames)


if __name__ == "__main__":
    generate.write_all(FOLDER.name)
    tap.main()
