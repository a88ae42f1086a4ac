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
	uint64_t page_in[FRAMES];
	uint32_t used;
};

static uint32_t make_room(const struct hmm_policy_ops *ops, void *state, struct memory *memory)
{
	uint32_t frame;

	if (memory->used < FRAMES)
		return memory->used++;
	if (ops->choose(state, 1, &frame, UINT32_MAX) != 1) {
		fprintf(stderr, "%s proposes no victim\n", ops->name);
		exit(1);
	}
	ops->evicted(state, frame, memory->page_in[frame]);
	memory->frame_of[memory->page_in[frame]] = NOWHERE;
	return frame;
}

static unsigned access_page(const struct hmm_policy_ops *ops, void *state, struct memory *memory, uint64_t page)
{
	uint32_t frame = memory->frame_of[page];

	if (frame != NOWHERE) {
		if (ops->touched != NULL)
			ops->touched(state, &frame, 1, HMM_ACCESS_READ);
		return 0;
	}
	if (ops->miss != NULL)
		ops->miss(state, page, 0, HMM_ACCESS_READ);
	frame = make_room(ops, state, memory);
	memory->page_in[frame] = page;
	memory->frame_of[page] = frame;
	ops->inserted(state, frame, page, 0, HMM_ACCESS_READ);
	return 1;
}

static unsigned count_misses(const struct hmm_policy_ops *ops)
{
	size_t size = (ops->state_size(FRAMES) + 63) & ~(size_t)63;
	void *state = aligned_alloc(64, size);
	struct memory memory = { .used = 0 };
	unsigned misses = 0;

	if (state == NULL)
		exit(1);
	memset(state, 0, size);
	memset(memory.frame_of, 0xff, sizeof(memory.frame_of));
	if (ops->start(state, FRAMES, FRAMES, "") != 0) {
		fprintf(stderr, "%s does not start\n", ops->name);
		exit(1);
	}
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

		printf("%-8s %5u misses   %s\n", name, count_misses(ops), ops->summary);
	}
	return 0;
}
