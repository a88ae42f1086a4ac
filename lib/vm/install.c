/* SPDX-License-Identifier: MIT */
/*
 * install.c - put prepared contents at their address
 *
 * Clean contents arrive write-protected, by copy or by grant; the backend says if they may have been written before
 * the protection held, and then they are not clean.
 *
 * A large page of which only a part could be granted is granted to its end.
 * A large page that is copied in many steps comes protected even if it may be written: else its first half could be
 * written before the kernel turned out to have no frame for the second, and the write would be lost with it.
 */
#include <errno.h>

#include "lib/vm/load.h"

#define DROP_TRIES 100u

/* A large page of which only the head could be mapped: take the head away again, to the slot if it was granted. */
static void take_back(struct hmm_region *region, const struct hmm_map *m, size_t head)
{
	struct hmm__engine *engine = region->engine;
	size_t from = m->done - head;
	bool grant = m->flags & HMM_MAP_GRANT;
	struct hmm_unmap u = { .address = (char *)m->address + from, .slot = grant ? (char *)m->slot + from : NULL,
		               .length = head, .flags = grant ? HMM_UNMAP_GRANT : 0 };

	for (unsigned tries = 0; engine->ops->unmap(engine->backend, &u, 1) && !grant && tries < DROP_TRIES; tries++)
		;
}

/* ... or what may have been written to already, since it was granted: its tail follows.  -ENOENT: the range is gone. */
static int bring_the_rest(struct hmm_region *region, struct hmm_map *m, size_t head)
{
	struct hmm__engine *engine = region->engine;
	size_t size = (size_t)1 << region->shift;
	char *slot = (char *)m->slot + m->done;
	struct hmm_map rest = { .address = (char *)m->address + m->done, .slot = slot, .length = size - head,
		                .flags = HMM_MAP_GRANT | HMM_MAP_BACK | (m->flags & HMM_MAP_WAKE) };
	int r = engine->ops->map(engine->backend, &rest, 1);

	if (!r) {
		m->done += rest.length;
		m->dirtied = m->flags & HMM_MAP_PROTECT ? 1 : m->dirtied;
		return 0;
	}
	m->done -= head;
	/* to our books it has a frame still */
	for (unsigned tries = 0; engine->ops->fill(engine->backend, slot - head, size) && tries < DROP_TRIES; tries++)
		;
	return r;
}

static int finish_page(struct hmm_region *region, struct hmm_map *m, int error)
{
	size_t head = m->done & (((size_t)1 << region->shift) - 1);

	if (!head)
		return error;
	if (!(m->flags & HMM_MAP_GRANT) || !(region->engine->caps & HMM_BACKEND_BACK)) {
		take_back(region, m, head);
		return error;
	}
	if (bring_the_rest(region, m, head))
		return -ENOENT;
	return m->done == m->length ? 0 : error;
}

static int map(struct hmm__install *in, uint32_t flags)
{
	struct hmm_region *region = in->region;
	struct hmm_map m = {
		.address = hmm__page_address(region, in->page),
		.slot = in->slot,
		.length = (size_t)in->npages << region->shift,
		.flags = flags | (in->clean ? HMM_MAP_PROTECT : 0),
	};
	int r;

	if (region->engine->delivery == HMM_DELIVERY_THREAD)
		m.flags |= HMM_MAP_WAKE;
	r = region->engine->ops->map(region->engine->backend, &m, 1);
	r = finish_page(region, &m, r);
	in->done = (uint32_t)(m.done >> region->shift);
	in->dirtied = m.dirtied;
	if (flags & HMM_MAP_GRANT)
		HMM__COUNT(region->space, grants, in->done);
	else
		HMM__COUNT(region->space, copies, in->done);
	/* EFAULT: the slot's contents were swapped out by the kernel, which has no memory to bring them back */
	return r == -ENOMEM || r == -EFAULT ? HMM__SHORT : r;
}

/* Writable: protected until all of it is there.  If the protection stays, the first write takes it off. */
static int map_whole(struct hmm__install *in, uint32_t flags)
{
	struct hmm_region *region = in->region;
	struct hmm_span span = { hmm__page_address(region, in->page), (size_t)in->npages << region->shift };
	int r;

	in->clean = true;
	r = map(in, flags);
	in->clean = false;
	if (!r)
		region->engine->ops->write_protect(region->engine->backend, &span, 1, 0);
	return r;
}

int hmm__install(struct hmm__install *in)
{
	uint32_t flags = !in->slot ? HMM_MAP_ZERO : in->grant ? HMM_MAP_GRANT : 0;

	in->done = 0;
	in->dirtied = false;
	if (!in->clean && !in->grant && in->region->weight > 1)
		return map_whole(in, flags);
	return map(in, flags);
}
