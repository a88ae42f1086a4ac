/* SPDX-License-Identifier: MIT */
/*
 * group.h - subjects that are compared: open at the same time, taking turns
 */
#ifndef BENCH_FAULT_GROUP_H
#define BENCH_FAULT_GROUP_H

#include "bench/fault/plan.h"

#define MAX_SUBJECTS 8
#define SMALL_PAGE_SHIFT 12

struct group_subject {
	struct subject subject;
	unsigned patterns; /* bit n: runs pattern n */
	int wanted;
};

struct group {
	const struct options *options;
	struct results *results;
	const struct streams *streams;
	struct group_subject subjects[MAX_SUBJECTS];
	unsigned n;
	int fd;
};

/* Add a subject that runs `patterns` with the defaults of the options; the caller may change its setup. */
struct group_subject *group_add(struct group *group, const struct impl *impl, enum kind kind, enum delivery delivery,
                                unsigned patterns);
/* Whether anybody wants one of its cases run; with --list: prints their names, and says no.  ops: bit n, enum op. */
int group_wanted(struct group *group, unsigned ops);
/* Open who is wanted, run all cases, close. */
void group_run(struct group *group, unsigned ops);

/* Does the command line ask for a case of this name? */
int name_matches(const struct options *options, const char *name);

/* When the plan began: --quick hurries by it. */
extern uint64_t started_ns;

#endif
