/* SPDX-License-Identifier: MIT */
/*
 * memory.c - memory as a store: the reference against which others are tested
 *
 * M1  A page is read from the table only if it was written; a bit a page tells.  So reading what was never
 *     written touches no memory, and what the store occupies is known by counting bits.
 * M2  What was not written of a page that was is zero in the table.
 *
 * Pieces of calls that run at once don't overlap (the caller's duty), so only the bits need to be atomic.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/arena.h"
#include "lib/store/store.h"
#include "lib/store/transfer.h"
#include "lib/sys/sys.h"

struct memory {
	struct hmm_store store;
	char *table;                /* (i) */
	_Atomic uint64_t *written;  /* (a) one bit a page */
	uint64_t limit;             /* (i) bytes */
	size_t table_size;          /* (i) */
	size_t written_size;        /* (i) */
	_Atomic uint64_t pages;     /* (a) bits that are set */
};

static bool is_written(struct memory *memory, uint64_t page)
{
	return atomic_load_explicit(&memory->written[page / 64], memory_order_acquire) >> (page % 64) & 1;
}

static void set_written(struct memory *memory, uint64_t page)
{
	uint64_t bit = (uint64_t)1 << (page % 64);

	if (!(atomic_fetch_or_explicit(&memory->written[page / 64], bit, memory_order_release) & bit))
		atomic_fetch_add_explicit(&memory->pages, 1, memory_order_relaxed);
}

static void clear_written(struct memory *memory, uint64_t page)
{
	uint64_t bit = (uint64_t)1 << (page % 64);

	if (atomic_fetch_and_explicit(&memory->written[page / 64], ~bit, memory_order_acq_rel) & bit)
		atomic_fetch_sub_explicit(&memory->pages, 1, memory_order_relaxed);
}

static int memory_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct memory *memory = ctx;
	size_t size = hmm_page_size();

	for (unsigned i = 0; i < n; i++) {
		vec[i].error = 0;
		for (size_t done = 0, part; done < vec[i].length; done += part) {
			uint64_t from = vec[i].offset + done;
			char *to = (char *)vec[i].data + done;

			part = HMM__MIN(size - from % size, vec[i].length - done);
			if (from < memory->table_size && is_written(memory, from / size))
				memcpy(to, memory->table + from, part);
			else
				memset(to, 0, part);
		}
	}
	return 0;
}

static int memory_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct memory *memory = ctx;
	size_t size = hmm_page_size();
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		vec[i].error = vec[i].offset + vec[i].length > memory->limit ? -ENOSPC : 0;
		if (vec[i].error) {
			first = first ? first : vec[i].error;
			continue;
		}
		memcpy(memory->table + vec[i].offset, vec[i].data, vec[i].length);
		for (uint64_t page = vec[i].offset / size; page * size < vec[i].offset + vec[i].length; page++)
			set_written(memory, page);
	}
	return first;
}

/* A part of a page. */
static void zero(struct memory *memory, uint64_t offset, uint64_t end)
{
	if (offset < end && is_written(memory, offset / hmm_page_size()))
		memset(memory->table + offset, 0, end - offset);
}

static int memory_discard(void *ctx, uint64_t offset, uint64_t length)
{
	struct memory *memory = ctx;
	uint64_t end = HMM__MIN(offset + length, (uint64_t)memory->table_size);
	size_t size = hmm_page_size();
	uint64_t first = HMM__ALIGN_UP(offset, size), last = end & ~(uint64_t)(size - 1);

	if (offset >= end)
		return 0;
	zero(memory, offset, HMM__MIN(first, end));
	zero(memory, HMM__MAX(last, first), end);
	if (first >= last)
		return 0;
	for (uint64_t from = first; from < last; from += size)
		clear_written(memory, from / size);
	return hmm__sys_madvise_drop(memory->table + first, last - first);
}

static uint64_t memory_bytes_held(void *ctx)
{
	struct memory *memory = ctx;

	return atomic_load_explicit(&memory->pages, memory_order_relaxed) * hmm_page_size();
}

static void memory_destroy(void *ctx)
{
	struct memory *memory = ctx;

	if (memory->table)
		hmm__sparse_free(memory->table, memory->table_size);
	if (memory->written)
		hmm__sparse_free(memory->written, memory->written_size);
}

static const struct hmm_store_ops memory_ops = {
	.size = sizeof(memory_ops),
	.version = HMM_STORE_VERSION,
	.name = "memory",
	.read = memory_read,
	.write = memory_write,
	.discard = memory_discard,
	.destroy = memory_destroy,
	.granule = HMM__STORE_SECTOR,
};

int hmm_store_memory(uint64_t limit, struct hmm_store **ret_store)
{
	size_t page = hmm_page_size();
	struct memory *memory;

	if (limit == 0 || !ret_store)
		return -EINVAL;
	if (limit > INT64_MAX - page)
		return -ENOMEM;
	memory = hmm__store_new(sizeof(*memory), HMM__STORE_MEMORY, HMM__STORE_WRITABLE, &memory_ops);
	if (!memory)
		return -ENOMEM;
	memory->limit = memory->store.capacity = limit;
	memory->store.heritage = HMM__HERITAGE_PRIVATE;
	memory->table_size = HMM__ALIGN_UP(limit, page);
	memory->written_size = HMM__ALIGN_UP(memory->table_size / page / 8 + 8, page);
	memory->table = hmm__sparse_alloc(memory->table_size);
	memory->written = hmm__sparse_alloc(memory->written_size);
	memory->store.bytes_held = memory_bytes_held;
	if (!memory->table || !memory->written) {
		memory_destroy(memory);
		hmm__store_free(&memory->store);
		return -ENOMEM;
	}
	*ret_store = &memory->store;
	return 0;
}
