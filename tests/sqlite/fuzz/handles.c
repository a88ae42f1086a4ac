/* SPDX-License-Identifier: MIT */
/*
 * handles.c - connections, statements half way, backups: what holds pages while other things are done
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static void tell(struct process *p, struct connection *c, const char *what)
{
	if (p->options->verbose)
		fprintf(stderr, "%s %4u %d.%d: -- %s\n", p->options->ours ? "ours " : "stock", p->side->next, p->number,
		        (int)(c - p->connections), what);
}

void cursor_open(struct process *p, struct connection *c)
{
	static const char *const queries[] = {
		"SELECT a, s, x FROM %s.t%u WHERE a > %u", "SELECT a, k, length(x) FROM %s.t%u WHERE k > %u %% 97",
		"SELECT a, x FROM %s.t%u WHERE a > %u ORDER BY x", "SELECT DISTINCT k, length(x) FROM %s.t%u WHERE s > %u",
		"SELECT a, s, x FROM %s.t%u WHERE a < %u ORDER BY a DESC",
	};
	unsigned i = dice(p, CURSORS);
	const char *schema;
	char sql[200];
	int file;

	if (!pick_allowed(p, c, READS))
		return;
	schema = pick_schema(p, c, &file);
	sqlite3_finalize(c->cursors[i]);
	c->cursors[i] = NULL;
	snprintf(sql, sizeof(sql), queries[dice(p, 5)], schema, dice(p, 4), dice(p, 1500));
	tell(p, c, sql);
	sql_note(p, c, sqlite3_prepare_v2(c->db, sql, -1, &c->cursors[i], NULL));
}

void cursor_step(struct process *p, struct connection *c)
{
	unsigned i = dice(p, CURSORS), n = 1 + dice(p, 60);
	int r;

	if (!c->cursors[i] || !pick_allowed(p, c, READS))
		return;
	tell(p, c, "step");
	r = sql_step(p, c->cursors[i], n);
	if (r != SQLITE_ROW) {
		sqlite3_finalize(c->cursors[i]);
		c->cursors[i] = NULL;
	}
	sql_note(p, c, r == SQLITE_DONE || r == SQLITE_ROW ? SQLITE_OK : r);
}

void cursor_close(struct process *p, struct connection *c)
{
	tell(p, c, "cursors end");
	for (unsigned i = 0; i < CURSORS; i++) {
		sqlite3_finalize(c->cursors[i]);
		c->cursors[i] = NULL;
	}
	sql_note(p, c, SQLITE_OK);
}

/* Into this connection's main, from another one of the process. */
void backup_begin(struct process *p, struct connection *c)
{
	unsigned from = dice(p, CONNECTIONS);
	struct connection *source = &p->connections[from];

	if (source == c || !source->db || source->backup || c->own == source->own ||
	    (c->own >= 0 && source->files[c->own]) || !pick_allowed(p, c, ALONE) || !pick_allowed(p, source, READS))
		return;
	tell(p, c, "backup begins");
	cursor_close(p, c);
	c->backup = sqlite3_backup_init(c->db, "main", source->db, "main");
	c->source = (int)from;
	sql_note(p, c, c->backup ? SQLITE_OK : sqlite3_errcode(c->db));
	if (c->own >= 0)
		p->side->wal[c->own] = false;
}

void backup_step(struct process *p, struct connection *c)
{
	int r, left[2], n = dice(p, 3) ? 1 + (int)dice(p, 40) : -1;

	if (!pick_allowed(p, c, ALONE) || !pick_allowed(p, &p->connections[c->source], READS))
		return;
	tell(p, c, "backup step");
	r = sqlite3_backup_step(c->backup, n);
	left[0] = sqlite3_backup_remaining(c->backup);
	left[1] = sqlite3_backup_pagecount(c->backup);
	sql_fold(p, left, sizeof(left));
	if (r != SQLITE_OK)
		backup_end(p, c);
	sql_fold(p, &r, sizeof(r));
}

void backup_end(struct process *p, struct connection *c)
{
	int r;

	if (!c->backup)
		return;
	tell(p, c, "backup ends");
	r = sqlite3_backup_finish(c->backup);
	c->backup = NULL;
	sql_note(p, c, r);
}

void blob_read(struct process *p, struct connection *c)
{
	unsigned char data[300];
	char table[8];
	sqlite3_blob *blob = NULL;
	const char *schema;
	int file, r, n;

	if (!pick_allowed(p, c, READS))
		return;
	schema = pick_schema(p, c, &file);
	sqlite3_snprintf(sizeof(table), table, "t%u", dice(p, 4));
	tell(p, c, "blob");
	r = sqlite3_blob_open(c->db, schema, table, "x", dice(p, 500), 0, &blob);
	for (unsigned i = 0; !r && i < 5; i++) {
		n = sqlite3_blob_bytes(blob);
		if (n > (int)sizeof(data)) {
			r = sqlite3_blob_read(blob, data, sizeof(data), (int)dice(p, (uint32_t)n - sizeof(data)));
			sql_fold(p, data, sizeof(data));
		}
		if (!r)
			r = sqlite3_blob_reopen(blob, dice(p, 500));
	}
	sql_note(p, c, r);
	sqlite3_blob_close(blob);
}

void connection_open(struct process *p, struct connection *c)
{
	static const char *const vacuums[] = { "NONE", "NONE", "FULL", "INCREMENTAL" };
	int own = dice(p, 12) ? (int)dice(p, FILES) : -1, r;
	char name[16];

	if (own >= 0 && !pick_file_allowed(p, c, (unsigned)own, READS))
		return;
	if (own >= 0)
		snprintf(name, sizeof(name), "%d.db", own);
	else
		strcpy(name, ":memory:"); /* into a temporary file that is not made yet SQLite 3.40 can't back up: it crashes */
	*c = (struct connection){ .own = own };
	tell(p, c, name);
	r = sql_open(p, c, name);
	if (r) {
		sql_note(p, c, r);
		sqlite3_close(c->db);
		c->db = NULL;
		return;
	}
	if (own >= 0)
		c->files[own] = true;
	sql_run(p, c, "PRAGMA page_size=%u; PRAGMA auto_vacuum=%s; PRAGMA cache_size=%d; PRAGMA temp_store=%u; "
	        "PRAGMA cache_spill=%u", 512u << dice(p, 8), vacuums[dice(p, 4)], dice(p, 2) ? 10 : -500, dice(p, 3),
	        dice(p, 8) ? 1 : 0);
	for (unsigned i = 0; i < 4 && (own < 0 || pick_file_allowed(p, c, (unsigned)own, WRITES)); i++)
		sql_run(p, c, "CREATE TABLE IF NOT EXISTS main.t%u(a INTEGER PRIMARY KEY, s, k, x)", i);
}

void connection_close(struct process *p, struct connection *c)
{
	if (!c->db)
		return;
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *d = &p->connections[i];

		if (d->backup && (d == c || d->source == (int)(c - p->connections)))
			backup_end(p, d);
	}
	cursor_close(p, c);
	tell(p, c, "close");
	if (sqlite3_close(c->db) != SQLITE_OK)
		wrong(p, "a connection could not be closed");
	*c = (struct connection){ .db = NULL };
}
