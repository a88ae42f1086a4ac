/* SPDX-License-Identifier: MIT */
/*
 * loop.c - load a policy and see what it does with a loop slightly larger than memory
 *
 *	cc -o loop loop.c $(pkg-config --cflags --libs hurd-mm)
 *	./loop ./mru.so
 *
 * Calls the hooks in the order in which the pager does, one victim a miss, and compares the number of misses of
 * every policy known.  A pager with a real space needs only hmm_policy_load() and the name in its options.
 */
#include <hurd-mm/hurd-mm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES 100
#define FRAMES 80
#define ROUNDS 50
#define NOWHERE UINT32_MAX

/* Where pages are, and what frames hold. */
struct memory {
	uint32_t frame_of[PAGES];
	uint32_t cookie[PAGES]; /* what the policy wanted to be remembered of a page that left */
	uint64_t page_in[FRAMES];
	uint32_t used;
};

static uint32_t make_room(const struct hmm_policy_ops *ops, void *state, struct memory *memory)
{
	uint64_t page;
	uint32_t frame;

	if (memory->used < FRAMES)
		return memory->used++;
	if (ops->choose(state, 1, &frame, UINT32_MAX) != 1) {
		fprintf(stderr, "%s proposes no victim\n", ops->name);
		exit(1);
	}
	page = memory->page_in[frame];
	memory->cookie[page] = ops->evicted(state, frame, page);
	memory->frame_of[page] = NOWHERE;
	return frame;
}

static unsigned access_page(const struct hmm_policy_ops *ops, void *state, struct memory *memory, uint64_t page)
{
	struct hmm_placement placement = { .size = sizeof(placement), .access = HMM_ACCESS_READ };
	uint32_t frame = memory->frame_of[page];

	if (frame != NOWHERE) {
		if (ops->touched != NULL)
			ops->touched(state, &frame, 1, HMM_ACCESS_READ);
		return 0;
	}
	if (ops->miss != NULL)
		ops->miss(state, page, memory->cookie[page], HMM_ACCESS_READ);
	frame = make_room(ops, state, memory);
	memory->page_in[frame] = page;
	memory->frame_of[page] = frame;
	if (ops->placed != NULL)
		ops->placed(state, frame, page, &placement);
	else
		ops->inserted(state, frame, page, 0, HMM_ACCESS_READ);
	return 1;
}

static void *start(const struct hmm_policy_ops *ops)
{
	struct hmm_policy_sizes sizes = { .size = sizeof(sizes) };
	void *state = NULL;
	int r = 0;

	if (ops->sizes != NULL)
		r = ops->sizes(FRAMES, "", &sizes);
	else
		sizes.state = ops->state_size(FRAMES);
	if (r == 0) {
		sizes.state = (sizes.state + 63) & ~(size_t)63;
		state = aligned_alloc(64, sizes.state);
	}
	if (state != NULL) {
		memset(state, 0, sizes.state);
		r = ops->start(state, FRAMES, FRAMES, "");
	}
	if (state == NULL || r != 0) {
		fprintf(stderr, "%s does not start\n", ops->name);
		exit(1);
	}
	return state;
}

static unsigned count_misses(const struct hmm_policy_ops *ops)
{
	struct memory memory = { .used = 0 };
	void *state = start(ops);
	unsigned misses = 0;

	memset(memory.frame_of, 0xff, sizeof(memory.frame_of));
	for (unsigned i = 0; i < ROUNDS * PAGES; i++)
		misses += access_page(ops, state, &memory, i % PAGES);
	if (ops->stop != NULL)
		ops->stop(state);
	free(state);
	return misses;
}

int main(int argc, char **argv)
{
	const char *why, *name;

	if (argc != 2) {
		fprintf(stderr, "usage: loop MODULE.so\n");
		return 2;
	}
	if (hmm_policy_load(argv[1], &why) != 0) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	printf("%d rounds of %d pages, %d frames\n", ROUNDS, PAGES, FRAMES);
	for (unsigned i = 0; (name = hmm_policy_name(i)) != NULL; i++) {
		const struct hmm_policy_ops *ops = hmm_policy_lookup(name);

		printf("%-12s %5u misses   %s\n", name, count_misses(ops), ops->summary);
	}
	return 0;
}
