#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Install into a scratch directory and use what is there as a stranger would.

Usage: install.py BUILD_DIR SOURCE_ROOT CC...

Prints TAP.  $CXX (default c++) compiles the C++ cases.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

WARNINGS = ["-Wall", "-Wextra", "-Werror"]
DECLARED = re.compile(r"\bHMM_API\b[^;{]*?\b(hmm_\w+)\s*\(")


# headers of integrations, which have libraries of their own
INTEGRATIONS = re.compile(r"/(bdwgc|sqlite)\.h$")


class Skip(Exception):
    """The case can't run here; the text says what is missing."""


def run(*command, env=None):
    """Run a command; its standard output, or an exception with all it said."""
    done = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def find_one(root, pattern):
    found = glob.glob(os.path.join(root, "**", pattern), recursive=True)
    assert len(found) == 1, f"{pattern} is there {len(found)} times"
    return found[0]


class Installation:
    def __init__(self, build, source, cc, scratch):
        self.cc = cc
        self.source = source
        self.scratch = scratch
        self.root = os.path.join(scratch, "root")
        run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", self.root)
        self.pc = find_one(self.root, "hurd-mm.pc")
        self.library = os.path.realpath(find_one(self.root, "libhurd-mm.so"))
        self.headers = sorted(glob.glob(os.path.join(self.root, "**/include/hurd-mm/*.h"), recursive=True))

    def cxx(self):
        cxx = os.environ.get("CXX", "c++").split()
        if not shutil.which(cxx[0]):
            raise Skip("a C++ compiler")
        return cxx

    def pkg_config(self, *what):
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(self.pc), PKG_CONFIG_SYSROOT_DIR=self.root)
        return run("pkg-config", *what, "hurd-mm", env=env).split()

    def build_and_run(self, compiler, suffix, *static):
        program = os.path.join(self.scratch, "program")
        source = program + suffix
        shutil.copy(os.path.join(self.source, "tests/install/installed.c"), source)
        flags = self.pkg_config("--cflags", "--libs", *(["--static"] if static else []))
        run(*compiler, *static, *([] if static else WARNINGS), "-o", program, source, *flags)
        env = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(self.library))
        said = run(program, env=env).strip()
        wanted = "hurd-mm " + self.pkg_config("--modversion")[0]
        assert said == wanted, f"the program says {said!r}, not {wanted!r}"

    def test_c_program_with_shared_library(self):
        self.build_and_run(self.cc + ["-std=c11"], ".c")

    def test_cpp_program_with_shared_library(self):
        self.build_and_run(self.cxx() + ["-std=c++17"], ".cc")

    def test_c_program_linked_statically(self):
        self.build_and_run(self.cc + ["-std=c11"], ".c", "-static")

    def test_soname_is_versioned(self):
        dynamic = run("readelf", "-d", self.library)
        assert "[libhurd-mm.so.0]" in re.search(r"SONAME.*", dynamic)[0], dynamic
        assert "TEXTREL" not in dynamic, dynamic

    def test_exports_are_what_the_headers_declare(self):
        lines = run("nm", "-D", "--defined-only", self.library).splitlines()
        exported = {line.split()[2] for line in lines if line.split()[1] != "A"}
        nodes = {name.partition("@@")[2] for name in exported}
        assert nodes == {"HURD_MM_0.1"}, f"version nodes: {nodes}"
        exported = {name.partition("@@")[0] for name in exported}
        declared = set()
        for header in (header for header in self.headers if not INTEGRATIONS.search(header)):
            with open(header, encoding="utf-8") as file:
                text = re.sub(r"^\s*#(.*\\\n)*.*$", "", file.read(), flags=re.M)
            declared |= set(DECLARED.findall(text))
        assert declared, "no declarations found"
        assert exported == declared, f"only exported: {exported - declared}; only declared: {declared - exported}"

    def headers_compile(self, compiler, suffix):
        flags = [*WARNINGS, "-pedantic", "-fsyntax-only", *self.pkg_config("--cflags")]
        for header in self.headers:
            source = os.path.join(self.scratch, "header" + suffix)
            with open(source, "w", encoding="utf-8") as file:
                file.write(f"#include <hurd-mm/{os.path.basename(header)}>\n")
                file.write(f"#include <hurd-mm/{os.path.basename(header)}>\nint main(void) {{ return 0; }}\n")
            run(*compiler, *flags, source)

    def test_each_header_compiles_alone_in_c11(self):
        self.headers_compile(self.cc + ["-std=c11"], ".c")

    def test_each_header_compiles_alone_in_cpp17(self):
        self.headers_compile(self.cxx() + ["-std=c++17"], ".cc")


def main():
    build, source, *cc = sys.argv[1:]
    cases = [name for name in vars(Installation) if name.startswith("test_")]
    failed = 0
    print(f"1..{len(cases)}")
    with tempfile.TemporaryDirectory() as scratch:
        installation = Installation(build, source, cc, scratch)
        for number, name in enumerate(cases, 1):
            try:
                getattr(installation, name)()
                print(f"ok {number} - {name[5:]}")
            except Skip as missing:
                print(f"ok {number} - {name[5:]} # SKIP {missing}")
            except AssertionError as wrong:
                failed += 1
                print(f"not ok {number} - {name[5:]}")
                print("# " + str(wrong).replace("\n", "\n# "))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
