/* SPDX-License-Identifier: MIT */
/*
 * work.c - a connection, statements, and what they answered
 */
#include "work.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void note(struct work *w, int error)
{
	if (error == SQLITE_OK || error == SQLITE_ROW || error == SQLITE_DONE || w->error)
		return;
	w->error = error;
	if (!w->quiet)
		fprintf(stderr, "SQLite: %s\n", w->db ? sqlite3_errmsg(w->db) : sqlite3_errstr(error));
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void end_lap(struct laps *l)
{
	if (l->meet)
		l->meet(l->arg);
	l->seconds[l->n++] = now(l->clock) - l->begin;
}

static void begin_lap(struct laps *l)
{
	if (l->turn)
		l->turn(l->arg);
	l->begin = now(l->clock);
}

void work_begin_laps(struct work *w, struct laps *laps, unsigned every)
{
	w->laps = laps;
	w->ops = 0;
	laps->every = every ? every : 1;
	laps->n = 0;
	begin_lap(laps);
}

void work_end_laps(struct laps *laps, unsigned n)
{
	while (laps->n < n && laps->n < LAPS_MAX) {
		end_lap(laps);
		begin_lap(laps);
	}
}

static void count_op(struct work *w)
{
	struct laps *l = w->laps;

	w->ops++;
	if (!l || w->ops % l->every || l->n == LAPS_MAX)
		return;
	end_lap(l);
	begin_lap(l);
}

/* FNV-1a, eight bytes at a time. */
static void print_bytes(struct work *w, const void *data, size_t n)
{
	const unsigned char *p = data;
	uint64_t h = w->print, v;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		h = (h ^ v) * UINT64_C(0x100000001b3);
		h ^= h >> 29;
	}
	for (; n; n--, p++)
		h = (h ^ *p) * UINT64_C(0x100000001b3);
	w->print = h ^ h >> 32;
}

static void print_row(struct work *w, sqlite3_stmt *stmt)
{
	for (int i = 0; i < sqlite3_column_count(stmt); i++) {
		int type = sqlite3_column_type(stmt, i);

		print_bytes(w, &type, sizeof(type));
		if (type == SQLITE_INTEGER) {
			int64_t v = sqlite3_column_int64(stmt, i);

			print_bytes(w, &v, sizeof(v));
		} else if (type != SQLITE_NULL) {
			const void *data = sqlite3_column_blob(stmt, i);

			print_bytes(w, data, data ? (size_t)sqlite3_column_bytes(stmt, i) : 0);
		}
	}
	w->rows++;
}

static void run(struct work *w, sqlite3_stmt *stmt)
{
	int r;

	while ((r = sqlite3_step(stmt)) == SQLITE_ROW)
		print_row(w, stmt);
	note(w, r);
}

static int open_file(struct work *w, const char *file, const char *setup, uint64_t seed, bool quiet)
{
	memset(w, 0, sizeof(*w));
	w->random = seed * 2 + 1;
	w->quiet = quiet;
	note(w, sqlite3_open(file, &w->db));
	if (!w->error && setup)
		note(w, sqlite3_exec(w->db, setup, NULL, NULL, NULL));
	return w->error;
}

int work_open(struct work *w, const char *file, const char *setup, uint64_t seed)
{
	return open_file(w, file, setup, seed, false);
}

int work_open_quiet(struct work *w, const char *file, const char *setup, uint64_t seed)
{
	return open_file(w, file, setup, seed, true);
}

void work_close(struct work *w)
{
	sqlite3_close(w->db);
	w->db = NULL;
}

sqlite3_stmt *work_prepare(struct work *w, const char *sql)
{
	sqlite3_stmt *stmt = NULL;

	if (!w->error)
		note(w, sqlite3_prepare_v2(w->db, sql, -1, &stmt, NULL));
	return stmt;
}

int work_sql(struct work *w, const char *format, ...)
{
	va_list arguments;
	char *sql;

	va_start(arguments, format);
	sql = w->error ? NULL : sqlite3_vmprintf(format, arguments);
	va_end(arguments);
	if (!sql)
		note(w, w->error ? w->error : SQLITE_NOMEM);
	for (const char *rest = sql; rest && *rest && !w->error;) {
		sqlite3_stmt *stmt = NULL;

		note(w, sqlite3_prepare_v2(w->db, rest, -1, &stmt, &rest));
		if (stmt)
			run(w, stmt);
		sqlite3_finalize(stmt);
		count_op(w);
	}
	sqlite3_free(sql);
	return w->error;
}

int work_step(struct work *w, sqlite3_stmt *stmt, const int64_t *numbers, int n, const char *text)
{
	if (w->error)
		return w->error;
	for (int i = 0; i < n; i++)
		note(w, sqlite3_bind_int64(stmt, i + 1, numbers[i]));
	if (text)
		note(w, sqlite3_bind_text(stmt, n + 1, text, -1, SQLITE_TRANSIENT));
	if (!w->error)
		run(w, stmt);
	sqlite3_reset(stmt);
	count_op(w);
	return w->error;
}

/* xorshift64* (S. Vigna, 2016) */
uint64_t work_random(struct work *w, uint64_t below)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (w->random * UINT64_C(0x2545f4914f6cdd1d) >> 11) % below;
}

const char *work_words(uint64_t n, char *text, int size)
{
	static const char *const digits[] = { "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
		                              "nine" };
	char decimal[24];
	int at = 0;

	snprintf(decimal, sizeof(decimal), "%llu", (unsigned long long)n);
	text[0] = 0;
	for (const char *d = decimal; *d && at < size - 8; d++)
		at += snprintf(text + at, (size_t)(size - at), at ? " %s" : "%s", digits[*d - '0']);
	return text;
}

bool work_whole(struct work *w)
{
	sqlite3_stmt *stmt = work_prepare(w, "PRAGMA integrity_check");
	bool whole = stmt && sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_text(stmt, 0) &&
	             strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0;

	sqlite3_finalize(stmt);
	print_bytes(w, &whole, sizeof(whole));
	return whole;
}

uint64_t work_misses(struct work *w)
{
	int now = 0, high = 0;

	sqlite3_db_status(w->db, SQLITE_DBSTATUS_CACHE_MISS, &now, &high, 0);
	return (uint64_t)now;
}
