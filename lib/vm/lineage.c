/* SPDX-License-Identifier: MIT */
/*
 * lineage.c - what a fork freezes in swap, and when it thaws (lineage.h has the rules)
 *
 * Epochs are kept by slot, in leaves that are made when a slot of theirs is taken after the first fork; what has none is of
 * epoch 0.  Kept slots are lists through the same leaves: a slot that goes hangs on the youngest lease that needs it; when
 * that ends it moves on to the next older one that does, or is free.  So a fork costs nothing by the slot, and the end of a
 * lease only what was kept for it.
 */
#include "lib/vm/lineage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "lib/base/arena.h"
#include "lib/store/store.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define LEAF_SHIFT 15
#define LEAF_SLOTS (1u << LEAF_SHIFT)
#define LEAVES (1u << (32 - LEAF_SHIFT))
#define REAP_EVERY 256u
#define CHUNK_SHIFT 6u  /* slots that go to one side together, where parent and child share a store */

struct leaf {
	uint32_t epoch[LEAF_SLOTS];
	uint32_t next[LEAF_SLOTS]; /* of a kept slot: the next on the list, 0 at its end */
	uint8_t order[LEAF_SLOTS]; /* of a kept slot: 1 << order slots go with it */
};

struct lease {
	struct lease *next; /* older */
	uint32_t epoch;     /* slots of it and of older ones are frozen */
	int fd;             /* read end, or -1: it has ended */
	uint32_t kept;      /* first of the list */
	uint64_t share;     /* the chunks that went to the child */
};

struct ancestor {
	struct ancestor *next;   /* older */
	uint32_t epoch;          /* slots of it and of older ones are in this store, or in an older ancestor's */
	struct hmm_store *store; /* a reference */
	int fd;                  /* write end of its lease, or -1 */
	uint64_t slots;          /* that pages of ours have in it */
};

struct hmm__lineage {
	uint32_t epoch;             /* of slots taken now */
	struct leaf **leaves;
	struct lease *leases;       /* youngest first */
	struct ancestor *ancestors; /* youngest first */
	uint64_t kept;              /* slots in use that no page has: on the leases' lists, or lost to a disjoint child */
	uint32_t since_reap;        /* slots kept, and slots asked for */
	bool orphaned;              /* lists of the parent's that came along to a child: nobody needs them */
	bool disjoint;              /* a child that writes to its ancestor's store (H3) */
	uint64_t mine;              /* chunks that may be taken; all ones: all */
	unsigned chunk_shift;
	/* during a fork */
	struct lease *lease;
	struct ancestor *heir;      /* made before, for the child to use */
};

static struct leaf *leaf_of(const struct hmm__lineage *l, uint32_t slot)
{
	return l->leaves[slot >> LEAF_SHIFT];
}

static uint32_t epoch_of(const struct hmm__lineage *l, uint32_t slot)
{
	const struct leaf *leaf = leaf_of(l, slot);

	return leaf ? leaf->epoch[slot % LEAF_SLOTS] : 0;
}

static bool make_leaf(struct hmm__lineage *l, uint32_t slot)
{
	struct leaf **leaf = &l->leaves[slot >> LEAF_SHIFT];

	if (!*leaf)
		*leaf = hmm__sparse_alloc(sizeof(**leaf));
	return *leaf != NULL;
}

static int make_lineage(struct hmm_space *space)
{
	struct hmm__lineage *l;

	if (space->lineage)
		return 0;
	l = hmm__alloc(sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->leaves = hmm__sparse_alloc(LEAVES * sizeof(struct leaf *));
	if (!l->leaves) {
		hmm__free(l, sizeof(*l));
		return -ENOMEM;
	}
	l->mine = ~(uint64_t)0;
	space->lineage = l;
	return 0;
}

bool hmm__lineage_born(struct hmm_space *space, uint32_t first, uint32_t n)
{
	struct hmm__lineage *l = space->lineage;

	if (HMM__LIKELY(!l || (!l->epoch && !l->leases)))
		return true;
	for (uint32_t slot = first; slot - first < n; slot++) {
		if (!make_leaf(l, slot))
			return false;
		leaf_of(l, slot)->epoch[slot % LEAF_SLOTS] = l->epoch;
	}
	return true;
}

/* The youngest lease from `from` on that freezes a slot of this epoch. */
static struct lease *needs(struct lease *from, uint32_t epoch)
{
	return from && from->epoch >= epoch ? from : NULL;
}

static void keep(struct hmm__lineage *l, struct lease *lease, uint32_t slot, unsigned order)
{
	struct leaf *leaf = leaf_of(l, slot);

	leaf->order[slot % LEAF_SLOTS] = (uint8_t)order;
	leaf->next[slot % LEAF_SLOTS] = lease->kept;
	lease->kept = slot;
}

/* H5: only a hang-up of our own pipe counts. */
static bool has_ended(const struct lease *lease)
{
	struct pollfd p = { .events = POLLIN };

	if (lease->fd < 0)
		return true;
	p.fd = hmm__fd_use(lease->fd);
	return p.fd >= 0 && hmm__sys_poll(&p, 1, 0) > 0 && p.revents & POLLHUP;
}

/* Slots that were kept for a lease that has ended go to the next older one that needs them, or are free. */
static bool thaw(struct hmm_space *space, struct lease *ended)
{
	struct hmm__lineage *l = space->lineage;
	bool freed = false;

	for (uint32_t slot = ended->kept, next; slot; slot = next) {
		const struct leaf *leaf = leaf_of(l, slot);
		unsigned order = leaf->order[slot % LEAF_SLOTS];
		struct lease *older = needs(ended->next, leaf->epoch[slot % LEAF_SLOTS]);

		next = leaf->next[slot % LEAF_SLOTS];
		if (older) {
			keep(l, older, slot, order);
			continue;
		}
		hmm__slots_free(space->swap_slots, slot, 1u << order);
		l->kept -= (uint64_t)1 << order;
		freed = true;
	}
	if (ended->share) {
		l->mine |= ended->share;
		hmm__slots_restrict(space->swap_slots, l->mine, l->chunk_shift);
		freed = true;
	}
	return freed;
}

bool hmm__lineage_reap(struct hmm_space *space)
{
	struct hmm__lineage *l = space->lineage;
	bool freed = false;

	if (HMM__LIKELY(!l || !l->leases))
		return false;
	l->since_reap = 0;
	l->orphaned = false;
	for (struct lease **link = &l->leases, *lease; (lease = *link);) {
		if (!has_ended(lease)) {
			link = &lease->next;
			continue;
		}
		freed = thaw(space, lease) || freed;
		*link = lease->next;
		hmm__sys_close(lease->fd);
		hmm__free(lease, sizeof(*lease));
	}
	return freed;
}

void hmm__lineage_look(struct hmm_space *space)
{
	struct hmm__lineage *l = space->lineage;

	if (HMM__UNLIKELY(l && l->leases) && (l->orphaned || ++l->since_reap >= REAP_EVERY))
		hmm__lineage_reap(space);
}

static struct ancestor *ancestor_of(const struct hmm__lineage *l, uint32_t slot)
{
	uint32_t epoch = epoch_of(l, slot);
	struct ancestor *found = NULL;

	for (struct ancestor *a = l->ancestors; a && a->epoch >= epoch; a = a->next)
		found = a;
	return found;
}

bool hmm__lineage_frozen(const struct hmm_space *space, uint32_t slot)
{
	const struct hmm__lineage *l = space->lineage;

	if (HMM__LIKELY(!l))
		return false;
	return ancestor_of(l, slot) ? l->disjoint : needs(l->leases, epoch_of(l, slot)) != NULL;
}

/* H4 */
static bool lease_is_held(const struct ancestor *a)
{
	return a->fd < 0 || hmm__fd_use(a->fd) >= 0;
}

struct hmm_store *hmm__lineage_store(struct hmm_space *space, uint32_t slot)
{
	const struct ancestor *a = space->lineage ? ancestor_of(space->lineage, slot) : NULL;

	if (!a)
		return space->swap;
	return lease_is_held(a) ? a->store : NULL;
}

bool hmm__lineage_intact(const struct hmm_space *space)
{
	const struct hmm__lineage *l = space->lineage;

	for (const struct ancestor *a = l && l->disjoint ? l->ancestors : NULL; a; a = a->next) {
		if (!lease_is_held(a))
			return false;
	}
	return true;
}

/* n slots fewer in an ancestor's store; with the last one our hold on it goes. */
static struct hmm_store *needs_less(struct hmm__lineage *l, struct ancestor *a, uint32_t n)
{
	struct hmm_store *store = a->store;

	a->slots -= n;
	if (a->slots || l->disjoint)
		return NULL;
	for (struct ancestor **link = &l->ancestors; *link; link = &(*link)->next) {
		if (*link == a) {
			*link = a->next;
			break;
		}
	}
	hmm__sys_close(a->fd);
	hmm__free(a, sizeof(*a));
	return store;
}

enum hmm__farewell hmm__lineage_drop(struct hmm_space *space, uint32_t slot, uint32_t n, struct hmm_store **ret_store)
{
	struct hmm__lineage *l = space->lineage;
	struct ancestor *a;
	struct lease *lease;

	*ret_store = NULL;
	if (HMM__LIKELY(!l))
		return HMM__SLOT_OURS;
	a = ancestor_of(l, slot);
	if (a) {
		*ret_store = needs_less(l, a, n);
		l->kept += l->disjoint ? n : 0;
		return l->disjoint ? HMM__SLOT_KEPT : HMM__SLOT_INHERITED;
	}
	if (++l->since_reap >= REAP_EVERY)
		hmm__lineage_reap(space);
	lease = needs(l->leases, epoch_of(l, slot));
	if (!lease)
		return HMM__SLOT_OURS;
	keep(l, lease, slot, (unsigned)__builtin_ctz(n));
	l->kept += n;
	return HMM__SLOT_KEPT;
}

/* Slots in use that are in the store we write to, and that pages of ours have. */
static uint64_t own_slots(const struct hmm_space *space)
{
	const struct hmm__lineage *l = space->lineage;
	uint64_t n = hmm__slots_used(space->swap_slots);

	if (!l)
		return n;
	n -= l->kept;
	for (const struct ancestor *a = l->ancestors; a; a = a->next)
		n -= a->slots;
	return n;
}

/* Where both write to one store: every second of the chunks that we may take goes to the child. */
static int divide(struct hmm_space *space, struct lease *lease)
{
	struct hmm__lineage *l = space->lineage;
	unsigned i = 0;

	if (l->mine == ~(uint64_t)0)
		l->chunk_shift = space->largest > 1u << CHUNK_SHIFT ? HMM__PAGE_SHIFT_MAX - HMM__PAGE_SHIFT_MIN : CHUNK_SHIFT;
	for (uint64_t left = l->mine; left; left &= left - 1) {
		if (i++ % 2)
			lease->share |= left & -left;
	}
	if (!lease->share || space->largest > 1u << l->chunk_shift) {
		lease->share = 0;
		return -ENOSPC;
	}
	l->mine &= ~lease->share;
	hmm__slots_restrict(space->swap_slots, l->mine, l->chunk_shift);
	return 0;
}

static int open_lease(struct hmm__lineage *l)
{
	struct lease *lease = hmm__alloc(sizeof(*lease));
	struct ancestor *heir = hmm__alloc(sizeof(*heir));
	int fds[2] = { -1, -1 };
	int r = lease && heir ? hmm__sys_pipe(fds, O_NONBLOCK) : -ENOMEM;

	if (!r) {
		*lease = (struct lease){ .next = l->leases, .epoch = l->epoch, .fd = fds[0] };
		*heir = (struct ancestor){ .epoch = l->epoch, .fd = fds[1] };
		l->lease = lease;
		l->heir = heir;
		return 0;
	}
	hmm__free(lease, sizeof(*lease));
	hmm__free(heir, sizeof(*heir));
	return r;
}

static void close_heir(struct hmm__lineage *l)
{
	if (!l->heir)
		return;
	hmm__sys_close(l->heir->fd);
	hmm__free(l->heir, sizeof(*l->heir));
	l->heir = NULL;
	l->lease = NULL;
}

/* Every slot in use can be put on a list, whatever memory is left then. */
static int make_leaves(struct hmm_space *space)
{
	for (uint64_t slot = 0; slot < hmm__slots_top(space->swap_slots); slot += LEAF_SLOTS) {
		if (!make_leaf(space->lineage, (uint32_t)slot))
			return -ENOMEM;
	}
	return 0;
}

int hmm__lineage_fork(struct hmm_space *space)
{
	enum hmm__heritage heritage = space->swap ? space->swap->heritage : HMM__HERITAGE_OWN;
	struct hmm__lineage *l;
	int r;

	if (!space->swap_slots || !space->swap || heritage == HMM__HERITAGE_PRIVATE)
		return 0;
	hmm__lineage_reap(space);
	r = make_lineage(space);
	if (!r)
		r = make_leaves(space);
	l = space->lineage;
	if (!r && l->epoch == UINT32_MAX)
		r = -EOVERFLOW;
	if (!r)
		r = open_lease(l);
	if (r)
		return r;
	if (heritage == HMM__HERITAGE_DISJOINT)
		r = divide(space, l->lease);
	if (r) {
		hmm__sys_close(l->lease->fd);
		hmm__free(l->lease, sizeof(*l->lease));
		close_heir(l);
		return r;
	}
	l->leases = l->lease;
	return 0;
}

/*
 * Only now, for a fork handler of the program's that runs after ours may still bring pages to swap: they are the child's, too.
 */
static void begin_epoch(struct hmm__lineage *l)
{
	if (l && l->heir)
		l->epoch++;
}

void hmm__lineage_parent(struct hmm_space *space)
{
	begin_epoch(space->lineage);
	if (space->lineage)
		close_heir(space->lineage);
}

/* What the parent kept for other children is nothing to us: the numbers come free when slots are taken next. */
static void disown(struct hmm__lineage *l)
{
	l->orphaned = true;
	for (struct lease *lease = l->leases; lease; lease = lease->next) {
		hmm__sys_close(lease->fd);
		lease->fd = -1;
		lease->share = 0;
	}
}

/* H2: the numbers are the parent's, or another child's. */
static void forget_leases(struct hmm__lineage *l)
{
	for (struct lease *lease; (lease = l->leases);) {
		l->leases = lease->next;
		hmm__sys_close(lease->fd);
		hmm__free(lease, sizeof(*lease));
	}
}

/* The store is an ancestor's from now on; `own` takes its place, now or when it is needed. */
static void become_heir(struct hmm_space *space, struct hmm_store *own)
{
	struct hmm__lineage *l = space->lineage;
	struct ancestor *heir = l ? l->heir : NULL;

	hmm_store_put(space->swap_model);
	space->swap_model = hmm_store_get(space->swap);
	if (heir && heir->slots) {
		heir->store = space->swap;
		heir->next = l->ancestors;
		l->ancestors = heir;
		l->heir = NULL;
		l->lease = NULL;
	} else {
		hmm_store_put(space->swap);
	}
	space->swap = own;
	/* what the parent's store was found to take says nothing of ours */
	hmm__swap_ceiling_start(space, space->swap_end);
}

/* Both go on with the one store, at different places. */
static void share_store(struct hmm_space *space)
{
	struct hmm__lineage *l = space->lineage;

	l->disjoint = true;
	l->mine = l->lease->share;
	hmm__slots_restrict(space->swap_slots, l->mine, l->chunk_shift);
	forget_leases(l);
	l->heir->store = hmm_store_get(space->swap);
	l->heir->next = l->ancestors;
	l->ancestors = l->heir;
	l->heir = NULL;
	l->lease = NULL;
}

static int inherit(struct hmm_space *space)
{
	struct hmm_store *own = NULL;
	int r;

	if (!space->swap)
		return 0; /* what there is is in older stores, and a store of our parent's own was never needed */
	switch (space->swap->heritage) {
	case HMM__HERITAGE_PRIVATE:
		return 0;
	case HMM__HERITAGE_DISJOINT:
		share_store(space);
		return 0;
	case HMM__HERITAGE_ASK:
		r = hmm__store_renew(space->swap, &own);
		if (!r && own)
			become_heir(space, own);
		return r;
	default:
		become_heir(space, NULL);
		return 0;
	}
}

/* No copy: nothing of the parent's swap is ours.  What is mapped anew in this space gets a store like it. */
static void disinherit(struct hmm_space *space)
{
	struct hmm_store *swap = space->swap;

	hmm__lineage_fini(space);
	hmm__slots_destroy(space->swap_slots);
	space->swap_slots = NULL;
	if (swap) {
		hmm_store_put(space->swap_model);
		space->swap_model = swap;
		space->swap = NULL;
	}
}

/* The parent's keeper is not ours: a daemon closes everything in its child. */
static void keep_ancestors(struct hmm__lineage *l)
{
	for (struct ancestor *a = l->ancestors; a; a = a->next) {
		hmm__fd_keep(&a->fd, 1);
		if (a->store->keep)
			a->store->keep(a->store->ctx);
	}
}

/* Nothing was frozen, for there was no store when the fork began; one was made since then. */
static bool came_too_late(const struct hmm_space *space)
{
	bool frozen = space->lineage && space->lineage->heir;

	return !frozen && space->swap && space->swap->heritage != HMM__HERITAGE_PRIVATE && own_slots(space);
}

int hmm__lineage_child(struct hmm_space *space, int error)
{
	if (!error && space->swap_slots && came_too_late(space))
		error = -EIO;
	if (space->lineage && space->lineage->heir)
		space->lineage->heir->slots = own_slots(space);
	begin_epoch(space->lineage);
	if (!error && space->swap_slots)
		error = inherit(space);
	if (error) {
		disinherit(space);
		return error;
	}
	if (space->lineage) {
		disown(space->lineage);
		close_heir(space->lineage);
		keep_ancestors(space->lineage);
	}
	return 0;
}

void hmm__lineage_forget(struct hmm_region *region)
{
	if (!region->slots || !region->space->swap_slots)
		return;
	for (uint64_t page = 0; (page = hmm__page_next_touched(region, page)) < region->npages; page++) {
		if (atomic_load(&region->words[page]) & HMM__STORED)
			hmm__swap_free(region->space, atomic_load(&region->slots[page]), region->weight);
	}
}

void hmm__lineage_fini(struct hmm_space *space)
{
	struct hmm__lineage *l = space->lineage;

	if (!l)
		return;
	space->lineage = NULL;
	close_heir(l);
	forget_leases(l);
	for (struct ancestor *a; (a = l->ancestors);) {
		l->ancestors = a->next;
		hmm__sys_close(a->fd);
		hmm_store_put(a->store);
		hmm__free(a, sizeof(*a));
	}
	for (uint32_t i = 0; i < LEAVES; i++) {
		if (l->leaves[i])
			hmm__sparse_free(l->leaves[i], sizeof(struct leaf));
	}
	hmm__sparse_free(l->leaves, LEAVES * sizeof(struct leaf *));
	hmm__free(l, sizeof(*l));
}
