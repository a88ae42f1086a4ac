/* SPDX-License-Identifier: MIT */
/*
 * mixed.c - the file lists of the installed packages, as a database that is looked up, scanned and changed
 *
 * Which files are asked for follows Zipf's law with exponent 0.99 (the skew of YCSB: B. Cooper et al., SoCC 2010), and hot
 * ones are spread over the table.  Where dpkg's lists are not there, names of the same form are made up.
 */
#include "work.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTS "/var/lib/dpkg/info"
#define THETA 0.99

static int is_list(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && strcmp(e->d_name + n - 5, ".list") == 0;
}

struct loading {
	struct work *w;
	sqlite3_stmt *file, *package;
	unsigned files, most;
	int64_t packages;
};

static void add_file(struct loading *l, const char *path)
{
	int64_t v[3] = { ++l->files, l->packages, (int64_t)strlen(path) * 37 % 1009 };

	work_step(l->w, l->file, v, 3, path);
}

static void add_package(struct loading *l, const char *name)
{
	int64_t id = ++l->packages;

	work_step(l->w, l->package, &id, 1, name);
}

static void load_list(struct loading *l, const char *name)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", LISTS, name);
	f = fopen(path, "r");
	if (!f)
		return;
	add_package(l, name);
	while (l->files < l->most && !l->w->error && fgets(path, sizeof(path), f)) {
		path[strcspn(path, "\n")] = 0;
		add_file(l, path);
	}
	fclose(f);
}

static void load_made_up(struct loading *l)
{
	char path[200], words[160];

	while (l->files < l->most && !l->w->error) {
		if (l->files % 180 == 0)
			add_package(l, work_words(l->files, words, sizeof(words)));
		snprintf(path, sizeof(path), "/usr/share/%u/%s", l->files % 977, work_words(l->files * UINT64_C(7919), words, 160));
		add_file(l, path);
	}
}

void mixed_load(struct work *w, unsigned most)
{
	struct loading l = { .w = w, .most = most };
	struct dirent **lists;
	int n = scandir(LISTS, &lists, is_list, alphasort);

	work_sql(w, "CREATE TABLE package(id INTEGER PRIMARY KEY, name TEXT);"
	            "CREATE TABLE file(id INTEGER PRIMARY KEY, package INTEGER, size INTEGER, path TEXT);"
	            "CREATE INDEX by_package ON file(package, size); CREATE INDEX by_path ON file(path)");
	l.file = work_prepare(w, "INSERT INTO file VALUES(?1,?2,?3,?4)");
	l.package = work_prepare(w, "INSERT INTO package VALUES(?1,?2)");
	work_sql(w, "BEGIN");
	for (int i = 0; i < n; i++) {
		if (l.files < most && !w->error)
			load_list(&l, lists[i]->d_name);
		free(lists[i]);
	}
	if (n >= 0)
		free(lists);
	if (!l.files)
		load_made_up(&l);
	sqlite3_finalize(l.file);
	sqlite3_finalize(l.package);
	work_sql(w, "COMMIT; ANALYZE");
}

/* What a run needs: the sum of the Zipf weights up to each rank, and the statements. */
enum { BY_ID, BY_PATH, PATH_OF, PACKAGE, RANGE, SCAN, SUMS, UPDATE, RENAME, INSERT, DELETE, STATEMENTS };
static const char *const statements[STATEMENTS] = {
	[BY_ID] = "SELECT package, size, path FROM file WHERE id=?1",
	[BY_PATH] = "SELECT f.id, p.name, f.size FROM file f JOIN package p ON p.id=f.package WHERE f.path=?1 ORDER BY 1",
	[PATH_OF] = "SELECT path FROM file WHERE id=?1",
	[PACKAGE] = "SELECT count(*), sum(f.size), max(f.path) FROM file f WHERE f.package=?1",
	[RANGE] = "SELECT id, size, length(path) FROM file WHERE id BETWEEN ?1 AND ?1+?2",
	[SCAN] = "SELECT count(*), sum(length(path)), sum(size) FROM file WHERE path LIKE '%lib%' OR size=?1",
	[SUMS] = "SELECT package, count(*), sum(size) FROM file GROUP BY package ORDER BY 3 DESC, 1 LIMIT ?1",
	[UPDATE] = "UPDATE file SET size=(size*31+?2)%10007 WHERE id=?1",
	[RENAME] = "UPDATE file SET path=path||'~' WHERE id=?1 AND length(path)<200",
	[INSERT] = "INSERT INTO file SELECT max(id)+1, ?1, ?2, '/new/'||?2||'/'||max(id) FROM file",
	[DELETE] = "DELETE FROM file WHERE id=?1",
};

struct mix {
	struct work *w;
	double *sums;
	unsigned n;
	int64_t packages;
	sqlite3_stmt *s[STATEMENTS];
};

static int64_t number(struct work *w, const char *sql)
{
	sqlite3_stmt *stmt = work_prepare(w, sql);
	int64_t n = stmt && sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;

	sqlite3_finalize(stmt);
	return n;
}

static void mix_init(struct mix *m, struct work *w)
{
	double sum = 0;

	memset(m, 0, sizeof(*m));
	m->w = w;
	m->n = (unsigned)number(w, "SELECT max(id) FROM file");
	m->packages = number(w, "SELECT max(id) FROM package");
	if (!m->n || !m->packages) {
		w->error = w->error ? w->error : SQLITE_EMPTY;
		return;
	}
	m->sums = malloc(m->n * sizeof(m->sums[0]));
	if (!m->sums) {
		w->error = SQLITE_NOMEM;
		return;
	}
	for (unsigned i = 0; i < m->n; i++)
		m->sums[i] = sum += pow(i + 1, -THETA);
	for (int i = 0; i < STATEMENTS; i++)
		m->s[i] = work_prepare(w, statements[i]);
}

static void mix_fini(struct mix *m)
{
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(m->s[i]);
	free(m->sums);
}

static int64_t zipf(struct mix *m)
{
	double x = (double)work_random(m->w, UINT64_C(1) << 52) / (double)(UINT64_C(1) << 52) * m->sums[m->n - 1];
	unsigned low = 0, high = m->n - 1;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (m->sums[middle] < x)
			low = middle + 1;
		else
			high = middle;
	}
	return (int64_t)(low * UINT64_C(2654435761) % m->n) + 1;
}

/* The path that a file has now is asked for as a user would: by name. */
static void look_up_path(struct mix *m)
{
	int64_t id = zipf(m);
	sqlite3_stmt *s = m->s[PATH_OF];
	char path[4096] = "";

	if (m->w->error)
		return;
	sqlite3_bind_int64(s, 1, id);
	if (sqlite3_step(s) == SQLITE_ROW && sqlite3_column_text(s, 0))
		snprintf(path, sizeof(path), "%s", (const char *)sqlite3_column_text(s, 0));
	if (sqlite3_reset(s) != SQLITE_OK)
		m->w->error = sqlite3_errcode(m->w->db);
	work_step(m->w, m->s[BY_PATH], NULL, 0, path);
}

static void step(struct mix *m, int which, int64_t a, int64_t b)
{
	int64_t v[2] = { a, b };

	work_step(m->w, m->s[which], v, sqlite3_bind_parameter_count(m->s[which]), NULL);
}

static void read_one(struct mix *m, unsigned dice)
{
	struct work *w = m->w;

	if (dice < 750)
		step(m, BY_ID, zipf(m), 0);
	else if (dice < 930)
		look_up_path(m);
	else if (dice < 960)
		step(m, PACKAGE, 1 + (int64_t)work_random(w, (uint64_t)m->packages), 0);
	else if (dice < 998)
		step(m, RANGE, 1 + (int64_t)work_random(w, m->n), 10 + (int64_t)work_random(w, 200));
	else
		step(m, dice == 998 ? SCAN : SUMS, 5 + (int64_t)work_random(w, 20), 0);
}

static void change_one(struct mix *m)
{
	struct work *w = m->w;
	unsigned dice = (unsigned)work_random(w, 100);

	if (dice < 50)
		step(m, UPDATE, zipf(m), (int64_t)work_random(w, 1000));
	else if (dice < 65)
		step(m, RENAME, zipf(m), 0);
	else if (dice < 90)
		step(m, INSERT, 1 + (int64_t)work_random(w, (uint64_t)m->packages), (int64_t)work_random(w, 5000));
	else
		step(m, DELETE, 1 + (int64_t)work_random(w, m->n), 0);
}

/* Several changes at once, of which a fifth is taken back. */
static void transaction(struct mix *m)
{
	unsigned n = 1 + (unsigned)work_random(m->w, 30);
	bool back = work_random(m->w, 5) == 0;

	work_sql(m->w, "BEGIN");
	while (n-- && !m->w->error)
		change_one(m);
	work_sql(m->w, back ? "ROLLBACK" : "COMMIT");
}

void mixed_read(struct work *w, unsigned ops)
{
	struct mix m;

	mix_init(&m, w);
	for (unsigned i = 0; i < ops && !w->error; i++)
		read_one(&m, (unsigned)work_random(w, 1000));
	mix_fini(&m);
}

/*
 * VACUUM's temporary database has a page cache of its own, as large as the first one's limit; SQLite would have twice the
 * memory.  So each gets half of it.  A space has one budget for both.
 */
static void vacuum_in(struct work *w, unsigned kib)
{
	work_sql(w, "DELETE FROM file WHERE id%%11=3");
	work_sql(w, "PRAGMA cache_size=-%u", kib / 2);
	work_sql(w, "VACUUM");
	work_sql(w, "PRAGMA cache_size=-%u", kib);
}

void mixed_run(struct work *w, unsigned ops, unsigned vacuum_kib)
{
	struct mix m;

	mix_init(&m, w);
	for (unsigned i = 0; i < ops && !w->error; i++) {
		if (work_random(w, 40) == 0)
			transaction(&m);
		else
			read_one(&m, (unsigned)work_random(w, 1000));
		if (vacuum_kib && i == ops / 2)
			vacuum_in(w, vacuum_kib);
	}
	mix_fini(&m);
}
