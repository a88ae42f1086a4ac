/* SPDX-License-Identifier: MIT */
/*
 * transfer.h - vectored pieces in and out of a file descriptor; shared by file and swap stores
 */
#ifndef HMM_STORE_TRANSFER_H
#define HMM_STORE_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/store/store.h"

struct hmm__transfer {
	struct hmm_store *store; /* whose system calls are counted */
	int fd;       /* handles (lib/sys/fd.h) */
	int fd_plain; /* the same file without O_DIRECT, for what O_DIRECT refuses with EINVAL; or -1 */
	int number;   /* of fd, while the batch runs */
	bool write;
	bool bounded; /* reads: a piece wholly past the end of the file fails with -ENXIO; else it reads zeros */
	uint64_t end; /* writes: what lies at and past this offset is left out; UINT64_MAX: nothing is, and the file grows */
};

/* Transfer n pieces, sorted by offset.  Sets error of each; returns 0 or the first error. */
int hmm__transfer(struct hmm__transfer *t, struct hmm_store_vec *vec, unsigned n);

/* Give every piece the same error (or 0); returns it. */
int hmm__transfer_all(struct hmm_store_vec *vec, unsigned n, int error);

/*
 * A handle for the same file, with other flags (O_DIRECT, O_APPEND off); -errno where that is refused.  It is given by its
 * number, for who calls may have it from a caller of ours, to whom a number is no handle.  callers: the file is the caller's, who may have locked it.
 */
int hmm__transfer_reopen(int number, int flags, bool callers);

#endif
