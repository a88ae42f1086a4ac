#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The page of hmm-sim --html, in a headless Chromium: it draws what --json prints, and does what a user asks of it.

Usage: test_html.py HMM-SIM
"""
import functools
import os
import re
import tempfile
import time

import generate
import tap
import webdriver

POLICIES = ["lru", "mru", "opt"]  # on these traces no curve hides another one
COLOURS = {"lru": "#1f77b4", "mru": "#e8710a", "opt": "#2ca02c"}
FOLDER = tempfile.TemporaryDirectory()
# A page has to take a trace's name as a name.
TRACES = {"zipf": generate.zipf, "<!-- <b>\"it's\" & <script>": generate.phases}


@functools.cache
def made():
    """The page's path, and what --json says of the same run."""
    page = os.path.join(FOLDER.name, "curves.html")
    paths = []
    for name, function in TRACES.items():
        paths.append(os.path.join(FOLDER.name, name + ".u64"))
        with open(paths[-1], "wb") as file:
            file.write(generate.pack(function()))
    done = tap.run("--html", page, "--mrc=20", "-p", ",".join(POLICIES), *paths)
    if b"this build has no page" in done.stderr:
        raise tap.Skip(done.stderr.decode().strip())
    assert done.returncode == 0, done.stderr.decode()
    return page, tap.results("--mrc=20", "-p", ",".join(POLICIES), *paths)


@functools.cache
def browser():
    page, _ = made()
    window = webdriver.Browser()
    window.open("file://" + page)
    return window


def expected(trace):
    """{ policy: { frames: result } } of one trace."""
    of = {policy: {} for policy in POLICIES}
    for row in made()[1]:
        if row["trace"] == trace:
            of[row["policy"]][row["frames"]] = row
    assert all(len(rows) >= 15 for rows in of.values())
    return of


def expect_silence():
    said = browser().complaints()
    assert not said, said


def text(selector):
    return browser().run("return document.querySelector(arguments[0]).textContent", selector)


def percent(row):
    return f"{100 * (row['misses'] / row['requests']):.2f}%"


def away():
    """The pointer leaves the chart, which then shows all curves alike."""
    browser().point(5, 5)


def painted():
    """{ policy: number of pixels in its colour }.  The chart is drawn in the frame after a change."""
    return browser().run("""
        const canvas = document.querySelector("#chart canvas");
        // From a copy: reading the page's own one often makes the browser complain.
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        const counts = {};
        for (const [policy, colour] of Object.entries(arguments[0])) {
            const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
            counts[policy] = 0;
            for (let i = 0; i < data.length; i += 4)
                if (data[i + 3] > 200 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 30)
                    counts[policy]++;
        }
        return counts;""", COLOURS)


def wait_for(holds, what):
    """The first true value of holds(), which has time enough."""
    end = time.monotonic() + tap.patience(10)
    while time.monotonic() < end:
        value = holds()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(what)


def wait_for_curves(shown):
    def holds():
        counts = painted()
        return all((counts[policy] >= 100) == (policy in shown) and (counts[policy] == 0) == (policy not in shown)
                   for policy in POLICIES)
    away()
    wait_for(holds, f"not just {shown} are drawn: {painted()}")


def plot():
    """Where the curves are drawn: left, top, width, height in the window."""
    return browser().run("const r = document.querySelector('.u-over').getBoundingClientRect();"
                         "return [r.left, r.top, r.width, r.height];")


def frames_under_pointer():
    found = re.fullmatch(r"At ([\d,]+) frames", text("#at"))
    return int(found[1].replace(",", "")) if found else None


def legend():
    """{ policy: what stands behind it }"""
    return dict(browser().run("return [...document.querySelectorAll('#policies li')].map((li) => "
                              "[li.querySelector('.name').textContent, li.querySelector('.value').textContent]);"))


def box(policy):
    return f"#policies li:nth-child({1 + POLICIES.index(policy)}) input"


@tap.case
def the_page_loads_without_an_error():
    browser()
    wait_for(lambda: browser().run("return document.readyState") == "complete", "the page did not load")
    expect_silence()
    assert text("h1") == "Miss-ratio curves"
    unique = next(iter(expected("zipf")["lru"].values()))["unique"]
    assert f"of {unique:,} different pages" in text("#about"), text("#about")


@tap.case
def nothing_is_fetched():
    assert browser().run("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []
    linked = browser().run("return [...document.querySelectorAll('[src], [href]')].map((e) => e.src || e.href)")
    assert all(link.startswith("data:") for link in linked), linked


@tap.case
def a_curve_is_drawn_for_each_policy():
    assert list(legend()) == POLICIES
    wait_for_curves(POLICIES)


@tap.case
def hovering_shows_what_json_says():
    results = expected("zipf")
    left, top, width, height = plot()
    highest = max(row["miss_ratio"] for rows in results.values() for row in rows.values())
    scale = min(1, 1.05 * highest)
    seen = set()
    for share in (0.1, 0.35, 0.6, 0.85):
        x = left + share * width
        browser().point(x, top + height / 2)
        frames = wait_for(frames_under_pointer, "no size is shown")
        seen.add(frames)
        assert legend() == {policy: percent(rows[frames]) for policy, rows in results.items()}
        for policy, rows in results.items():
            row = rows[frames]
            browser().point(x, top + height * (1 - row["miss_ratio"] / scale))
            said = wait_for(lambda policy=policy: (lambda lines: lines[0] == policy and lines)(text("#point").split("\n")),
                            f"{policy}'s point with {frames} frames is not shown")
            assert said[1].startswith(f"{frames:,} frames ("), said
            assert said[2] == f"{row['misses']:,} misses of {row['requests']:,} requests", said
            assert said[3] == f"miss ratio {percent(row)}", said
            assert browser().run("return !document.querySelector('#point').hidden")
    assert len(seen) == 4
    away()
    wait_for(lambda: browser().run("return document.querySelector('#point').hidden"), "the numbers stay")
    assert set(legend().values()) == {""}


@tap.case
def arrow_keys_step_through_all_sizes():
    results = expected("zipf")
    sizes = sorted(results["lru"])
    left, right = "\ue012", "\ue014"
    for frames in sizes:
        browser().type("#chart", right)
        wait_for(lambda frames=frames: frames_under_pointer() == frames, f"it does not go on to {frames}")
        said, wanted = legend(), {policy: percent(rows[frames]) for policy, rows in results.items()}
        assert said == wanted, (frames, said, wanted)
    browser().type("#chart", left)
    wait_for(lambda: frames_under_pointer() == sizes[-2], "it does not go back")
    browser().run("document.activeElement.blur()")
    wait_for(lambda: frames_under_pointer() is None, "the size stays though the chart has no focus")


@tap.case
def a_policy_that_is_switched_off_has_no_curve():
    for policy in POLICIES:
        browser().click(box(policy))
        wait_for_curves([other for other in POLICIES if other != policy])
        browser().click(box(policy))
        wait_for_curves(POLICIES)
    browser().click("#none")
    wait_for_curves([])
    browser().click("#all")
    wait_for_curves(POLICIES)


@tap.case
def another_scale_draws_another_picture():
    def picture():
        return browser().run("return document.querySelector('#chart canvas').toDataURL()")
    wait_for_curves(POLICIES)
    logarithmic = picture()
    browser().click("input[value=linear]")
    wait_for_curves(POLICIES)
    assert picture() != logarithmic
    browser().click("input[value=log]")
    wait_for_curves(POLICIES)
    away()
    wait_for(lambda: picture() == logarithmic, "it is not the same again")


@tap.case
def dragging_enlarges_and_the_button_shows_the_whole():
    left, top, width, height = plot()
    sizes = sorted(expected("zipf")["lru"])

    def leftmost():
        browser().point(left + 2, top + height / 2)
        return wait_for(frames_under_pointer, "no size is shown")
    assert leftmost() == sizes[0]
    browser().point(left + 0.5 * width, top + 50, drag_to=(left + 0.9 * width, top + 60))
    wait_for(lambda: leftmost() > sizes[len(sizes) // 4], "it is not enlarged")
    browser().click("#whole")
    wait_for(lambda: leftmost() == sizes[0], "it is not the whole again")


@tap.case
def picking_another_trace_draws_its_curves():
    names = browser().run("return [...document.querySelectorAll('#trace option')].map((option) => option.text)")
    assert names == list(TRACES), names
    browser().click(box("mru"))
    browser().click("#trace option:nth-child(2)")
    results = expected(names[1])
    row = next(iter(results["lru"].values()))
    wait_for(lambda: text("#about") == f"{names[1]}: {row['requests']:,} requests of {row['unique']:,} different pages",
             "the page does not tell of the other trace")
    wait_for_curves(["lru", "opt"])  # what was switched off stays so
    left, top, width, height = plot()
    browser().point(left + width / 2, top + height / 2)
    frames = wait_for(frames_under_pointer, "no size is shown")
    assert legend() == {policy: percent(rows[frames]) for policy, rows in results.items()}
    browser().click("#trace option:nth-child(1)")
    wait_for(lambda: text("#about").startswith("zipf: "), "the page does not go back")


@tap.case
def nothing_of_it_wrote_to_the_console():
    expect_silence()
    assert browser().run("return performance.getEntriesByType('resource').length") == 0


tap.main()
