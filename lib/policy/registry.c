/* SPDX-License-Identifier: MIT */
/*
 * registry.c - policies by name
 *
 * R1  A name is registered once and stays for the life of the process; what lookup returns is valid for good.
 * R2  The table kept is a copy of full size: what an older, smaller table lacks is NULL, what a newer one has beyond
 *     our knowledge is left out.
 * R3  The library's own policies come first; they are registered by the first call of any kind.
 * Memory is the arena's: malloc may live in a region of ours, and a page fault must not happen under the lock.
 */
#include "lib/policy/registry.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/lock.h"
#include "lib/base/util.h"
#include "lib/policy/instance.h"

#define HASH_NONFATAL_OOM 1
#define uthash_malloc(size) hmm__alloc(size)
#define uthash_free(object, size) hmm__free(object, size)
#include <uthash.h>

struct entry {
	struct hmm_policy_ops ops;
	const struct hmm_policy_ops *origin; /* the table this is a copy of */
	UT_hash_handle hh;                   /* by ops.name; the handle's list keeps the order */
};

static struct hmm__lock registry_lock = HMM__LOCK_INIT(HMM__RANK_REGISTRY);
static struct entry *registry;  /* registry lock */
static bool has_builtins;       /* registry lock */

static bool name_is_valid(const char *name)
{
	size_t length = name != NULL ? strnlen(name, HMM__POLICY_NAME_MAX + 1) : 0;

	return length > 0 && length <= HMM__POLICY_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

/* The required hooks end with removed: a smaller table can't have them all. */
static int copy_ops(const struct hmm_policy_ops *ops, struct hmm_policy_ops *copy)
{
	if (ops->size < offsetof(struct hmm_policy_ops, removed) + sizeof(ops->removed) ||
	    ops->version != HMM_POLICY_VERSION)
		return -EINVAL;
	memset(copy, 0, sizeof(*copy));
	memcpy(copy, ops, HMM__MIN(ops->size, sizeof(*copy)));
	copy->size = sizeof(*copy);
	if (!name_is_valid(copy->name) || copy->start == NULL || (copy->state_size == NULL && copy->sizes == NULL) ||
	    (copy->inserted == NULL && copy->placed == NULL) || copy->choose == NULL || copy->evicted == NULL ||
	    copy->rejected == NULL || copy->removed == NULL)
		return -EINVAL;
	if (copy->summary == NULL)
		copy->summary = "";
	return 0;
}

static struct entry *find_locked(const char *name, size_t length)
{
	struct entry *entry;

	HASH_FIND(hh, registry, name, length, entry);
	return entry;
}

static int add_locked(const struct hmm_policy_ops *ops)
{
	struct entry *entry = hmm__alloc(sizeof(*entry));
	int r;

	if (entry == NULL)
		return -ENOMEM;
	r = copy_ops(ops, &entry->ops);
	if (r == 0 && find_locked(entry->ops.name, strlen(entry->ops.name)) != NULL)
		r = -EEXIST;
	if (r == 0) {
		entry->origin = ops;
		HASH_ADD_KEYPTR(hh, registry, entry->ops.name, strlen(entry->ops.name), entry);
		if (entry->hh.tbl == NULL) /* out of memory; the table is as it was */
			r = -ENOMEM;
	}
	if (r != 0)
		hmm__free(entry, sizeof(*entry));
	return r;
}

static int add_builtins_locked(void)
{
	static const struct hmm_policy_ops *const builtins[] = {
		&hmm__policy_fifo, &hmm__policy_clock, &hmm__policy_lru, &hmm__policy_clock2,
		&hmm__policy_random, &hmm__policy_mru, &hmm__policy_sieve,
		&hmm__policy_s3fifo, &hmm__policy_s3fifo_v0,
		&hmm__policy_2q, &hmm__policy_arc, &hmm__policy_car,
		&hmm__policy_lirs, &hmm__policy_clockpro, &hmm__policy_clockpro_adaptive, &hmm__policy_lru2,
		&hmm__policy_wtinylfu, &hmm__policy_mglru, &hmm__policy_gc, &hmm__policy_db,
	};

	for (size_t i = 0; !has_builtins && i < HMM__ARRAY_SIZE(builtins); i++) {
		int r = add_locked(builtins[i]);

		if (r != 0 && r != -EEXIST) /* there already if memory ran out half-way last time */
			return r;
	}
	has_builtins = true;
	return 0;
}

static int enter(sigset_t *saved)
{
	hmm__signals_block(saved);
	hmm__lock(&registry_lock);
	return add_builtins_locked();
}

static void leave(const sigset_t *saved)
{
	hmm__unlock(&registry_lock);
	hmm__signals_restore(saved);
}

int hmm_policy_register(const struct hmm_policy_ops *ops)
{
	sigset_t saved;
	int r;

	if (ops == NULL)
		return -EINVAL;
	r = enter(&saved);
	if (r == 0)
		r = add_locked(ops);
	leave(&saved);
	return r;
}

int hmm__policy_find(const char *name, size_t length, const struct hmm_policy_ops **ret_ops,
                     const struct hmm_policy_ops **ret_origin)
{
	struct entry *entry;
	sigset_t saved;
	int r;

	r = enter(&saved); /* short of memory: what is there can still be found */
	entry = find_locked(name, length);
	leave(&saved);
	if (entry == NULL)
		return r != 0 ? r : -ENOENT;
	if (ret_ops != NULL)
		*ret_ops = &entry->ops;
	if (ret_origin != NULL)
		*ret_origin = entry->origin;
	return 0;
}

const struct hmm_policy_ops *hmm_policy_lookup(const char *name)
{
	const struct hmm_policy_ops *ops = NULL;

	return name != NULL && hmm__policy_find(name, strlen(name), &ops, NULL) == 0 ? ops : NULL;
}

const char *hmm_policy_name(unsigned index)
{
	const char *name = NULL;
	struct entry *entry;
	sigset_t saved;

	enter(&saved);
	for (entry = registry; entry != NULL && index > 0; index--)
		entry = entry->hh.next;
	if (entry != NULL)
		name = entry->ops.name;
	leave(&saved);
	return name;
}
