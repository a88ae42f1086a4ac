/* SPDX-License-Identifier: MIT */
/*
 * plan.c - which subjects run which cases, in which order
 *
 * P1  Subjects that write a file share it with no other that keeps pages of it: those groups have one such subject.
 */
#include "bench/fault/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <hurd-mm/hurd-mm.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/fault/group.h"
#include "bench/kernel/swap.h"

#define LARGE_PAGE_SHIFT 20
#define ALL_PATTERNS ((1u << PATTERNS) - 1)

static struct group group_of(const struct options *options, struct results *results, const struct streams *streams,
                             int fd)
{
	struct group group = { .options = options, .results = results, .streams = streams, .fd = fd };

	return group;
}

static void file_reads(struct group *group)
{
	unsigned sequential = 1u << PATTERN_SEQUENTIAL;

	group_add(group, &impl_hurd_file, KIND_FILE, DELIVERY_INLINE, ALL_PATTERNS);
	group_add(group, &impl_floor, KIND_FILE, DELIVERY_INLINE, ALL_PATTERNS);
	group_add(group, &impl_hurd_file, KIND_FILE, DELIVERY_THREAD, ALL_PATTERNS);
	group_add(group, &impl_read_loop, KIND_FILE, DELIVERY_NONE, sequential);
	for (unsigned i = 0; i < 2; i++) {
		enum delivery delivery = i ? DELIVERY_THREAD : DELIVERY_INLINE;
		struct group_subject *s = group_add(group, &impl_hurd_file, KIND_FILE, delivery, sequential);

		s->subject.setup.page_shift = LARGE_PAGE_SHIFT;
		/* The library's own bound: a page is at most an eighth of the budget. */
		if (s->subject.setup.budget >> LARGE_PAGE_SHIFT < 8)
			group->n--;
	}
	group_add(group, &impl_mmap, KIND_FILE, DELIVERY_KERNEL, ALL_PATTERNS);
	if (group_wanted(group, 1u << OP_READ))
		group_run(group, 1u << OP_READ);
}

static void file_mixes(const struct group *empty)
{
	for (int i = 0; i < 3 && !interrupted; i++) {
		struct group group = *empty;

		if (i == 0) {
			group_add(&group, &impl_hurd_file, KIND_FILE, DELIVERY_INLINE, ALL_PATTERNS);
			group_add(&group, &impl_floor, KIND_FILE, DELIVERY_INLINE, ALL_PATTERNS);
		} else if (i == 1) {
			group_add(&group, &impl_hurd_file, KIND_FILE, DELIVERY_THREAD, ALL_PATTERNS);
		} else {
			group_add(&group, &impl_mmap, KIND_FILE, DELIVERY_KERNEL, ALL_PATTERNS);
		}
		if (group_wanted(&group, 1u << OP_MIX))
			group_run(&group, 1u << OP_MIX);
	}
}

/* Start the kernel's swap for the last subject of the group, if somebody wants to see it. */
static void run_with_swap(struct group *group, enum swap_medium medium)
{
	struct subject *subject = &group->subjects[group->n - 1].subject;
	unsigned ops = 1u << OP_READ | 1u << OP_MIX;
	struct kernel_swap swap;
	int started = 0;

	if (!group_wanted(group, ops))
		return;
	if (group->subjects[group->n - 1].wanted) {
		started = kernel_swap_start(&swap, medium, group->options->bytes * 3 / 2, group->options->directory,
		                            subject->why) == 0;
		subject->skipped = !started;
		subject->setup.cgroup = swap.cgroup;
		subject->setup.store = swap.store;
	}
	group_run(group, ops);
	if (started)
		kernel_swap_stop(&swap);
}

static void anonymous(const struct group *empty)
{
	unsigned ops = 1u << OP_READ | 1u << OP_MIX;
	struct group group = *empty;

	group_add(&group, &impl_hurd, KIND_ANON, DELIVERY_INLINE, ALL_PATTERNS);
	group_add(&group, &impl_hurd, KIND_ANON, DELIVERY_THREAD, ALL_PATTERNS);
	if (empty->options->no_kernel) {
		if (group_wanted(&group, ops))
			group_run(&group, ops);
		return;
	}
	group_add(&group, &impl_swap_zram, KIND_ANON, DELIVERY_KERNEL, ALL_PATTERNS);
	run_with_swap(&group, SWAP_ZRAM);
}

/* What has to wait for a disk. */
static void on_disk(const struct group *empty)
{
	unsigned ops = 1u << OP_READ | 1u << OP_MIX;
	struct group group = *empty;

	if (!empty->options->quick)
		group_add(&group, &impl_hurd, KIND_ANON, DELIVERY_INLINE, ALL_PATTERNS)->subject.setup.direct =
			HMM_DIRECT_AUTO;
	if (!empty->options->no_kernel) {
		group_add(&group, &impl_swap_file, KIND_ANON, DELIVERY_KERNEL, ALL_PATTERNS);
		run_with_swap(&group, SWAP_FILE);
	} else if (group.n && group_wanted(&group, ops)) {
		group_run(&group, ops);
	}
}

static void extras(const struct options *options, struct results *results)
{
	struct extra_arg arg = {
		.delivery = HMM_DELIVERY_INLINE,
		.policy = options->policy,
		.directory = options->directory,
		.engine = options->engine,
		.quick = options->quick,
	};
	const struct {
		const char *name;
		void (*body)(void *arg, void *answer);
		void *answer;
		unsigned bytes;
	} all[3] = {
		{ "anon-resident", extra_resident, &results->resident, sizeof(results->resident) },
		{ "anon-tebibyte", extra_tebibyte, &results->tebibyte, sizeof(results->tebibyte) },
		{ "anon-metadata", extra_metadata, &results->metadata, sizeof(results->metadata) },
	};

	results->extra_delivery = "inline";
	for (int i = 0; i < 3 && !interrupted; i++) {
		int r, error;

		if (!name_matches(options, all[i].name))
			continue;
		if (options->list) {
			puts(all[i].name);
			continue;
		}
		r = subject_once(all[i].body, &arg, all[i].answer, all[i].bytes, results->extra_why[i]);
		error = r < 0 ? r : *(int *)all[i].answer; /* the first field of each */
		results->extra_done[i] = error == 0;
		results->extra_failed[i] = error != 0 && error != -ENOTSUP && error != -EPERM;
		if (error && r == 0)
			snprintf(results->extra_why[i], TEXT_BYTES, "%s", strerror(-error));
	}
}

/* The file of all file cases: no name, contents in the page cache and on disk, so that nothing is left to write. */
/*
 * Written page by page, as a program writes that keeps its data in pages.  What is written 256 KiB at a time the kernel keeps in
 * folios of that size, and with ext4 every later write of a page into one walks the blocks of all of it: 3.8 us a write
 * on Linux 6.18 by a profile of one run, more than all the rest of it.  Only the library's mixes write to the file.
 */
static int make_file(const struct options *options)
{
	_Alignas(PAGE_BYTES) static uint8_t contents[PAGE_BYTES];
	int fd = open(options->directory, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	uint64_t npages = options->bytes / PAGE_BYTES;

	if (fd < 0)
		return -errno;
	for (uint64_t page = 0; page < npages; page++) {
		content_fill(contents, page);
		if (pwrite(fd, contents, PAGE_BYTES, (off_t)(page * PAGE_BYTES)) != PAGE_BYTES) {
			int r = errno ? -errno : -ENOSPC;

			close(fd);
			return r;
		}
	}
	fdatasync(fd);
	return fd;
}

int plan_run(const struct options *options, struct results *results)
{
	struct streams streams = { 0 };
	struct group empty;
	unsigned threads = 1;
	char text[16];
	int fd = -1, r = 0;

	started_ns = now_ns();
	results->page_cluster = read_text("/proc/sys/vm/page-cluster", text, sizeof(text)) < 0 ? -1 : atoi(text);
	if (!options->list) {
		fd = make_file(options);
		if (fd < 0) {
			fprintf(stderr, "fault: a file in %s: %s\n", options->directory, strerror(-fd));
			return fd;
		}
		for (unsigned i = 0; i < options->nthreads; i++)
			threads = options->threads[i] > threads ? options->threads[i] : threads;
		r = streams_draw(&streams, (uint32_t)(options->bytes / PAGE_BYTES), threads, 1);
	}
	empty = group_of(options, results, &streams, fd);
	if (r == 0 && !interrupted) {
		struct group reads = empty;

		file_reads(&reads);
	}
	if (r == 0 && !interrupted)
		file_mixes(&empty);
	if (r == 0 && !interrupted)
		anonymous(&empty);
	if (r == 0 && !interrupted)
		extras(options, results);
	if (r == 0 && !interrupted)
		on_disk(&empty);
	if (fd >= 0)
		close(fd);
	return r;
}
