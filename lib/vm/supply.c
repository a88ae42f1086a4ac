/* SPDX-License-Identifier: MIT */
/*
 * supply.c - the frames of the budget, from whoever supplies them
 *
 * S1  What is taken from the supplier is at least the budget, from the opening of the first engine to its end; so what
 *     is held (V1) is always his gift.  Frames are taken before the budget grows and returned after it has shrunk.
 * S2  A space with two engines takes all frames by the first.
 * S3  No frame is returned that a window still has.  One that could not be released in the end goes when its backend closes.
 */
#include <errno.h>

#include "lib/vm/vm.h"

static int64_t ask(struct hmm__engine *engine, uint64_t n)
{
	int64_t given = engine->ops->frames_take(engine->backend, n);

	return given > (int64_t)n ? (int64_t)n : given;
}

int hmm__supply_begin(struct hmm__engine *engine)
{
	struct hmm_space *space = engine->space;
	int64_t given;

	if (space->supplier)
		return 0;
	given = ask(engine, hmm__peek(&space->budget));
	if (given >= 0 && given < HMM_FRAMES_MIN) {
		engine->ops->frames_return(engine->backend, (uint64_t)given);
		given = -ENOMEM;
	}
	if (given < 0)
		return (int)given;
	hmm__lock(&space->lock);
	space->supplier = engine;
	space->granted = (uint64_t)given;
	if (space->granted < space->budget)
		hmm__space_budget(space, space->granted);
	hmm__unlock(&space->lock);
	return 0;
}

void hmm__supply_end(struct hmm__engine *engine)
{
	struct hmm_space *space = engine->space;

	if (space->supplier != engine)
		return;
	engine->ops->frames_return(engine->backend, space->granted - HMM__MIN(space->held, space->granted));
	space->supplier = NULL;
	space->granted = 0;
}

uint64_t hmm__supply_take(struct hmm_space *space, uint64_t n)
{
	struct hmm__engine *engine;
	int64_t given;

	hmm__lock(&space->lock);
	engine = space->supplier;
	hmm__unlock(&space->lock);
	if (!engine)
		return n;
	given = ask(engine, n);
	if (given <= 0)
		return 0;
	hmm__lock(&space->lock);
	space->granted += (uint64_t)given;
	hmm__unlock(&space->lock);
	return (uint64_t)given;
}

void hmm__supply_return(struct hmm_space *space)
{
	struct hmm__engine *engine;
	uint64_t n = 0;

	hmm__lock(&space->lock);
	engine = space->supplier;
	if (engine && space->granted > space->budget) {
		n = space->granted - space->budget;
		space->granted = space->budget;
	}
	hmm__unlock(&space->lock);
	if (n)
		engine->ops->frames_return(engine->backend, n);
}
