/* SPDX-License-Identifier: MIT */
/*
 * test_record.c - the trace of a run says what was done, and never costs the run anything but its own records
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/world.h"

#define FRAMES 64
#define NPAGES 32
#define MANY 200000 /* more than the ring holds */

enum { READ, WRITE, DISCARD, HINT };

static char directory[] = "/tmp/hurd-mm-record-XXXXXX";
static struct hmm_region_options one_by_one = { .size = sizeof(one_by_one), .flags = HMM_REGION_NO_READ_AHEAD };

struct trace {
	uint64_t *words;
	size_t n;
};

static void make_directory(void)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	unsetenv("HURD_MM_RECORD");
}

static void remove_directory(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}

static char *path_of(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static long length_of(const char *name)
{
	FILE *file = fopen(path_of(name), "r");
	long length = -1;

	if (!file)
		return -1;
	fseek(file, 0, SEEK_END);
	length = ftell(file);
	fclose(file);
	return length;
}

static struct trace load(const char *name)
{
	struct trace t = { .n = 0 };
	FILE *file = fopen(path_of(name), "r");
	long length = length_of(name);

	ck_assert_msg(file != NULL, "%s: no such trace", name);
	ck_assert_int_eq(length % 8, 0);
	t.n = (size_t)length / 8;
	t.words = malloc((size_t)length + 8);
	ck_assert_uint_eq(fread(t.words, 8, t.n, file), t.n);
	for (size_t i = 0; i < t.n; i++)
		t.words[i] = le64toh(t.words[i]);
	fclose(file);
	return t;
}

static void open_recording(struct world *w, enum world_backend backend, enum world_store kind, const char *name,
                           uint32_t flags)
{
	struct hmm_space_options o = { .size = sizeof(o), .record = name ? path_of(name) : NULL, .flags = flags };
	const char *missing = world_missing(backend);

	if (missing)
		world_skip(missing);
	world_open(w, backend, kind, 1, FRAMES, &o);
}

static void touch(struct world *w, struct world_map *m, size_t page, bool write)
{
	uint8_t byte = 1;

	if (write)
		ck_assert_int_eq(world_write(w, m->region, m->base + page * m->page, &byte, 1), 0);
	else
		ck_assert_int_eq(world_read(w, m->region, m->base + page * m->page, &byte, 1), 0);
}

/* A word's page, as its place in a region whose first page the trace knows by base. */
static void expect(const struct trace *t, size_t at, uint64_t base, uint64_t page, unsigned op)
{
	ck_assert_uint_lt(at, t->n);
	ck_assert_msg(t->words[at] == (((base + page) << 2) | op), "word %zu: page %llu, op %llu; expected %llu, %u", at,
	              (unsigned long long)((t->words[at] >> 2) - base), (unsigned long long)(t->words[at] & 3),
	              (unsigned long long)page, op);
}

static const enum world_backend backends[] = { WORLD_MOCK, WORLD_MOCK_NO_GRANT, WORLD_INLINE_AUTO, WORLD_THREAD_AUTO };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

/* _i: index in backends */
START_TEST(trace_has_what_trapped_in_its_order)
{
	struct world_map m;
	struct world w;
	struct trace t;
	uint64_t base;
	size_t at = 0;

	open_recording(&w, backends[_i], WORLD_SWAP_MEMORY, "trace", 0);
	world_map(&w, &m, NPAGES * w.page, &one_by_one);
	for (size_t i = 0; i < NPAGES; i++)
		touch(&w, &m, i * 7 % NPAGES, i % 3 == 0);
	touch(&w, &m, 7, false); /* resident: not seen */
	touch(&w, &m, 7, true);  /* first write to a clean page */
	ck_assert_int_eq(hmm_region_advise(m.region, m.base + 3 * m.page, 2 * m.page, HMM_ADVISE_DONTNEED), 0);
	touch(&w, &m, 3, true);
	ck_assert_int_eq(hmm_region_hint(m.region, m.base + 5 * m.page, 4 * m.page, HMM_HINT_PRIORITY, -3), 0);
	ck_assert_uint_eq(world_stats(&w).recorded, NPAGES + 1 + 2 + 1 + 3);
	ck_assert_uint_eq(world_stats(&w).record_drops, 0);
	world_unmap(&w, &m);
	world_close(&w);

	t = load("trace");
	ck_assert_uint_eq(t.n, NPAGES + 1 + 2 + 1 + 3);
	base = t.words[0] >> 2;
	for (; at < NPAGES; at++)
		expect(&t, at, base, at * 7 % NPAGES, at % 3 == 0 ? WRITE : READ);
	expect(&t, at++, base, 7, WRITE);
	expect(&t, at++, base, 3, DISCARD);
	expect(&t, at++, base, 4, DISCARD);
	expect(&t, at++, base, 3, WRITE);
	expect(&t, at++, base, 5, HINT);
	expect(&t, at++, 0, 4, HINT);
	ck_assert_uint_eq(t.words[at] & 3, HINT);
	ck_assert_uint_eq(t.words[at] >> 2 & 0xffff, HMM_HINT_PRIORITY);
	ck_assert_int_eq((int64_t)t.words[at] >> 18, -3);
	free(t.words);
}
END_TEST

/* Counts of the trace are those of the statistics when pages come and go. */
START_TEST(trace_has_every_load_and_rescue)
{
	size_t npages = 4 * FRAMES, words;
	uint64_t state = 1;
	struct world_map m;
	struct world w;
	struct hmm_stats s;
	struct trace t;

	open_recording(&w, backends[_i], WORLD_FILE_SHARED, "trace", 0);
	world_map(&w, &m, npages * w.page, &one_by_one);
	for (size_t i = 0; i < 4000; i++)
		touch(&w, &m, world_random(&state) % npages, i % 5 == 0);
	s = world_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);

	t = load("trace");
	words = t.n;
	ck_assert_uint_eq(s.recorded, words);
	ck_assert_uint_ge(words, s.loads + s.rescues + s.faults_protect);
	/* a load whose grant the kernel refused is tried again, and heard of twice */
	ck_assert_uint_le(words, s.loads + s.rescues + s.faults_protect + s.busy + words / 50);
	free(t.words);
}
END_TEST

START_TEST(what_a_store_keeps_is_not_garbage)
{
	struct world_map m;
	struct world w;
	struct trace t;

	open_recording(&w, backends[_i], WORLD_FILE_SHARED, "trace", 0);
	world_map(&w, &m, NPAGES * w.page, &one_by_one);
	touch(&w, &m, 0, true);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_DONTNEED), 0);
	touch(&w, &m, 0, false);
	world_unmap(&w, &m);
	world_close(&w);
	t = load("trace");
	ck_assert_uint_eq(t.n, 2);
	expect(&t, 1, t.words[0] >> 2, 0, READ);
	free(t.words);
}
END_TEST

/* Two regions never share a page of the trace. */
START_TEST(regions_have_pages_of_their_own)
{
	struct world_map m[2];
	struct world w;
	struct trace t;

	open_recording(&w, WORLD_MOCK, WORLD_SWAP_MEMORY, "trace", 0);
	for (int i = 0; i < 2; i++)
		world_map(&w, &m[i], NPAGES * w.page, &one_by_one);
	for (size_t i = 0; i < NPAGES; i++) {
		touch(&w, &m[0], i, true);
		touch(&w, &m[1], i, true);
	}
	for (int i = 0; i < 2; i++)
		world_unmap(&w, &m[i]);
	world_close(&w);
	t = load("trace");
	ck_assert_uint_eq(t.n, 2 * NPAGES);
	for (size_t i = 0; i < t.n; i++) {
		for (size_t k = 0; k < i; k++)
			ck_assert_uint_ne(t.words[i], t.words[k]);
	}
	free(t.words);
}
END_TEST

START_TEST(full_ring_drops_whole_records_and_counts_them)
{
	struct hmm_stats s;
	struct world_map m;
	struct world w;
	struct trace t;
	uint64_t calls = 0, seen = 0;

	/* nobody writes the trace out until the end */
	open_recording(&w, WORLD_MOCK, WORLD_SWAP_MEMORY, "trace", HMM_SPACE_NO_RECLAIMER);
	world_map(&w, &m, NPAGES * w.page, &one_by_one);
	touch(&w, &m, 0, true);
	for (; calls < MANY; calls++)
		ck_assert_int_eq(hmm_region_hint(m.region, m.base, m.length, HMM_HINT_USER, (int64_t)calls), 0);
	s = world_stats(&w);
	ck_assert_uint_gt(s.record_drops, 0);
	ck_assert_uint_eq((s.recorded - 1) / 3 + s.record_drops, calls);
	ck_assert_int_eq(length_of("trace"), 0);
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	ck_assert_int_eq(length_of("trace"), (long)s.recorded * 8);
	ck_assert_int_eq(hmm_region_hint(m.region, m.base, m.length, HMM_HINT_USER, MANY), 0); /* there is room again */
	ck_assert_uint_eq(world_stats(&w).recorded, s.recorded + 3);
	world_unmap(&w, &m);
	world_close(&w);

	t = load("trace");
	ck_assert_uint_eq(t.n, s.recorded + 3);
	for (size_t i = 1; i < t.n; i += 3, seen++) {
		expect(&t, i, t.words[0] >> 2, 0, HINT);
		expect(&t, i + 1, 0, NPAGES, HINT);
		ck_assert_int_eq((int64_t)t.words[i + 2] >> 18, (int64_t)(i + 3 == t.n ? MANY : seen));
	}
	free(t.words);
}
END_TEST

START_TEST(file_that_takes_nothing_is_an_event)
{
	struct hmm_space_options o = { .size = sizeof(o), .record = "/dev/full" };
	struct world_map m;
	struct world w;

	world_open(&w, WORLD_MOCK, WORLD_SWAP_MEMORY, 1, FRAMES, &o);
	world_map(&w, &m, NPAGES * w.page, &one_by_one);
	for (size_t i = 0; i < NPAGES; i++)
		touch(&w, &m, i, true);
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	while (!atomic_load(&w.events[HMM_EVENT_RECORD_ERROR]))
		ck_assert_int_eq(hmm_space_poll(w.space), 0);
	touch(&w, &m, 0, false);
	ck_assert_int_eq(hmm_region_hint(m.region, m.base, m.length, HMM_HINT_USER, 0), 0);
	ck_assert_uint_eq(world_stats(&w).record_drops, 1);
	world_unmap(&w, &m);
	world_close(&w);
	ck_assert_uint_eq(w.events[HMM_EVENT_RECORD_ERROR], 1);
}
END_TEST

START_TEST(option_that_names_no_file_fails_creation)
{
	struct hmm_space_options o = { .size = sizeof(o), .backend = hmm_backend_mock(), .record = path_of("no/such") };
	struct hmm_space *space;

	ck_assert_int_eq(hmm_space_create(FRAMES, &o, &space), -ENOENT);
}
END_TEST

START_TEST(variable_that_names_no_file_is_an_event)
{
	struct world w;

	setenv("HURD_MM_RECORD", path_of("no/such"), 1);
	open_recording(&w, WORLD_MOCK, WORLD_SWAP_MEMORY, NULL, 0);
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	world_close(&w);
	ck_assert_uint_eq(w.events[HMM_EVENT_RECORD_ERROR], 1);
}
END_TEST

static void run_one(struct world *w, const char *option, bool write)
{
	struct world_map m;

	open_recording(w, WORLD_MOCK, WORLD_SWAP_MEMORY, option, 0);
	world_map(w, &m, NPAGES * w->page, &one_by_one);
	touch(w, &m, 0, write);
	world_unmap(w, &m);
}

START_TEST(variable_names_a_file_for_each_space)
{
	struct world w[3];
	char name[64];

	setenv("HURD_MM_RECORD", path_of("run-%p-%%"), 1);
	for (int i = 0; i < 2; i++)
		run_one(&w[i], NULL, true);
	run_one(&w[2], "other-%p", true); /* the option comes first */
	for (int i = 0; i < 3; i++)
		world_close(&w[i]);
	snprintf(name, sizeof(name), "run-%d-%%", (int)getpid());
	ck_assert_int_eq(length_of(name), 8);
	strcat(name, ".2");
	ck_assert_int_eq(length_of(name), 8);
	name[strlen(name) - 1] = '3';
	ck_assert_int_eq(length_of(name), -1);
	snprintf(name, sizeof(name), "other-%d", (int)getpid());
	ck_assert_int_eq(length_of(name), 8);
}
END_TEST

/* In the child: pages of the copied region, then a space of its own. */
static void child(struct world *w, struct world_map *m)
{
	struct world own;

	for (size_t i = 0; i < m->npages; i++)
		touch(w, m, i, true);
	ck_assert_uint_eq(world_stats(w).recorded, 0);
	run_one(&own, NULL, true);
	world_close(&own);
	world_unmap(w, m);
	hmm_space_destroy(w->space);
	_exit(0);
}

/* _i: index in backends; the mock's memory is not copied by a fork */
START_TEST(forked_child_leaves_the_trace_alone)
{
	struct hmm_region_options copied = one_by_one;
	struct world_map m;
	struct world w, own;
	char name[64];
	int status;
	pid_t pid;

	copied.flags |= HMM_REGION_COPY_ON_FORK;
	setenv("HURD_MM_RECORD", path_of("trace"), 1);
	open_recording(&w, backends[_i], WORLD_SWAP_MEMORY, NULL, 0);
	world_map(&w, &m, NPAGES * w.page, &copied);
	for (size_t i = 0; i < NPAGES / 2; i++)
		touch(&w, &m, i, true);
	world_threads_rest();
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid)
		child(&w, &m);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	run_one(&own, NULL, true);
	world_close(&own);
	world_unmap(&w, &m);
	world_close(&w);
	ck_assert_int_eq(length_of("trace"), NPAGES / 2 * 8);
	ck_assert_int_eq(length_of("trace.2"), 8);
	snprintf(name, sizeof(name), "trace.%d.2", (int)pid);
	ck_assert_int_eq(length_of(name), 8);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("record");
	TCase *tc = tcase_create("trace");

	tcase_add_checked_fixture(tc, make_directory, remove_directory);
	tcase_add_loop_test(tc, trace_has_what_trapped_in_its_order, 0, BACKENDS);
	tcase_add_loop_test(tc, trace_has_every_load_and_rescue, 0, BACKENDS);
	tcase_add_loop_test(tc, what_a_store_keeps_is_not_garbage, 0, BACKENDS);
	tcase_add_test(tc, regions_have_pages_of_their_own);
	tcase_add_test(tc, full_ring_drops_whole_records_and_counts_them);
	tcase_add_test(tc, file_that_takes_nothing_is_an_event);
	tcase_add_test(tc, option_that_names_no_file_fails_creation);
	tcase_add_test(tc, variable_that_names_no_file_is_an_event);
	tcase_add_test(tc, variable_names_a_file_for_each_space);
	/* ThreadSanitizer does not support threads that start after a fork in a process with several */
	if (!TEST_TSAN)
		tcase_add_loop_test(tc, forked_child_leaves_the_trace_alone, 2, BACKENDS);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
