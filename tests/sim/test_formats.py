#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every format gives the same requests, by name, by content, by -f, packed and through a pipe; what is damaged is refused.

Usage: test_formats.py HMM-SIM
"""
import gzip
import os
import shutil
import struct
import subprocess
import tempfile

import generate
import tap

MAGIC = 0x123456789ABCDEF0
PAGES = generate.scans()[:6000]
OPERATIONS = [i % 3 == 0 for i in range(len(PAGES))]  # True: a write
SIZES = "10,100,1000"


def next_uses():
    following, last = [0] * len(PAGES), {}
    for i in range(len(PAGES) - 1, -1, -1):
        following[i] = last.get(PAGES[i], -1)
        last[PAGES[i]] = i
    return following


def oracle(clock=lambda i: 1000 + i // 50):
    return b"".join(struct.pack("<IQIq", clock(i), page, 4096, following)
                    for i, (page, following) in enumerate(zip(PAGES, next_uses())))


def lcs_header(version, requests=len(PAGES)):
    header = struct.pack("<QQqqq", MAGIC, version, 1, requests, len(set(PAGES)))
    return header.ljust(8192 - 8, b"\0") + struct.pack("<Q", MAGIC)


def lcs(version, **options):
    records = []
    for i, page in enumerate(PAGES):
        operation = 13 if OPERATIONS[i] else 12
        if version == 1:
            records.append(struct.pack("<IQIq", i, page, 512, -1))
        elif version == 2:
            records.append(struct.pack("<IQIIq", i, page, 512, operation, -1))
        else:
            features = {3: 0, 4: 1, 5: 2, 6: 4, 7: 8, 8: 16}[version]
            records.append(struct.pack("<IQqIIq", i, page, 512, operation, 60, -1) + b"\7\7\7\7" * features)
    return lcs_header(version, **options) + b"".join(records)


def vscsi(version):
    records = []
    for i, page in enumerate(PAGES):
        command = 0x2A if OPERATIONS[i] else 0x28
        if version == 1:
            records.append(struct.pack("<IIIHHQQ", i, 4096, 1, command, 0x0100, page, i * 1000))
        else:
            records.append(struct.pack("<HHIIIQQQ", command, 0x0200, i, 4096, 1, page, i * 1000, 7))
    return b"".join(records)


def lackey():
    lines = ["==123== Lackey, an example Valgrind tool", "==123== "]
    for i, page in enumerate(PAGES):
        kind = " S" if OPERATIONS[i] else "I " if i % 5 == 0 else " L"
        lines.append(f"{kind} {page * 4096 + i % 4000:08x},{1 + i % 8}")
    return "\n".join(lines + ["==123== Exit code: 0", ""]).encode()


def text():
    return ("# pages\n\n" + "\n".join(hex(page) if i % 2 else str(page) for i, page in enumerate(PAGES))).encode()


def fields(heading, form, end="\n"):
    letters = ["write" if written else "read" for written in OPERATIONS]
    lines = [heading] if heading else []
    return end.join(lines + [form.format(i=i, page=page, op=letters[i]) for i, page in enumerate(PAGES)]).encode()


# name, contents, options, has it writes
FORMATS = [
    ("a.u64", generate.pack(PAGES), [], False),
    ("a.ops", generate.pack_ops([(p, int(w)) for p, w in zip(PAGES, OPERATIONS)]), [], True),
    ("a.ops.u64", generate.pack_ops([(p, int(w)) for p, w in zip(PAGES, OPERATIONS)]), [], True),
    ("a.txt", text(), [], False),
    ("a.csv", fields("time,obj_id,op", "{i},{page},{op}"), [], False),
    ("a.csv", fields("time,obj_id,op", "{i},{page},{op}"), ["--op-column", "op"], True),
    ("a.csv", fields("", "{i};{page};{op}", "\r\n"), ["--column", "2", "--op-column=3"], True),
    ("a.csv", fields("x y what", "{i} {page} {op}"), ["--column=Y", "--delimiter", " "], False),
    ("a.oracleGeneral", oracle(), [], False),
    ("a.oracleGeneral.bin", oracle(), [], False),
    *[("a.lcs", lcs(version), [], version > 1) for version in range(1, 9)],
    ("a.vscsi", vscsi(1), [], True),
    ("a.vscsi", vscsi(2), [], True),
    ("a.lackey", lackey(), [], True),
]
BY_CONTENT = {"a.u64", "a.txt", "a.csv", "a.oracleGeneral", "a.lcs", "a.vscsi", "a.lackey"}


class Folder:
    """A scratch folder in which files are made by contents."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def file(self, name, contents):
        path = os.path.join(self.folder.name, name)
        with open(path, "wb") as file:
            file.write(contents)
        return path


def zstd(contents):
    if not shutil.which("zstd"):
        raise tap.Skip("zstd, to pack traces")
    return subprocess.run(["zstd", "-qc"], input=contents, capture_output=True, check=True).stdout


def counts(*arguments, **options):
    names = ("frames", "requests", "unique", "misses", "cold", "page_outs")
    return [tuple(result[name] for name in names)
            for result in tap.results("-p", "lru,fifo", "-n", SIZES, "--backing=file", *arguments, **options)]


def expected(folder, writes):
    operations = OPERATIONS if writes else [False] * len(PAGES)
    return counts("-f", "ops", folder.file("expected", generate.pack_ops(zip(PAGES, map(int, operations)))))


@tap.case
def every_format_gives_the_same_requests():
    with Folder() as folder:
        for name, contents, options, writes in FORMATS:
            assert counts(*options, folder.file(name, contents)) == expected(folder, writes), (name, options)
    return f"{len(FORMATS)} files"


@tap.case
def formats_are_found_by_content():
    with Folder() as folder:
        tried = [row for row in FORMATS if row[0] in BY_CONTENT]
        for name, contents, options, writes in tried:
            if "--delimiter" in options:
                continue  # a blank between numbers could be anything
            assert counts(*options, folder.file("nameless", contents)) == expected(folder, writes), (name, options)


@tap.case
def formats_are_taken_as_told():
    with Folder() as folder:
        for name, contents, options, writes in FORMATS:
            kind = {"txt": "text", "oracleGeneral.bin": "oracleGeneral", "ops.u64": "ops"}
            kind = kind.get(name[2:], name[2:])
            path = folder.file("misnamed.vscsi", contents)
            assert counts("-f", kind, *options, path) == expected(folder, writes), (name, options)


@tap.case
def gzip_is_unpacked():
    with Folder() as folder:
        for name, contents, options, writes in tap.sample(FORMATS, 4):
            packed = gzip.compress(contents[:1000]) + gzip.compress(contents[1000:])  # two members
            assert counts(*options, folder.file(name + ".gz", packed)) == expected(folder, writes), (name, options)


@tap.case
def zstd_is_unpacked():
    with Folder() as folder:
        for name, contents, options, writes in tap.sample(FORMATS, 4):
            packed = zstd(contents[:1000]) + zstd(contents[1000:])  # two frames
            assert counts(*options, folder.file(name + ".zst", packed)) == expected(folder, writes), (name, options)


@tap.case
def pipes_are_read():
    with Folder() as folder:
        for name, contents, options, writes in tap.sample((row for row in FORMATS if row[0] in BY_CONTENT), 4):
            if "--delimiter" in options:
                continue
            for packed in (contents, gzip.compress(contents)):
                assert counts(*options, "-", stdin=packed) == expected(folder, writes), (name, options)


@tap.case
def names_lose_folder_and_suffixes():
    with Folder() as folder:
        for name, stem in (("b.u64", "b"), ("c.ops.u64.gz", "c.ops"), ("d.x.txt", "d.x"), ("e", "e")):
            contents = text() if "txt" in name else generate.pack([page << 2 for page in PAGES])
            contents = gzip.compress(contents) if name.endswith("gz") else contents
            result, = tap.results("-p", "fifo", "-n", 10, folder.file(name, contents))
            assert result["trace"] == stem, result


def lackey_of(program):
    if not shutil.which("valgrind"):
        raise tap.Skip("valgrind")
    done = subprocess.run(["valgrind", "--tool=lackey", "--trace-mem=yes", "--log-fd=1", program], capture_output=True,
                          check=False)
    if done.returncode != 0:
        raise tap.Skip("valgrind, working")
    return done.stdout


@tap.case
def lackey_of_a_real_run_is_read():
    with Folder() as folder:
        output = lackey_of("/bin/true")
        accesses = [line for line in output.decode().splitlines() if line[:3] in ("I  ", " L ", " S ", " M ")]
        pages = {int(line[3:].split(",")[0], 16) >> 12 for line in accesses}
        result, = tap.results("-p", "lru", "-n", 20, folder.file("run", output))
        assert (result["requests"], result["unique"]) == (len(accesses), len(pages)), result
        assert result["page_outs"] > 0


def flip(contents, at, value):
    return contents[:at] + value + contents[at + len(value):]


# what is wrong, name, contents, options, offset that the message names, words of it
DAMAGED = [
    ("u64 cut", "a.u64", generate.pack(PAGES)[:-3], [], 8 * (len(PAGES) - 1), "5 of its 8 bytes"),
    ("ops cut", "a.ops", generate.pack(PAGES[:3])[:-1], [], 16, "whole record"),
    ("ops hint cut", "a.ops", generate.pack([4, 8, 11]), [], 24, "rest of a hint"),
    ("ops hint broken", "a.ops", generate.pack([4, 11, 4]), [], 16, "rest of a hint"),
    ("text word", "a.txt", b"1\n2\nthree\n4\n", [], 4, "'three' in line 3"),
    ("text too large", "a.txt", b"1\n99999999999999999999\n", [], 2, "page number"),
    ("text negative", "a.txt", b"-1\n", [], 0, "page number"),
    ("text endless line", "a.txt", b"1\n" + b"7" * 70000, [], 2, "line"),
    ("csv short line", "a.csv", b"time,page\n1,2\n3\n", [], 14, "in its column"),
    ("csv word", "a.csv", b"1,2\n3,x\n", ["--column=2"], 4, "'3,x' in line 2"),
    ("csv column", "a.csv", b"a,b\n1,2\n", ["--column=c"], 0, "none called 'c'"),
    ("csv operation", "a.csv", b"1,read\n2,dance\n", ["--op-column=2"], 7, "operation"),
    ("oracle cut", "a.oracleGeneral", oracle()[:-1], [], 24 * (len(PAGES) - 1), "23 of its 24 bytes"),
    ("oracle next", "a.oracleGeneral", flip(oracle(), 40, struct.pack("<q", -5)), [], 40, "next access"),
    ("lcs header cut", "a.lcs", lcs(1)[:5000], [], 0, "8192 bytes"),
    ("lcs magic", "a.lcs", flip(lcs(1), 0, b"\0"), [], 0, "magic"),
    ("lcs version", "a.lcs", flip(lcs(1), 8, b"\x63"), [], 8, "99"),
    ("lcs requests", "a.lcs", lcs(1, requests=-4), [], 24, "number of requests"),
    ("lcs end of header", "a.lcs", flip(lcs(2), 8190, b"\0"), [], 8184, "magic"),
    ("lcs too few", "a.lcs", lcs(1, requests=len(PAGES) + 1), [], 8192 + 24 * len(PAGES), "more records"),
    ("lcs too many", "a.lcs", lcs(3, requests=5), [], 8192 + 36 * 5, "the end"),
    ("vscsi version", "a.vscsi", flip(vscsi(2), 40 * 500 + 3, b"\1"), [], 40 * 500 + 2, "version"),
    ("vscsi none", "a.vscsi", generate.pack(PAGES), [], 0, "version 1 or 2"),
    ("vscsi cut", "a.vscsi", vscsi(1)[:-30], [], 32 * (len(PAGES) - 1), "2 of its 32 bytes"),
    ("lackey word", "a.lackey", b" L 1000,8\n X 2000,8\n", [], 10, "lackey"),
    ("lackey size", "a.lackey", b" L 1000,8\n S 2000\n", [], 10, "lackey"),
    ("gzip cut", "a.u64.gz", gzip.compress(generate.pack(PAGES))[:-20], [], None, "end of the file"),
    ("gzip damaged", "a.u64.gz", flip(gzip.compress(generate.pack(PAGES)), 700, b"\xff" * 40), [], None, "gzip data"),
    ("gzip tail", "a.u64.gz", gzip.compress(generate.pack(PAGES)) + b"tail of some kind", [], None, "gzip data"),
    ("empty", "a.u64", b"", [], 0, "a request"),
    ("empty text", "a.txt", b"# nothing\n", [], 10, "a request"),
]


def check_refusal(what, path, options, offset, words, stdin=None):
    for way in ([], ["--stream"], ["--json"]):
        done = tap.run(*way, "-p", "lru", "-n", 10, *options, path, stdin=stdin)
        said = done.stderr.decode()
        assert done.returncode == 2, (what, done.returncode, said)
        assert done.stdout == b"", (what, done.stdout)
        assert said.count("\n") == 1 and words in said, (what, said)
        assert (path if path != "-" else "standard input") in said, (what, said)
        assert "expected" in said and "found" in said, (what, said)
        assert offset is None or f"offset {offset}:" in said, (what, offset, said)


@tap.case
def damaged_traces_are_refused_with_file_offset_and_expectation():
    with Folder() as folder:
        for what, name, contents, options, offset, words in DAMAGED:
            check_refusal(what, folder.file(name, contents), options, offset, words)
    return f"{len(DAMAGED)} kinds of damage"


@tap.case
def damaged_zstd_is_refused():
    with Folder() as folder:
        packed = zstd(generate.pack(PAGES))
        check_refusal("zstd cut", folder.file("a.u64.zst", packed[:-20]), [], None, "end of the file")
        check_refusal("zstd tail", folder.file("b.u64.zst", packed + b"tail of some kind"), [], None, "zstd data")
        check_refusal("zstd damaged", folder.file("c.u64.zst", flip(packed, 700, b"\xff" * 40)), [], None, "")


@tap.case
def damaged_pipes_are_refused():
    check_refusal("pipe", "-", ["-f", "u64"], 24, "whole record", stdin=generate.pack([1, 2, 3]) + b"abc")


@tap.case
def a_damaged_trace_after_a_good_one_leaves_nothing_printed():
    with Folder() as folder:
        done = tap.run("-p", "lru", "-n", 10, folder.file("a.u64", generate.pack(PAGES)), folder.file("b.u64", b"123"))
        assert done.returncode == 2 and done.stdout == b"", done


@tap.case
def absent_files_are_told():
    done = tap.run("-p", "lru", "-n", 10, "/nowhere/at/all")
    assert done.returncode == 2 and b"/nowhere/at/all: No such file" in done.stderr and done.stdout == b"", done


@tap.case
def unknown_names_and_parameters_list_what_exists():
    with Folder() as folder:
        path = folder.file("a.u64", generate.pack(PAGES))
        for arguments, words in ((["-p", "lrru"], b"clock"), (["-p", "lru:x=1"], b"lru"), (["-p", "opt:x=1"], b"no parameters"),
                                 (["-f", "u65"], b"oracleGeneral"), (["-p", "./absent.so"], b"absent.so"),
                                 (["-p", "s3fifo:size=1"], b"small=0.1,ghost=0.9"), (["-p", "clock:bits=7"], b"are bits=1")):
            done = tap.run(*arguments, "-n", 10, path)
            assert done.returncode == 1 and words in done.stderr and done.stdout == b"", (arguments, done)


@tap.case
def repeats_are_dropped_on_demand():
    with Folder() as folder:
        path = folder.file("a.u64", generate.pack([1, 1, 2, 2, 2, 1, 3, 3]))
        assert tap.results("-p", "lru", "-n", 2, path)[0]["requests"] == 8
        assert tap.results("-p", "lru", "-n", 2, "--dedup", path)[0]["requests"] == 4


if __name__ == "__main__":
    tap.main()
