/* SPDX-License-Identifier: MIT */
/*
 * work.h - workloads on a database, each with a fingerprint of all it was told
 *
 * For the benchmark and for the tests: the same calls with the same seed give the same rows, whatever pages the database.
 */
#ifndef HMM_BENCH_SQLITE_WORK_H
#define HMM_BENCH_SQLITE_WORK_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* The time of each `every` operations.  Between them the work may stop, so that another one has its turn. */
#define LAPS_MAX 1000u
struct laps {
	unsigned every, n;
	void (*meet)(void *arg); /* before the clock is read; may be NULL */
	void (*turn)(void *arg); /* after that, and before the first; may be NULL.  What it takes is not counted */
	void *arg;
	clockid_t clock;
	double begin, seconds[LAPS_MAX];
};

struct work {
	sqlite3 *db;
	uint64_t random; /* state of the generator, not 0 */
	uint64_t print;  /* of all rows so far */
	uint64_t rows;
	uint64_t ops;
	int error;       /* the first that SQLite reported; nothing runs after it */
	bool quiet;      /* errors are expected */
	struct laps *laps; /* where to note how long parts of it took; may be NULL */
};

/* A connection to the file, made if need be; setup: pragmas.  Returns SQLite's error. */
int work_open(struct work *w, const char *file, const char *setup, uint64_t seed);
int work_open_quiet(struct work *w, const char *file, const char *setup, uint64_t seed); /* errors are expected */
void work_close(struct work *w);
/* meet, turn, arg and clock are set. */
void work_begin_laps(struct work *w, struct laps *laps, unsigned every);
/* As many as there must be: others may wait for one that had an error. */
void work_end_laps(struct laps *laps, unsigned n);
/* Run statements, with %-formats of sqlite3_mprintf(); rows go into the fingerprint. */
int work_sql(struct work *w, const char *format, ...);
/* One prepared statement with integers and a text bound in order; rows go into the fingerprint. */
int work_step(struct work *w, sqlite3_stmt *stmt, const int64_t *numbers, int n, const char *text);
sqlite3_stmt *work_prepare(struct work *w, const char *sql);
uint64_t work_random(struct work *w, uint64_t below);
/* "three hundred four", in words: text of many lengths. */
const char *work_words(uint64_t n, char *text, int size);
/* Is the database whole?  The answer goes into the fingerprint too. */
bool work_whole(struct work *w);
uint64_t work_misses(struct work *w);

/* speed.c: kinds of statements as in SQLite's own speed test (test/speedtest1.c, its main test set), about size * 5 rows. */
void speed_run(struct work *w, unsigned size);

/* mixed.c: the files of the installed packages */
void mixed_load(struct work *w, unsigned most);                  /* tables and indexes, at most so many files */
void mixed_read(struct work *w, unsigned ops);                   /* Zipf-distributed look-ups, and scans */
/* The same with changes, and changes taken back; and a VACUUM in the middle, with so much memory, unless that is 0. */
void mixed_run(struct work *w, unsigned ops, unsigned vacuum_kib);

#endif
