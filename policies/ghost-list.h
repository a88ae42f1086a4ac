/* SPDX-License-Identifier: MIT */
/*
 * ghost-list.h - pages that left, in the order in which they left: one or two lists over one array of slots
 *
 * The core remembers a cookie by page identity, but knows no order and no bound of the policy's.  Here a ghost has a
 * slot with its links; the cookie names slot and list.  16 bytes a ghost; every step O(1), nothing allocated, no hash.
 *
 * G1  cookie = 2 * slot + list + 1.  A ghost never changes lists, so the cookie stays true.
 * G2  A ghost that the policy drops leaves its cookie with the core.  So a slot keeps its page's identity, and a cookie
 *     counts only if slot and page agree and the slot is in use.
 * G3  Should the core forget a cookie, the ghost ages in its list like any other; nobody will ask for it.
 * G4  Slots past `fresh` have never been used and their memory has not been touched.
 */
#ifndef POLICIES_GHOST_LIST_H
#define POLICIES_GHOST_LIST_H

#include <stdint.h>
#include <stddef.h>

#define GHOST_NONE UINT32_MAX
#define GHOST_SLOTS_MAX (UINT32_MAX / 2 - 8) /* so that cookies have 32 bits */

struct ghost_slot {
	uint64_t page;
	uint32_t prev; /* towards the newest; GHOST_NONE: the slot is free */
	uint32_t next; /* towards the oldest; of a free slot: the next free one */
};

struct ghost_lists {
	struct ghost_slot *slot; /* nslots, and two more: the ends of the lists */
	uint32_t nslots;
	uint32_t fresh;
	uint32_t free;           /* GHOST_NONE: none but fresh ones */
	uint32_t n[2];           /* ghosts in each list */
};

static inline uint32_t ghost_slots(double wanted)
{
	return wanted < 1 ? 1 : wanted > GHOST_SLOTS_MAX ? GHOST_SLOTS_MAX : (uint32_t)wanted;
}

/* What to ask the core to remember for n ghosts: its table is not full then, also if it is a small one. */
static inline uint64_t ghosts_to_remember(uint64_t n)
{
	return n + 32;
}

static inline size_t ghost_lists_size(uint32_t nslots)
{
	return ((size_t)nslots + 2) * sizeof(struct ghost_slot);
}

/* slot: aligned to 8 bytes, ghost_lists_size(nslots) of them. */
static inline void ghost_lists_init(struct ghost_lists *ghosts, void *slot, uint32_t nslots)
{
	ghosts->slot = slot;
	ghosts->nslots = nslots;
	ghosts->fresh = 0;
	ghosts->free = GHOST_NONE;
	for (uint32_t list = 0; list < 2; list++) {
		ghosts->slot[nslots + list].prev = ghosts->slot[nslots + list].next = nslots + list;
		ghosts->n[list] = 0;
	}
}

static inline void ghost_release(struct ghost_lists *ghosts, unsigned list, uint32_t number)
{
	struct ghost_slot *slot = ghosts->slot, *s = &slot[number];

	slot[s->prev].next = s->next;
	slot[s->next].prev = s->prev;
	s->prev = GHOST_NONE;
	s->next = ghosts->free;
	ghosts->free = number;
	ghosts->n[list]--;
}

/* Forget the oldest of a list, which has one. */
static inline void ghost_drop_oldest(struct ghost_lists *ghosts, unsigned list)
{
	ghost_release(ghosts, list, ghosts->slot[ghosts->nslots + list].prev);
}

/* A slot that is in no list becomes the newest of one. */
static inline uint32_t ghost_link(struct ghost_lists *ghosts, unsigned list, uint32_t number, uint64_t page)
{
	struct ghost_slot *slot = ghosts->slot;
	uint32_t end = ghosts->nslots + list, next = slot[end].next;

	slot[number].page = page;
	slot[number].prev = end;
	slot[number].next = next;
	slot[next].prev = number;
	slot[end].next = number;
	return 2 * number + list + 1;
}

/* Remember a page as the newest of a list; returns its cookie.  With all slots in use the longer list loses one. */
static inline uint32_t ghost_push(struct ghost_lists *ghosts, unsigned list, uint64_t page)
{
	uint32_t number;

	if (ghosts->n[0] + ghosts->n[1] == ghosts->nslots)
		ghost_drop_oldest(ghosts, ghosts->n[1] > ghosts->n[0]);
	number = ghosts->free;
	if (number != GHOST_NONE)
		ghosts->free = ghosts->slot[number].next;
	else
		number = ghosts->fresh++;
	ghosts->n[list]++;
	return ghost_link(ghosts, list, number, page);
}

/* The same for a list of at most `most` ghosts, at least 1: when it is that long, its oldest gives its slot. */
static inline uint32_t ghost_push_bounded(struct ghost_lists *ghosts, unsigned list, uint64_t page, uint32_t most)
{
	struct ghost_slot *slot = ghosts->slot;
	uint32_t end = ghosts->nslots + list, number = slot[end].prev;

	if (ghosts->n[list] != most)
		return ghost_push(ghosts, list, page);
	slot[end].prev = slot[number].prev;
	slot[slot[number].prev].next = end;
	return ghost_link(ghosts, list, number, page);
}

/*
 * Is the page of this cookie a ghost?  One jump: whether a page has no cookie, an old one or a true one is hard to
 * predict.  Without one, slot 0 is looked at.
 */
static inline int ghost_is_known(const struct ghost_lists *ghosts, uint32_t cookie, uint64_t page)
{
	uint32_t number = (cookie - 1) / 2, is_slot = (cookie != 0) & (number < ghosts->fresh);
	const struct ghost_slot *s = &ghosts->slot[number & (0 - is_slot)];

	return (int)(is_slot & (s->page == page) & (s->prev != GHOST_NONE));
}

/* The list of a cookie that is known, and the ghost itself taken out of it. */
static inline unsigned ghost_list_of(uint32_t cookie)
{
	return (cookie - 1) & 1;
}

static inline void ghost_take(struct ghost_lists *ghosts, uint32_t cookie)
{
	ghost_release(ghosts, ghost_list_of(cookie), (cookie - 1) / 2);
}

#endif
