#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the page of `hmm-sim --html` from the sources beside this file, and write it as a C file.

Usage: build.py OUTPUT.c WORK_DIR NPM NODE

Copies the sources to WORK_DIR, installs there what package-lock.json names (`npm ci`: versions and checksums are fixed), and
bundles it.  NPM or NODE may be "": then, or where it can't be done, OUTPUT.c says what is missing instead, and hmm-sim says it
to who asks for a page.
"""
import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = ["package.json", "package-lock.json", "bundle.js", "main.js", "chart.js", "colours.js", "data.js", "legend.js",
           "style.css"]
RESULTS = "/*RESULTS*/"


class Missing(Exception):
    """The page can't be made; the text says why."""


def run(what, command, work):
    done = subprocess.run(command, cwd=work, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout)
        said = [line for line in done.stdout.splitlines() if "error" in line.lower()]
        raise Missing(f"{what} failed when this program was built" + (f": {said[0][:200]}" if said else ""))


def make_page(work, npm, node):
    """The whole page, with RESULTS where the results go."""
    absent = [name for name, path in (("npm", npm), ("node", node)) if not path]
    if absent:
        raise Missing(f"{' and '.join(absent)} not found when this program was built "
                      "(Debian packages nodejs and npm)")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    for name in SOURCES:
        shutil.copy(os.path.join(HERE, name), work)
    run("npm ci", [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], work)
    run("bundling the page", [node, "bundle.js"], work)

    def read(*path):
        with open(os.path.join(*path), encoding="utf-8") as file:
            return file.read()

    licence = read(work, "node_modules", "uplot", "LICENSE").strip()
    page = read(HERE, "page.html")
    for mark, text in (("<!--LICENCES-->", f"<!--\nThe chart library is uPlot:\n\n{licence}\n-->"),
                       ("/*STYLE*/", read(work, "dist", "main.css").strip()),
                       ("/*SCRIPT*/", read(work, "dist", "main.js").strip())):
        if page.count(mark) != 1:
            raise SystemExit(f"page.html: {mark} is there {page.count(mark)} times")
        page = page.replace(mark, text)
    if page.count(RESULTS) != 1:
        raise SystemExit(f"the page has {page.count(RESULTS)} places for the results")
    return page


def c_array(name, text):
    data = text.encode("utf-8")
    lines = [",".join(map(str, data[i:i + 32])) for i in range(0, len(data), 32)]
    return f"static const unsigned char {name}[] = {{\n" + ",\n".join(lines) + "\n};\n"


def c_string(text):
    """A C string literal: what is not plain ASCII becomes "?"; json quotes as C does."""
    return json.dumps(text.encode("ascii", "replace").decode())


def main():
    output, work, npm, node = sys.argv[1:5]
    try:
        head, tail = make_page(work, npm, node).split(RESULTS)
    except Missing as missing:
        print(f"hmm-sim --html will not work: {missing}", file=sys.stderr)
        text = f"const struct page hmm_sim_page = {{ .absent = {c_string(str(missing))} }};\n"
    else:
        text = (c_array("head", head) + c_array("tail", tail) +
                "const struct page hmm_sim_page = {\n\t.head = head, .head_size = sizeof(head),\n"
                "\t.tail = tail, .tail_size = sizeof(tail),\n};\n")
    with open(output, "w", encoding="utf-8") as file:
        file.write('/* Made by tools/hmm-sim/web/build.py. */\n#include "tools/hmm-sim/page.h"\n\n' + text)


if __name__ == "__main__":
    main()
