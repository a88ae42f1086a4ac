/* SPDX-License-Identifier: MIT */
/*
 * transfer.c - vectored pieces in and out of a file descriptor
 *
 * Pieces that lie side by side in the file become one preadv or pwritev (a run), of at most TRANSFER_IOVECS pieces.
 *
 * T1  A piece is reported as done only if every byte of it was transferred, or lies past the end of the file.
 * T2  A run that fails half-way is tried again piece by piece, so that only pieces that can't be transferred
 *     are reported as failed.
 * T3  A short transfer is continued from the start of the page where it stopped, which keeps O_DIRECT's alignment;
 *     one that makes no progress ends the run: at the end of the file when reading; when writing, with what the kernel
 *     says to a write of the very next byte, or -EIO.
 * T4  Once a batch it is looked at whether the descriptor is still the store's file (lib/sys/fd.h).
 *
 * Runs in signal handlers: no allocation, no lock; a run's iovecs are all of the stack it uses.
 */
#include "lib/store/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define TRANSFER_IOVECS 64

/* Bytes of a piece that take part. */
static size_t piece_length(const struct hmm__transfer *t, const struct hmm_store_vec *piece)
{
	if (!t->write || piece->offset + piece->length <= t->end)
		return piece->length;
	return piece->offset < t->end ? t->end - piece->offset : 0;
}

/* Describe the memory of a run from `from` bytes into it on; returns the number of iovecs. */
static int describe(const struct hmm__transfer *t, const struct hmm_store_vec *vec, unsigned n, uint64_t from,
                    struct iovec *iov)
{
	uint64_t start = 0;
	int used = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t length = piece_length(t, &vec[i]);
		size_t skip = from > start ? HMM__MIN(from - start, (uint64_t)length) : 0;

		if (skip < length)
			iov[used++] = (struct iovec){ (char *)vec[i].data + skip, length - skip };
		start += length;
	}
	return used;
}

static ssize_t call_once(const struct hmm__transfer *t, int fd, const struct iovec *iov, int n, uint64_t offset)
{
	hmm__store_count(&hmm__store_line(t->store)->system_calls, 1);
	return t->write ? hmm__sys_pwritev(fd, iov, n, (off_t)offset) : hmm__sys_preadv(fd, iov, n, (off_t)offset);
}

static ssize_t call(struct hmm__transfer *t, const struct iovec *iov, int n, uint64_t offset)
{
	ssize_t done = call_once(t, t->number, iov, n, offset);

	if (done == -EBADF) { /* closed since the look at the begin of the batch */
		t->number = hmm__fd_use(t->fd);
		done = t->number < 0 ? t->number : call_once(t, t->number, iov, n, offset);
	}
	if (done == -EINVAL && t->fd_plain >= 0) {
		int plain = hmm__fd_use(t->fd_plain);

		done = plain < 0 ? plain : call_once(t, plain, iov, n, offset);
	}
	return done;
}

/*
 * Transfer a run.  Returns how many bytes from its start are done; if not all, *ret_error is why: an error, or 0 for
 * the end of the file.
 */
static uint64_t transfer_run(struct hmm__transfer *t, const struct hmm_store_vec *vec, unsigned n, int *ret_error)
{
	struct iovec iov[TRANSFER_IOVECS];
	uint64_t page_mask = hmm_page_size() - 1;
	uint64_t total = 0, done = 0;
	bool exact = false;

	for (unsigned i = 0; i < n; i++)
		total += piece_length(t, &vec[i]);
	*ret_error = 0;
	while (done < total) {
		uint64_t from = exact ? done : done & ~page_mask;
		ssize_t moved = call(t, iov, describe(t, vec, n, from, iov), vec[0].offset + from);

		if (moved < 0) {
			*ret_error = (int)moved;
			break;
		}
		if (from + (uint64_t)moved > done) {
			done = from + (uint64_t)moved;
			exact = false;
		} else if (t->write && from < done) {
			exact = true;
		} else {
			*ret_error = t->write ? -EIO : 0;
			break;
		}
	}
	return done;
}

/* A piece that reaches past the end of the file, which lies `done` bytes into it. */
static int settle_at_end(const struct hmm__transfer *t, const struct hmm_store_vec *piece, uint64_t done)
{
	if (done == 0 && t->bounded)
		return -ENXIO;
	memset((char *)piece->data + done, 0, piece->length - done);
	return 0;
}

static int transfer_piece(struct hmm__transfer *t, struct hmm_store_vec *piece)
{
	int error;
	uint64_t done = transfer_run(t, piece, 1, &error);

	if (done < piece_length(t, piece) && error == 0)
		error = settle_at_end(t, piece, done);
	return error;
}

/* Set the error of each piece of a run of which the first `done` bytes were transferred. */
static void settle_run(struct hmm__transfer *t, struct hmm_store_vec *vec, unsigned n, uint64_t done, int error)
{
	uint64_t start = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t length = piece_length(t, &vec[i]);

		if (start + length <= done)
			vec[i].error = 0;
		else if (error == 0)
			vec[i].error = settle_at_end(t, &vec[i], done > start ? done - start : 0);
		else
			vec[i].error = n > 1 ? transfer_piece(t, &vec[i]) : error;
		start += length;
	}
}

/* How many pieces from vec[0] on lie side by side. */
static unsigned run_length(const struct hmm_store_vec *vec, unsigned n)
{
	unsigned i = 1;

	while (i < n && i < TRANSFER_IOVECS && vec[i].offset == vec[i - 1].offset + vec[i - 1].length)
		i++;
	return i;
}

int hmm__transfer(struct hmm__transfer *t, struct hmm_store_vec *vec, unsigned n)
{
	int first = 0;

	if (!n)
		return 0;
	t->number = hmm__fd_use(t->fd);
	if (t->number < 0)
		return hmm__transfer_all(vec, n, t->number);
	for (unsigned i = 0; i < n;) {
		unsigned run = run_length(vec + i, n - i);
		int error;
		uint64_t done = transfer_run(t, vec + i, run, &error);

		settle_run(t, vec + i, run, done, error);
		for (unsigned end = i + run; i < end; i++)
			if (first == 0)
				first = vec[i].error;
	}
	return first;
}

int hmm__transfer_all(struct hmm_store_vec *vec, unsigned n, int error)
{
	for (unsigned i = 0; i < n; i++)
		vec[i].error = error;
	return n > 0 ? error : 0;
}

int hmm__transfer_reopen(int number, int flags, bool callers)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", number);
	return callers ? hmm__sys_open_callers(path, flags | O_CLOEXEC, 0) : hmm__sys_open(path, flags | O_CLOEXEC, 0);
}
