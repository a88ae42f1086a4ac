/* SPDX-License-Identifier: MIT */
/*
 * fd.h - the library's descriptors: where they lie, and whether a number is still ours
 *
 * A program closes descriptors that it does not know, and puts its own files in their place.  So what the wrappers of
 * sys.h open is a *handle*: the number that it got at first, which names it for as long as the library has it.  The
 * number that it has now is usually the same one.
 */
#ifndef HMM_SYS_FD_H
#define HMM_SYS_FD_H

#include <stdbool.h>
#include <stdint.h>

/* Tells regular files, devices, pipes and sockets apart.  All anonymous inodes (eventfd, userfaultfd) have the same. */
struct hmm__file_id {
	uint64_t dev;
	uint64_t ino;
	uint64_t born; /* ns; 0: the file system does not tell */
};

int hmm__sys_file_id(int number, struct hmm__file_id *ret_id); /* never asks a server */

static inline bool hmm__file_id_equal(const struct hmm__file_id *a, const struct hmm__file_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && (a->born == b->born || !a->born || !b->born);
}

/*
 * For the wrappers that open: take over a number.  It moves to a high one and is entered in the table; on failure it is
 * closed.  -errno passes.  callers: the file is the caller's, see fd.c (D3).
 */
int hmm__fd_own(int number, bool callers);
/* A high number for the file of `number`, which stays as it is, entered in the table. */
int hmm__fd_own_copy(int number, bool callers);

/*
 * Keep n handles out of the program's reach, so that they can be recovered.  Without success where the system does not
 * let us.  May sleep; not on the fault path.  -1 is accepted.
 */
void hmm__fd_keep(const int *handles, unsigned n);

bool hmm__fd_is_kept(int handle);

/* The number that a handle has, unchecked; a number that is no handle is itself. */
int hmm__fd_number(int handle);

/*
 * Before I/O: the number, after a look whether it is still our file (its identity).  If not, it is recovered; else
 * -EBADF, or what recovering said, and one line on stderr.  A number that is no handle is itself.  One system call.
 * Async-signal-safe.
 */
int hmm__fd_use(int handle);
/* The same with the open file itself compared: tells anonymous inodes apart.  Some system calls. */
int hmm__fd_use_exact(int handle);

/* Close n handles, those whose number is still ours.  May sleep.  -1 is accepted. */
void hmm__fd_close(const int *handles, unsigned n);

/* A line on stderr, if that is still what it was when the library was loaded. */
void hmm__fd_say(const char *line);

/* Threads that keep descriptors: 0 or 1. */
int hmm__fd_threads(void);

/* For keeper.c: a forked child may have inherited the lock as taken. */
void hmm__fd_forked(void);

#endif
