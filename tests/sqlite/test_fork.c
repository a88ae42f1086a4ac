/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - SQLite in a forked child: what stock SQLite survives there, it survives with the pages in a space
 *
 * The parent brings a connection into a state and forks.  The child uses and closes what it has inherited, opens its own,
 * and ends with nothing left; then the parent goes on.  What is wrong in the child is its exit status: a line.
 */
#include <hurd-mm/hurd-mm.h>
#include <stdbool.h>
#include <pthread.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hurd-mm/sqlite.h>

#include "tests/harness.h"

#define ROWS 3000
#define SUM ((long)ROWS * 300)
#define BYTES (UINT64_C(1) << 20) /* less than the database of 512 rows and more than what a child needs pinned */
#define CHILD_SECONDS 100 /* then it hangs */
#define FILLED "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n, zeroblob(300) FROM s"

#define DAMAGE "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"

static struct hmm_space *space;
static char file[80];
static int wrong; /* line, in a child */

#define CHECK(condition) ((void)(!(condition) && !wrong ? wrong = __LINE__ : 0))

struct state {
	sqlite3 *db, *memory;
	sqlite3_stmt *open; /* stands on its first row */
	long rows;          /* that the child finds in the file's table */
};

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static long ask(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s = NULL;
	long answer = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		answer = (long)sqlite3_column_int64(s, 0);
	return sqlite3_finalize(s) == SQLITE_OK ? answer : -1;
}

static long total(sqlite3 *db)
{
	return ask(db, "SELECT sum(length(b)) FROM t");
}

static void fill(sqlite3 *db, int page)
{
	char sql[400];

	snprintf(sql, sizeof(sql), "PRAGMA page_size=%d; CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t " FILLED,
	         page, ROWS);
	ck_assert_int_eq(run(db, sql), SQLITE_OK);
}

static void begin(struct state *s, int page, const char *journal)
{
	struct hmm_space_options o = { .size = sizeof(o), .flags = HMM_SPACE_NO_RECLAIMER };
	char sql[100];

	ck_assert_int_eq(hmm_space_create(BYTES / hmm_page_size(), &o, &space), 0);
	ck_assert_int_eq(hmm_sqlite_install(space), 0);
	snprintf(file, sizeof(file), "/var/tmp/hurd-mm-test-fork-%d.db", getpid());
	unlink(file);
	ck_assert_int_eq(sqlite3_open(file, &s->db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_open(":memory:", &s->memory), SQLITE_OK);
	snprintf(sql, sizeof(sql), "PRAGMA synchronous=OFF; PRAGMA journal_mode=%s", journal);
	ck_assert_int_eq(run(s->db, sql), SQLITE_OK);
	fill(s->db, page);
	fill(s->memory, page);
	s->open = NULL;
	s->rows = ROWS;
}

/* All is closed: nothing is left, in whichever process. */
static bool nothing_left(void)
{
	struct hmm_sqlite_stats s = { .size = sizeof(s) };

	return hmm_sqlite_stats(&s) == 0 && !s.caches && !s.resident && !s.plain && !s.pinned_bytes && !s.failures &&
	       sqlite3_memory_used() == 0 && sqlite3_shutdown() == SQLITE_OK && hmm_sqlite_uninstall() == 0;
}

static void end(struct state *s)
{
	ck_assert_int_eq(ask(s->memory, "SELECT count(*) FROM t"), ROWS);
	ck_assert_int_eq(total(s->memory), SUM);
	ck_assert_int_eq(sqlite3_close(s->memory), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(s->db), SQLITE_OK);
	ck_assert(nothing_left());
	hmm_space_destroy(space);
	unlink(file);
}

static void report(pid_t pid)
{
	int status;

	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "child: status %x, line %d or %d", status,
	              WEXITSTATUS(status), WEXITSTATUS(status) + 256);
}

static void finish(void)
{
	_exit(wrong ? (wrong % 256 ? wrong % 256 : 1) : 0);
}

/* The rest of the open statement. */
static long rest(struct state *s)
{
	long sum = 0;
	int r = SQLITE_ROW;

	while (s->open && (r = sqlite3_step(s->open)) == SQLITE_ROW)
		sum += sqlite3_column_bytes(s->open, 1);
	return !s->open || r == SQLITE_DONE ? sum : -1;
}

/* A child's own database in memory, a temporary table larger than the budget, and its own connection. */
static void work_in_child(sqlite3 *db, const struct state *s)
{
	char sql[400];
	sqlite3 *own;

	snprintf(sql, sizeof(sql), "CREATE TEMP TABLE x(a, b); INSERT INTO x " FILLED, 5000);
	CHECK(run(db, sql) == SQLITE_OK);
	CHECK(ask(db, "SELECT sum(length(b)) FROM x ORDER BY a") == 5000L * 300);
	CHECK(run(s->memory, "INSERT INTO t SELECT a + 100000, zeroblob(500) FROM t; DELETE FROM t WHERE a < 100") == SQLITE_OK);
	CHECK(ask(s->memory, "SELECT count(*) FROM t") == 2 * ROWS - 99);
	CHECK(ask(s->memory, DAMAGE) == 0);
	CHECK(sqlite3_open(file, &own) == SQLITE_OK);
	CHECK(ask(own, "SELECT count(*) FROM t") == ROWS);
	CHECK(total(own) == SUM);
	CHECK(sqlite3_close(own) == SQLITE_OK);
}

static void child(struct state *s, bool close_all)
{
	alarm(test_patience(CHILD_SECONDS));
	if (s->open)
		CHECK(rest(s) == SUM - 300);
	CHECK(ask(s->db, "SELECT count(*) FROM t") == s->rows);
	work_in_child(s->db, s);
	CHECK(sqlite3_finalize(s->open) == SQLITE_OK);
	CHECK(sqlite3_close(s->memory) == SQLITE_OK);
	if (close_all) {
		CHECK(sqlite3_close(s->db) == SQLITE_OK);
		CHECK(nothing_left());
		hmm_space_destroy(space);
	}
	finish();
}

static void open_read(struct state *s)
{
	ck_assert_int_eq(sqlite3_prepare_v2(s->db, "SELECT a, b FROM t ORDER BY a", -1, &s->open, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s->open), SQLITE_ROW);
}

static const struct {
	int page;
	const char *journal;
} kinds[] = { { 512, "DELETE" }, { 4096, "WAL" }, { 4096, "TRUNCATE" }, { 65536, "DELETE" }, { 1024, "MEMORY" } };
#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))

START_TEST(idle_connections_are_used_and_closed)
{
	struct state s;
	pid_t pid;

	begin(&s, kinds[_i].page, kinds[_i].journal);
	ck_assert_int_eq(total(s.db), SUM);
	pid = fork();
	if (!pid)
		child(&s, true);
	report(pid);
	ck_assert_int_eq(run(s.db, "UPDATE t SET b = zeroblob(300)"), SQLITE_OK);
	ck_assert_int_eq(total(s.db), SUM);
	end(&s);
}
END_TEST

START_TEST(statement_that_stands_on_a_row_goes_on_in_both)
{
	struct state s;
	pid_t pid;

	begin(&s, kinds[_i].page, kinds[_i].journal);
	open_read(&s);
	pid = fork();
	if (!pid)
		child(&s, true);
	report(pid);
	ck_assert_int_eq(rest(&s), SUM - 300);
	ck_assert_int_eq(sqlite3_finalize(s.open), SQLITE_OK);
	end(&s);
}
END_TEST

/* The read is not finished, only ended, and the connection closed under it (a zombie until its statement goes). */
START_TEST(connection_with_an_open_read_is_closed)
{
	struct state s;
	pid_t pid;

	begin(&s, kinds[_i].page, kinds[_i].journal);
	ck_assert_int_eq(run(s.db, "BEGIN"), SQLITE_OK);
	open_read(&s);
	pid = fork();
	if (!pid) {
		alarm(test_patience(CHILD_SECONDS));
		CHECK(sqlite3_close(s.db) == SQLITE_BUSY);
		CHECK(sqlite3_close_v2(s.db) == SQLITE_OK);
		CHECK(sqlite3_step(s.open) == SQLITE_ROW);
		CHECK(sqlite3_finalize(s.open) == SQLITE_OK);
		CHECK(sqlite3_close(s.memory) == SQLITE_OK);
		CHECK(nothing_left());
		hmm_space_destroy(space);
		finish();
	}
	report(pid);
	ck_assert_int_eq(rest(&s), SUM - 300);
	ck_assert_int_eq(sqlite3_finalize(s.open), SQLITE_OK);
	ck_assert_int_eq(run(s.db, "COMMIT"), SQLITE_OK);
	end(&s);
}
END_TEST

/*
 * Changed pages, some of them spilled to the file, a savepoint and a temporary table.  The child sees what the transaction
 * did; to end the transaction there would be to write the parent's file, so it leaves that connection alone.
 */
START_TEST(child_of_a_write_transaction_sees_it_and_leaves_it_alone)
{
	struct state s;
	pid_t pid;

	begin(&s, kinds[_i].page, kinds[_i].journal);
	ck_assert_int_eq(run(s.db, "BEGIN; UPDATE t SET b = zeroblob(310) WHERE a % 2; SAVEPOINT p; DELETE FROM t WHERE a > 2000;"
	                           "CREATE TEMP TABLE y AS SELECT * FROM t"), SQLITE_OK);
	pid = fork();
	if (!pid) {
		alarm(test_patience(CHILD_SECONDS));
		CHECK(ask(s.db, "SELECT count(*) FROM t") == 2000);
		CHECK(total(s.db) == 2000L * 300 + 1000 * 10);
		CHECK(ask(s.db, "SELECT sum(length(b)) FROM y") == 2000L * 300 + 1000 * 10);
		CHECK(run(s.memory, "UPDATE t SET b = a") == SQLITE_OK);
		CHECK(sqlite3_close(s.memory) == SQLITE_OK);
		finish();
	}
	report(pid);
	ck_assert_int_eq(run(s.db, "ROLLBACK TO p; COMMIT"), SQLITE_OK);
	ck_assert_int_eq(total(s.db), SUM + ROWS / 2 * 10);
	ck_assert_int_eq(ask(s.db, DAMAGE), 0);
	end(&s);
}
END_TEST

/* Of a database in memory each process has its own: transactions are ended in both. */
START_TEST(transaction_in_memory_is_ended_in_both)
{
	struct state s;
	pid_t pid;

	begin(&s, kinds[_i].page, kinds[_i].journal);
	ck_assert_int_eq(run(s.memory, "BEGIN; UPDATE t SET b = zeroblob(400)"), SQLITE_OK);
	pid = fork();
	if (!pid) {
		alarm(test_patience(CHILD_SECONDS));
		CHECK(total(s.memory) == (long)ROWS * 400);
		CHECK(run(s.memory, "DELETE FROM t WHERE a > 10; COMMIT; VACUUM") == SQLITE_OK);
		CHECK(total(s.memory) == 10L * 400);
		CHECK(sqlite3_close(s.memory) == SQLITE_OK);
		CHECK(sqlite3_close(s.db) == SQLITE_OK);
		CHECK(nothing_left());
		hmm_space_destroy(space);
		finish();
	}
	report(pid);
	ck_assert_int_eq(total(s.memory), (long)ROWS * 400);
	ck_assert_int_eq(run(s.memory, "ROLLBACK"), SQLITE_OK);
	end(&s);
}
END_TEST

START_TEST(grandchildren_use_the_connection_too)
{
	struct state s;
	pid_t pid;

	begin(&s, kinds[_i].page, kinds[_i].journal);
	open_read(&s);
	pid = fork();
	if (!pid) {
		pid = fork();
		if (pid) {
			int status;

			CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		}
		child(&s, true);
	}
	report(pid);
	ck_assert_int_eq(sqlite3_finalize(s.open), SQLITE_OK);
	end(&s);
}
END_TEST

/* vfork() and posix_spawn() call no handlers and share memory until the other program begins. */
START_TEST(programs_are_started_beside_open_reads)
{
	char *argv[] = { (char *)(uintptr_t)"true", NULL }, *environment[] = { NULL };
	struct state s;
	pid_t pid;

	begin(&s, kinds[_i].page, kinds[_i].journal);
	open_read(&s);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environment), 0);
		report(pid);
		pid = vfork();
		if (!pid) {
			execve("/bin/true", argv, environment);
			_exit(1);
		}
		report(pid);
		ck_assert_int_eq(system("exit 0"), 0);
	}
	ck_assert_int_eq(rest(&s), SUM - 300);
	ck_assert_int_eq(sqlite3_finalize(s.open), SQLITE_OK);
	end(&s);
}
END_TEST

static _Atomic bool stop;

static void *query(void *arg)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(arg, &db), SQLITE_OK);
	while (!atomic_load(&stop))
		ck_assert_int_eq(total(db), SUM);
	sqlite3_close(db);
	return NULL;
}

/*
 * SQLite's own mutexes may be held by the other thread at the fork, so a child may only exec or exit, stock or not; the
 * fork itself waits for nothing, and the parent's answers stay right.
 */
START_TEST(fork_beside_another_connections_thread)
{
	pthread_t thread;
	struct state s;

	begin(&s, 4096, "DELETE");
	ck_assert_int_eq(pthread_create(&thread, NULL, query, file), 0);
	for (unsigned i = 0; i < (TEST_TSAN ? 3 : 10); i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		report(pid);
		ck_assert_int_eq(total(s.db), SUM);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	end(&s);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("sqlite_fork");
	TCase *t = tcase_create("fork");

	tcase_set_timeout(t, test_patience(180));
	tcase_add_loop_test(t, idle_connections_are_used_and_closed, 0, KINDS);
	tcase_add_loop_test(t, statement_that_stands_on_a_row_goes_on_in_both, 0, KINDS);
	tcase_add_loop_test(t, connection_with_an_open_read_is_closed, 0, KINDS);
	tcase_add_loop_test(t, child_of_a_write_transaction_sees_it_and_leaves_it_alone, 0, KINDS);
	tcase_add_loop_test(t, transaction_in_memory_is_ended_in_both, 0, 2);
	tcase_add_loop_test(t, grandchildren_use_the_connection_too, 1, 2);
	tcase_add_loop_test(t, programs_are_started_beside_open_reads, 0, 1);
	tcase_add_test(t, fork_beside_another_connections_thread);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
