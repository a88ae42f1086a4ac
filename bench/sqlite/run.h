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
	unsigned lap;        /* operations */
	uint64_t seed;
};

struct result {
	int error;       /* SQLite's, or -errno of what came before */
	bool whole;      /* integrity_check */
	double seconds, cpu_seconds; /* of all threads, the library's too */
	struct laps laps;            /* of one thread */
	uint64_t print, rows, ops;
	uint64_t misses; /* SQLITE_DBSTATUS_CACHE_MISS */
	uint64_t refusals, beyond;
};

/* 0, or -errno if there is no result. */
int run_job(const struct job *job, struct result *ret_result);

#endif
