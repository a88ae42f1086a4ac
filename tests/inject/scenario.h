/* SPDX-License-Identifier: MIT */
/*
 * scenario.h - one life of a space, in which anything may fail once
 *
 * Every step is tried again when it fails, and must succeed in the end; contents are checked throughout, and at the end
 * nothing may be left behind.  Runs in a process of its own (scenario_fork()), so that a hang or a crash is a result
 * too.
 */
#ifndef HMM_TESTS_SCENARIO_H
#define HMM_TESTS_SCENARIO_H

#include "tests/world.h"

struct scenario {
	enum world_backend backend;
	enum world_store kind;
	const char *what; /* for messages: what is made to fail */
	uint64_t nth;

	/* Called in the new process before the first step, after the stores were made, and after the last. */
	void (*arm)(struct scenario *s);
	void (*armed_stores)(struct scenario *s);
	/* True: the failure's turn never came, because there are fewer calls than nth. */
	bool (*disarm)(struct scenario *s);

	/* what the run made */
	struct hmm_mock *mock;
	struct hmm_store *swap;  /* a filter that can fail */
	struct hmm_store *store; /* likewise; NULL: anonymous */
	int fd;
	struct hmm_space *space;
	struct hmm_region *region;
	uint8_t *base;
	unsigned site;      /* the caller's */
	int error;
	unsigned failures;  /* steps that failed, and were tried again */
};

enum scenario_end {
	SCENARIO_PASSED,
	SCENARIO_BEYOND, /* passed, and nth was beyond the last call */
	SCENARIO_FAILED,
	SCENARIO_HUNG
};

/* Run it in a child; a child that takes far too long is killed. */
enum scenario_end scenario_fork(struct scenario *s);

#endif
