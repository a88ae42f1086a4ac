/* SPDX-License-Identifier: MIT */
/*
 * speed.c - the kinds of statements that SQLite's own speed test is made of, written from its description
 *
 * z1: no index; z2: ordered, by key; z3: random keys, indexed text; t1 to t4 for joins.
 */
#include "work.h"

#include <stdlib.h>

/* Spread over 0..n-1, each once where n is a power of two. */
static uint64_t scatter(uint64_t i, uint64_t n)
{
	return i * UINT64_C(0x9e3779b1) % n;
}

static void insert_rows(struct work *w, const char *table, unsigned n, bool random)
{
	char *sql = sqlite3_mprintf("INSERT INTO %s VALUES(?1,?2,?3)", table);
	sqlite3_stmt *stmt = sql ? work_prepare(w, sql) : NULL;
	char words[200];

	sqlite3_free(sql);
	work_sql(w, "BEGIN");
	for (unsigned i = 1; i <= n && !w->error; i++) {
		uint64_t k = scatter(i, n);
		int64_t v[2] = { random ? (int64_t)k : (int64_t)i, random ? (int64_t)i : (int64_t)k };

		work_step(w, stmt, v, 2, work_words(k, words, sizeof(words)));
	}
	sqlite3_finalize(stmt);
	work_sql(w, "COMMIT");
}

static void fill(struct work *w, unsigned n)
{
	work_sql(w, "CREATE TABLE z1(a INTEGER, b INTEGER, c TEXT);"
	            "CREATE TABLE z2(a INTEGER PRIMARY KEY, b INTEGER, c TEXT);"
	            "CREATE TABLE z3(a INTEGER UNIQUE, b INTEGER, c TEXT);"
	            "CREATE INDEX z3c ON z3(c)");
	insert_rows(w, "z1", n, false);
	insert_rows(w, "z2", n, false);
	insert_rows(w, "z3", n, true);
}

static void ranges(struct work *w, const char *table, const char *column, unsigned n, unsigned times, unsigned width)
{
	for (unsigned i = 0; i < times && !w->error; i++) {
		unsigned from = (unsigned)work_random(w, n);

		work_sql(w, "SELECT count(*), avg(b), sum(length(c)), group_concat(a) FROM %s WHERE %s BETWEEN %u AND %u", table,
		         column, from, from + width);
	}
}

static void selects(struct work *w, unsigned n)
{
	char words[200];

	ranges(w, "z1", "b", n, 10, 50);
	for (unsigned i = 0; i < 5; i++)
		work_sql(w, "SELECT count(*), avg(b) FROM z1 WHERE c LIKE '%%%s%%'",
		         work_words(work_random(w, 100), words, sizeof(words)));
	work_sql(w, "SELECT a, b FROM z1 WHERE c LIKE '%%nine%%' ORDER BY c, a LIMIT 100;"
	            "SELECT a, b, c FROM z1 ORDER BY c DESC, a LIMIT 10;"
	            "SELECT sum(a*rn%%7), count(*) FROM (SELECT a, row_number() OVER (ORDER BY c, b) rn FROM z1)");
	work_sql(w, "CREATE UNIQUE INDEX z1b ON z1(b, a); CREATE INDEX z1c ON z1(c)");
	ranges(w, "z1", "b", n, n / 20 + 1, 20);
	ranges(w, "z2", "a", n, n / 10 + 1, 20);
	ranges(w, "z3", "a", n, n / 20 + 1, 20);
	for (unsigned i = 0; i < n / 10 && !w->error; i++)
		work_sql(w, "SELECT a, b FROM z3 WHERE c='%s' ORDER BY a",
		         work_words(work_random(w, n), words, sizeof(words)));
}

static void changes(struct work *w, unsigned n)
{
	work_sql(w, "BEGIN");
	for (unsigned i = 0; i < n / 50 && !w->error; i++) {
		unsigned from = (unsigned)work_random(w, n);

		work_sql(w, "UPDATE z2 SET b=b+1 WHERE a BETWEEN %u AND %u; UPDATE z3 SET b=b+%u, c=c||'.' WHERE a=%u", from,
		         from + 10, i, from);
	}
	work_sql(w, "COMMIT; UPDATE z2 SET b=b*2+a");
	work_sql(w, "BEGIN; UPDATE z3 SET c='gone'; DELETE FROM z2 WHERE a%%3=0; SELECT count(*), sum(b) FROM z2; ROLLBACK");
	for (unsigned i = 0; i < 20 && !w->error; i++)
		work_sql(w, "DELETE FROM z2 WHERE a BETWEEN %u AND %u", i * n / 20, i * n / 20 + n / 200);
	work_sql(w, "BEGIN");
	for (unsigned i = 0; i < n / 20 && !w->error; i++)
		work_sql(w, "DELETE FROM z3 WHERE a=%u", (unsigned)work_random(w, n));
	work_sql(w, "COMMIT; REPLACE INTO z2 SELECT a, b, c||'+' FROM z1 WHERE a%%4=1");
	work_sql(w, "SELECT count(*), sum(a), sum(b), sum(length(c)) FROM z2;"
	            "SELECT count(*), sum(a), sum(b), sum(length(c)) FROM z3");
}

static void joins(struct work *w, unsigned n)
{
	work_sql(w, "CREATE TABLE t1(a INTEGER PRIMARY KEY, b); CREATE TABLE t2(a INTEGER PRIMARY KEY, b);"
	            "CREATE TABLE t3(a INTEGER PRIMARY KEY, b); CREATE TABLE t4(a INTEGER PRIMARY KEY, b);"
	            "BEGIN; INSERT INTO t1 SELECT a, b FROM z1 WHERE a%%2=0; INSERT INTO t2 SELECT a, b FROM z1 WHERE a%%3=0;"
	            "INSERT INTO t3 SELECT a, b FROM z1 WHERE a%%5=0; INSERT INTO t4 SELECT b+1, a FROM z1; COMMIT");
	work_sql(w, "SELECT count(*), sum(t4.b) FROM t1 JOIN t2 ON t2.a=t1.a JOIN t3 ON t3.a=t2.a JOIN t4 ON t4.a=t3.a");
	work_sql(w, "SELECT z2.a, (SELECT count(*) FROM z1 WHERE z1.b BETWEEN z2.a AND z2.a+5) FROM z2 WHERE a<%u", n / 20);
	work_sql(w, "SELECT count(*) FROM (SELECT DISTINCT c FROM z1 UNION SELECT c FROM z3);"
	            "SELECT length(c), count(*), min(c), max(c), sum(b) FROM z3 GROUP BY length(c) ORDER BY 1;"
	            "SELECT sum(b) FROM z1 WHERE c IN (SELECT c FROM z3 WHERE a%%7=0)");
	work_sql(w, "CREATE TEMP TABLE x AS SELECT substr(c, 5) s, count(*) k FROM z1 GROUP BY 1;"
	            "CREATE INDEX temp.xs ON x(s); SELECT sum(k), count(*) FROM x WHERE s LIKE 'e%%'; DROP TABLE x");
}

void speed_run(struct work *w, unsigned size)
{
	fill(w, size);
	selects(w, size);
	changes(w, size);
	joins(w, size);
	work_sql(w, "VACUUM; ANALYZE; SELECT tbl, idx FROM sqlite_stat1 ORDER BY 1, 2");
	if (!w->error && !work_whole(w))
		w->error = SQLITE_CORRUPT;
}
