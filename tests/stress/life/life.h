/* SPDX-License-Identifier: MIT */
/*
 * life.h - a process that does everything at once: the memory that its threads share, and the threads
 *
 * The *home* is a region of anonymous memory that children of fork(2) have a copy of.  Each of its pages belongs to one of
 * the owners, the only thread that writes it.  A page that was never written has one of four contents, so that the kernel
 * has something to merge; a written one carries its number and the sequence number of its write.
 */
#ifndef TESTS_STRESS_LIFE_H
#define TESTS_STRESS_LIFE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <hurd-mm/hurd-mm.h>

#include "tests/stress/life/watchdog.h"

#define LIFE_PAGES 3000u
#define LIFE_FRAMES 600u
#define LIFE_OWNERS 3u
#define LIFE_WORDS 4u /* of a page that are written and read, spread over it */

struct life {
	struct hmm_space *space;
	struct hmm_region *home;
	struct hmm_cache *cache;
	uint32_t delivery;
	uint64_t seed;
	uint64_t steps;                     /* of each owner: then all others end, too */
	_Atomic bool over;
	uint32_t *sequences;                /* of the home's pages, by their owners */
	_Atomic uint64_t signals, forks, cancelled, ended, mapped, checkpoints; /* how many there were */
};

extern struct life life;

/* Check's own assertions make a system call each, also when they hold, and a child of fork has nobody to tell. */
void life_wrong(const char *what, uint64_t page, uint64_t found) __attribute__((noreturn));

/* Any thread, also a signal handler and a child: the page has contents that it may have.  Returns its address. */
const void *life_look(struct beat *beat, uint64_t page);
/* The page's owner: it has the contents that were written last; new ones. */
void life_check_own(struct beat *beat, uint64_t page);
void life_write_own(struct beat *beat, uint64_t page);
/* A child of fork(2), of its copy. */
void life_write_copy(uint64_t page, uint32_t sequence);
void life_fill(void);
uint64_t life_random(uint64_t *state);

/* What threads do until the life is over; arg: a number, the thread's own. */
void *life_own(void *arg);         /* writes and reads pages of its own, reads others' */
void *life_fork(void *arg);        /* children that read, write, and have children */
void *life_cancel(void *arg);      /* threads that are cancelled at any moment */
void *life_end(void *arg);         /* threads that end */
void *life_map(void *arg);         /* regions that come and go, also in parts */
void *life_checkpoint(void *arg);  /* a cache: pins, changes, flushes */

/* SIGUSR1, which comes 5,000 times a second. */
void life_signal(int signal);

#endif
