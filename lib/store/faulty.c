/* SPDX-License-Identifier: MIT */
/*
 * faulty.c - a filter that makes another store fail, short or slow
 *
 * A call first draws its lot under the lock, then transfers without it.  The random numbers are drawn in the
 * order of the calls, so one thread with one seed always sees the same failures.
 *
 * Q1  A piece that fails was not transferred by this call.
 * Q2  A change of faults ends the delay of every call under way: a test can hold a call for as long as it
 *     likes and let it go on at a moment of its choosing.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/futex.h"
#include "lib/base/lock.h"
#include "lib/store/store.h"
#include "lib/store/transfer.h"

/* Key: (i) fixed at creation  (l) lock */
struct faulty {
	struct hmm_store store;
	struct hmm_store *inner;      /* (i) a reference */
	struct hmm__lock lock;
	struct hmm_store_fault fault; /* (l) */
	uint64_t reads, writes;       /* (l) since the faults were set */
	uint64_t random;              /* (l) */
	_Atomic uint32_t generation;  /* written under the lock; counts changes of faults */
};

/* What one call is to suffer. */
struct lot {
	int error; /* 0: none */
	bool half; /* the first half of the pieces succeeds */
	uint64_t delay_ns;
	uint32_t generation;
};

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static struct lot draw(struct faulty *faulty, bool write)
{
	const struct hmm_store_fault *fault = &faulty->fault;
	struct lot lot = { .error = 0 };
	uint64_t count, nth;
	uint32_t per_million;
	bool fails;

	hmm__lock(&faulty->lock);
	count = write ? ++faulty->writes : ++faulty->reads;
	nth = write ? fault->write_nth : fault->read_nth;
	per_million = write ? fault->write_per_million : fault->read_per_million;
	fails = nth && (count == nth || (fault->repeat && count > nth));
	if (per_million && next_random(&faulty->random) % 1000000 < per_million)
		fails = true;
	if (fails)
		lot.error = fault->error ? fault->error : -EIO;
	lot.half = fault->short_transfer;
	lot.delay_ns = fault->delay_ns;
	lot.generation = atomic_load_explicit(&faulty->generation, memory_order_relaxed);
	hmm__unlock(&faulty->lock);
	return lot;
}

static void delay(struct faulty *faulty, const struct lot *lot)
{
	uint64_t start = hmm__now_ns(), passed = 0;

	while (passed < lot->delay_ns) {
		uint64_t left = lot->delay_ns == UINT64_MAX ? UINT64_MAX : lot->delay_ns - passed;
		int error = hmm__futex_wait(&faulty->generation, lot->generation, left);

		if (error == -ETIMEDOUT)
			return;
		if (atomic_load_explicit(&faulty->generation, memory_order_acquire) != lot->generation)
			return;
		passed = hmm__now_ns() - start;
	}
}

static int suffer(struct faulty *faulty, const struct lot *lot, struct hmm_store_vec *vec, unsigned n,
                  int (*transfer)(struct hmm_store *, struct hmm_store_vec *, unsigned))
{
	unsigned good = lot->error == 0 ? n : lot->half ? n / 2 : 0;
	int error;

	delay(faulty, lot);
	error = good ? transfer(faulty->inner, vec, good) : 0;
	if (good < n)
		hmm__transfer_all(vec + good, n - good, lot->error);
	return error ? error : lot->error;
}

static int faulty_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct lot lot = draw(ctx, false);

	return suffer(ctx, &lot, vec, n, hmm__store_read);
}

static int faulty_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct lot lot = draw(ctx, true);

	return suffer(ctx, &lot, vec, n, hmm__store_write);
}

static int faulty_extend(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct lot lot = draw(ctx, true);

	return suffer(ctx, &lot, vec, n, hmm__store_extend);
}

static int faulty_sync(void *ctx, uint64_t offset, uint64_t length)
{
	struct faulty *faulty = ctx;

	return hmm__store_sync(faulty->inner, offset, length);
}

static int faulty_discard(void *ctx, uint64_t offset, uint64_t length)
{
	struct faulty *faulty = ctx;

	return hmm__store_discard(faulty->inner, offset, length);
}

static int faulty_length(void *ctx, uint64_t *ret_length)
{
	struct faulty *faulty = ctx;

	return hmm__store_length(faulty->inner, ret_length);
}

static uint64_t faulty_bytes_held(void *ctx)
{
	struct faulty *faulty = ctx;

	return faulty->inner->bytes_held ? faulty->inner->bytes_held(faulty->inner->ctx) : 0;
}

static void faulty_destroy(void *ctx)
{
	struct faulty *faulty = ctx;

	hmm_store_put(faulty->inner);
}

/* Wraps what the inner store gives the child, with the same faults and as many calls behind it. */
static int faulty_fork(void *ctx, struct hmm_store **ret_store)
{
	struct faulty *faulty = ctx, *own;
	struct hmm_store *inner = NULL, *store;
	int r = hmm__store_renew(faulty->inner, &inner);

	if (r || !inner)
		return r;
	r = hmm_store_faulty(inner, &store);
	hmm_store_put(inner);
	if (r)
		return r;
	own = (struct faulty *)store;
	own->fault = faulty->fault;
	own->reads = faulty->reads;
	own->writes = faulty->writes;
	own->random = faulty->random;
	*ret_store = store;
	return 0;
}

static void faulty_keep(void *ctx)
{
	struct faulty *faulty = ctx;

	faulty->inner->keep(faulty->inner->ctx);
}

static const struct hmm_store_ops faulty_ops = {
	.size = sizeof(faulty_ops),
	.version = HMM_STORE_VERSION,
	.name = "faulty",
	.read = faulty_read,
	.write = faulty_write,
	.sync = faulty_sync,
	.discard = faulty_discard,
	.length = faulty_length,
	.extend = faulty_extend,
	.destroy = faulty_destroy,
	.fork = faulty_fork,
};

int hmm_store_faulty(struct hmm_store *inner, struct hmm_store **ret_store)
{
	struct faulty *faulty;

	if (!inner || !ret_store)
		return -EINVAL;
	faulty = hmm__store_new(sizeof(*faulty), HMM__STORE_FAULTY, inner->flags, &faulty_ops);
	if (!faulty)
		return -ENOMEM;
	faulty->inner = hmm_store_get(inner);
	faulty->store.ops.granule = inner->ops.granule;
	faulty->store.identity = inner->identity;
	faulty->store.bytes_held = faulty_bytes_held;
	faulty->store.capacity = inner->capacity;
	faulty->store.heritage = inner->heritage;
	faulty->store.keep = inner->keep ? faulty_keep : NULL;
	hmm__lock_init(&faulty->lock, HMM__RANK_STORE);
	*ret_store = &faulty->store;
	return 0;
}

int hmm_store_set_fault(struct hmm_store *store, const struct hmm_store_fault *fault)
{
	struct faulty *faulty = (struct faulty *)store;
	struct hmm_store_fault known;
	sigset_t saved;
	int error;

	if (!store || store->kind != HMM__STORE_FAULTY)
		return -EINVAL;
	error = hmm__options_read(&known, sizeof(known), fault);
	if (error)
		return error;
	if (known.error > 0 || known.read_per_million > 1000000 || known.write_per_million > 1000000 || known.reserved)
		return -EINVAL;
	hmm__signals_block(&saved);
	hmm__lock(&faulty->lock);
	faulty->fault = known;
	faulty->reads = faulty->writes = 0;
	faulty->random = known.seed;
	atomic_fetch_add_explicit(&faulty->generation, 1, memory_order_release);
	hmm__unlock(&faulty->lock);
	hmm__futex_wake(&faulty->generation, INT32_MAX);
	hmm__signals_restore(&saved);
	return 0;
}
