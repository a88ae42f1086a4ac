#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Python programs that fork with SQLite in use, as they are and with the page cache preloaded: the same output.

Usage: forked.py MODULE

Each state of the parent's connections is forked with os.fork(); the child does what stock SQLite survives there, prints what
it finds, and a child that ends by a signal or an exception says so.  Prints TAP.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from patience import patience  # pylint: disable=wrong-import-position

MODULE = sys.argv[1]
PATIENCE = patience(100)

PROGRAM = """
import multiprocessing, os, sqlite3, subprocess, sys
path, page = sys.argv[1], int(sys.argv[2])
ROWS = 2500
SUM = 'SELECT count(*), sum(length(b)) FROM t'

def connect(name):
    db = sqlite3.connect(name, isolation_level=None)
    db.execute(f'PRAGMA page_size={page}')
    return db

def fill(db):
    db.execute('CREATE TABLE t(a INTEGER PRIMARY KEY, b)')
    db.execute('BEGIN')
    db.executemany('INSERT INTO t VALUES(?, ?)', ((i, bytes([i % 251]) * 700) for i in range(ROWS)))
    db.execute('COMMIT')

def in_child(name, work):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            print('  ', name, work(), flush=True)
            os._exit(0)
        except BaseException as error:
            print('  ', name, repr(error), flush=True)
            os._exit(3)
    print(name, os.waitpid(pid, 0)[1], flush=True)

def one(db, sql=SUM):
    return db.execute(sql).fetchone()

file, memory = connect(path), connect(':memory:')
fill(file)
fill(memory)

def fresh():
    db = connect(path)
    answer = one(db), one(db, 'PRAGMA integrity_check')
    db.close()
    return answer

def write_memory():
    memory.execute('INSERT INTO t SELECT a + 10000, zeroblob(5000) FROM t WHERE a < 1000')
    memory.execute('CREATE INDEX tb ON t(b)')
    memory.execute('DELETE FROM t WHERE a % 3 = 0')
    memory.execute('VACUUM')
    return one(memory), one(memory, 'PRAGMA integrity_check')

def temporary():
    file.execute('CREATE TEMP TABLE x AS SELECT a, b || b AS c FROM t')
    return one(file, 'SELECT count(*), sum(length(c)) FROM x')

def points():
    return sum(len(file.execute('SELECT b FROM t WHERE a = ?', (i * 7 % ROWS,)).fetchone()[0]) for i in range(ROWS))

def close_all():
    file.close()
    memory.close()
    return fresh()

def nested():
    in_child('grandchild reads', lambda: one(file))
    in_child('grandchild writes in memory', write_memory)
    return write_memory()

works = [fresh, lambda: one(file), points, temporary, lambda: one(memory), write_memory, close_all, nested]
names = ['fresh', 'read', 'points', 'temporary', 'memory', 'write_memory', 'close_all', 'nested']
for name, work in zip(names, works):
    in_child(name + ', idle', work)

cursor = file.execute('SELECT a, b FROM t ORDER BY a')
print(cursor.fetchone()[0])
in_child('the rest of an open read', lambda: sum(len(row[1]) for row in cursor))
in_child('points beside an open read', points)
in_child('close with an open read', lambda: (cursor.close(), file.close()))
in_child('memory beside an open read', write_memory)
in_child('grandchildren beside an open read', nested)
print(sum(len(row[1]) for row in cursor))

file.execute('BEGIN')
file.execute('UPDATE t SET b = zeroblob(900) WHERE a < 500')
memory.execute('BEGIN')
memory.execute('DELETE FROM t WHERE a > 100')
in_child('read in a transaction', lambda: one(file))
in_child('roll back in memory', lambda: (memory.execute('ROLLBACK') and None, one(memory)))
in_child('commit in memory', lambda: (memory.execute('COMMIT') and None, write_memory()))
file.execute('COMMIT')
memory.execute('ROLLBACK')

def pooled(i):
    return one(memory), one(connect(path)), i

with multiprocessing.get_context('fork').Pool(2) as pool:
    print(pool.map(pooled, range(6)))
print(subprocess.run(['sh', '-c', 'echo started'], stdout=subprocess.PIPE, check=True).stdout)
pid = os.posix_spawn('/bin/sh', ['sh', '-c', 'exit 5'], os.environ)
print(os.waitpid(pid, 0)[1])
if hasattr(os, 'register_at_fork'):
    answers = []
    os.register_at_fork(before=lambda: answers.append(one(file)), after_in_parent=lambda: answers.append(one(memory)),
                        after_in_child=lambda: print('  handler', one(file), one(memory), flush=True))
    in_child('with handlers', lambda: one(file))
    print(answers)
print(one(file), one(memory), one(file, 'PRAGMA integrity_check'), one(memory, 'PRAGMA integrity_check'))
"""


def run(page, **hurd):
    env = {key: value for key, value in os.environ.items() if not key.startswith("HURD_MM_")}
    if hurd:
        env["LD_PRELOAD"] = MODULE
        env.update({"HURD_MM_" + key.upper(): value for key, value in hurd.items()})
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        return subprocess.run([sys.executable, "-c", PROGRAM, os.path.join(directory, "file.db"), str(page)], env=env,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)


def main():
    number = failed = 0
    for page, settings in (1024, {"memory": "1M"}), (4096, {"memory": "32M", "policy": "lru"}), (65536, {"memory": "2M"}):
        plain, done = run(page), run(page, **settings)
        right = plain.returncode == 0 and "started" in plain.stdout and done.returncode == 0 and done.stdout == plain.stdout
        number += 1
        failed += not right
        print(f"{'' if right else 'not '}ok {number} - forks, pages of {page} bytes, {settings['memory']}", flush=True)
        if not right:
            print("# " + f"status {done.returncode}\n{plain.stdout}\n---\n{done.stdout}".replace("\n", "\n# "))
    print(f"1..{number}")
    return 1 if failed else 0


sys.exit(main())
