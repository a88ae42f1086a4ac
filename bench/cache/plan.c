/* SPDX-License-Identifier: MIT */
/*
 * plan.c - which cases there are: groups of implementations that are open at the same time and take turns
 */
#include "bench/cache/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/kernel/cgroup.h"

#define MEMBERS_MOST 5u

struct member {
	struct process process;
	unsigned modes; /* bits */
};

struct group {
	const struct options *options;
	struct results *results;
	const char *name;
	enum pattern pattern;
	struct setup setup;
	struct member members[MEMBERS_MOST];
	unsigned nmembers, threads;
	struct streams streams;
};

static const char *const mode_suffix[MODES] = {
	[MODE_READ] = "",
	[MODE_PAIRS] = "-pairs",
	[MODE_OPTIMISTIC] = "-optimistic",
	[MODE_LOOK] = "-optimistic-look",
	[MODE_MIX] = "-mix",
	[MODE_PREFETCH] = "-prefetch",
};

static int make_file(const struct group *g)
{
	size_t size = g->setup.page_size, chunk = size < 65536 ? 65536 : size;
	uint64_t bytes = (uint64_t)g->setup.npages * size;
	uint8_t *buffer = malloc(chunk);
	char path[4096];
	int fd;

	if (!buffer)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/hurd-mm-bench-cache-XXXXXX", g->options->directory);
	fd = mkstemp(path);
	if (fd >= 0)
		unlink(path);
	for (uint64_t at = 0; fd >= 0 && at < bytes; at += chunk) {
		size_t n = bytes - at < chunk ? (size_t)(bytes - at) : chunk;

		for (size_t i = 0; i < n; i += size)
			stamp_fill(buffer + i, size, (at + i) / size);
		if (pwrite(fd, buffer, n, (off_t)at) != (ssize_t)n) {
			close(fd);
			fd = -1;
		}
	}
	free(buffer);
	return fd < 0 ? -errno : fd;
}

static void add_member(struct group *g, const struct impl *impl, unsigned modes, int fd)
{
	struct member *m = &g->members[g->nmembers++];

	memset(m, 0, sizeof(*m));
	m->modes = modes;
	m->process.impl = impl;
	m->process.setup = g->setup;
	m->process.setup.fd = fd;
}

static struct row *add_row(struct group *g, const struct member *m, const char *name, unsigned threads)
{
	struct row *row;

	if (g->results->nrows == ROWS_MOST)
		return NULL;
	row = &g->results->rows[g->results->nrows++];
	memset(row, 0, sizeof(*row));
	snprintf(row->name, sizeof(row->name), "%s", name);
	row->impl = m->process.impl->name;
	row->threads = threads;
	row->page_size = g->setup.page_size;
	row->bytes = (uint64_t)g->setup.npages * g->setup.page_size;
	row->budget = g->setup.budget;
	return row;
}

/* One turn of one member. */
static void run_once(struct member *m, struct row *row, const struct order *order)
{
	struct sample sample;

	if (process_run(&m->process, order, &sample) < 0)
		return;
	row->ops[row->nrounds] = (double)sample.accesses / sample.seconds;
	row->misses[row->nrounds++] = (double)sample.counters.misses / sample.seconds;
	row->bad += sample.bad;
}

static void run_case(struct group *g, enum mode mode, unsigned threads)
{
	const struct options *o = g->options;
	struct row *rows[MEMBERS_MOST] = { NULL };
	struct order order = { .mode = mode, .threads = threads, .seconds = o->seconds, .warm = o->seconds / 4 };
	char name[32];

	snprintf(name, sizeof(name), "%s%s", g->name, mode_suffix[mode]);
	if (o->filter && !strstr(name, o->filter))
		return;
	for (unsigned i = 0; i < g->nmembers; i++)
		if (g->members[i].modes & 1u << mode)
			rows[i] = add_row(g, &g->members[i], name, threads);
	for (unsigned round = 0; round < o->rounds; round++)
		for (unsigned i = 0; i < g->nmembers && !interrupted; i++)
			if (rows[i] && g->members[i].process.pid)
				run_once(&g->members[i], rows[i], &order);
	for (unsigned i = 0; i < g->nmembers; i++) {
		if (!rows[i])
			continue;
		rows[i]->skipped = g->members[i].process.skipped;
		rows[i]->failed = g->members[i].process.failed;
		memcpy(rows[i]->why, g->members[i].process.why, TEXT_BYTES);
	}
}

/* What a member did wrong at its end counts for its last row. */
static void close_member(struct group *g, struct member *m)
{
	uint64_t bad = process_close(&m->process);

	for (unsigned i = g->results->nrows; i-- > 0;) {
		struct row *row = &g->results->rows[i];

		if (row->impl == m->process.impl->name && row->page_size == g->setup.page_size) {
			row->bad += bad;
			row->failed |= m->process.failed;
			if (m->process.failed)
				memcpy(row->why, m->process.why, TEXT_BYTES);
			return;
		}
	}
}

static int wanted(const struct group *g)
{
	char name[32];
	int any = 0;

	for (unsigned mode = 0; mode < MODES; mode++) {
		for (unsigned i = 0; i < g->nmembers; i++) {
			snprintf(name, sizeof(name), "%s%s", g->name, mode_suffix[mode]);
			any |= (g->members[i].modes & 1u << mode) &&
			       (!g->options->filter || strstr(name, g->options->filter));
		}
	}
	return any;
}

static void run_group(struct group *g)
{
	for (unsigned i = 0; i < g->nmembers && !interrupted; i++) {
		struct process *p = &g->members[i].process;

		memcpy(p->setup.keys, g->streams.keys[g->pattern], sizeof(p->setup.keys));
		process_open(p);
	}
	for (unsigned mode = 0; mode < MODES; mode++)
		for (unsigned threads = 1; threads <= g->threads; threads++)
			run_case(g, mode, threads);
	for (unsigned i = 0; i < g->nmembers; i++)
		close_member(g, &g->members[i]);
}

static void streams_free(struct streams *streams)
{
	for (unsigned p = 0; p < PATTERNS; p++)
		for (unsigned t = 0; t < MAX_THREADS; t++)
			if (streams->keys[p][t])
				munmap(streams->keys[p][t], STREAM_KEYS * sizeof(uint32_t));
}

/* A group over one file, or, where pages are written, each over one of its own. */
struct what {
	const char *name;
	enum pattern pattern;
	size_t page_size;
	uint64_t bytes, budget;
	unsigned threads;
	int limited; /* with mmap under a limit */
	struct {
		const struct impl *impl;
		unsigned modes;
	} members[MEMBERS_MOST];
};

static int do_group(const struct options *options, struct results *results, const struct what *what)
{
	struct group g = { .options = options, .results = results, .name = what->name, .pattern = what->pattern };
	int fds[MEMBERS_MOST] = { 0 }, r = 0;
	struct cgroup cgroup = { .path = "" };

	g.threads = what->threads;
	g.setup.page_size = what->page_size;
	g.setup.npages = (uint32_t)(what->bytes / what->page_size);
	g.setup.budget = what->budget;
	g.setup.policy = options->policy;
	g.setup.directory = options->directory;
	for (unsigned i = 0; i < MEMBERS_MOST && what->members[i].impl; i++)
		add_member(&g, what->members[i].impl, what->members[i].modes, -1);
	if (!wanted(&g) || interrupted)
		return 0;
	r = streams_draw(&g.streams, g.setup.npages, what->threads, 1);
	for (unsigned i = 0; r == 0 && i < g.nmembers; i++) {
		struct process *p = &g.members[i].process;

		fds[i] = i > 0 && !(g.members[i].modes & 1u << MODE_MIX) ? dup(fds[0]) : make_file(&g);
		r = fds[i] < 0 ? fds[i] : 0;
		p->setup.fd = fds[i];
		if (p->impl != &impl_mmap_limited)
			continue;
		p->skipped = options->no_kernel || cgroup_create(&cgroup, p->why) < 0;
		if (options->no_kernel)
			strcpy(p->why, "not asked for");
		p->setup.cgroup = cgroup.path;
	}
	if (r == 0)
		run_group(&g);
	for (unsigned i = 0; i < g.nmembers; i++)
		if (fds[i] > 0)
			close(fds[i]);
	cgroup_destroy(&cgroup);
	streams_free(&g.streams);
	return r;
}

#define READ (1u << MODE_READ)
#define HITS (1u << MODE_READ | 1u << MODE_PAIRS | 1u << MODE_OPTIMISTIC | 1u << MODE_LOOK)
#define MIX (1u << MODE_MIX)
#define PREFETCH (1u << MODE_PREFETCH)

static int do_sizes(const struct options *o, struct results *results)
{
	static const unsigned sizes[] = { 512, 1024, 2048, 4096, 8192, 16384, 65536 };
	int r = 0;

	for (unsigned i = 0; r == 0 && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char hits[32], misses[32];
		struct what what = {
			.name = hits, .pattern = PATTERN_ZIPF, .page_size = sizes[i], .bytes = o->budget / 4 / 10 * 8 / 65536 * 65536,
			.budget = o->budget / 4, .threads = 1, .members = { { &impl_cache, READ } },
		};

		snprintf(hits, sizeof(hits), "size-%u-hits", sizes[i]);
		snprintf(misses, sizeof(misses), "size-%u-misses", sizes[i]);
		r = do_group(o, results, &what);
		if (r < 0)
			break;
		what.name = misses;
		what.pattern = PATTERN_RANDOM;
		what.bytes = o->bytes / 4;
		what.budget = what.bytes / 4;
		what.members[1].impl = &impl_pread;
		what.members[1].modes = READ;
		r = do_group(o, results, &what);
	}
	return r;
}

int plan_run(const struct options *o, struct results *results)
{
	const struct what groups[] = {
		{ .name = "hits", .pattern = PATTERN_ZIPF, .page_size = 4096, .bytes = o->budget / 10 * 8 / 65536 * 65536,
		  .budget = o->budget, .threads = 2,
		  .members = { { &impl_cache, HITS }, { &impl_region, READ }, { &impl_mmap, READ },
		               { &impl_pread, READ } } },
		{ .name = "misses", .pattern = PATTERN_RANDOM, .page_size = 4096, .bytes = o->bytes,
		  .budget = o->bytes / 4, .threads = 2,
		  .members = { { &impl_cache, READ | PREFETCH }, { &impl_region, READ }, { &impl_mmap, READ },
		               { &impl_pread, READ }, { &impl_mmap_limited, READ } } },
		{ .name = "zipf", .pattern = PATTERN_ZIPF, .page_size = 4096, .bytes = o->bytes,
		  .budget = o->bytes / 4, .threads = 2,
		  .members = { { &impl_cache, READ | MIX }, { &impl_region, READ | MIX }, { &impl_mmap, READ | MIX },
		               { &impl_pread, READ | MIX } } },
	};
	int r = 0;

	for (unsigned i = 0; r == 0 && i < sizeof(groups) / sizeof(groups[0]); i++)
		r = do_group(o, results, &groups[i]);
	return r < 0 ? r : do_sizes(o, results);
}
