/* SPDX-License-Identifier: MIT */
/*
 * sql.c - statements, and what came of them
 *
 * Rows say themselves whether they are right: x is made of s by the function fz(s, length), and k is s % 97.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

static uint64_t fold(uint64_t h, const void *data, size_t n)
{
	const unsigned char *b = data;
	uint64_t word;

	for (; n >= 8; n -= 8, b += 8) {
		memcpy(&word, b, 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	while (n--)
		h = (h ^ *b++) * 0x100000001b3u;
	return h ^ h >> 32;
}

void sql_fold(struct process *p, const void *data, size_t n)
{
	p->record.hash = fold(p->record.hash, data, n);
}

/* fz(s, n): n bytes made of s. */
static void fz(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct process *p = sqlite3_user_data(context);
	uint64_t state = (uint64_t)sqlite3_value_int64(argv[0]) * 2654435761u;
	int n = sqlite3_value_int(argv[1]);
	unsigned char *b;

	(void)argc;
	if (p && p->die && --p->die == 0)
		_exit(DIED);
	if (p && p->options->ours)
		memory_disturb();
	n = n < 0 ? 0 : n > 100000 ? 100000 : n;
	b = sqlite3_malloc(n + 8);
	if (!b) {
		sqlite3_result_error_nomem(context);
		return;
	}
	for (int i = 0; i < n; i += 8) {
		uint64_t word = mix(&state);

		memcpy(b + i, &word, 8);
	}
	sqlite3_result_blob(context, b, n, sqlite3_free);
}

int sql_open(struct process *p, struct connection *c, const char *name)
{
	int r = sqlite3_open_v2(name, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_create_function(c->db, "fz", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, p, fz, NULL, NULL);
	if (r == SQLITE_OK)
		r = sqlite3_exec(c->db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
	return r;
}

static uint64_t fold_row(uint64_t h, sqlite3_stmt *statement)
{
	for (int i = 0; i < sqlite3_column_count(statement); i++) {
		int type = sqlite3_column_type(statement, i);

		h = fold(h, &type, sizeof(type));
		if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) {
			sqlite3_int64 v = sqlite3_column_int64(statement, i);

			h = fold(h, &v, sizeof(v));
		} else if (type != SQLITE_NULL) {
			const void *b = sqlite3_column_blob(statement, i);

			h = fold(h, b, (size_t)sqlite3_column_bytes(statement, i));
		}
	}
	return h;
}

int sql_step(struct process *p, sqlite3_stmt *statement, unsigned rows)
{
	int r = SQLITE_ROW;

	while (rows-- && (r = sqlite3_step(statement)) == SQLITE_ROW)
		p->record.hash = fold_row(p->record.hash, statement);
	return r;
}

void sql_note(struct process *p, struct connection *c, int result)
{
	const char *message = sqlite3_errmsg(c->db);

	if (p->options->verbose)
		fprintf(stderr, "\t%d.%d: %d %s\n", p->number, (int)(c - p->connections), result, message);
	if ((result & 0xff) == SQLITE_CORRUPT || (result & 0xff) == SQLITE_NOTADB)
		wrong(p, "a damaged file");
	if ((result & 0xff) == SQLITE_NOMEM)
		p->side->failures++;
	p->record.result = result;
	if (result)
		sql_fold(p, message, strlen(message));
}

static int run_one(struct process *p, struct connection *c, const char **sql)
{
	sqlite3_stmt *statement;
	int changes, r = sqlite3_prepare_v2(c->db, *sql, -1, &statement, sql);

	if (r || !statement)
		return r;
	r = sql_step(p, statement, UINT32_MAX);
	changes = sqlite3_changes(c->db);
	sql_fold(p, &changes, sizeof(changes));
	sqlite3_finalize(statement);
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

void sql_run(struct process *p, struct connection *c, const char *format, ...)
{
	const char *sql;
	va_list arguments;
	char *text;
	int r = SQLITE_OK;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		abort();
	va_end(arguments);
	if (p->options->verbose)
		fprintf(stderr, "%s %4u %d.%d: %s\n", p->options->ours ? "ours " : "stock", p->side->next, p->number,
		        (int)(c - p->connections), text);
	for (sql = text; *sql && r == SQLITE_OK;)
		r = run_one(p, c, &sql);
	free(text);
	sql_note(p, c, r);
}

int64_t sql_bad_rows(sqlite3 *db, const char *schema, const char *table)
{
	sqlite3_stmt *statement;
	int64_t n = -1;
	char *sql = sqlite3_mprintf("SELECT count(*) FROM \"%w\".\"%w\" NOT INDEXED WHERE x IS NOT fz(s, length(x)) OR k IS NOT s %% 97",
	                            schema, table);

	if (sql && sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK) {
		if (sqlite3_step(statement) == SQLITE_ROW)
			n = sqlite3_column_int64(statement, 0);
		sqlite3_finalize(statement);
	}
	sqlite3_free(sql);
	return n;
}

/* All that a file says; *ret_why: if it is not well-formed.  Stock SQLite. */
static uint64_t print_of(const char *file, char *ret_why, size_t n)
{
	struct process p = { .record = { .hash = 1 } };
	struct connection c = { .db = NULL };
	sqlite3_stmt *tables, *rows;
	char *sql;

	if (sql_open(NULL, &c, file) || sqlite3_prepare_v2(c.db, "PRAGMA integrity_check", -1, &rows, NULL)) {
		snprintf(ret_why, n, "%s: %s", file, sqlite3_errmsg(c.db));
		goto out;
	}
	if (sqlite3_step(rows) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(rows, 0), "ok"))
		snprintf(ret_why, n, "%s: integrity_check: %s", file, sqlite3_column_count(rows) ?
		         (const char *)sqlite3_column_text(rows, 0) : sqlite3_errmsg(c.db));
	sqlite3_finalize(rows);
	if (sqlite3_prepare_v2(c.db, "SELECT name, type, sql FROM sqlite_master ORDER BY type, name", -1, &tables, NULL))
		goto out;
	while (sqlite3_step(tables) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(tables, 0);

		p.record.hash = fold_row(p.record.hash, tables);
		if (strcmp((const char *)sqlite3_column_text(tables, 1), "table") != 0)
			continue;
		sql = sqlite3_mprintf("SELECT * FROM \"%w\"", name);
		if (sqlite3_prepare_v2(c.db, sql, -1, &rows, NULL) == SQLITE_OK)
			(void)sql_step(&p, rows, UINT32_MAX);
		sqlite3_finalize(rows);
		sqlite3_free(sql);
		if (name[0] == 't' && sql_bad_rows(c.db, "main", name))
			snprintf(ret_why, n, "%s: wrong rows in %s", file, name);
	}
	sqlite3_finalize(tables);
out:
	sqlite3_close(c.db);
	return p.record.hash;
}

bool sql_same(const char *file, const char *other, char *ret_why, size_t n)
{
	uint64_t print, another;

	ret_why[0] = '\0';
	if (access(file, F_OK) && (!other || access(other, F_OK)))
		return true;
	print = print_of(file, ret_why, n);
	if (!ret_why[0] && other) {
		another = print_of(other, ret_why, n);
		if (!ret_why[0] && print != another)
			snprintf(ret_why, n, "%s and %s have other contents", file, other);
	}
	return !ret_why[0];
}
