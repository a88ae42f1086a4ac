/* SPDX-License-Identifier: MIT */
/*
 * store.c - the handle: references, dispatch to the callbacks, counters
 *
 * S1  A callback runs with all signals blocked and without any lock of the library.
 * S2  What a callback of the caller's reports is made consistent here: a call fails if and only if at least one of its
 *     pieces carries an error, and every error is negative.  The library's own stores keep to that themselves.
 * S3  destroy runs once, when the last reference goes, and never after a creation that failed.
 * S4  An extending write succeeds only for pieces of which every byte is in the store, or is a zero past the end of the
 *     page in which a store that can't grow ends.  A plain write leaves out what lies past the end, as a mapping of a file
 *     does; only regions ask for that.
 */
#include "lib/store/store.h"

#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/lock.h"
#include "lib/store/transfer.h"

/* What every table must at least hold. */
#define OPS_MINIMUM (offsetof(struct hmm_store_ops, write) + sizeof(((struct hmm_store_ops *)0)->write))

static void copy_name(struct hmm_store *store, const char *name)
{
	strncpy(store->name, name ? name : "callback", sizeof(store->name) - 1);
	store->ops.name = store->name;
}

void *hmm__store_new(size_t object_size, enum hmm__store_kind kind, uint32_t flags, const struct hmm_store_ops *ops)
{
	struct hmm_store *store = hmm__alloc(object_size);

	if (!store)
		return NULL;
	memcpy(&store->ops, ops, HMM__MIN(ops->size, sizeof(store->ops)));
	store->ops.size = sizeof(store->ops);
	if (!store->ops.granule)
		store->ops.granule = hmm_page_size();
	copy_name(store, ops->name);
	store->ctx = store;
	store->object_size = object_size;
	store->kind = kind;
	store->flags = flags;
	store->identity = (struct hmm__store_identity){ HMM__STORE_BY_HANDLE, (uintptr_t)store };
	atomic_init(&store->references, 1);
	return store;
}

void hmm__store_free(struct hmm_store *store)
{
	hmm__free(store, store->object_size);
}

static bool granule_fits(const struct hmm_store_ops *ops)
{
	bool known = ops->size >= offsetof(struct hmm_store_ops, granule) + sizeof(ops->granule);

	return !known || !(ops->granule & (ops->granule - 1));
}

int hmm_store_create(const struct hmm_store_ops *ops, void *ctx, struct hmm_store **ret_store)
{
	struct hmm_store *store;

	if (!ops || !ret_store || ops->size < OPS_MINIMUM || ops->version != HMM_STORE_VERSION)
		return -EINVAL;
	if (!ops->read || !ops->write || !granule_fits(ops))
		return -EINVAL;
	store = hmm__store_new(sizeof(*store), HMM__STORE_CALLBACK, HMM__STORE_WRITABLE, ops);
	if (!store)
		return -ENOMEM;
	store->ctx = ctx;
	store->heritage = store->ops.fork ? HMM__HERITAGE_ASK : HMM__HERITAGE_DISJOINT;
	*ret_store = store;
	return 0;
}

struct hmm_store *hmm_store_get(struct hmm_store *store)
{
	uint32_t before = atomic_fetch_add_explicit(&store->references, 1, memory_order_relaxed);

	assert(before > 0 && before < UINT32_MAX);
	(void)before;
	return store;
}

void hmm_store_put(struct hmm_store *store)
{
	sigset_t saved;

	if (!store || atomic_fetch_sub_explicit(&store->references, 1, memory_order_acq_rel) != 1)
		return;
	hmm__signals_block(&saved);
	if (store->ops.destroy)
		store->ops.destroy(store->ctx);
	hmm__store_free(store);
	hmm__signals_restore(&saved);
}

/* Make the result of a caller's callback consistent (S2). */
static int settle(struct hmm_store_vec *vec, unsigned n, int result)
{
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		if (vec[i].error > 0)
			vec[i].error = -EIO;
		if (first == 0)
			first = vec[i].error;
	}
	if (first == 0 && result != 0)
		return hmm__transfer_all(vec, n, result < 0 ? result : -EIO);
	return first;
}

static int dispatch(struct hmm_store *store, int (*transfer)(void *, struct hmm_store_vec *, unsigned),
                    struct hmm_store_vec *vec, unsigned n)
{
	if (store->kind != HMM__STORE_CALLBACK)
		return transfer(store->ctx, vec, n);
	hmm__transfer_all(vec, n, 0);
	return settle(vec, n, transfer(store->ctx, vec, n));
}

/* Bytes of the pieces that succeeded, and how many did not. */
static uint64_t tally(const struct hmm_store_vec *vec, unsigned n, uint64_t *ret_failed)
{
	uint64_t bytes = 0, failed = 0;

	for (unsigned i = 0; i < n; i++) {
		if (vec[i].error == 0)
			bytes += vec[i].length;
		else
			failed++;
	}
	*ret_failed = failed;
	return bytes;
}

int hmm__store_read(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n)
{
	struct hmm__store_line *line = hmm__store_line(store);
	int error = dispatch(store, store->ops.read, vec, n);
	uint64_t failed, bytes = tally(vec, n, &failed);

	hmm__store_count(&line->reads, 1);
	hmm__store_count(&line->bytes_read, bytes);
	if (failed)
		hmm__store_count(&line->read_errors, failed);
	return error;
}

/* How many pieces from the first on have all their bytes before the end, or only zeros behind it. */
static unsigned fitting(const struct hmm_store_vec *vec, unsigned n, uint64_t end)
{
	unsigned i = 0;

	while (i < n && vec[i].offset + vec[i].length <= end)
		i++;
	if (i < n && vec[i].offset < end) {
		size_t inside = (size_t)(end - vec[i].offset);

		i += hmm__all_zero((const char *)vec[i].data + inside, vec[i].length - inside);
	}
	return i;
}

/* S4, where the store can't grow: pieces are sorted, so those that lie past its end are the last ones. */
static int write_before_end(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n)
{
	uint64_t end;
	int error = hmm__store_length(store, &end), past = 0;
	unsigned fit;

	if (error)
		return hmm__transfer_all(vec, n, error);
	fit = fitting(vec, n, end);
	if (fit < n)
		past = hmm__transfer_all(vec + fit, n - fit, -ENOSPC);
	error = fit ? dispatch(store, store->ops.write, vec, fit) : 0;
	return error ? error : past;
}

static int extend(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n)
{
	if (store->ops.extend)
		return dispatch(store, store->ops.extend, vec, n);
	return store->ops.length ? write_before_end(store, vec, n) : dispatch(store, store->ops.write, vec, n);
}

static int counted_write(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n, bool extends)
{
	struct hmm__store_line *line = hmm__store_line(store);
	int error = !hmm__store_writable(store) ? hmm__transfer_all(vec, n, -EBADF)
	            : extends                   ? extend(store, vec, n)
	                                        : dispatch(store, store->ops.write, vec, n);
	uint64_t failed, bytes = tally(vec, n, &failed);

	hmm__store_count(&line->writes, 1);
	hmm__store_count(&line->bytes_written, bytes);
	if (failed)
		hmm__store_count(&line->write_errors, failed);
	return error;
}

int hmm__store_write(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n)
{
	return counted_write(store, vec, n, false);
}

int hmm__store_extend(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n)
{
	return counted_write(store, vec, n, true);
}

int hmm__store_renew(struct hmm_store *store, struct hmm_store **ret_store)
{
	struct hmm_store *own = NULL;
	int r = store->ops.fork ? store->ops.fork(store->ctx, &own) : -ENOTSUP;

	if (r)
		return r < 0 ? r : -EIO;
	*ret_store = own;
	return 0;
}

static int negative(int result)
{
	return result > 0 ? -EIO : result;
}

int hmm__store_sync(struct hmm_store *store, uint64_t offset, uint64_t length)
{
	return store->ops.sync ? negative(store->ops.sync(store->ctx, offset, length)) : 0;
}

int hmm__store_discard(struct hmm_store *store, uint64_t offset, uint64_t length)
{
	if (!store->ops.discard || length == 0)
		return 0;
	return negative(store->ops.discard(store->ctx, offset, length));
}

int hmm__store_length(struct hmm_store *store, uint64_t *ret_length)
{
	uint64_t length = UINT64_MAX;
	int error = store->ops.length ? negative(store->ops.length(store->ctx, &length)) : 0;

	if (error == 0)
		*ret_length = length;
	return error;
}

uint64_t hmm__store_capacity(struct hmm_store *store)
{
	uint64_t capacity = store->capacity ? store->capacity : UINT64_MAX, length;

	return hmm__store_length(store, &length) ? capacity : HMM__MIN(capacity, length);
}

static bool well_formed(const struct hmm_store *store, const struct hmm_store_vec *vec, unsigned n)
{
	uint64_t granule = hmm__store_granule(store), free_from = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!vec[i].data || vec[i].length == 0 || vec[i].offset < free_from)
			return false;
		if (!HMM__IS_ALIGNED(vec[i].offset | vec[i].length | (uintptr_t)vec[i].data, granule))
			return false;
		if (vec[i].length > INT64_MAX || vec[i].offset > INT64_MAX - vec[i].length)
			return false;
		free_from = vec[i].offset + vec[i].length;
	}
	return true;
}

static int checked_transfer(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n,
                            int (*transfer)(struct hmm_store *, struct hmm_store_vec *, unsigned))
{
	sigset_t saved;
	int error;

	if (n == 0)
		return 0;
	if (!vec || !well_formed(store, vec, n))
		return -EINVAL;
	hmm__signals_block(&saved);
	error = transfer(store, vec, n);
	hmm__signals_restore(&saved);
	return error;
}

int hmm_store_read(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n)
{
	return checked_transfer(store, vec, n, hmm__store_read);
}

int hmm_store_write(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n)
{
	return checked_transfer(store, vec, n, hmm__store_extend);
}

int hmm_store_sync(struct hmm_store *store, uint64_t offset, uint64_t length)
{
	sigset_t saved;
	int error;

	hmm__signals_block(&saved);
	error = hmm__store_sync(store, offset, length);
	hmm__signals_restore(&saved);
	return error;
}

int hmm_store_discard(struct hmm_store *store, uint64_t offset, uint64_t length)
{
	sigset_t saved;
	int error;

	if (!HMM__IS_ALIGNED(offset | length, hmm__store_granule(store)))
		return -EINVAL;
	if (length > INT64_MAX || offset > INT64_MAX - length)
		return -EINVAL;
	hmm__signals_block(&saved);
	error = hmm__store_discard(store, offset, length);
	hmm__signals_restore(&saved);
	return error;
}

int hmm_store_length(struct hmm_store *store, uint64_t *ret_length)
{
	sigset_t saved;
	int error;

	hmm__signals_block(&saved);
	error = hmm__store_length(store, ret_length);
	hmm__signals_restore(&saved);
	return error;
}

const char *hmm_store_name(const struct hmm_store *store)
{
	return store->name;
}

size_t hmm_store_granule(const struct hmm_store *store)
{
	return hmm__store_granule(store);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

int hmm_store_stats(struct hmm_store *store, struct hmm_store_stats *stats)
{
	struct hmm_store_stats sum = { .size = sizeof(sum) };
	sigset_t saved;

	for (unsigned i = 0; i < HMM__STORE_LINES; i++) {
		const struct hmm__store_line *line = &store->counts[i];

		sum.reads += load(&line->reads);
		sum.writes += load(&line->writes);
		sum.bytes_read += load(&line->bytes_read);
		sum.bytes_written += load(&line->bytes_written);
		sum.read_errors += load(&line->read_errors);
		sum.write_errors += load(&line->write_errors);
		sum.system_calls += load(&line->system_calls);
	}
	sum.direct = (store->flags & HMM__STORE_DIRECT) != 0;
	hmm__signals_block(&saved);
	if (store->bytes_held)
		sum.bytes_held = store->bytes_held(store->ctx);
	hmm__signals_restore(&saved);
	return hmm__stats_write(stats, &sum, sizeof(sum));
}
