/* SPDX-License-Identifier: MIT */
/*
 * evict.c - take a batch of pages from the application: unmap all of them in few system calls, then settle each
 *
 * Items come EVICTING, owned by the caller, and leave ABSENT, AVAILABLE, LAUNDRY (then launder.c writes them) or, if
 * they could not be taken, MAPPED again.
 *
 * E1  A clean page is write-protected, so its contents can't change while it is copied or dropped.
 * E2  A page whose frame was writable at its address (DIRTY, SUSPECT) may be pinned for a device, which no protection
 *     stops.  It is granted to the window: that nobody can touch it there, and nobody had it pinned, is one step of the
 *     kernel's.  Where grants can't be had at all (no UFFDIO_MOVE; the application changed the mapping itself) it is
 *     write-protected, copied to the window and dropped.
 * E3  Whatever the kernel refuses (EBUSY: held by I/O; EAGAIN) puts the page back as it was, and the policy is told.
 *     The pages behind it in a run are tried all the same.
 * E5  A SUSPECT page is compared with its print when it is out of reach: clean, or dirty after all.
 * E6  A frame that was at an address is held by who knows whom (vmsplice, MSG_ZEROCOPY: nobody tells): the slot that it is
 *     behind is spent (M3), unless the region promised otherwise.
 * E7  Pages of a read-only part are granted while that part is writable for the kernel, under the region's lock, and
 *     protected by us.
 * E8  Clean is what is protected still: a page that the kernel has merged with others (KSM) is not, and stays, dirty.
 * E4  A page of a region with HMM_REGION_NOTICE is shown to the application while it is EVICTING, mapped and, if it was
 *     dirty, write-protected: nobody can change it any more, and its reader does not trap.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/vm/batch.h"
#include "lib/vm/load.h"

/* From this length on a run is better granted than dropped: its TLB flush is one for all of it. */
#define GRANT_RUN 33u
#define PROTECT_TRIES 100u

static int compare(const struct hmm__item *a, const struct hmm__item *b)
{
	if (a->region != b->region)
		return a->region < b->region ? -1 : 1;
	return a->page < b->page ? -1 : a->page > b->page;
}

/* Shell sort: no allocation, no recursion, quick enough for 256 items. */
void hmm__batch_sort(struct hmm__batch *b)
{
	static const unsigned gaps[] = { 57, 23, 10, 4, 1 };

	for (unsigned g = 0; g < HMM__ARRAY_SIZE(gaps); g++) {
		unsigned gap = gaps[g];

		for (unsigned i = gap; i < b->n; i++) {
			struct hmm__item it = b->items[i];
			unsigned k = i;

			for (; k >= gap && compare(&b->items[k - gap], &it) > 0; k -= gap)
				b->items[k] = b->items[k - gap];
			b->items[k] = it;
		}
	}
}

/* Does it go to a slot of the window? */
static bool keeps(const struct hmm__item *it)
{
	return it->fate == HMM__FATE_KEEP || it->fate == HMM__FATE_SAVE || it->fate == HMM__FATE_GIVE;
}

/* Items i .. i + n - 1 are neighbours in one region with one fate. */
static unsigned run_length(const struct hmm__batch *b, unsigned i)
{
	unsigned n = 1;

	while (i + n < b->n && n < HMM__RUN_MAX && b->items[i + n].region == b->items[i].region &&
	       b->items[i + n].page == b->items[i].page + n && b->items[i + n].fate == b->items[i].fate &&
	       b->items[i + n].read_only == b->items[i].read_only &&
	       ((b->items[i + n].word ^ b->items[i].word) & HMM__FREE) == 0)
		n++;
	return n;
}

/* Is it to be unmapped? */
static bool goes(const struct hmm__item *it)
{
	return it->fate <= HMM__FATE_DISCARD;
}

/* Does the store that would have to take it refuse pages now? */
static bool refused(const struct hmm__item *it)
{
	return hmm__peek(it->region->slots ? &it->region->space->refused_swap : &it->region->refused) != 0 ||
	       hmm__trouble_waits(hmm__trouble_of(it->region));
}

static enum hmm__fate fate_of(struct hmm__item *it, bool keep)
{
	bool held = it->word & (HMM__DIRTY | HMM__SUSPECT); /* perhaps, by a device */

	if (it->word & HMM__FREE)
		return held && hmm__can_grant(it->region) ? HMM__FATE_GIVE : HMM__FATE_DISCARD;
	if (it->word & HMM__DIRTY)
		return refused(it) ? HMM__FATE_STAY : HMM__FATE_SAVE;
	it->check = held;
	return held ? HMM__FATE_SAVE : keep ? HMM__FATE_KEEP : HMM__FATE_DROP;
}

static void choose_fates(struct hmm__batch *b, bool keep)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		it->slot = HMM__NO_SLOT;
		it->grant = 0;
		it->keep = 0;
		it->split = 0;
		it->check = 0;
		it->anyway = 0;
		it->todo = 1;
		it->error = 0;
		it->run = 1;
		it->weight = (uint16_t)it->region->weight;
		it->read_only = hmm__read_only(it->region, it->page, 1);
		it->fate = fate_of(it, keep);
	}
	/* Where frames are recycled: long clean runs are granted, which is cheaper; the next to be read finds frames that are warm. */
	for (unsigned i = 0, n; i < b->n; i += n) {
		struct hmm__item *it = &b->items[i];

		n = run_length(b, i);
		if (it->fate == HMM__FATE_DROP && hmm__recycles(it->region) && !it->read_only &&
		    n * it->region->weight >= GRANT_RUN) {
			for (unsigned k = 0; k < n; k++)
				b->items[i + k].fate = HMM__FATE_GIVE;
		}
	}
}

/* Under the space's lock.  Empty slots for a run that is granted; adjacent if possible. */
static void slots_for_grant(struct hmm__item *it, unsigned n)
{
	struct hmm__pool *pool = it->region->pool;
	uint32_t first = n > 1 ? hmm__slotmap_take_run(&pool->map, HMM__EMPTY, n) : HMM__NO_SLOT;

	if (first == HMM__NO_SLOT && n > HMM__GROUP) {
		slots_for_grant(it, HMM__GROUP);
		slots_for_grant(it + HMM__GROUP, n - HMM__GROUP);
		return;
	}

	for (unsigned k = 0; k < n; k++) {
		it[k].slot = first != HMM__NO_SLOT ? first + k : hmm__slotmap_take(&pool->map, HMM__EMPTY);
		assert(it[k].slot != HMM__NO_SLOT); /* there are more slots than frames */
		it[k].grant = 1;
		it[k].run = first != HMM__NO_SLOT ? (k ? 0 : (uint16_t)n) : 1;
	}
}

/* Under the space's lock.  Populated slots for what is copied; without one a clean page is dropped, another one stays. */
static void slots_for_copy(struct hmm__item *it, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		it[k].slot = hmm__slot_take_populated(it->region->pool);
		if (it[k].slot != HMM__NO_SLOT)
			continue;
		it[k].keep = it[k].fate == HMM__FATE_KEEP;
		it[k].fate = it[k].keep && !it[k].sample ? HMM__FATE_DROP : HMM__FATE_RETURN;
	}
}

/* What may be held leaves by grant only; clean pages in long runs, and where that changes nothing for who holds them. */
static bool to_be_granted(const struct hmm__item *it, unsigned n)
{
	if (!hmm__can_grant(it->region))
		return false;
	return it->fate != HMM__FATE_KEEP || (n * it->region->weight >= GRANT_RUN && !it->read_only);
}

static void take_slots(struct hmm_space *space, struct hmm__batch *b)
{
	hmm__lock(&space->lock);
	for (unsigned i = 0, n; i < b->n; i += n) {
		struct hmm__item *it = &b->items[i];

		n = run_length(b, i);
		if (!keeps(it))
			continue;
		if (to_be_granted(it, n))
			slots_for_grant(it, n);
		else
			slots_for_copy(it, n);
	}
	hmm__unlock(&space->lock);
}

/*
 * What found no populated slot gets one made from a credit, as far as there are any: dirty pages always, for they can't
 * be copied out otherwise, and samples, each of which gives a credit back; other clean ones while the available list is
 * still growing, and never more than half of the batch, so that a pass frees more than it takes.
 */
static void find_more_slots(struct hmm_space *space, struct hmm__batch *b)
{
	unsigned grow = hmm__peek(&space->available) < space->available_target ? b->n / 2 : 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (it->fate != HMM__FATE_RETURN && !(it->keep && grow))
			continue;
		it->slot = hmm__bounce_get(it->region->pool);
		if (it->slot == HMM__NO_SLOT && hmm__slots_release(space, it->weight) >= it->weight)
			it->slot = hmm__bounce_get(it->region->pool); /* the free slots were of another size */
		if (it->slot == HMM__NO_SLOT)
			break;
		grow -= it->fate == HMM__FATE_DROP;
		it->fate = it->keep ? HMM__FATE_KEEP : HMM__FATE_SAVE;
	}
}

/* Must it be protected, so that nobody writes to it?  announced: before it is shown to the application, or after. */
static bool exposed(const struct hmm__item *it, bool announced)
{
	return it->todo && it->fate == HMM__FATE_SAVE && !it->grant && announced == !!(it->region->flags & HMM_REGION_NOTICE);
}

/* What can't be protected gets the fate `failed`. */
static void protect_dirty(struct hmm__batch *b, bool announced, enum hmm__fate failed)
{
	unsigned singly = 0; /* pages to be asked about one by one */

	for (unsigned i = 0; i < b->n;) {
		struct hmm__item *it = &b->items[i];
		struct hmm_span span;
		unsigned n = 1;
		int r;

		if (!exposed(it, announced)) {
			i++;
			continue;
		}
		while (!singly && i + n < b->n && it[n].region == it->region && it[n].page == it->page + n &&
		       exposed(&it[n], announced))
			n++;
		span = (struct hmm_span){ hmm__page_address(it->region, it->page), (size_t)n << it->region->shift };
		r = it->region->engine->ops->write_protect(it->region->engine->backend, &span, 1, 1);
		if (r == -ENOENT && n > 1 && !singly) { /* the application has unmapped some of them: which? */
			singly = n;
			continue;
		}
		for (unsigned k = 0; r && k < n; k++)
			it[k].fate = r == -ENOENT ? HMM__FATE_LOST : failed;
		i += n;
		singly -= singly ? n : 0;
	}
}

/* What a backend does that does not promise to put it back (HMM_BACKEND_BACK): by grant, else as a copy. */
static void try_back(struct hmm__engine *engine, struct hmm_map *m)
{
	struct hmm_map rest;
	struct hmm_span slot;

	if (!engine->ops->map(engine->backend, m, 1))
		return;
	rest = (struct hmm_map){ .address = (char *)m->address + m->done, .slot = (char *)m->slot + m->done,
		                 .length = m->length - m->done };
	slot = (struct hmm_span){ rest.slot, rest.length };
	engine->ops->map(engine->backend, &rest, 1);
	engine->ops->drop(engine->backend, &slot, 1);
}

/*
 * A large page of which only the head was granted: the head goes back, writable, so the page is dirty from now on.  Nothing of
 * it may stay behind: the slot is empty to our books.
 */
static void move_back(struct hmm__item *it, const struct hmm_unmap *u)
{
	struct hmm__engine *engine = it->region->engine;
	size_t size = (size_t)1 << it->region->shift, head = u->done & (size - 1), from = u->done - head;
	struct hmm_map m = { .address = (char *)u->address + from, .slot = (char *)u->slot + from, .length = head,
		             .flags = HMM_MAP_GRANT };

	it->split = 1;
	if (!(engine->caps & HMM_BACKEND_BACK)) {
		try_back(engine, &m);
		return;
	}
	m.flags |= HMM_MAP_BACK;
	if (engine->ops->map(engine->backend, &m, 1) == -ENOENT)
		it->error = -ENOENT;
}

static void describe(const struct hmm__item *it, struct hmm_unmap *u)
{
	*u = (struct hmm_unmap){
		.address = hmm__page_address(it->region, it->page),
		.slot = keeps(it) ? hmm__slot_address(it->region->pool, it->slot) : NULL,
		.length = (size_t)it->run << it->region->shift,
		.flags = !keeps(it) ? 0 : it->grant ? HMM_UNMAP_GRANT : HMM_UNMAP_COPY,
	};
	if (it->fate == HMM__FATE_SAVE && !it->grant && !it->anyway && it->region->engine->caps & HMM_BACKEND_HELD)
		u->flags |= HMM_UNMAP_HELD;
	if (it->fate != HMM__FATE_SAVE && !it->read_only && !it->anyway && it->region->engine->caps & HMM_BACKEND_CLEAN)
		u->flags |= HMM_UNMAP_CLEAN;
}

/* Is it about this page alone? */
static bool of_the_page(int error)
{
	return error == -EBUSY || error == -ENOENT || error == -EACCES || error == -ESTALE;
}

/* The run that begins here was tried.  What follows a page that was refused was not: that is a run of its own now. */
static void note_outcome(struct hmm__item *it, const struct hmm_unmap *u)
{
	unsigned done = (unsigned)(u->done >> it->region->shift), run = it->run;

	if (u->error == -ESTALE && run > 1) { /* one of them: each by itself, then */
		for (unsigned k = 0; k < run; k++)
			it[k].run = 1;
		return;
	}
	for (unsigned k = done + 1; !of_the_page(u->error) && k < run; k++) {
		it[k].error = -EAGAIN;
		it[k].todo = 0;
	}

	for (unsigned k = 0; k < run && k <= done; k++) {
		it[k].error = k < done ? 0 : u->error;
		it[k].todo = 0;
	}
	if (done < run && u->done & (((size_t)1 << it->region->shift) - 1))
		move_back(&it[done], u);
	if (done + 1 < run && of_the_page(u->error))
		it[done + 1].run = (uint16_t)(run - done - 1);
}

/* E7 */
static void unmap_read_only(struct hmm__item *it)
{
	struct hmm_region *region = it->region;
	struct hmm__engine *engine = region->engine;
	struct hmm_unmap u;
	struct hmm_span span;
	bool read_only = true;
	int r = -EAGAIN;

	describe(it, &u);
	span = (struct hmm_span){ u.address, u.length };
	hmm__lock(&region->lock);
	/* if it has become writable since: the next pass will see it so */
	for (unsigned k = 0; k < it->run; k++)
		read_only = read_only && hmm__intervals_meet(region->read_only, it->page + k, it->page + k + 1);
	if (read_only)
		r = engine->ops->write_protect(engine->backend, &span, 1, 1);
	if (r == -ENOENT && it->run > 1) { /* the application has unmapped some of them: each is a run of its own */
		hmm__unlock(&region->lock);
		for (unsigned k = it->run; k > 0; k--)
			it[k - 1].run = 1;
		unmap_read_only(it); /* of one: no further */
		return;
	}
	if (!r)
		r = engine->ops->protect(engine->backend, u.address, u.length, PROT_READ | PROT_WRITE);
	if (!r) {
		engine->ops->unmap(engine->backend, &u, 1);
		for (unsigned i = 0; engine->ops->protect(engine->backend, u.address, u.length, PROT_READ) && i < PROTECT_TRIES; i++)
			;
	} else {
		u.error = r;
		u.done = 0;
	}
	hmm__unlock(&region->lock);
	note_outcome(it, &u);
}

/* E7: by grant, or where the backend has its own way to find out. */
static bool moves_read_only(const struct hmm__item *it)
{
	return it->read_only && keeps(it) && it->fate != HMM__FATE_KEEP && it->region->engine->caps & HMM_BACKEND_HELD;
}

/* Does the run that begins here go in the next call for this engine? */
static bool is_next(const struct hmm__item *it, const struct hmm__engine *engine)
{
	return it->region->engine == engine && it->run && it->todo && !moves_read_only(it);
}

/* One unmap call for all items of one engine; false: there were none. */
static bool unmap_engine(struct hmm__batch *b, struct hmm__engine *engine)
{
	unsigned n = 0, skip;

	for (unsigned i = 0; i < b->n; i++) {
		if (is_next(&b->items[i], engine))
			describe(&b->items[i], &b->unmaps[n++]);
	}
	if (!n)
		return false;
	engine->ops->unmap(engine->backend, b->unmaps, n);
	n = 0;
	for (unsigned i = 0; i < b->n; i += skip) {
		skip = 1;
		if (!is_next(&b->items[i], engine))
			continue;
		skip = b->items[i].run;
		note_outcome(&b->items[i], &b->unmaps[n++]);
	}
	return true;
}

static void unmap_all(struct hmm_space *space, struct hmm__batch *b)
{
	for (unsigned e = 0; e < 2; e++) {
		while (unmap_engine(b, &space->engines[e]))
			;
	}
	for (unsigned i = 0; i < b->n; i++) {
		if (b->items[i].todo && b->items[i].run)
			unmap_read_only(&b->items[i]);
	}
}

static void mark_todo(struct hmm__batch *b)
{
	for (unsigned i = 0; i < b->n; i++)
		b->items[i].todo = b->items[i].todo && goes(&b->items[i]);
}

/*
 * -EACCES of a grant: the kernel can't move it, for the application changed the mapping itself (mprotect, mlock).  All that
 * is left is to copy it.  False: it is read-only since a moment ago, or there is no frame to copy to.
 */
static bool copy_instead(struct hmm__item *it)
{
	struct hmm_space *space = it->region->space;

	if (it->grant) {
		hmm__lock(&space->lock);
		hmm__slotmap_put(&it->region->pool->map, HMM__EMPTY, it->slot);
		hmm__unlock(&space->lock);
		it->slot = HMM__NO_SLOT;
		it->grant = 0;
	}
	if (it->split || it->read_only || hmm__read_only(it->region, it->page, 1))
		return false;
	if (it->fate == HMM__FATE_SAVE) {
		if (it->slot == HMM__NO_SLOT)
			it->slot = hmm__bounce_get(it->region->pool);
		if (it->slot == HMM__NO_SLOT)
			return false;
	} else {
		it->fate = it->word & HMM__FREE ? HMM__FATE_DISCARD : HMM__FATE_DROP;
	}
	it->error = 0;
	it->run = 1;
	it->todo = 1;
	it->anyway = 1;
	return true;
}

static void copy_what_cannot_move(struct hmm_space *space, struct hmm__batch *b)
{
	bool some = false;

	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (it->error == -EACCES)
			some = copy_instead(it) || some;
	}
	if (!some)
		return;
	protect_dirty(b, true, HMM__FATE_RETURN);
	protect_dirty(b, false, HMM__FATE_RETURN);
	mark_todo(b);
	unmap_all(space, b);
}

static void settle_errors(struct hmm__batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (!it->error)
			continue;
		if (it->error == -EBUSY)
			HMM__COUNT(it->region->space, busy, 1);
		it->fate = it->error == -ENOENT ? HMM__FATE_LOST : HMM__FATE_RETURN;
	}
}

/* E5 */
static void compare_prints(struct hmm__batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];
		struct hmm_space *space = it->region->space;

		if (!it->check || it->fate != HMM__FATE_SAVE)
			continue;
		if (hmm__print_of(it->region, hmm__slot_address(it->region->pool, it->slot)) == space->frames[it->frame].print)
			it->fate = HMM__FATE_KEEP;
	}
}

static bool all_zero(const struct hmm__item *it)
{
	const uint64_t *w = (const void *)hmm__slot_address(it->region->pool, it->slot);
	size_t n = ((size_t)1 << it->region->shift) / sizeof(*w);

	if (w[0] || w[n - 1])
		return false;
	return !memcmp(w, w + 1, (n - 1) * sizeof(*w));
}

/* Zero pages of anonymous memory need no store.  The old swap slot, if any, is freed by the caller. */
static void find_zeros(struct hmm__batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		it->swap = 0;
		if (it->fate != HMM__FATE_SAVE || it->region->store || !all_zero(it))
			continue;
		it->fate = HMM__FATE_KEEP;
		it->swap = it->word & HMM__STORED ? atomic_load(&it->region->slots[it->page]) : 0;
		it->word &= ~HMM__STORED;
		it->word |= HMM__FREE; /* tells settle() to clear STORED and DIRTY */
		HMM__COUNT(it->region->space, zero_drops, 1);
	}
}

static void gone(struct hmm_space *space, struct hmm__item *it, uint64_t clear)
{
	hmm__resident_sub(it->region, it->region->weight);
	if (it->fate == HMM__FATE_GIVE)
		hmm__slot_put(it->region->pool, it->slot, !hmm__recycles(it->region));
	else
		hmm__credit_put(space, it->region->weight);
	if (it->fate == HMM__FATE_DROP || (it->fate == HMM__FATE_GIVE && !(it->word & HMM__FREE)))
		hmm__policy_evicted(space->policy, it->frame, hmm__page_id(it->region, it->page));
	else
		hmm__policy_removed(space->policy, it->frame, hmm__page_id(it->region, it->page),
		                    HMM_REMOVED_DISCARDED);
	hmm__frame_put(space, it->frame);
	hmm__page_leave_absent(it->region, it->page, clear, 0);
}

static void to_window(struct hmm_space *space, struct hmm__item *it)
{
	hmm__resident_sub(it->region, it->region->weight);
	if (!it->grant)
		hmm__credit_put(space, it->region->weight);
	space->frames[it->frame].slot = it->slot;
	space->frames[it->frame].spent = it->grant && !hmm__recycles(it->region);
	if (it->fate == HMM__FATE_KEEP) {
		hmm__available_add(space, it->frame);
		hmm__page_leave(it->region, it->page, HMM__AVAILABLE,
		                HMM__SUSPECT | (it->word & HMM__FREE ? HMM__STORED | HMM__DIRTY : 0), 0);
		return;
	}
	space->frames[it->frame].slot_refs = 1;
	space->laundry += it->region->weight;
	hmm__page_leave(it->region, it->page, HMM__LAUNDRY, HMM__SUSPECT, HMM__WRITEBACK | HMM__DIRTY);
}

static void returned(struct hmm_space *space, struct hmm__item *it)
{
	bool writable;

	if (it->slot != HMM__NO_SLOT && it->grant)
		hmm__slotmap_put(&it->region->pool->map, HMM__EMPTY, it->slot);
	else if (it->slot != HMM__NO_SLOT)
		hmm__slot_put_populated(it->region->pool, it->slot);
	if (it->fate == HMM__FATE_LOST) {
		it->swap = it->word & HMM__STORED ? atomic_load(&it->region->slots[it->page]) : 0;
		gone(space, it, HMM__STORED);
		return;
	}
	hmm__frame_stays(space, it->frame,
	                 it->fate == HMM__FATE_STAY ? HMM_REJECT_WRITE
	                 : it->error == -EBUSY      ? HMM_REJECT_BUSY
	                                            : HMM_REJECT_RACED);
	/* what was split came back writable, and what is stale (E8) has lost its protection: it can be written without a trap,
	   so it is dirty, and no garbage */
	writable = it->split || it->error == -ESTALE;
	hmm__page_leave(it->region, it->page, HMM__MAPPED, writable ? HMM__FREE : 0, writable ? HMM__DIRTY : 0);
}

/* Every item gets its new state; those to be written stay in the batch.  Returns frames that became free. */
static int64_t settle(struct hmm_space *space, struct hmm__batch *b)
{
	unsigned save = 0, kept = 0;
	int64_t freed = 0, evicted = 0;

	hmm__lock(&space->lock);
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		switch (it->fate) {
		case HMM__FATE_GIVE:
			if (!(it->word & HMM__FREE)) {
				freed += it->region->weight;
				evicted++;
				gone(space, it, 0);
				break;
			}
			/* fall through */
		case HMM__FATE_DISCARD:
			it->swap = it->word & HMM__STORED ? atomic_load(&it->region->slots[it->page]) : 0;
			HMM__COUNT(space, discards, 1);
			freed += it->region->weight;
			gone(space, it, HMM__STORED);
			break;
		case HMM__FATE_DROP:
			freed += it->region->weight;
			evicted++;
			gone(space, it, 0);
			break;
		case HMM__FATE_KEEP:
		case HMM__FATE_SAVE:
			evicted++;
			kept++;
			to_window(space, it);
			break;
		default:
			returned(space, it);
			break;
		}
	}
	hmm__unlock(&space->lock);
	HMM__COUNT(space, evictions, (uint64_t)evicted);
	hmm__keep_evicted(space, kept);
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (it->swap)
			hmm__swap_free(space, it->swap, it->weight);
		if (it->fate == HMM__FATE_SAVE)
			b->items[save++] = *it;
	}
	b->n = save;
	return freed;
}

int64_t hmm__evict(struct hmm_space *space, struct hmm__batch *b, bool keep)
{
	int64_t freed;
	int r, stay = 0, full;

	if (!b->n)
		return 0;
	hmm__batch_sort(b);
	choose_fates(b, keep);
	for (unsigned i = 0; i < b->n; i++)
		stay = b->items[i].fate == HMM__FATE_STAY ? space->refused_error : stay;
	full = hmm__swap_fit(space, b);
	stay = stay ? stay : full;
	if (HMM__UNLIKELY(space->given.notice != NULL)) {
		protect_dirty(b, true, HMM__FATE_VETOED);
		hmm__notice(space, b);
	}
	take_slots(space, b);
	find_more_slots(space, b);
	protect_dirty(b, false, HMM__FATE_RETURN);
	mark_todo(b);
	unmap_all(space, b);
	copy_what_cannot_move(space, b);
	settle_errors(b);
	compare_prints(b);
	find_zeros(b);
	freed = settle(space, b);
	if (freed)
		hmm__frames_changed(space);
	r = hmm__launder(space, b);
	r = r ? r : stay;
	return freed || !r ? freed : r;
}
