/* SPDX-License-Identifier: MIT */
/*
 * run.h - one workload under one page cache, in a process of its own
 *
 * SQLite's page cache is the process's, so who compares must fork.  The parent never calls SQLite.
 */
#ifndef HMM_BENCH_SQLITE_RUN_H
#define HMM_BENCH_SQLITE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "work.h"

enum kind { LOAD, SPEED, READ, MIXED };

struct job {
	enum kind kind;
	const char *policy; /* NULL: SQLite's own page cache */
	const char *file;   /* the database; READ uses it, MIXED changes it, SPEED and LOAD make it */
	uint64_t memory;    /* bytes for pages, and what belongs to them */
	unsigned amount;    /* rows, files or operations */
	unsigned warm;      /* operations before the clock runs */
	unsigned threads;   /* connections, READ only; each gets its part of SQLite's cache */
	unsigned lap;       /* operations */
	uint64_t seed;
};

struct result {
	int error;       /* SQLite's, or -errno of what was not SQLite's */
	bool whole;      /* integrity_check */
	struct laps laps; /* processor time; with several threads the time by the clock until all were there */
	uint64_t print, rows, ops;
	uint64_t misses; /* SQLITE_DBSTATUS_CACHE_MISS */
	uint64_t refusals, beyond;
	uint64_t peak;   /* bytes: the most that SQLite had allocated, and with a space its budget and its books */
};

/* In a process of its own.  0, or -errno; if the process ended before it was done, that is an error of the result. */
int run_job(const struct job *job, struct result *ret_result);
/* Several, each in a process of its own, in turns, lap by lap. */
#define JOBS_MAX 24u
int run_jobs(const struct job *jobs, unsigned n, struct result *ret_results);

/* Between run.c and turns.c: in the job's process */
struct ends;
void run_here(const struct job *job, const struct ends *ends, struct result *r);
void turns_pass(const struct ends *ends); /* another one works now; returns when it is this one's turn again */

#endif
