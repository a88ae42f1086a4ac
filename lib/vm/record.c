/* SPDX-License-Identifier: MIT */
/*
 * record.c - the trace of a real run: references, discards and hints, in the order in which the space saw them
 *
 * Owns: a ring of words in memory, and the file they go to.  Format: "what the pager records" in tools/README.md.
 *
 * Q1  Words enter the ring under the space's lock, which the fault path holds anyway where the policy hears of a miss or a
 *     touch: their order is that of the policy's calls, and the fault path takes no lock and makes no call for them.  (A
 *     first write to a clean page takes the lock for it, for the policy does not hear of those.)
 * Q2  Only the flusher moves tail; only one thread at a time is the flusher (busy).  It writes without any lock.
 * Q3  A full ring drops what comes, whole records only, and counts it; nobody waits for the file.
 * Q4  An error of the file ends the recording: one event, and what comes is counted as dropped.  The file then ends with
 *     whole words, as far as the system let them be written.
 * Q5  A forked child has neither the file nor the words that its parent had not written yet.
 */
#include "lib/vm/record.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define RING (UINT64_C(1) << 17) /* words: a third of a second of 300,000 faults/s */
#define WAKE (RING / 4)          /* the flusher is woken each time so many words have come */
#define VARIABLE "HURD_MM_RECORD"
#define KIND_BITS 16             /* of a hint, below its value */
#define PAYLOAD_MASK (UINT64_MAX >> 2)

struct hmm__record {
	int fd;                   /* (i) a handle (lib/sys/fd.h) */
	_Atomic uint64_t head;    /* words ever put; (s) */
	_Atomic uint64_t tail;    /* words written to the file; the flusher */
	_Atomic uint64_t dropped; /* (s) */
	uint32_t part;            /* bytes of the word at tail that are written; the flusher */
	_Atomic uint32_t busy;    /* there is a flusher */
	_Atomic int error;        /* ended the recording */
	uint64_t words[RING];
};

static _Atomic uint32_t spaces_by_variable;
static _Atomic bool in_child;

/* "%p" is the process, "%%" a percent sign.  number > 1: ".NUMBER" behind it. */
static int expand(const char *name, uint32_t number, char *path, size_t size)
{
	bool has_pid = false;
	size_t n = 0;
	int more;

	for (; *name && n < size; name++) {
		if (name[0] == '%' && name[1] == 'p') {
			n += (size_t)snprintf(path + n, size - n, "%d", (int)getpid());
			has_pid = true;
			name++;
		} else {
			name += name[0] == '%' && name[1] == '%';
			path[n++] = *name;
		}
	}
	if (n >= size)
		return -ENAMETOOLONG;
	path[n] = '\0';
	/* the parent's number goes on from the same value: the names must differ all the same */
	if (atomic_load(&in_child) && !has_pid && number) {
		more = snprintf(path + n, size - n, ".%d", (int)getpid());
		n += (size_t)more;
	}
	if (n < size && number > 1)
		n += (size_t)snprintf(path + n, size - n, ".%u", number);
	return n < size ? 0 : -ENAMETOOLONG;
}

static int open_file(const char *name, uint32_t number, int *ret_fd)
{
	char path[PATH_MAX];
	int r = expand(name, number, path, sizeof(path));

	if (!r)
		r = hmm__sys_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0666);
	if (r < 0)
		return r;
	*ret_fd = r;
	return 0;
}

static void report(struct hmm_space *space, int error)
{
	hmm__event(space, HMM_EVENT_RECORD_ERROR, NULL, 0, 0, error, "the trace can't be written");
}

int hmm__record_open(struct hmm_space *space, const char *name, struct hmm__record **ret_record)
{
	const char *variable = name ? NULL : secure_getenv(VARIABLE);
	struct hmm__record *record;
	int fd = -1, r;

	*ret_record = NULL;
	if (!name && (!variable || !variable[0]))
		return 0;
	r = name ? open_file(name, 0, &fd) : open_file(variable, atomic_fetch_add(&spaces_by_variable, 1) + 1, &fd);
	record = r ? NULL : hmm__sparse_alloc(sizeof(*record));
	if (!r && !record) {
		hmm__sys_close(fd);
		r = -ENOMEM;
	}
	if (r && !name) { /* whoever set the variable did not write the program: it runs as without */
		report(space, r);
		return 0;
	}
	if (r)
		return r;
	hmm__fd_keep(&fd, 1);
	record->fd = fd;
	*ret_record = record;
	return 0;
}

static bool take_room(struct hmm_space *space, uint64_t n)
{
	struct hmm__record *record = space->record;
	uint64_t head = atomic_load_explicit(&record->head, memory_order_relaxed);

	if (head + n - atomic_load_explicit(&record->tail, memory_order_acquire) <= RING &&
	    !atomic_load_explicit(&record->error, memory_order_relaxed))
		return true;
	atomic_fetch_add_explicit(&record->dropped, 1, memory_order_relaxed);
	return false;
}

static void put_words(struct hmm_space *space, const uint64_t *words, uint64_t n)
{
	struct hmm__record *record = space->record;
	uint64_t head = atomic_load_explicit(&record->head, memory_order_relaxed);

	for (uint64_t i = 0; i < n; i++)
		record->words[(head + i) % RING] = htole64(words[i]);
	atomic_store_explicit(&record->head, head + n, memory_order_release);
	if (HMM__UNLIKELY(head / WAKE != (head + n) / WAKE))
		hmm__reclaimer_wake(space);
}

void hmm__record_put(struct hmm_space *space, uint64_t page_id, enum hmm__record_op op)
{
	uint64_t word = page_id << 2 | op;

	if (take_room(space, 1))
		put_words(space, &word, 1);
}

void hmm__record_put_hint(struct hmm_space *space, uint64_t page_id, uint64_t npages, enum hmm_hint hint, int64_t value)
{
	uint64_t what = (uint64_t)value << KIND_BITS | ((uint64_t)hint & ((1u << KIND_BITS) - 1));
	uint64_t words[] = {
		page_id << 2 | HMM__RECORD_HINT,
		(npages & PAYLOAD_MASK) << 2 | HMM__RECORD_HINT,
		what << 2 | HMM__RECORD_HINT,
	};

	if (take_room(space, HMM__ARRAY_SIZE(words)))
		put_words(space, words, HMM__ARRAY_SIZE(words));
}

/* One write: as much as lies in one piece in the ring.  False: there is no more to be done now. */
static bool write_some(struct hmm_space *space, struct hmm__record *record)
{
	uint64_t tail = atomic_load_explicit(&record->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&record->head, memory_order_acquire), n = head - tail;
	ssize_t r;
	int fd;

	n = HMM__MIN(n, RING - tail % RING);
	if (!n)
		return false;
	fd = hmm__fd_use(record->fd);
	r = fd < 0 ? fd : hmm__sys_write(fd, (const char *)&record->words[tail % RING] + record->part,
	                                 n * sizeof(record->words[0]) - record->part);
	if (r == -EINTR)
		return true;
	if (r == -EAGAIN)
		return false; /* a pipe that its owner made non-blocking: later */
	if (r <= 0) {
		atomic_store_explicit(&record->error, r ? (int)r : -EIO, memory_order_relaxed);
		report(space, r ? (int)r : -EIO);
		return false;
	}
	r += record->part;
	record->part = (uint32_t)((size_t)r % sizeof(record->words[0]));
	atomic_store_explicit(&record->tail, tail + (size_t)r / sizeof(record->words[0]), memory_order_release);
	return true;
}

void hmm__record_flush(struct hmm_space *space)
{
	struct hmm__record *record = space->record;
	uint32_t none = 0;

	if (!record || !atomic_compare_exchange_strong(&record->busy, &none, 1))
		return;
	while (!atomic_load(&record->error) && write_some(space, record))
		;
	atomic_store(&record->busy, 0);
}

void hmm__record_close(struct hmm_space *space)
{
	struct hmm__record *record = space->record;

	if (!record)
		return;
	hmm__record_flush(space);
	space->record = NULL;
	hmm__sys_close(record->fd);
	hmm__sparse_free(record, sizeof(*record));
}

void hmm__record_forked(struct hmm_space *space)
{
	atomic_store(&in_child, true);
	if (!space->record)
		return;
	hmm__sys_close(space->record->fd);
	hmm__sparse_free(space->record, sizeof(*space->record));
	space->record = NULL;
}

void hmm__record_stats(struct hmm_space *space, uint64_t *ret_recorded, uint64_t *ret_dropped)
{
	struct hmm__record *record = space->record;

	*ret_recorded = record ? atomic_load_explicit(&record->head, memory_order_relaxed) : 0;
	*ret_dropped = record ? atomic_load_explicit(&record->dropped, memory_order_relaxed) : 0;
}

uint64_t hmm__record_bytes(const struct hmm_space *space)
{
	return space->record ? sizeof(*space->record) : 0;
}
