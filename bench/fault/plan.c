/* SPDX-License-Identifier: MIT */
/*
 * plan.c - which subjects run which cases, in which order
 *
 * Subjects that are compared are open at the same time and take turns, case by case and run by run (A B A B), so that
 * what the machine does meanwhile hits all of them.  Only one runs at a time.
 * P1  Subjects that write a file share it with no other that keeps pages of it: those groups have one such subject.
 */
#include "bench/fault/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <hurd-mm/hurd-mm.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/fault/kernel_swap.h"

#define MAX_SUBJECTS 8
#define FILL_SECONDS 3 /* the first warm-up of a subject, at most: it ends when the budget is full */
#define LARGE_PAGE_SHIFT 20
#define SMALL_PAGE_SHIFT 12
#define ALL_PATTERNS ((1u << PATTERNS) - 1)

struct group_subject {
	struct subject subject;
	unsigned patterns; /* bit n: runs pattern n */
	int wanted;
};

struct group {
	const struct options *options;
	struct results *results;
	const struct streams *streams;
	struct group_subject subjects[MAX_SUBJECTS];
	unsigned n;
	int fd;
};

static unsigned next_number;
static uint64_t started_ns;

/*
 * --quick promises an end after 40 seconds also where the machine is slow or busy: cases that come late are run once
 * and more briefly, and the last of all are left out.
 */
#define QUICK_HURRY_SECONDS 22
#define QUICK_STOP_SECONDS 34

static int quick_later_than(const struct options *options, unsigned seconds)
{
	return options->quick && now_ns() - started_ns > seconds * UINT64_C(1000000000);
}

static struct group_subject *add(struct group *group, const struct impl *impl, enum kind kind, enum delivery delivery,
                                 unsigned patterns)
{
	const struct options *options = group->options;
	struct group_subject *s = &group->subjects[group->n++];

	memset(s, 0, sizeof(*s));
	s->patterns = patterns;
	s->subject.impl = impl;
	s->subject.setup = (struct setup){
		.kind = kind,
		.delivery = delivery,
		.page_shift = SMALL_PAGE_SHIFT,
		.bytes = options->bytes,
		.budget = options->bytes / 100 * options->resident / PAGE_BYTES * PAGE_BYTES,
		.fd = group->fd,
		.directory = options->directory,
		.direct = HMM_DIRECT_NEVER,
		.policy = options->policy,
		.engine = options->engine,
		.rescue = options->rescue,
		.number = 1 + next_number++ % (PAGE_LINES - 1),
	};
	return s;
}

static void row_init(struct row *row, const struct subject *subject, const struct load *load)
{
	memset(row, 0, sizeof(*row));
	row->load = *load;
	row->kind = subject->setup.kind;
	row->delivery = subject->setup.delivery;
	row->page_shift = subject->setup.page_shift;
	row->direct = subject->setup.direct != HMM_DIRECT_NEVER;
	row->bytes = subject->setup.bytes;
	row->impl = subject->impl->name;
	row->identity = subject->identity;
}

static int name_matches(const struct options *options, const char *name)
{
	return !options->filter || strstr(name, options->filter) || fnmatch(options->filter, name, 0) == 0;
}

static int wanted(const struct options *options, const struct group_subject *s, const struct load *load)
{
	char name[TEXT_BYTES];
	struct row row;

	if (!(s->patterns & 1u << load->pattern))
		return 0;
	row_init(&row, &s->subject, load);
	row_name(&row, name);
	return name_matches(options, name);
}

/* The cases that a target is about are run three times, the others once when time is short. */
static unsigned runs_of(const struct group *group, const struct load *load)
{
	const struct options *options = group->options;
	int file = group->subjects[0].subject.setup.kind == KIND_FILE, counts = 0;

	if (load->pattern == PATTERN_RANDOM)
		counts = load->op == OP_READ || file;
	else if (load->pattern == PATTERN_SEQUENTIAL)
		counts = load->op == OP_READ && file && load->threads == 1;
	if (quick_later_than(options, QUICK_STOP_SECONDS))
		return 0;
	if (options->quick && (!counts || group->n == 1 || quick_later_than(options, QUICK_HURRY_SECONDS)))
		return 1;
	return 3;
}

static void take_over_state(struct row *row, const struct subject *subject)
{
	row->failed = subject->failed;
	row->skipped = subject->skipped;
	memcpy(row->why, subject->why, sizeof(row->why));
}

/*
 * Under a small limit the kernel now and then takes the working set for unreclaimable, and its out-of-memory killer
 * ends the process, with much of the swap free.  That says something about the kernel and nothing about the library:
 * the row says so, and the next case gets a new process.
 */
static void forgive_kernel(struct subject *subject)
{
	if (subject->setup.cgroup && subject->failed) {
		subject->failed = 0;
		subject->skipped = 1;
	}
}

static void revive(struct group *group, struct subject *subject)
{
	if (!subject->setup.cgroup || !subject->ran || subject->pid)
		return;
	subject->skipped = subject->ran = 0;
	subject_open(subject, group->streams);
	forgive_kernel(subject);
}

/* One case: all subjects of the group that run it, in turn. */
static void run_case(struct group *group, const struct load *load)
{
	struct row *rows[MAX_SUBJECTS] = { NULL };
	unsigned runs = runs_of(group, load);

	for (unsigned i = 0; i < group->n; i++) {
		if (!wanted(group->options, &group->subjects[i], load) || group->results->nrows == MAX_ROWS)
			continue;
		revive(group, &group->subjects[i].subject);
		rows[i] = &group->results->rows[group->results->nrows++];
		row_init(rows[i], &group->subjects[i].subject, load);
	}
	for (unsigned run = 0; run < runs && !interrupted; run++) {
		struct load again = *load;

		if (quick_later_than(group->options, QUICK_HURRY_SECONDS))
			again.seconds /= 2, again.warm /= 2;
		if (run > 0)
			again.warm = load->warm / 10; /* the pages of this pattern are there already */
		for (unsigned i = 0; i < group->n && !interrupted; i++) {
			struct subject *subject = &group->subjects[i].subject;
			struct load mine = again;
			struct sample sample;

			if (!subject->ran && mine.warm < FILL_SECONDS)
				mine.warm = FILL_SECONDS;
			if (!rows[i] || !subject->pid)
				continue;
			subject->ran = 1;
			if (subject_run(subject, &mine, &sample) < 0) {
				forgive_kernel(subject);
				continue;
			}
			rows[i]->runs[rows[i]->nruns++] = sample;
			rows[i]->bad += sample.bad;
		}
	}
	for (unsigned i = 0; i < group->n; i++) {
		if (!rows[i])
			continue;
		take_over_state(rows[i], &group->subjects[i].subject);
		if (!runs && !rows[i]->failed && !rows[i]->skipped) {
			rows[i]->skipped = 1;
			strcpy(rows[i]->why, "out of time");
		}
	}
}

typedef void visitor(struct group *group, const struct load *load);

static void for_each_case(struct group *group, unsigned ops, visitor *visit)
{
	const struct options *options = group->options;

	for (unsigned pattern = 0; pattern < PATTERNS; pattern++)
		for (unsigned op = OP_READ; op <= OP_MIX; op++)
			for (unsigned t = 0; t < options->nthreads; t++) {
				struct load load = {
					.pattern = pattern,
					.op = op,
					.threads = options->threads[t],
					.seconds = options->seconds,
					.warm = options->warm,
				};

				if (ops & 1u << op)
					visit(group, &load);
			}
}

static void note_wanted(struct group *group, const struct load *load)
{
	for (unsigned i = 0; i < group->n; i++) {
		struct group_subject *s = &group->subjects[i];
		char name[TEXT_BYTES];
		struct row row;

		if (!wanted(group->options, s, load))
			continue;
		s->wanted = 1;
		row_init(&row, &s->subject, load);
		row_name(&row, name);
		if (group->options->list)
			puts(name);
	}
}

/* What a subject did wrong at its end counts for the last of its rows. */
static void close_subject(struct group *group, struct subject *subject)
{
	uint64_t bad = subject_close(subject, group->options->quick ? 8 : 1);

	for (unsigned i = group->results->nrows; i-- > 0;) {
		struct row *row = &group->results->rows[i];

		if (row->nruns && row->impl == subject->impl->name && row->kind == subject->setup.kind &&
		    row->delivery == subject->setup.delivery && row->page_shift == subject->setup.page_shift) {
			row->bad += bad;
			take_over_state(row, subject);
			return;
		}
	}
	group->results->stray_bad += bad;
	group->results->stray_failed |= subject->failed;
}

static int group_wanted(struct group *group, unsigned ops)
{
	int any = 0;

	for_each_case(group, ops, note_wanted);
	for (unsigned i = 0; i < group->n; i++)
		any |= group->subjects[i].wanted;
	return any && !group->options->list;
}

static void run_group(struct group *group, unsigned ops)
{
	for (unsigned i = 0; i < group->n && !interrupted; i++) {
		struct subject *subject = &group->subjects[i].subject;

		if (group->subjects[i].wanted && !subject->skipped)
			subject_open(subject, group->streams);
	}
	if (!interrupted)
		for_each_case(group, ops, run_case);
	for (unsigned i = 0; i < group->n; i++) {
		if (interrupted)
			subject_kill(&group->subjects[i].subject);
		else
			close_subject(group, &group->subjects[i].subject);
	}
}

/* ---- groups ---- */

static struct group group_of(const struct options *options, struct results *results, const struct streams *streams,
                             int fd)
{
	struct group group = { .options = options, .results = results, .streams = streams, .fd = fd };

	return group;
}

static void file_reads(struct group *group)
{
	unsigned sequential = 1u << PATTERN_SEQUENTIAL;

	add(group, &impl_hurd_file, KIND_FILE, DELIVERY_INLINE, ALL_PATTERNS);
	add(group, &impl_floor, KIND_FILE, DELIVERY_INLINE, ALL_PATTERNS);
	add(group, &impl_hurd_file, KIND_FILE, DELIVERY_THREAD, ALL_PATTERNS);
	add(group, &impl_read_loop, KIND_FILE, DELIVERY_NONE, sequential);
	for (unsigned i = 0; i < 2; i++) {
		struct group_subject *s = add(group, &impl_hurd_file, KIND_FILE, i ? DELIVERY_THREAD : DELIVERY_INLINE,
		                              sequential);

		s->subject.setup.page_shift = LARGE_PAGE_SHIFT;
		/* The library's own bound: a page is at most an eighth of the budget. */
		if (s->subject.setup.budget >> LARGE_PAGE_SHIFT < 8)
			group->n--;
	}
	add(group, &impl_mmap, KIND_FILE, DELIVERY_KERNEL, ALL_PATTERNS);
	if (group_wanted(group, 1u << OP_READ))
		run_group(group, 1u << OP_READ);
}

static void file_mixes(const struct group *empty)
{
	for (int i = 0; i < 3 && !interrupted; i++) {
		struct group group = *empty;

		if (i == 0) {
			add(&group, &impl_hurd_file, KIND_FILE, DELIVERY_INLINE, ALL_PATTERNS);
			add(&group, &impl_floor, KIND_FILE, DELIVERY_INLINE, ALL_PATTERNS);
		} else if (i == 1) {
			add(&group, &impl_hurd_file, KIND_FILE, DELIVERY_THREAD, ALL_PATTERNS);
		} else {
			add(&group, &impl_mmap, KIND_FILE, DELIVERY_KERNEL, ALL_PATTERNS);
		}
		if (group_wanted(&group, 1u << OP_MIX))
			run_group(&group, 1u << OP_MIX);
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
	run_group(group, ops);
	if (started)
		kernel_swap_stop(&swap);
}

static void anonymous(const struct group *empty)
{
	unsigned ops = 1u << OP_READ | 1u << OP_MIX;
	struct group group = *empty;

	add(&group, &impl_hurd, KIND_ANON, DELIVERY_INLINE, ALL_PATTERNS);
	add(&group, &impl_hurd, KIND_ANON, DELIVERY_THREAD, ALL_PATTERNS);
	if (empty->options->no_kernel) {
		if (group_wanted(&group, ops))
			run_group(&group, ops);
		return;
	}
	add(&group, &impl_swap_zram, KIND_ANON, DELIVERY_KERNEL, ALL_PATTERNS);
	run_with_swap(&group, SWAP_ZRAM);
}

/* What has to wait for a disk. */
static void on_disk(const struct group *empty)
{
	unsigned ops = 1u << OP_READ | 1u << OP_MIX;
	struct group group = *empty;

	if (!empty->options->quick)
		add(&group, &impl_hurd, KIND_ANON, DELIVERY_INLINE, ALL_PATTERNS)->subject.setup.direct =
			HMM_DIRECT_AUTO;
	if (!empty->options->no_kernel) {
		add(&group, &impl_swap_file, KIND_ANON, DELIVERY_KERNEL, ALL_PATTERNS);
		run_with_swap(&group, SWAP_FILE);
	} else if (group.n && group_wanted(&group, ops)) {
		run_group(&group, ops);
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
static int make_file(const struct options *options)
{
	_Alignas(PAGE_BYTES) static uint8_t pages[64][PAGE_BYTES];
	int fd = open(options->directory, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	uint64_t npages = options->bytes / PAGE_BYTES;

	if (fd < 0)
		return -errno;
	for (uint64_t page = 0; page < npages; page += 64) {
		uint64_t n = npages - page < 64 ? npages - page : 64;

		for (uint64_t i = 0; i < n; i++)
			content_fill(pages[i], page + i);
		if (pwrite(fd, pages, n * PAGE_BYTES, (off_t)(page * PAGE_BYTES)) != (ssize_t)(n * PAGE_BYTES)) {
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
