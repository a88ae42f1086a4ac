/* SPDX-License-Identifier: MIT */
/*
 * operations.c - what is done, drawn by weight
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define TABLES 4u
#define KEYS 2000u

/* Where, and in which table. */
struct target {
	const char *schema;
	unsigned table;
	int file;
};

static struct target target(struct process *p, struct connection *c)
{
	struct target t;

	t.schema = pick_schema(p, c, &t.file);
	t.table = dice(p, TABLES);
	return t;
}

/* How long x is: mostly some hundred bytes, sometimes more than a page of any size. */
static unsigned length(struct process *p)
{
	unsigned kind = dice(p, 12);

	return kind < 8 ? dice(p, 300) : kind < 11 ? dice(p, 3000) : dice(p, 30000);
}

static unsigned count(struct process *p, unsigned bytes)
{
	unsigned most = bytes < 300 ? 800 : bytes < 3000 ? 150 : 20;

	return 1 + dice(p, most);
}

static void insert(struct process *p, struct connection *c)
{
	static const char *const conflicts[] = { "REPLACE", "REPLACE", "REPLACE", "IGNORE", "ABORT", "FAIL", "ROLLBACK" };
	struct target t = target(p, c);
	unsigned bytes = length(p), n = count(p, bytes), first = dice(p, KEYS);

	sql_run(p, c, "INSERT OR %s INTO %s.t%u(a, s, k, x) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n "
	        "WHERE i < %u) SELECT (%u + i * %u) %% %u, i + %u, (i + %u) %% 97, fz(i + %u, %u + i %% 50) FROM n",
	        conflicts[dice(p, 7)], t.schema, t.table, n - 1, first, dice(p, 2) ? 1 : 7, KEYS, first, first, first, bytes);
}

static void update(struct process *p, struct connection *c)
{
	struct target t = target(p, c);
	unsigned from = dice(p, KEYS), n = dice(p, 200), bytes = length(p);

	if (bytes > 3000)
		n %= 8;
	switch (dice(p, 3)) {
	case 0:
		sql_run(p, c, "UPDATE %s.t%u SET s=s+1, k=(s+1)%%97, x=fz(s+1, %u) WHERE a BETWEEN %u AND %u", t.schema, t.table,
		        bytes, from, from + n);
		break;
	case 1:
		sql_run(p, c, "UPDATE OR REPLACE %s.t%u SET a=a+%u WHERE a BETWEEN %u AND %u", t.schema, t.table, 1 + dice(p, 50),
		        from, from + n);
		break;
	default:
		sql_run(p, c, "UPDATE %s.t%u SET s=s+97, x=fz(s+97, length(x)) WHERE k=%u", t.schema, t.table, dice(p, 97));
		break;
	}
}

static void erase(struct process *p, struct connection *c)
{
	struct target t = target(p, c);
	unsigned from = dice(p, KEYS);

	if (dice(p, 12) == 0)
		sql_run(p, c, "DELETE FROM %s.t%u", t.schema, t.table);
	else if (dice(p, 3) == 0)
		sql_run(p, c, "DELETE FROM %s.t%u WHERE k BETWEEN %u AND %u", t.schema, t.table, from % 97, from % 97 + 9);
	else
		sql_run(p, c, "DELETE FROM %s.t%u WHERE a BETWEEN %u AND %u", t.schema, t.table, from, from + dice(p, 400));
}

static void copy_rows(struct process *p, struct connection *c)
{
	struct target t = target(p, c), u = target(p, c);
	unsigned from = dice(p, KEYS);

	sql_run(p, c, "INSERT OR REPLACE INTO %s.t%u(a, s, k, x) SELECT a, s, k, x FROM %s.t%u WHERE a BETWEEN %u AND %u",
	        t.schema, t.table, u.schema, u.table, from, from + dice(p, 600));
}

static void create(struct process *p, struct connection *c)
{
	static const char *const kinds[] = {
		"a INTEGER PRIMARY KEY, s, k, x)", "a INTEGER PRIMARY KEY AUTOINCREMENT, s, k, x)",
		"s, k, x, a INT, PRIMARY KEY(k, a)) WITHOUT ROWID", "x, a INT PRIMARY KEY, s, k UNIQUE)",
	};
	struct target t = target(p, c);
	unsigned kind = dice(p, 9);

	sql_run(p, c, "CREATE TABLE IF NOT EXISTS %s.t%u(%s", t.schema, t.table, kinds[kind < 6 ? 0 : kind - 5]);
}

static void create_index(struct process *p, struct connection *c)
{
	static const char *const columns[] = { "k", "x", "k, x", "length(x)", "s DESC", "x, a" };
	struct target t = target(p, c);

	sql_run(p, c, "CREATE INDEX IF NOT EXISTS %s.i%u ON t%u(%s)", t.schema, dice(p, 6), t.table, columns[dice(p, 6)]);
}

static void drop(struct process *p, struct connection *c)
{
	struct target t = target(p, c);

	switch (dice(p, 4)) {
	case 0:
		sql_run(p, c, "DROP TABLE IF EXISTS %s.t%u", t.schema, t.table);
		break;
	case 1:
		sql_run(p, c, "ALTER TABLE %s.t%u ADD COLUMN y%u DEFAULT 5", t.schema, t.table, dice(p, 3));
		break;
	case 2:
		sql_run(p, c, "REINDEX %s.t%u", t.schema, t.table);
		break;
	default:
		sql_run(p, c, "DROP INDEX IF EXISTS %s.i%u", t.schema, dice(p, 6));
		break;
	}
}

static void look(struct process *p, struct connection *c)
{
	struct target t = target(p, c), u = target(p, c);
	unsigned n = dice(p, KEYS);

	switch (dice(p, 9)) {
	case 0:
		sql_run(p, c, "SELECT * FROM %s.t%u", t.schema, t.table);
		break;
	case 1:
		sql_run(p, c, "SELECT a, x FROM %s.t%u ORDER BY x", t.schema, t.table);
		break;
	case 2:
		sql_run(p, c, "SELECT k, count(*), sum(length(x)), min(x) FROM %s.t%u GROUP BY k", t.schema, t.table);
		break;
	case 3:
		sql_run(p, c, "SELECT p.a, q.s, p.x FROM %s.t%u p JOIN %s.t%u q ON q.a = p.a + %u", t.schema, t.table, u.schema,
		        u.table, dice(p, 9));
		break;
	case 4:
		sql_run(p, c, "SELECT DISTINCT substr(x, 1, 3), length(x) FROM %s.t%u", t.schema, t.table);
		break;
	case 5:
		sql_run(p, c, "SELECT a, s FROM %s.t%u WHERE x IN (SELECT x FROM %s.t%u WHERE a > %u)", t.schema, t.table,
		        u.schema, u.table, n);
		break;
	case 6:
		sql_run(p, c, "SELECT a, row_number() OVER (PARTITION BY k ORDER BY x, a) FROM %s.t%u", t.schema, t.table);
		break;
	case 7:
		sql_run(p, c, "SELECT a, x FROM %s.t%u UNION SELECT a, x FROM %s.t%u EXCEPT SELECT a, x FROM %s.t%u WHERE a < %u",
		        t.schema, t.table, u.schema, u.table, t.schema, dice(p, TABLES), n);
		break;
	default:
		sql_run(p, c, "SELECT * FROM %s.t%u WHERE a BETWEEN %u AND %u ORDER BY a DESC", t.schema, t.table, n, n + 200);
		break;
	}
}

static void check_rows(struct process *p, struct connection *c)
{
	struct target t = target(p, c);
	char table[8];

	sqlite3_snprintf(sizeof(table), table, "t%u", t.table);
	if (sql_bad_rows(c->db, t.schema, table) > 0)
		wrong(p, "rows that nobody wrote");
	if (dice(p, 4) == 0)
		sql_run(p, c, "PRAGMA %s.%s", t.schema, dice(p, 2) ? "integrity_check" : "quick_check");
}

static void transaction(struct process *p, struct connection *c)
{
	static const char *const begins[] = { "BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "SAVEPOINT p0", "SAVEPOINT p1" };
	static const char *const ends[] = { "COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "RELEASE p0", "RELEASE p1", "ROLLBACK TO p0",
		                            "ROLLBACK TO p1" };

	if (sqlite3_get_autocommit(c->db)) {
		if (pick_allowed(p, c, ALONE))
			sql_run(p, c, "%s", begins[dice(p, 5)]);
	} else if (dice(p, 5) == 0) {
		sql_run(p, c, "SAVEPOINT p%u", dice(p, 2));
	} else {
		sql_run(p, c, "%s", ends[dice(p, 8)]);
	}
}

static void journal_mode(struct process *p, struct connection *c)
{
	static const char *const modes[] = { "delete", "truncate", "persist", "memory", "wal", "wal", "wal" };
	struct target t = target(p, c);
	unsigned mode = dice(p, 7);
	sqlite3_stmt *statement;
	char sql[60];

	if (t.file < 0)
		return;
	if (mode == 3)
		p->side->killable[p->number] = false;
	snprintf(sql, sizeof(sql), "PRAGMA %s.journal_mode=%s", t.schema, modes[mode]);
	p->side->wal[t.file] = false;
	sql_run(p, c, "%s", sql);
	/* what it is now */
	snprintf(sql, sizeof(sql), "PRAGMA %s.journal_mode", t.schema);
	if (sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
		p->side->wal[t.file] = strcmp((const char *)sqlite3_column_text(statement, 0), "wal") == 0;
	sqlite3_finalize(statement);
}

static void checkpoint(struct process *p, struct connection *c)
{
	static const int modes[] = { SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_FULL, SQLITE_CHECKPOINT_RESTART,
		                     SQLITE_CHECKPOINT_TRUNCATE };

	/* its result depends on how much is in the log already */
	(void)sqlite3_wal_checkpoint_v2(c->db, NULL, modes[dice(p, 4)], NULL, NULL);
}

static void vacuum(struct process *p, struct connection *c)
{
	struct target t = target(p, c);

	switch (dice(p, 6)) {
	case 0:
		sql_run(p, c, "VACUUM %s", t.schema);
		break;
	case 1:
		sql_run(p, c, "PRAGMA %s.incremental_vacuum(%u)", t.schema, dice(p, 50));
		break;
	case 2:
		if (p->side->ncopies < COPIES_MOST)
			sql_run(p, c, "VACUUM %s INTO 'copy%u.db'", t.schema, p->side->ncopies++);
		break;
	default:
		sql_run(p, c, "PRAGMA %s.page_size=%u; VACUUM %s", t.schema, 512u << dice(p, 8), t.schema);
		break;
	}
}

static void setting(struct process *p, struct connection *c)
{
	struct target t = target(p, c);

	switch (dice(p, 7)) {
	case 0:
		sql_run(p, c, "PRAGMA %s.cache_size=%d", t.schema, dice(p, 2) ? (int)dice(p, 100) : -(int)dice(p, 2000));
		break;
	case 1:
		sql_run(p, c, "PRAGMA cache_spill=%u", dice(p, 3) ? 1 : 0);
		break;
	case 2:
		sql_run(p, c, "PRAGMA temp_store=%u", dice(p, 3));
		break;
	case 3:
		sql_run(p, c, "PRAGMA %s.mmap_size=%u", t.schema, dice(p, 2) * 300000);
		break;
	case 4:
		sql_run(p, c, "PRAGMA %s.secure_delete=%u", t.schema, dice(p, 2));
		break;
	case 5:
		sql_run(p, c, "PRAGMA %s.page_count; PRAGMA %s.freelist_count", t.schema, t.schema);
		break;
	default:
		sql_run(p, c, "PRAGMA shrink_memory");
		break;
	}
}

static void attach(struct process *p, struct connection *c)
{
	unsigned f = dice(p, FILES), kind = dice(p, 8);

	if (kind == 0) {
		sql_run(p, c, dice(p, 2) ? "ATTACH ':memory:' AS m" : "ATTACH '' AS e");
	} else if (kind == 1) {
		sql_run(p, c, "DETACH f%u", f);
		if (p->record.result == SQLITE_OK && c->own != (int)f)
			c->files[f] = false;
	} else if (!c->files[f] && pick_file_allowed(p, c, f, READS)) {
		sql_run(p, c, "ATTACH '%u.db' AS f%u", f, f);
		c->files[f] = c->files[f] || p->record.result == SQLITE_OK;
		if (c->files[f])
			sql_run(p, c, "PRAGMA f%u.page_size=%u; PRAGMA f%u.synchronous=OFF", f, 512u << dice(p, 8), f);
	}
}

static const struct kind {
	void (*run)(struct process *p, struct connection *c);
	enum lock lock;
	unsigned weight;
} kinds[] = {
	{ insert, WRITES, 20 }, { update, WRITES, 9 }, { erase, WRITES, 6 }, { copy_rows, WRITES, 8 },
	{ create, WRITES, 8 }, { create_index, WRITES, 4 }, { drop, WRITES, 2 }, { look, READS, 12 },
	{ check_rows, READS, 8 }, { transaction, NOTHING, 16 }, { journal_mode, ALONE, 2 }, { checkpoint, READS, 2 },
	{ vacuum, ALONE, 4 }, { setting, READS, 5 }, { attach, READS, 6 }, { cursor_open, NOTHING, 6 },
	{ cursor_step, NOTHING, 10 }, { cursor_close, NOTHING, 4 }, { backup_begin, NOTHING, 3 }, { blob_read, NOTHING, 2 },
	{ connection_close, NOTHING, 2 },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int interrupt_it(void *arg)
{
	(void)arg;
	return 1;
}

static unsigned draw_kind(struct process *p)
{
	unsigned total = 0, i, n;

	for (i = 0; i < KINDS; i++)
		total += kinds[i].weight;
	n = dice(p, total);
	for (i = 0; n >= kinds[i].weight; i++)
		n -= kinds[i].weight;
	return i;
}

/* It is in the way of others. */
static bool give_way(struct process *p, struct connection *c)
{
	if (dice(p, 3))
		return false;
	cursor_close(p, c);
	if (!sqlite3_get_autocommit(c->db))
		sql_run(p, c, dice(p, 3) ? "COMMIT" : "ROLLBACK");
	return true;
}

void operation(struct process *p)
{
	int prefer = p->side->prefer;
	unsigned draw = dice(p, CONNECTIONS), i;
	bool preferred = prefer >= 0 && (unsigned)prefer / CONNECTIONS == p->number;
	struct connection *c = &p->connections[preferred ? (unsigned)prefer % CONNECTIONS : draw];

	if (preferred)
		p->side->prefer = -1;
	if (!c->db) {
		connection_open(p, c);
		return;
	}
	if (c->backup) {
		if (dice(p, 12))
			backup_step(p, c);
		else
			backup_end(p, c);
		return;
	}
	if (preferred && give_way(p, c))
		return;
	i = draw_kind(p);
	p->record.operation = i;
	if (dice(p, 50) == 0 && p->side->killable[p->number] && !p->options->faults)
		p->die = 1 + (int)dice(p, 300);
	if (dice(p, 24) == 0)
		sqlite3_progress_handler(c->db, 1 + (int)dice(p, 3000), interrupt_it, NULL);
	if (kinds[i].lock == NOTHING || pick_allowed(p, c, kinds[i].lock))
		kinds[i].run(p, c);
	if (c->db)
		sqlite3_progress_handler(c->db, 0, NULL, NULL);
	p->die = 0;
}
