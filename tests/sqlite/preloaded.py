#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unmodified programs with the page cache preloaded: the same answers on less memory than their databases.

Usage: preloaded.py MODULE

The sqlite3 shell runs a script of every kind of statement (inserts, updates, deletes, indexes, joins, sorts, rollbacks, a
temporary table, VACUUM, a file of pages of another size, a database in memory) and integrity_check; Python, which loads
its SQLite module late, has several connections in several threads at work on the installed packages' file lists.  Prints TAP.
"""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from patience import patience  # pylint: disable=wrong-import-position

MODULE = sys.argv[1]
PATIENCE = patience(100)
POLICIES = ["lru", "fifo", "clock", "sieve", "s3fifo", "2q", "arc", "car", "lirs", "clockpro", "lru2", "wtinylfu", "mglru",
            "mru", "random", "db", "db:s3fifo"]
number = failed = 0

SCRIPT = """
PRAGMA page_size={page};
PRAGMA cache_size=2000;
CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT, c BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<{rows})
  INSERT INTO t SELECT i, (i*7919)%{rows}, printf('%08x-%s', (i*2654435761)%4294967296, hex(i)), zeroblob(i%300) FROM n;
CREATE INDEX ta ON t(a);
CREATE INDEX tb ON t(b, a);
SELECT count(*), sum(a), sum(length(b)), sum(length(c)) FROM t;
SELECT sum(x.id), count(*) FROM t x JOIN t y ON x.a = y.id WHERE y.b > '8';
SELECT b FROM t ORDER BY b DESC LIMIT 3 OFFSET {third};
SELECT b, count(*) FROM (SELECT substr(b,1,2) AS b FROM t) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 4;
BEGIN; UPDATE t SET b = b || 'x', c = zeroblob(400) WHERE a % 3 = 0; SELECT sum(length(b)) FROM t; ROLLBACK;
SELECT sum(length(b)), sum(length(c)) FROM t;
BEGIN; DELETE FROM t WHERE a % 5 = 1; INSERT INTO t(a, b) SELECT a, b FROM t WHERE id % 11 = 3; COMMIT;
SAVEPOINT s; DELETE FROM t WHERE id < {third}; ROLLBACK TO s; RELEASE s;
CREATE TEMP TABLE w AS SELECT a, b FROM t WHERE id % 2; CREATE INDEX wa ON w(a);
SELECT sum(w.a) FROM w JOIN t ON t.a = w.a;
ATTACH ':memory:' AS m; CREATE TABLE m.k AS SELECT id, a FROM t; SELECT sum(a), count(*) FROM m.k;
DROP INDEX tb; VACUUM; PRAGMA shrink_memory;
SELECT count(*), sum(a), sum(length(b)), sum(length(c)) FROM t;
PRAGMA integrity_check; PRAGMA page_count;
"""

THREADS = """
import glob, hashlib, random, sqlite3, sys, threading
path, lists = sys.argv[1], sorted(glob.glob('/var/lib/dpkg/info/*.list'))[:400]
db = sqlite3.connect(path)
db.execute('CREATE TABLE file(id INTEGER PRIMARY KEY, package TEXT, path TEXT)')
for name in lists:
    with open(name, encoding='utf-8', errors='replace') as f:
        db.executemany('INSERT INTO file(package, path) VALUES(?, ?)', [(name.split('/')[-1][:-5], x.strip()) for x in f])
db.commit()
db.execute('CREATE INDEX by_path ON file(path)')
db.execute('CREATE INDEX by_package ON file(package, path)')
db.commit()
rows = db.execute('SELECT max(id) FROM file').fetchone()[0]
answers = [None] * 3

def work(me):
    own, h, r = sqlite3.connect(path), hashlib.sha256(), random.Random(me)
    for i in range(1500):
        at = int(rows * r.random() ** 4) + 1
        for row in own.execute('SELECT * FROM file WHERE id = ?', (at,)):
            h.update(repr(row).encode())
            h.update(repr(own.execute('SELECT count(*) FROM file WHERE path = ?', (row[2],)).fetchone()).encode())
        if i % 100 == 0:
            h.update(repr(own.execute('SELECT package, count(*), max(path) FROM file WHERE path BETWEEN ? AND ? GROUP BY 1',
                                      (row[2], row[2] + 'z')).fetchall()).encode())
    h.update(repr(own.execute('SELECT sum(length(path)), count(DISTINCT package) FROM file').fetchone()).encode())
    answers[me] = h.hexdigest()
    own.close()

threads = [threading.Thread(target=work, args=(i,)) for i in range(len(answers))]
for t in threads: t.start()
for t in threads: t.join()
print(rows > 1000, answers, db.execute('PRAGMA integrity_check').fetchall())
"""


def report(good, name, why=""):
    global number, failed
    number += 1
    failed += not good
    print(f"{'' if good else 'not '}ok {number} - {name}")
    if not good:
        print("# " + why.replace("\n", "\n# "))
    sys.stdout.flush()


def run(argv, script=None, **hurd):
    env = {key: value for key, value in os.environ.items() if not key.startswith("HURD_MM_")}
    if hurd:
        env.update({"LD_PRELOAD": MODULE, "HURD_MM_STATS": "1"})
        env.update({"HURD_MM_" + key.upper(): value for key, value in hurd.items()})
    return subprocess.run(argv, input=script, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=PATIENCE, check=False)


def in_new_directory(make, **hurd):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        argv, script = make(os.path.join(directory, "file.db"))
        return run(argv, script, **hurd)


def same(name, make, plain, **hurd):
    """The answers are those without the module, and pages did go through it."""
    try:
        done = in_new_directory(make, **hurd)
    except subprocess.TimeoutExpired:
        report(False, name, f"not ready after {PATIENCE:.0f} s")
        return
    report(done.returncode == 0 and done.stdout == plain.stdout and "misses" in done.stderr, name,
           f"status {done.returncode}\n{done.stdout[-800:]}\n{done.stderr[-800:]}")


def shell(rows, page):
    script = SCRIPT.format(rows=rows, page=page, third=rows // 3)
    return lambda path: (["sqlite3", "-batch", "-bail", path], script)


def python(path):
    return [sys.executable, "-c", THREADS, path], None


def main():
    if not shutil.which("sqlite3"):
        print("1..0 # SKIP the sqlite3 program")
        return 0
    make = shell(8000, 4096)
    plain = in_new_directory(make)
    report(plain.returncode == 0 and plain.stdout.count("ok\n") == 1, "shell as it is", plain.stderr)
    for policy in POLICIES:
        same(f"shell, 2M, {policy}", make, plain, memory="2M", policy=policy)
    same("shell, 64M, lru", make, plain, memory="64M", policy="lru")
    for page in 512, 65536:
        make = shell(4000, page)
        plain = in_new_directory(make)
        same(f"shell, pages of {page} bytes, 4M", make, plain, memory="4M")
    if glob.glob("/var/lib/dpkg/info/*.list"):
        plain = in_new_directory(python)
        report(plain.returncode == 0 and plain.stdout.startswith("True"), "Python as it is", plain.stderr)
        for memory, policy in ("2M", "s3fifo"), ("3M", "db"), ("32M", "lru"):
            same(f"Python, three connections, {memory}, {policy}", python, plain, memory=memory, policy=policy)
    else:
        print(f"ok {number + 1} - Python # SKIP file lists of installed packages")
        globals()["number"] += 1
    done = in_new_directory(shell(100, 4096), memory="16X")
    report(done.returncode == 0 and "misses" not in done.stderr and done.stderr, "bad memory is refused, and it runs",
           done.stderr)
    print(f"1..{number}")
    return 1 if failed else 0


sys.exit(main())
