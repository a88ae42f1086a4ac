/* SPDX-License-Identifier: MIT */
/*
 * test_altstack.c - handlers on small alternate stacks: below the stack nothing is touched, and of it little
 *
 * A stack is painted, and what is left of the paint tells how deep the handler went.  Below it lies a page that nobody may
 * touch.
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRAMES 64
#define NPAGES 512
#define TAKEN_BY_HANDLER 640 /* what the documentation says beside the kernel's frame */

static struct world w;
static struct world_map m;

static size_t frame_of_kernel(void)
{
	size_t size = getauxval(AT_MINSIGSTKSZ);

	return size ? size : 2048;
}

struct painted {
	uint8_t *base;
	size_t size, mapped;
};

static void paint(struct painted *p, size_t size)
{
	p->size = size;
	p->mapped = (size + 4095) / 4096 * 4096 + 4096;
	p->base = mmap(NULL, p->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->base == MAP_FAILED || mprotect(p->base, 4096, PROT_NONE))
		abort();
	p->base += 4096;
	memset(p->base, 0xa5, size);
}

static size_t depth(const struct painted *p)
{
	size_t clean = 0;

	while (clean < p->size && p->base[clean] == 0xa5)
		clean++;
	return p->size - clean;
}

static void unpaint(struct painted *p)
{
	munmap(p->base - 4096, p->mapped);
}

static int use_as_alternate(const struct painted *p)
{
	stack_t stack = { .ss_sp = p->base, .ss_size = p->size };

	return sigaltstack(&stack, NULL) ? -errno : 0;
}

static void no_alternate(void)
{
	stack_t none = { .ss_flags = SS_DISABLE };

	sigaltstack(&none, NULL);
}

/* Loads, evictions, write-outs, first writes, each in the handler: all of the memory is eight times the budget. */
static int use_memory(size_t first, size_t step)
{
	for (int round = 0; round < 2; round++) {
		for (size_t i = first; i < NPAGES; i += step) {
			volatile uint64_t *word = (volatile uint64_t *)(void *)(m.base + i * m.page);

			if (*word != (round ? i + 1 : 0))
				return -EIO;
			*word = i + 1;
		}
	}
	return 0;
}

struct user {
	size_t size, first, step, depth;
	int error;
};

static void *use_from_thread(void *arg)
{
	struct user *u = arg;
	struct painted p;

	paint(&p, u->size);
	u->error = use_as_alternate(&p);
	if (!u->error)
		u->error = use_memory(u->first, u->step);
	no_alternate();
	u->depth = depth(&p);
	unpaint(&p);
	return NULL;
}

static void begin(int backend)
{
	const char *missing = world_missing((enum world_backend)backend);

	if (missing)
		world_skip(missing);
	world_open(&w, (enum world_backend)backend, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	if (w.page != 4096)
		world_skip("pages of 4 KiB");
}

static void end(void)
{
	world_unmap(&w, &m);
	world_close(&w);
}

/* _i: enum world_backend */
START_TEST(small_stack_takes_a_frame_and_little_more)
{
	const size_t sizes[] = { frame_of_kernel() + TAKEN_BY_HANDLER, 4096, 8192, 12288 };

	begin(_i);
	end();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct user u = { .size = (sizes[i] + 15) & ~(size_t)15, .step = 1 };
		pthread_t thread;

		if (u.size < sizes[0])
			continue; /* not on this processor */
		begin(_i);
		ck_assert_int_eq(pthread_create(&thread, NULL, use_from_thread, &u), 0);
		pthread_join(thread, NULL);
		ck_assert_int_eq(u.error, 0);
		printf("# %zu of %zu bytes taken, %zu of them the kernel's at most\n", u.depth, u.size, frame_of_kernel());
		ck_assert_uint_gt(u.depth, 512);
		ck_assert_uint_le(u.depth, frame_of_kernel() + TAKEN_BY_HANDLER);
		end();
	}
}
END_TEST

#define THREADS 40 /* more than there are stacks of the library's */

START_TEST(many_threads_with_small_stacks)
{
	struct user users[THREADS];
	pthread_t threads[THREADS];

	begin(_i);
	for (size_t i = 0; i < THREADS; i++) {
		users[i] = (struct user){ .size = 8192, .first = i, .step = THREADS };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, use_from_thread, &users[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(users[i].error, 0);
	}
	end();
}
END_TEST

START_TEST(stack_that_is_too_small_is_refused)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = HMM_DELIVERY_INLINE };
	struct hmm_region *region;
	struct painted p;

	begin(_i);
	paint(&p, (frame_of_kernel() + TAKEN_BY_HANDLER - 16) & ~(size_t)15);
	if (use_as_alternate(&p))
		world_skip("small alternate stacks");
	ck_assert_int_eq(hmm_region_map(w.space, NULL, 0, 4096, &opts, &region), -ENOBUFS);
	no_alternate();
	ck_assert_int_eq(hmm_region_map(w.space, NULL, 0, 4096, &opts, &region), 0);
	ck_assert_int_eq(hmm_region_unmap(region), 0);
	unpaint(&p);
	end();
}
END_TEST

/* A handler of the program's on its small stack, which asks us. */
static void asking(int signal, siginfo_t *info, void *context)
{
	if (!hmm_fault_signal(signal, info, context))
		_exit(3);
}

START_TEST(handler_that_asks_us_may_have_a_small_stack)
{
	struct sigaction act = { .sa_sigaction = asking, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct user u = { .size = 8192, .step = 1 };
	pthread_t thread;

	begin(_i);
	ck_assert_int_eq(sigaction(SIGBUS, &act, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, use_from_thread, &u), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(u.error, 0);
	ck_assert_uint_le(u.depth, frame_of_kernel() + 2 * TAKEN_BY_HANDLER);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("altstack");

	for (int i = WORLD_INLINE_AUTO; i <= WORLD_INLINE_COPY; i++) {
		TCase *t = tcase_create(world_backend_names[i]);

		tcase_add_loop_test(t, small_stack_takes_a_frame_and_little_more, i, i + 1);
		tcase_add_loop_test(t, many_threads_with_small_stacks, i, i + 1);
		tcase_add_loop_test(t, stack_that_is_too_small_is_refused, i, i + 1);
		tcase_add_loop_test(t, handler_that_asks_us_may_have_a_small_stack, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
