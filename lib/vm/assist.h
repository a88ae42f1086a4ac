/* SPDX-License-Identifier: MIT */
/*
 * assist.h - a long run of pages, loaded by two threads
 *
 * Who faults in a sequential stream loads the run in chunks; a thread of the space's, the assistant, takes chunks from
 * the other side of the work at the same time.  There is one job a space: while the assistant is busy, or no CPU is
 * left for it, faulting threads load alone.
 *
 * A1  The job's fields belong to whoever moved its state from IDLE to OFFERING.  OFFERED becomes TAKEN by the assistant,
 *     or OFFERING again by who offered, when all is done and the assistant never came.  Each of the two leaves the job once; the
 *     last makes it IDLE.
 * A2  From OFFERED to IDLE the job holds a reference to its region: fork, unmapping and the end of the space wait.
 * A3  Chunks are handed out by one atomic addition, so none is loaded twice; whoever finds a page that is not absent
 *     leaves it, as with any run.
 */
#ifndef HMM_VM_ASSIST_H
#define HMM_VM_ASSIST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct hmm_region;
struct hmm_space;

/* Pages [first, end) to load in chunks.  Each chunk first evicts what lies `behind` pages before it, if that is not 0. */
struct hmm__run {
	struct hmm_region *region;
	uint64_t first, end, chunk, behind;
};

struct hmm__assist {
	_Atomic uint32_t state;      /* futex: A1 */
	_Atomic uint32_t stop;
	_Atomic uint32_t withdrawn;  /* offers in a row that nobody took */
	_Atomic uint32_t skip;       /* offers not to make, for that reason */
	_Atomic uint32_t users;      /* who have not left the job */
	struct hmm__run run;
	_Atomic uint64_t next;       /* page: the next chunk */
	pthread_t thread;
	bool runs;
};

int hmm__assist_start(struct hmm_space *space); /* 0 also where there is no second CPU */
void hmm__assist_stop(struct hmm_space *space);
void hmm__assist_reset(struct hmm_space *space); /* in a forked child: there is no such thread */

/*
 * The page was asked for, and is LOADING and the caller's: load it and `ahead` pages more, and evict `behind` pages before them.
 * Returns pages loaded or left to the assistant; 0: the page could not be had, and is still the caller's.
 */
uint64_t hmm__assist_run(struct hmm_region *region, uint64_t page, uint64_t ahead, uint64_t behind);

#endif
