#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What hmm-sim makes of its results: pictures (--plot) and advice.

Usage: test_advice.py HMM_SIM [MODULE]

Prints TAP.
"""
import json
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

from tap import PROGRAM, Skip, case, main, results, run

FOLDER = tempfile.TemporaryDirectory(prefix="hmm-advice-")
ROOT = pathlib.Path(FOLDER.name)


def write_text(name, pages):
    path = ROOT / name
    path.write_text("".join(f"{page}\n" for page in pages), encoding="utf-8")
    return path


def write_ops(name, records):
    path = ROOT / name
    path.write_bytes(b"".join(struct.pack("<Q", page << 2 | op) for page, op in records))
    return path


DRAW = random.Random(3)
HOT = write_text("hot.txt", [int(400 * DRAW.random() ** 3) for _ in range(20000)])
LOOP = write_text("it's a_loop.txt", [i % 200 for i in range(8000)])
# Half of the requests write; every second lap discards what it wrote.
DIRTY = write_ops("dirty.ops", [(i % 150, 1 if i % 2 else 0) if lap % 2 else (300 + i, 2 if lap % 4 == 2 else 1)
                                for lap in range(40) for i in range(150)])


def advice(budget, trace, *options):
    done = run("advise", "--json", "--budget", budget, *options, trace)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    return json.loads(done.stdout)


def advice_text(budget, trace, *options):
    done = run("advise", "--budget", budget, *options, trace)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    return done.stdout.decode()


def plot(name, *options):
    if not shutil.which("gnuplot"):
        raise Skip("gnuplot (Debian package gnuplot-nox)")
    path = ROOT / name
    done = run("--plot", path, *options)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    return path


def svg_texts(path):
    return ["".join(text.itertext()).strip() for text in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@case
def svg_has_a_curve_and_a_name_for_every_policy():
    picture = plot("one.svg", "-p", "lru,fifo,s3fifo:small=0.2", "-n", "10,50,200", HOT)
    texts = svg_texts(picture)
    for text in ("hot", "lru", "fifo", "s3fifo:small=0.2", "frames", "miss ratio"):
        assert text in texts, f"{text!r} is not in {texts}"
    drawn = picture.read_text(encoding="utf-8").lower()
    colours = {colour for colour in ("#1f77b4", "#e8710a", "#2ca02c", "#d62728")
               if colour in drawn or "rgb({}, {}, {})".format(*bytes.fromhex(colour[1:])).replace(" ", "") in drawn.replace(" ", "")}
    assert len(colours) == 3, colours


@case
def every_trace_has_a_panel():
    texts = svg_texts(plot("two.svg", "-p", "lru,opt", "-n", "10,100", HOT, LOOP))
    assert "hot" in texts and "it's a_loop" in texts, texts
    assert texts.count("miss ratio") == 2, texts
    assert texts.count("opt") == 1, texts


@case
def logarithmic_axis_is_another_picture():
    linear = svg_texts(plot("linear.svg", "-p", "lru", "-n", "10,20,390", HOT))
    logarithmic = svg_texts(plot("log.svg", "--log-x", "-p", "lru", "-n", "10,20,390", HOT))
    assert "200" in linear and "200" not in logarithmic, (linear, logarithmic)
    assert "10" in logarithmic and "100" in logarithmic, logarithmic


@case
def png_is_a_picture():
    head = plot("one.png", "-p", "lru", "-n", "10,100", HOT).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:])
    assert width > 400 and height > 300, (width, height)


@case
def picture_of_another_kind_is_refused():
    done = run("--plot", ROOT / "one.pdf", "-n", "10", "-p", "lru", HOT)
    assert done.returncode == 1 and b".svg or .png" in done.stderr and not done.stdout, done


@case
def what_is_missing_for_a_picture_is_named():
    kept = ROOT / "kept.svg"
    kept.write_text("what was there before", encoding="utf-8")
    done = subprocess.run([PROGRAM, "--plot", kept, "-n", "10", "-p", "lru", HOT], env=dict(os.environ, PATH="/nonexistent"),
                          capture_output=True, check=False)
    assert done.returncode == 1 and b"gnuplot" in done.stderr and b"gnuplot-nox" in done.stderr, done
    assert kept.read_text(encoding="utf-8") == "what was there before"
    assert not list(ROOT.glob("kept.svg.*"))


@case
def files_that_can_t_be_written_are_named():
    for option, name in (("--plot", "x.svg"), ("--html", "x.html")):
        path = ROOT / "no such folder" / name
        done = run(option, path, "-n", "10", "-p", "lru", HOT)
        if b"this build has no page" in done.stderr:
            continue
        assert done.returncode == 1 and str(path).encode() in done.stderr, done


@case
def a_page_that_could_not_be_built_is_explained():
    source = pathlib.Path(__file__).resolve().parents[2] / "tools/hmm-sim/web/build.py"
    made = ROOT / "page.c"
    # No npm, and one that fails.
    for npm, node, why in (("", "", "npm and node not found"), (shutil.which("false"), shutil.which("true"), "npm ci failed")):
        done = subprocess.run([sys.executable, source, made, ROOT / "work", npm, node], capture_output=True, check=True)
        assert why in made.read_text(encoding="utf-8") and why.encode() in done.stderr, done
        text = re.search(r'\.absent = (".*") };', made.read_text(encoding="utf-8"))
        assert text and "when this program was built" in json.loads(text[1])


@case
def advice_is_the_policy_with_the_fewest_misses():
    for budget in (20, 60, 150):
        said = advice(budget, HOT)
        rows = results("-p", "all", "-n", budget, HOT)
        choices = [row for row in rows if row["policy"] != "opt"]
        least = min(row["misses"] for row in choices)
        first = next(row["policy"] for row in choices if row["misses"] == least)
        assert said["cost"] == "misses" and said["best"] == first, (said["best"], first)
        assert said["opt_misses"] == next(row["misses"] for row in rows if row["policy"] == "opt")
        got = {one["policy"]: one["misses"] for one in said["policies"]}
        assert got == {row["policy"]: row["misses"] for row in choices}
        assert [one["misses"] for one in said["policies"]] == sorted(got.values())


@case
def advice_tells_other_sizes_with_their_best_policies():
    said = advice(100, HOT, "-p", "lru,fifo,arc")
    sizes = {one["frames"]: one for one in said["sizes"]}
    assert {50, 100, 200} <= set(sizes) and said["unique"] in sizes, sizes
    rows = results("-p", "lru,fifo,arc", "-n", ",".join(map(str, sizes)), HOT)
    for frames, one in sizes.items():
        misses = {row["policy"]: row["misses"] for row in rows if row["frames"] == frames}
        assert one["misses"] == min(misses.values()), (frames, one, misses)
        assert misses[one["policy"]] == one["misses"]
        assert one["cost_of_best"] == misses[said["best"]]


@case
def of_equals_the_first_is_advised():
    for order in (["lru", "fifo"], ["fifo", "lru"]):  # on a loop they miss alike
        assert advice(50, LOOP, "-p", ",".join(order))["best"] == order[0]


@case
def opt_is_a_bound_and_no_advice():
    assert advice(50, LOOP, "-p", "opt,lru")["best"] == "lru"
    assert "opt" not in [one["policy"] for one in advice(50, LOOP, "-p", "opt,lru")["policies"]]


@case
def with_writes_pages_moved_decide():
    said = advice(60, DIRTY, "-p", "lru,mru,fifo,s3fifo,gc")
    assert said["cost"] == "page_ins+page_outs", said
    rows = results("-p", "lru,mru,fifo,s3fifo,gc", "-n", 60, DIRTY)
    moved = {row["policy"]: row["page_ins"] + row["page_outs"] for row in rows}
    assert {one["policy"]: one["cost"] for one in said["policies"]} == moved
    assert moved[said["best"]] == min(moved.values())


@case
def text_has_the_numbers():
    text = advice_text(100, HOT, "-p", "lru,fifo,arc,opt")
    said = advice(100, HOT, "-p", "lru,fifo,arc,opt")
    best = said["policies"][0]
    assert f"Take {best['policy']}: {best['misses']} misses, the fewest of 3 policies" in text, text
    assert str(said["opt_misses"]) in text
    half, twice = (next(one for one in said["sizes"] if one["frames"] == frames) for frames in (50, 200))
    more = 100 * (half["misses"] - best["misses"]) / best["misses"]
    assert f"Half the memory (50 frames): {half['misses']} misses, {more:.1f}% more" in text, text
    fewer = 100 * (best["misses"] - twice["misses"]) / best["misses"]
    assert f"Twice the memory (200 frames): {twice['misses']} misses, {fewer:.1f}% fewer" in text, text
    rows = re.findall(r"^ +(\d+) +[\d.]+% +(\S+) +(\d+) ", text, re.M)
    assert rows == [(str(one["frames"]), one["policy"], str(one["misses"])) for one in said["sizes"]], text


@case
def memory_that_saves_nothing_is_named():
    text = advice_text(1000, LOOP, "-p", "lru")
    assert "All 200 pages fit in the budget" in text, text
    assert [one["frames"] for one in advice(1000, LOOP, "-p", "lru")["sizes"]][-2:] == [200, 1000]


@case
def a_budget_of_one_frame_is_answered():
    said = advice(1, LOOP, "-p", "lru,opt")
    assert said["sizes"][0]["frames"] == 1 and said["sizes"][0]["misses"] == 8000


if __name__ == "__main__":
    try:
        main()
    finally:
        FOLDER.cleanup()
