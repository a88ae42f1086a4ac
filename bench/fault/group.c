/* SPDX-License-Identifier: MIT */
/*
 * group.c - subjects that are compared: open at the same time, taking turns
 *
 * They take turns case by case and run by run (A B A B), so that what the machine does meanwhile hits all of them.
 * Only one runs at a time.
 */
#include "bench/fault/group.h"

#include <fnmatch.h>
#include <hurd-mm/hurd-mm.h>
#include <string.h>

#define FILL_SECONDS 3 /* the first warm-up of a subject, at most: it ends when the budget is full */

static unsigned next_number;
uint64_t started_ns;

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

struct group_subject *group_add(struct group *group, const struct impl *impl, enum kind kind, enum delivery delivery,
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
		.recycle = options->recycle,
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

int name_matches(const struct options *options, const char *name)
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

int group_wanted(struct group *group, unsigned ops)
{
	int any = 0;

	for_each_case(group, ops, note_wanted);
	for (unsigned i = 0; i < group->n; i++)
		any |= group->subjects[i].wanted;
	return any && !group->options->list;
}

void group_run(struct group *group, unsigned ops)
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
