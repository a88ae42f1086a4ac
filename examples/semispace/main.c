/* SPDX-License-Identifier: MIT */
/*
 * main.c - a program that makes garbage, run with more and more of the collector's knowledge passed to the pager
 *
 * semispace [--live MIB] [--budget MIB] [--heap MIB] [--rounds N] [--delivery inline|thread]
 *
 * What helps depends on the room.  As it stands, discarding saves two thirds of the transfers, and collecting in time
 * all of them.  On --budget 8 --heap 16 the live records and their copies do not fit: there the phases halve what is left.
 *
 * The program has lists of records; again and again it drops one and builds another in its place.  What each list must
 * hold follows from its number and from how often it was built, so every record of every run is checked: status 0 says
 * that all were right, 1 that some were not, 77 that the kernel does not let us.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heap.h"

#define LENGTH 32 /* of a list, at most */
#define MIB ((size_t)1 << 20)
#define LIST_BYTES ((size_t)4600) /* on average, about */

struct options {
	size_t live, budget, heap;
	unsigned rounds; /* times the live data is replaced */
	enum hmm_delivery delivery;
};

struct program {
	struct heap heap;
	uint32_t *built; /* of each list: how often */
	uint64_t wrong;
};

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* What record k of a list is. */
static uint64_t id_of(const struct program *p, size_t list, unsigned k)
{
	return mix((uint64_t)list << 40 ^ (uint64_t)p->built[list] << 8 ^ k);
}

static unsigned length_of(const struct program *p, size_t list)
{
	return LENGTH / 2 + (unsigned)(id_of(p, list, 255) % (LENGTH / 2 + 1));
}

static size_t size_of(uint64_t id)
{
	return sizeof(struct record) + (2 + id % 48) * sizeof(uint64_t);
}

/* Each record points to the next one and to the one after it. */
static bool build(struct program *p, size_t list)
{
	struct record **root = &p->heap.roots[list];
	unsigned length;

	*root = NULL;
	p->built[list]++;
	length = length_of(p, list);
	for (unsigned k = 0; k < length; k++) {
		uint64_t id = id_of(p, list, k);
		size_t size = size_of(id);
		struct record *r = heap_alloc(&p->heap, size);

		if (!r)
			return false;
		r->id = id;
		for (size_t i = 0; i < (size - sizeof(*r)) / sizeof(r->data[0]); i++)
			r->data[i] = id + i;
		r->ref[0] = *root; /* read again: a collection has moved what it points to */
		r->ref[1] = *root ? (*root)->ref[0] : NULL;
		*root = r;
	}
	return true;
}

static void check(struct program *p, size_t list)
{
	const struct record *r = p->heap.roots[list];

	for (unsigned k = p->built[list] ? length_of(p, list) : 0; k-- > 0; r = r->ref[0]) {
		uint64_t id = id_of(p, list, k), bad = 0;

		if (!r || r->id != id || r->ref[1] != (r->ref[0] ? r->ref[0]->ref[0] : NULL)) {
			p->wrong++;
			return;
		}
		for (size_t i = 0; i < (size_of(id) - sizeof(*r)) / sizeof(r->data[0]); i++)
			bad |= r->data[i] ^ (id + i);
		p->wrong += bad != 0;
	}
	p->wrong += r != NULL;
}

/* Most changes hit a few lists; and now and then something old is looked at. */
static bool churn(struct program *p, size_t lists, unsigned rounds)
{
	uint64_t state = 1;

	for (size_t i = 0; i < lists; i++)
		if (!build(p, i))
			return false;
	for (size_t i = 0; i < lists * rounds; i++) {
		uint64_t random = mix(state++);

		if (!build(p, (size_t)(random % (random >> 60 < 12 ? lists / 4 : lists))))
			return false;
		if (i % 16 == 0)
			check(p, (size_t)(mix(random) % lists));
	}
	for (size_t i = 0; i < lists; i++)
		check(p, i);
	return true;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_row(const char *name, const struct program *p, double seconds)
{
	struct hmm_stats s = { .size = sizeof(s) };

	if (hmm_space_stats(p->heap.space, &s))
		abort();
	printf("%-34s %6llu %9llu %9llu %9llu %9llu %8llu %7.2f\n", name, (unsigned long long)p->heap.collections,
	       (unsigned long long)(s.loads + s.prefetches), (unsigned long long)s.write_outs,
	       (unsigned long long)s.zero_fills, (unsigned long long)s.faults, (unsigned long long)s.discards, seconds);
}

/* One line of the table.  Returns the program's exit status. */
static int run(const char *name, const char *policy, const struct advice *advice, const struct options *o)
{
	size_t lists = o->live / LIST_BYTES;
	uint64_t pages = 0, notes = 0;
	struct program p = { .wrong = 0 };
	double start = now();
	int r;

	p.built = calloc(lists, sizeof(p.built[0]));
	r = p.built ? heap_create(&p.heap, advice, policy, o->delivery, o->budget / hmm_page_size(), o->heap / 2, lists) : -ENOMEM;
	if (r) {
		free(p.built);
		fprintf(stderr, "semispace: %s\n", strerror(-r));
		return r == -EPERM || r == -ENOTSUP ? 77 : 1;
	}
	if (!churn(&p, lists, o->rounds)) {
		fprintf(stderr, "semispace: the heap is full: give it more\n");
		p.wrong++;
	}
	print_row(name, &p, now() - start);
	if (advice->notice)
		notes = heap_check_notes(&p.heap, &pages);
	if (p.wrong || notes)
		printf("%llu records are wrong, and the notes of %llu of %llu pages\n", (unsigned long long)p.wrong,
		       (unsigned long long)notes, (unsigned long long)pages);
	heap_destroy(&p.heap);
	free(p.built);
	return p.wrong || notes;
}

static bool parse(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i += 2) {
		size_t value = i + 1 < argc ? strtoul(argv[i + 1], NULL, 10) : 0;

		if (i + 1 < argc && !strcmp(argv[i], "--delivery") && (!strcmp(argv[i + 1], "inline") || !strcmp(argv[i + 1], "thread")))
			o->delivery = argv[i + 1][0] == 'i' ? HMM_DELIVERY_INLINE : HMM_DELIVERY_THREAD;
		else if (!strcmp(argv[i], "--live") && value)
			o->live = value * MIB;
		else if (!strcmp(argv[i], "--budget") && value)
			o->budget = value * MIB;
		else if (!strcmp(argv[i], "--heap") && value)
			o->heap = value * MIB;
		else if (!strcmp(argv[i], "--rounds") && value)
			o->rounds = (unsigned)value;
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name, *policy;
		struct advice advice;
	} runs[] = {
		{ "lru, nothing said", "lru", { .discard = false } },
		{ "lru, from-space discarded", "lru", { .discard = true } },
		{ "gc, discard, phases, priority", "gc:lru", { .discard = true, .phases = true } },
		{ "gc, the same, and the notice", "gc:lru", { .discard = true, .phases = true, .notice = true } },
		{ "gc, all that, and the estimate", "gc:lru", { true, true, true, true } },
	};
	struct options o = { .live = 4 * MIB, .budget = 12 * MIB, .heap = 24 * MIB, .rounds = 10, .delivery = HMM_DELIVERY_INLINE };
	int status = 0;

	if (!parse(argc, argv, &o)) {
		fprintf(stderr, "usage: %s [--live MIB] [--budget MIB] [--heap MIB] [--rounds N] [--delivery inline|thread]\n", argv[0]);
		return 2;
	}
	printf("A heap of twice %zu MiB with some %zu MiB of live records, on a budget of %zu MiB; pages:\n\n", o.heap / 2 / MIB,
	       o.live / MIB, o.budget / MIB);
	printf("%-34s %6s %9s %9s %9s %9s %8s %7s\n", "", "coll.", "read", "written", "zeroed", "faults", "dropped", "seconds");
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]) && status != 77; i++) {
		int r = run(runs[i].name, runs[i].policy, &runs[i].advice, &o);

		status = r > status ? r : status;
	}
	return status;
}
