/* SPDX-License-Identifier: MIT */
/*
 * sample.c - show the policy the uses that it needs to see
 *
 * The kernel tells nobody which mapped page was used.  So pages are unmapped in the order in which they were mapped, with
 * their contents kept on the available list, whatever the policy thinks of them: a use comes back as a rescue, and the
 * policy hears of it.  Only a use of a page that was mapped lately (as many pages as are not on the list) is not
 * seen.  Which page gives up its frame is asked late, when a frame is needed, and the answer may be any page: one on the
 * list goes at once, one that is mapped is evicted.
 *
 * (To let the policy name the victims early, and keep those, is cheaper, and right for FIFO.  But then a page's time
 * on the list is added to its time in whichever of the policy's queues it left, and uses in the other queues are not
 * seen at all: S3-FIFO's and 2Q's small queues, where all is decided, become queues without uses, and several times as
 * long.  Compare R. Turner, H. Levy, "Segmented FIFO page replacement", SIGMETRICS 1981, for LRU alone.)
 *
 * U1  The list of mapped frames has every frame of a region's page that is not on the available list, oldest mapping first.
 * U2  A sample that finds no slot to be kept in stays mapped: sampling never loses a page.
 * U3  The available list has an old part, of pages that the policy has named, oldest first, and then those that it has not.
 *     Only dirty pages get to the old part: they were named while mapped, and written; they are trimmed first.
 * U4  Dirty pages are not sampled: contents that no store has would fill the window, or each sample would be a write.  Once
 *     they were named and written they stay for a while (an eighth of the budget by default), so a use takes them back.
 * U5  Nor are pages of a region with HMM_REGION_NOTICE: they are announced when the policy has named them.
 */
#include "lib/vm/batch.h"

#define TURNS 4u
#define PER_LOAD 8u

/* At the new end; it is in no list. */
static void append(struct hmm_space *space, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];

	f->mapped = 1;
	f->next = HMM__NO_FRAME;
	f->prev = space->mapped_last;
	if (f->prev != HMM__NO_FRAME)
		space->frames[f->prev].next = number;
	else
		space->mapped_first = number;
	space->mapped_last = number;
	hmm__bump(&space->mapped, f->region->weight);
}

void hmm__mapped_remove(struct hmm_space *space, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];

	if (!f->mapped)
		return;
	f->mapped = 0;
	if (f->prev != HMM__NO_FRAME)
		space->frames[f->prev].next = f->next;
	else
		space->mapped_first = f->next;
	if (f->next != HMM__NO_FRAME)
		space->frames[f->next].prev = f->prev;
	else
		space->mapped_last = f->prev;
	hmm__bump(&space->mapped, -(uint64_t)f->region->weight);
}

void hmm__mapped_add(struct hmm_space *space, uint32_t number, bool loaded)
{
	if (!space->samples || space->frames[number].region->cache)
		return;
	hmm__mapped_remove(space, number); /* out of the laundry: it was never on the available list */
	append(space, number);
	hmm__bump(&space->sample_due, 1);
	if (loaded && space->sample_left < space->budget)
		hmm__bump(&space->sample_left, PER_LOAD);
}

/* Under the lock: claim the oldest of the list, if it can be sampled and takes no more than so many frames. */
static bool claim(struct hmm_space *space, struct hmm__batch *b, uint32_t number, uint64_t most)
{
	struct hmm__frame *f = &space->frames[number];
	hmm__word *word = &f->region->words[f->page];
	uint64_t w = atomic_load(word);

	if (hmm__word_state(w) != HMM__MAPPED || hmm__word_held(w) || f->proposed || f->region->weight > most ||
	    (w & (HMM__WRITEBACK | HMM__DIRTY | HMM__FREE)) || f->region->flags & HMM_REGION_NOTICE ||
	    !hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__EVICTING)))
		return false;
	assert(hmm__word_frame(w) == number);
	b->items[b->n++] = (struct hmm__item){ .region = f->region, .page = f->page, .word = w, .frame = number,
		                               .sample = 1 };
	return true;
}

/* Under the lock: the pages that have been mapped for longest; so many frames, after so many looks. */
static void collect(struct hmm_space *space, struct hmm__batch *b, uint64_t want, uint64_t *looks)
{
	uint32_t last = space->mapped_last, number = HMM__NO_FRAME;

	b->n = 0;
	for (; want && *looks && b->n < HMM__BATCH_MAX && number != last; (*looks)--) {
		number = space->mapped_first;
		if (number == HMM__NO_FRAME)
			break;
		if (claim(space, b, number, want))
			want -= space->frames[number].region->weight;
		/* what can't be taken is not in the way */
		hmm__mapped_remove(space, number);
		append(space, number);
	}
}

/* Frames whose pages ought to be moved to the available list now. */
static uint64_t due(const struct hmm_space *space)
{
	uint64_t mapped = hmm__peek(&space->mapped), available = hmm__peek(&space->available);
	uint64_t budget = hmm__peek(&space->budget), resident = hmm__peek(&space->resident);
	/* of the frames that regions have: caches' pages are never on the lists */
	uint64_t others = resident > mapped ? HMM__MIN(resident - mapped, budget) : 0;
	uint64_t goal = HMM__MIN(hmm__keep_goal(space), (budget - others) / 2);
	uint64_t stay = budget - others - goal, batch = space->batch;

	return available < goal && mapped + 2 * batch >= stay ? goal - available : 0;
}

void hmm__sample(struct hmm_space *space, struct hmm__batch *b)
{
	uint64_t looks;

	/*
	 * Pages that can't be sampled pass by as others come in, not faster: else the few that can would be unmapped again
	 * and again.
	 */
	hmm__lock(&space->lock);
	looks = 2 * space->sample_due + space->batch;
	hmm__bump(&space->sample_due, -space->sample_due);
	hmm__unlock(&space->lock);
	/* Several turns while the list grows: each is bounded by the frames that are free to keep pages in. */
	for (unsigned turns = 0; turns < TURNS && looks; turns++) {
		hmm__lock(&space->lock);
		collect(space, b, due(space), &looks);
		hmm__bump(&space->sample_left, -(uint64_t)HMM__MIN((uint64_t)b->n, space->sample_left));
		hmm__unlock(&space->lock);
		if (!b->n)
			break;
		hmm__evict(space, b, true);
	}
	b->n = 0;
}

/*
 * While memory fills, and while the pages in use all fit, there are no passes, but uses to be seen.  Each load pays for some
 * samples, so that a program whose pages fit for long is left alone.
 */
void hmm__sample_poke(struct hmm_space *space)
{
	struct hmm__batch *b;

	if (!space->samples || hmm__peek(&space->sample_due) < space->batch || !hmm__peek(&space->sample_left) || !due(space))
		return;
	hmm__lock(&space->lock);
	b = hmm__batch_get(space);
	hmm__unlock(&space->lock);
	if (!b)
		return;
	hmm__sample(space, b);
	hmm__lock(&space->lock);
	hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
}
