/* SPDX-License-Identifier: MIT */
/*
 * test_sqlite.c - the page cache for SQLite: its contract, and databases under memory that is short or fails
 *
 * Each test is a process, as SQLite's page cache is one process's.
 */
#include <errno.h>
#include <hurd-mm/hurd-mm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/sqlite/run.h"
#include "integrations/sqlite/pcache.h"
#include "lib/base/arena.h"
#include "tests/harness.h"

#define PAGE 4096
#define EXTRA 200
#define BYTES (UINT64_C(2) << 20)
/* Sanitizers and coverage take their time. */
#if TEST_TSAN || defined(__SANITIZE_ADDRESS__) || defined(TEST_SLOW)
#define SLOW 1
#else
#define SLOW 0
#endif
#define SETUP "PRAGMA synchronous=OFF; PRAGMA cache_size=-2000"

static const sqlite3_pcache_methods2 *const m = &hmm__sqlite_methods;
static struct hmm_space *space;
static char file[64];

static void open_space(uint64_t bytes, const char *policy)
{
	struct hmm_space_options o = { .size = sizeof(o), .policy = policy, .flags = HMM_SPACE_NO_RECLAIMER };

	ck_assert_int_eq(hmm_space_create(bytes / hmm_page_size(), &o, &space), 0);
	ck_assert_int_eq(hmm_sqlite_install(space), 0);
	snprintf(file, sizeof(file), "/var/tmp/hurd-mm-test-sqlite-%d.db", getpid());
	unlink(file);
}

/* Nothing may be left: neither pages, nor pins, nor SQLite's memory. */
static void close_space(void)
{
	struct hmm_sqlite_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_sqlite_stats(&s), 0);
	ck_assert_uint_eq(s.caches, 0);
	ck_assert_uint_eq(s.plain, 0);
	ck_assert_uint_eq(s.pinned_bytes, 0);
	ck_assert_uint_eq(s.resident, 0);
	ck_assert_int_eq(sqlite3_shutdown(), SQLITE_OK);
	ck_assert_int_eq(sqlite3_memory_used(), 0);
	ck_assert_int_eq(hmm_sqlite_uninstall(), 0);
	hmm_space_destroy(space);
	unlink(file);
}

static struct hmm_sqlite_stats stats(void)
{
	struct hmm_sqlite_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_sqlite_stats(&s), 0);
	return s;
}

static sqlite3_pcache *cache_of(int purgeable)
{
	sqlite3_pcache *c;

	ck_assert_int_eq(sqlite3_initialize(), SQLITE_OK);
	c = m->xCreate(PAGE, EXTRA, purgeable);
	ck_assert_ptr_nonnull(c);
	return c;
}

/* A page that must be had; fresh: SQLite's bytes must begin with zeros. */
static sqlite3_pcache_page *fetch(sqlite3_pcache *c, unsigned key, bool fresh)
{
	sqlite3_pcache_page *p = m->xFetch(c, key, 2);

	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq((uintptr_t)p->pBuf % 8, 0);
	ck_assert_uint_eq((uintptr_t)p->pExtra % 8, 0);
	if (fresh) {
		ck_assert_uint_eq(*(uint64_t *)p->pExtra, 0);
		memset(p->pBuf, (int)key, PAGE);
		memset(p->pExtra, 0xa5, EXTRA);
	}
	ck_assert_uint_eq(((unsigned char *)p->pBuf)[PAGE - 1], key & 0xff);
	ck_assert_uint_eq(((unsigned char *)p->pExtra)[EXTRA - 1], 0xa5);
	return p;
}

START_TEST(install_refuses_what_cannot_work)
{
	struct hmm_space_options o = { .size = sizeof(o), .flags = HMM_SPACE_NO_RECLAIMER };
	struct hmm_sqlite_stats s = { .size = sizeof(s) };
	struct hmm_space *small;

	ck_assert_int_eq(hmm_sqlite_install(NULL), -EINVAL);
	ck_assert_int_eq(hmm_sqlite_uninstall(), -ENOENT);
	ck_assert_int_eq(hmm_sqlite_stats(&s), -ENOENT);
	ck_assert_ptr_null(hmm_sqlite_space());
	ck_assert_int_eq(hmm_space_create(HMM_SQLITE_BYTES_MIN / hmm_page_size() - 1, &o, &small), 0);
	ck_assert_int_eq(hmm_sqlite_install(small), -EINVAL);
	ck_assert_int_eq(hmm_space_create(HMM_SQLITE_BYTES_MIN / hmm_page_size(), &o, &space), 0);
	ck_assert_int_eq(sqlite3_initialize(), SQLITE_OK);
	ck_assert_int_eq(hmm_sqlite_install(space), -EBUSY);
	ck_assert_int_eq(sqlite3_shutdown(), SQLITE_OK);
	ck_assert_int_eq(hmm_sqlite_install(space), 0);
	ck_assert_ptr_eq(hmm_sqlite_space(), space);
	ck_assert_int_eq(hmm_sqlite_install(space), -EALREADY);
	ck_assert_int_eq(sqlite3_initialize(), SQLITE_OK);
	ck_assert_int_eq(hmm_sqlite_uninstall(), -EBUSY);
	ck_assert_int_eq(sqlite3_shutdown(), SQLITE_OK);
	ck_assert_int_eq(hmm_sqlite_uninstall(), 0);
	hmm_space_destroy(space);
	hmm_space_destroy(small);
}
END_TEST

START_TEST(one_unpin_ends_any_number_of_fetches)
{
	sqlite3_pcache *c;
	sqlite3_pcache_page *p;

	open_space(BYTES, "lru");
	c = cache_of(1);
	ck_assert_ptr_null(m->xFetch(c, 7, 0));
	p = fetch(c, 7, true);
	for (unsigned i = 0; i < 2000; i++)
		ck_assert_ptr_eq(m->xFetch(c, 7, i % 3), p);
	m->xUnpin(c, p, 0);
	ck_assert_ptr_eq(fetch(c, 7, false), p);
	m->xUnpin(c, p, 1);
	ck_assert_ptr_null(m->xFetch(c, 7, 0));
	m->xUnpin(c, fetch(c, 7, true), 0);
	m->xDestroy(c);
	close_space();
}
END_TEST

/* _i: whether the page that moves, and the one that is there, lie in the budget or (not purgeable) in ordinary memory */
START_TEST(rekey_takes_the_place_of_what_was_there)
{
	sqlite3_pcache *c;
	sqlite3_pcache_page *p;

	open_space(BYTES, "lru");
	c = cache_of(_i);
	m->xUnpin(c, fetch(c, 40, true), 0);
	p = fetch(c, 8, true);
	m->xRekey(c, p, 8, 40);
	ck_assert_ptr_null(m->xFetch(c, 8, 0));
	ck_assert_ptr_eq(m->xFetch(c, 40, 0), p);
	ck_assert_uint_eq(*(unsigned char *)p->pBuf, 8);
	ck_assert_uint_eq(((unsigned char *)p->pExtra)[1], 0xa5);
	m->xRekey(c, p, 40, 4000000000u);
	ck_assert_ptr_eq(m->xFetch(c, 4000000000u, 0), p);
	m->xUnpin(c, p, 0);
	ck_assert_ptr_eq(m->xFetch(c, 4000000000u, 0), p);
	m->xTruncate(c, 4000000000u);
	ck_assert_ptr_null(m->xFetch(c, 4000000000u, 0));
	ck_assert_int_eq(m->xPagecount(c), 0);
	m->xDestroy(c);
	close_space();
}
END_TEST

START_TEST(truncate_takes_pinned_pages_too)
{
	sqlite3_pcache *c;

	open_space(BYTES, "lru");
	c = cache_of(_i);
	for (unsigned key = 1; key <= 200; key++) {
		sqlite3_pcache_page *p = fetch(c, key, true);

		if (key % 2)
			m->xUnpin(c, p, 0);
	}
	m->xTruncate(c, 100);
	for (unsigned key = 1; key <= 200; key++)
		ck_assert_int_eq(m->xFetch(c, key, 0) != NULL, key < 100);
	m->xTruncate(c, 0);
	ck_assert_ptr_null(m->xFetch(c, 1, 0));
	m->xDestroy(c);
	close_space();
}
END_TEST

START_TEST(pinned_pages_are_refused_first_and_go_beyond_the_budget_then)
{
	unsigned easy = 0, all = 0, most = BYTES / PAGE * 3 / 2;
	sqlite3_pcache *c;

	open_space(BYTES, "lru");
	c = cache_of(1);
	while (m->xFetch(c, easy + 1, 1))
		easy++;
	ck_assert_uint_ge(easy, BYTES / PAGE / 2);
	ck_assert_uint_le(easy, BYTES / PAGE * 18 / 20);
	ck_assert_uint_ge(stats().refusals, 1);
	for (all = easy; all < most; all++)
		fetch(c, all + 1, true);
	ck_assert_uint_ge(stats().beyond, most - BYTES / PAGE);
	ck_assert_uint_eq(stats().beyond, stats().plain);
	for (unsigned key = easy + 1; key <= most; key++)
		m->xUnpin(c, fetch(c, key, false), 0);
	ck_assert_uint_eq(stats().plain, 0);
	m->xShrink(c);
	m->xDestroy(c);
	close_space();
}
END_TEST

START_TEST(pages_of_a_database_in_memory_stay)
{
	unsigned n = BYTES / PAGE * 2;
	sqlite3_pcache *c;

	open_space(BYTES, "lru");
	c = cache_of(0);
	for (unsigned key = 1; key <= n; key++)
		m->xUnpin(c, fetch(c, key, true), 0);
	m->xShrink(c);
	for (unsigned key = 1; key <= n; key++)
		fetch(c, key, false);
	ck_assert_uint_eq(stats().plain, n);
	ck_assert_uint_eq(stats().resident, 0);
	m->xDestroy(c);
	close_space();
}
END_TEST

START_TEST(a_budget_too_small_for_the_page_size_still_serves)
{
	enum { LARGE = 65536 };
	sqlite3_pcache_page *p;
	sqlite3_pcache *c;
	uint64_t frames;

	open_space(HMM_SQLITE_BYTES_MIN, "lru");
	ck_assert_int_eq(hmm_space_resize(space, LARGE * 4 / hmm_page_size(), &frames), 0);
	ck_assert_int_eq(sqlite3_initialize(), SQLITE_OK);
	c = m->xCreate(LARGE, EXTRA, 1);
	ck_assert_ptr_nonnull(c);
	ck_assert_ptr_null(m->xFetch(c, 1, 1));
	p = m->xFetch(c, 1, 2);
	ck_assert_ptr_nonnull(p);
	memset(p->pBuf, 1, LARGE);
	ck_assert_ptr_eq(m->xFetch(c, 1, 0), p);
	ck_assert_uint_eq(stats().beyond, 1);
	ck_assert_int_eq(m->xPagecount(c), 1);
	m->xRekey(c, p, 1, 9);
	ck_assert_ptr_eq(m->xFetch(c, 9, 0), p);
	m->xUnpin(c, p, 0);
	ck_assert_ptr_null(m->xFetch(c, 9, 0));
	m->xShrink(c);
	m->xTruncate(c, 0);
	m->xDestroy(c);
	close_space();
}
END_TEST

/* _i: few pages, or more */
START_TEST(what_ended_leaves_nothing_to_the_next)
{
	unsigned n = _i ? 400 : 40;
	sqlite3_pcache_page *p;
	sqlite3_pcache *c;

	open_space(BYTES, "sieve");
	for (unsigned round = 0; round < 6; round++) {
		c = cache_of(1);
		ck_assert_int_eq(m->xPagecount(c), 0);
		for (unsigned key = 1; key <= n; key++)
			ck_assert_ptr_null(m->xFetch(c, key, 0));
		for (unsigned key = 1; key <= n; key++) {
			p = fetch(c, key, true);
			if (round % 3 == 0 || (round % 3 == 1 && key % 5))
				m->xUnpin(c, p, 0);
		}
		if (round >= 3)
			m->xRekey(c, fetch(c, n, false), n, n + 1);
		ck_assert_int_eq(m->xPagecount(c), (int)n);
		m->xDestroy(c);
		ck_assert_uint_eq(stats().resident, 0);
		ck_assert_uint_eq(stats().reused, round);
	}
	close_space();
}
END_TEST

START_TEST(shrinking_leaves_what_is_pinned)
{
	sqlite3_pcache *c;

	open_space(BYTES, "lru");
	c = cache_of(1);
	for (unsigned key = 1; key <= 100; key++) {
		sqlite3_pcache_page *p = fetch(c, key, true);

		if (key > 7)
			m->xUnpin(c, p, 0);
	}
	m->xCachesize(c, 1); /* the budget counts */
	ck_assert_int_eq(m->xPagecount(c), 100);
	m->xShrink(c);
	ck_assert_int_eq(m->xPagecount(c), 7);
	ck_assert_uint_eq(stats().resident, 7);
	for (unsigned key = 1; key <= 100; key++)
		ck_assert_int_eq(m->xFetch(c, key, 0) != NULL, key <= 7);
	m->xDestroy(c);
	close_space();
}
END_TEST

/* Random calls against a table of what must be there: pinned pages with their contents, others perhaps. */
enum { KEYS = 900, CACHES = 3 };
struct model {
	sqlite3_pcache *c;
	sqlite3_pcache_page *held[KEYS + 1];
	uint64_t stamp[KEYS + 1]; /* of the contents; 0: can't be there */
};

static uint64_t state;
static unsigned dice(unsigned n)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(state >> 33) % n;
}

static void model_fetch(struct model *o, unsigned key, int create)
{
	sqlite3_pcache_page *p = m->xFetch(o->c, key, create);
	static uint64_t stamps;

	if (!p) {
		ck_assert_ptr_null(o->held[key]);
		ck_assert_int_ne(create, 2);
		return;
	}
	if (o->held[key])
		ck_assert_ptr_eq(p, o->held[key]);
	if (*(uint64_t *)p->pExtra == 0) {
		ck_assert_ptr_null(o->held[key]);
		ck_assert_int_ne(create, 0);
		o->stamp[key] = ++stamps;
		memcpy(p->pExtra, &stamps, 8);
		memcpy(p->pBuf, &stamps, 8);
		memcpy((char *)p->pBuf + PAGE - 8, &stamps, 8);
	}
	ck_assert_uint_eq(*(uint64_t *)p->pExtra, o->stamp[key]);
	ck_assert_uint_eq(*(uint64_t *)p->pBuf, o->stamp[key]);
	ck_assert_uint_eq(*(uint64_t *)((char *)p->pBuf + PAGE - 8), o->stamp[key]);
	o->held[key] = p;
}

static void model_unpin(struct model *o, unsigned key, bool discard)
{
	if (!o->held[key])
		return;
	m->xUnpin(o->c, o->held[key], discard);
	o->held[key] = NULL;
	if (discard)
		o->stamp[key] = 0;
}

static void model_rekey(struct model *o, unsigned from, unsigned to)
{
	if (!o->held[from] || from == to)
		return;
	model_unpin(o, to, false);
	m->xRekey(o->c, o->held[from], from, to);
	o->held[to] = o->held[from];
	o->stamp[to] = o->stamp[from];
	o->held[from] = NULL;
	o->stamp[from] = 0;
}

static void model_truncate(struct model *o, unsigned limit)
{
	m->xTruncate(o->c, limit);
	for (unsigned key = limit ? limit : 1; key <= KEYS; key++) {
		o->held[key] = NULL;
		o->stamp[key] = 0;
	}
}

START_TEST(random_calls_agree_with_a_table)
{
	static const char *const policies[] = { "sieve", "lru", "arc", "db", "random" };
	static struct model models[CACHES];
	unsigned steps = SLOW ? 30000 : 120000;

	state = test_seed();
	open_space(BYTES, policies[dice(5)]);
	for (unsigned i = 0; i < CACHES; i++)
		models[i].c = cache_of(i != 2);
	for (unsigned i = 0; i < steps; i++) {
		struct model *o = &models[dice(CACHES)];
		unsigned key = 1 + dice(dice(2) ? KEYS : 60), what = dice(1000);

		if (what < 550)
			model_fetch(o, key, (int)dice(3));
		else if (what < 950)
			model_unpin(o, key, dice(8) == 0);
		else if (what < 990)
			model_rekey(o, key, 1 + dice(KEYS));
		else if (what < 996)
			model_truncate(o, dice(10) ? KEYS - dice(KEYS / 4) : 0);
		else if (what < 998)
			m->xShrink(o->c);
		else if (dice(20) == 0) {
			m->xDestroy(o->c);
			memset(o, 0, sizeof(*o));
			o->c = cache_of(o - models != 2);
		}
		ck_assert_int_ge(m->xPagecount(o->c), 0);
	}
	for (unsigned i = 0; i < CACHES; i++)
		m->xDestroy(models[i].c);
	close_space();
}
END_TEST

/* One run on a new database, under a policy or SQLite's own page cache (NULL). */
static struct result run_new(const char *policy, enum kind kind, unsigned amount, uint64_t seed)
{
	struct job job = { .kind = LOAD, .policy = policy, .file = file, .memory = BYTES, .amount = amount * 4,
		           .threads = 1, .lap = 1000, .seed = seed };
	const char *name = policy ? policy : "SQLite's own";
	struct result r;

	unlink(file);
	if (kind == MIXED) {
		ck_assert_int_eq(run_job(&job, &r), 0);
		ck_assert_msg(r.error == 0 && r.whole, "%s: error %d", name, r.error);
	}
	job.kind = kind;
	job.amount = amount;
	ck_assert_msg(run_job(&job, &r) == 0, "%s", name);
	ck_assert_msg(r.error == 0 && r.whole, "%s: error %d", name, r.error);
	ck_assert_uint_gt(r.rows, amount / 8);
	return r;
}

/* _i: 0: the kinds of SQLite's speed test; 1: a database in use */
START_TEST(answers_are_the_same_under_every_policy)
{
	enum kind kind = _i ? MIXED : SPEED;
	unsigned amount = SLOW ? 400 : _i ? 1500 : 1000, step = TEST_TSAN ? 6 : 1;
	uint64_t seed = test_seed() % 1000000;
	struct result own, ours;
	const char *name;

	snprintf(file, sizeof(file), "/var/tmp/hurd-mm-test-sqlite-%d.db", getpid());
	own = run_new(NULL, kind, amount, seed);
	for (unsigned i = seed % step; (name = hmm_policy_name(i)); i += step) {
		ours = run_new(name, kind, amount, seed);
		ck_assert_msg(ours.print == own.print && ours.rows == own.rows, "%s: other answers", name);
	}
	unlink(file);
}
END_TEST

/* Several connections write and read one database while the budget shrinks and grows. */
struct writer {
	pthread_t id;
	unsigned number, rows;
};

/* Returns NULL if all went well. */
static void *write_rows(void *arg)
{
	struct writer *w = arg;
	struct work work;

	if (work_open(&work, file, SETUP, w->number))
		return w;
	work_sql(&work, "PRAGMA busy_timeout=%u", test_patience(60) * 1000);
	for (unsigned i = 0; i < w->rows && !work.error; i++) {
		work_sql(&work, "BEGIN IMMEDIATE; INSERT INTO t VALUES(%u, %u, hex(zeroblob(%u))); "
		         "UPDATE t SET v=v+1 WHERE k=%u; %s", w->number, i, 100 + i % 300, w->number * 7 % 3,
		         i % 10 == 9 ? "ROLLBACK" : "COMMIT");
		work_sql(&work, "SELECT count(*), max(length(x)) FROM t WHERE k=%u", w->number);
	}
	work_close(&work);
	return work.error ? w : NULL;
}

START_TEST(connections_share_a_budget_that_changes)
{
	enum { WRITERS = 4 };
	struct writer w[WRITERS];
	unsigned rows = SLOW ? 50 : 200;
	sqlite3_stmt *stmt;
	struct work work;
	uint64_t frames;
	void *failed;

	open_space(4 * BYTES, "sieve");
	ck_assert_int_eq(work_open(&work, file, SETUP "; PRAGMA journal_mode=WAL", 1), 0);
	work_sql(&work, "CREATE TABLE t(k INT, v INT, x TEXT); CREATE INDEX tk ON t(k, v)");
	for (unsigned i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){ .number = i, .rows = rows };
		ck_assert_int_eq(pthread_create(&w[i].id, NULL, write_rows, &w[i]), 0);
	}
	for (unsigned i = 0; i < 20; i++) {
		int r = hmm_space_resize(space, (i % 2 ? 4 * BYTES : BYTES / 2) / hmm_page_size(), &frames);

		ck_assert_msg(r == 0 || r == -EAGAIN, "%d", r);
		work_sql(&work, "SELECT k, count(*) FROM t GROUP BY k");
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		ck_assert_int_eq(pthread_join(w[i].id, &failed), 0);
		ck_assert_ptr_null(failed);
	}
	stmt = work_prepare(&work, "SELECT count(*) FROM t");
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	ck_assert_int_eq(sqlite3_column_int(stmt, 0), (int)(WRITERS * rows * 9 / 10));
	sqlite3_finalize(stmt);
	ck_assert(work_whole(&work));
	ck_assert_int_eq(work.error, 0);
	ck_assert_int_eq(hmm_space_resize(space, BYTES / 2 / hmm_page_size(), &frames), 0);
	work_close(&work);
	close_space();
}
END_TEST

/* SQLite's allocator, of which every nth call fails. */
static sqlite3_mem_methods real;
static uint64_t calls, fail_at;

static void *fail_malloc(int n)
{
	return fail_at && ++calls % fail_at == 0 ? NULL : real.xMalloc(n);
}

static void *fail_realloc(void *p, int n)
{
	return fail_at && ++calls % fail_at == 0 ? NULL : real.xRealloc(p, n);
}

static const char failing_sql[] =
	"PRAGMA synchronous=OFF; BEGIN; INSERT INTO t SELECT a+1000, b||'y' FROM t; DELETE FROM t WHERE a%7=2; "
	"UPDATE t SET b=b||b WHERE a%5=1; SELECT count(*), sum(length(b)) FROM (SELECT DISTINCT b FROM t ORDER BY b); ROLLBACK; "
	"SELECT count(*), sum(a), sum(length(b)) FROM t; CREATE TEMP TABLE x AS SELECT b FROM t; SELECT count(*) FROM x; "
	"DROP TABLE x";

/* The statements on a connection of their own: their answers, or an error that means that there was no memory. */
static uint64_t failing_run(int *ret_error)
{
	struct work w;

	if (!work_open_quiet(&w, file, NULL, 1))
		work_sql(&w, failing_sql);
	*ret_error = w.error;
	work_close(&w);
	return w.print;
}

static void fill(void)
{
	struct work w;

	ck_assert_int_eq(work_open(&w, file, SETUP, 1), 0);
	work_sql(&w, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX tb ON t(b);"
	             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<900) "
	             "INSERT INTO t SELECT i, hex(zeroblob(i%%400))||i FROM n");
	ck_assert_int_eq(w.error, 0);
	work_close(&w);
}

/* _i: 0: SQLite's memory; 1: the library's */
START_TEST(without_memory_there_is_an_error_or_the_right_answer)
{
	sqlite3_mem_methods failing;
	unsigned failures = 0, successes = 0, rounds = TEST_TSAN ? 12 : SLOW ? 40 : 150;
	uint64_t right;
	struct work w;
	int error;

	state = test_seed();
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
	failing = real;
	failing.xMalloc = fail_malloc;
	failing.xRealloc = fail_realloc;
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
	open_space(HMM_SQLITE_BYTES_MIN, "sieve");
	fill();
	right = failing_run(&error);
	ck_assert_int_eq(error, 0);
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t print;

		if (_i) {
			m->xShutdown(NULL); /* no spare ones: a cache must be made */
			hmm__alloc_fail(i ? 1 + dice(20) : 1, i ? (int)dice(2) : 1); /* once at least there is none at all */
		} else {
			calls = 0;
			fail_at = 1 + (i < rounds / 4 ? dice(60) : dice(6000));
		}
		print = failing_run(&error);
		fail_at = 0;
		hmm__alloc_fail(0, 0);
		if (error) {
			ck_assert_msg(error == SQLITE_NOMEM || (error & 0xff) == SQLITE_IOERR || error == SQLITE_ERROR, "%d",
			              error);
			failures++;
		} else {
			ck_assert_uint_eq(print, right);
			successes++;
		}
	}
	if (_i) { /* then pages get SQLite's memory */
		ck_assert_uint_eq(failures, 0);
		ck_assert_uint_gt(stats().beyond, 0);
	} else {
		ck_assert_uint_gt(failures, 0);
	}
	ck_assert_uint_eq(failing_run(&error), right);
	ck_assert_int_eq(error, 0);
	ck_assert_int_eq(work_open(&w, file, NULL, 1), 0);
	ck_assert(work_whole(&w));
	work_close(&w);
	close_space();
}
END_TEST

START_TEST(a_child_can_close_what_was_open_and_open_its_own)
{
	struct work w, own;
	int status;
	pid_t child;

	open_space(BYTES, "lru");
	fill();
	ck_assert_int_eq(work_open(&w, file, NULL, 1), 0);
	work_sql(&w, "SELECT count(*) FROM t; CREATE TEMP TABLE x(a); INSERT INTO x VALUES(1)");
	child = fork();
	if (!child) {
		work_close(&w);
		alarm(test_patience(60));
		if (work_open(&own, file, NULL, 1) || work_sql(&own, failing_sql) || !work_whole(&own))
			_exit(1);
		work_close(&own);
		_exit(sqlite3_shutdown() != SQLITE_OK);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	work_sql(&w, failing_sql);
	ck_assert_int_eq(w.error, 0);
	work_close(&w);
	close_space();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("sqlite");
	TCase *contract = tcase_create("contract"), *databases = tcase_create("databases");

	tcase_add_test(contract, install_refuses_what_cannot_work);
	tcase_add_test(contract, one_unpin_ends_any_number_of_fetches);
	tcase_add_loop_test(contract, rekey_takes_the_place_of_what_was_there, 0, 2);
	tcase_add_loop_test(contract, truncate_takes_pinned_pages_too, 0, 2);
	tcase_add_test(contract, pinned_pages_are_refused_first_and_go_beyond_the_budget_then);
	tcase_add_test(contract, pages_of_a_database_in_memory_stay);
	tcase_add_test(contract, a_budget_too_small_for_the_page_size_still_serves);
	tcase_add_loop_test(contract, what_ended_leaves_nothing_to_the_next, 0, 2);
	tcase_add_test(contract, shrinking_leaves_what_is_pinned);
	tcase_add_test(contract, random_calls_agree_with_a_table);
	suite_add_tcase(s, contract);
	tcase_set_timeout(databases, test_patience(180));
	tcase_add_loop_test(databases, answers_are_the_same_under_every_policy, 0, 2);
	tcase_add_test(databases, connections_share_a_budget_that_changes);
	tcase_add_loop_test(databases, without_memory_there_is_an_error_or_the_right_answer, 0, 2);
	tcase_add_test(databases, a_child_can_close_what_was_open_and_open_its_own);
	suite_add_tcase(s, databases);
	return s;
}

HMM_TEST_MAIN(suite)
