/* SPDX-License-Identifier: MIT */
/*
 * work.c - what a policy costs a fault in the pager: the time in its hooks
 *
 * First the calls are found out: victims are named 64 at a time ahead of need and wait on an available list of an eighth
 * of the frames; a page touched there comes back (rejected, touched), the others leave (evicted) as frames are needed
 * (miss, inserted).  Then a new instance gets the same calls with nothing between them, and the clock is read every 64
 * faults.  The same calls find the same victims, for a policy has no other input; that is checked.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "bench/policy/policy.h"

#define NONE UINT32_MAX
#define BATCH 64u
#define TICK_FAULTS 20000u /* a tenth of a second of faults */

enum kind { MISS, INSERTED, TOUCHED, CHOOSE, EVICTED, RACED, TICK };

struct call {
	uint32_t kind;   /* MISS also: a fault begins */
	uint32_t frame;  /* CHOOSE: the first victim named, NONE if none was */
	uint32_t page;
	uint32_t cookie; /* CHOOSE: how many victims */
};

struct log {
	struct call *calls;
	size_t n, room;
};

struct pager {
	struct instance policy;
	struct log *log;
	uint32_t *frame_of, *cookies; /* by page */
	uint32_t *page_of;            /* by frame */
	uint32_t *next, *prev;        /* by frame; capacity is the list's end */
	bool *available;              /* by frame */
	uint32_t navailable, most_available, *free, nfree;
	uint64_t faults;
};

static int put(struct log *log, uint32_t kind, uint32_t frame, uint32_t page, uint32_t cookie)
{
	if (log->n == log->room) {
		size_t room = log->room ? 2 * log->room : 65536;
		struct call *calls = realloc(log->calls, room * sizeof(*calls));

		if (!calls)
			return -ENOMEM;
		log->calls = calls;
		log->room = room;
	}
	log->calls[log->n++] = (struct call){ kind, frame, page, cookie };
	return 0;
}

static void unlist(struct pager *p, uint32_t frame)
{
	p->next[p->prev[frame]] = p->next[frame];
	p->prev[p->next[frame]] = p->prev[frame];
	p->available[frame] = false;
	p->navailable--;
}

static void list(struct pager *p, uint32_t frame)
{
	uint32_t end = p->policy.frames;

	p->next[frame] = end;
	p->prev[frame] = p->prev[end];
	p->next[p->prev[end]] = frame;
	p->prev[end] = frame;
	p->available[frame] = true;
	p->navailable++;
}

static int choose(struct pager *p)
{
	uint32_t victims[BATCH];
	uint32_t n = p->policy.ops->choose(p->policy.state, BATCH, victims, 4 * BATCH + 64);

	for (uint32_t i = 0; i < n; i++)
		list(p, victims[i]);
	return put(p->log, CHOOSE, n ? victims[0] : NONE, 0, n);
}

static int trim(struct pager *p)
{
	uint32_t frame = p->next[p->policy.frames], page = p->page_of[frame];

	unlist(p, frame);
	p->cookies[page] = p->policy.ops->evicted(p->policy.state, frame, page);
	p->frame_of[page] = NONE;
	p->free[p->nfree++] = frame;
	return put(p->log, EVICTED, frame, page, p->cookies[page]);
}

/* Frames for the next faults. */
static int reclaim(struct pager *p)
{
	int r = 0;

	for (unsigned tries = 0; !r && p->navailable < p->most_available + BATCH && tries < 1000 && p->nfree == 0; tries++) {
		r = choose(p);
		while (!r && p->navailable > p->most_available)
			r = trim(p);
	}
	while (!r && p->nfree == 0 && p->navailable)
		r = trim(p);
	return !r && p->nfree == 0 ? -EIO : r;
}

static int rescue(struct pager *p, uint32_t frame)
{
	int r;

	unlist(p, frame);
	p->policy.ops->rejected(p->policy.state, frame, HMM_REJECT_RACED);
	r = put(p->log, RACED, frame, 0, 0);
	if (r || !p->policy.ops->touched)
		return r;
	p->policy.ops->touched(p->policy.state, &frame, 1, HMM_ACCESS_READ);
	return put(p->log, TOUCHED, frame, 0, 0);
}

static int fault(struct pager *p, uint32_t page)
{
	uint32_t cookie = p->cookies[page], frame;
	int r = 0;

	if (p->faults++ % TICK_FAULTS == TICK_FAULTS - 1 && p->policy.ops->tick) {
		p->policy.ops->tick(p->policy.state);
		r = put(p->log, TICK, 0, 0, 0);
	}
	if (!r && p->nfree == 0)
		r = reclaim(p);
	if (r)
		return r;
	p->cookies[page] = 0;
	instance_miss(&p->policy, page, cookie);
	frame = p->free[--p->nfree];
	p->frame_of[page] = frame;
	p->page_of[frame] = page;
	instance_inserted(&p->policy, frame, page);
	r = put(p->log, MISS, frame, page, cookie);
	return r ? r : put(p->log, INSERTED, frame, page, 0);
}

static int find_calls(struct pager *p, const struct requests *trace)
{
	uint32_t frames = p->policy.frames;
	int r = 0;

	p->most_available = frames / 8;
	p->next[frames] = p->prev[frames] = frames;
	for (uint32_t i = 0; i < trace->unique; i++)
		p->frame_of[i] = NONE;
	for (uint32_t i = frames; i-- > 0;)
		p->free[p->nfree++] = i;
	for (size_t i = 0; !r && i < trace->n; i++) {
		uint32_t frame = p->frame_of[trace->pages[i]];

		if (frame == NONE)
			r = fault(p, trace->pages[i]);
		else if (p->available[frame])
			r = rescue(p, frame);
	}
	return r;
}

static int log_calls(const char *spec, uint32_t frames, const struct requests *trace, struct log *log, uint64_t *ret_faults)
{
	struct pager p = { .log = log };
	int r = instance_start(spec, frames, &p.policy);

	if (r)
		return r;
	p.frame_of = malloc(trace->unique * sizeof(uint32_t));
	p.cookies = calloc(trace->unique, sizeof(uint32_t));
	p.page_of = calloc(frames, sizeof(uint32_t));
	p.next = calloc(frames + 1, sizeof(uint32_t));
	p.prev = calloc(frames + 1, sizeof(uint32_t));
	p.free = calloc(frames, sizeof(uint32_t));
	p.available = calloc(frames, sizeof(bool));
	if (p.frame_of && p.cookies && p.page_of && p.next && p.prev && p.free && p.available)
		r = find_calls(&p, trace);
	else
		r = -ENOMEM;
	*ret_faults = p.faults;
	instance_stop(&p.policy);
	free(p.frame_of);
	free(p.cookies);
	free(p.page_of);
	free(p.next);
	free(p.prev);
	free(p.free);
	free(p.available);
	return r;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* False: the policy did something else than the first time. */
static bool make_call(struct instance *policy, const struct call *c)
{
	uint32_t victims[BATCH], n;

	switch (c->kind) {
	case MISS:
		instance_miss(policy, c->page, c->cookie);
		return true;
	case INSERTED:
		instance_inserted(policy, c->frame, c->page);
		return true;
	case TOUCHED:
		policy->ops->touched(policy->state, &c->frame, 1, HMM_ACCESS_READ);
		return true;
	case CHOOSE:
		n = policy->ops->choose(policy->state, BATCH, victims, 4 * BATCH + 64);
		return n == c->cookie && (n == 0 || victims[0] == c->frame);
	case EVICTED:
		return policy->ops->evicted(policy->state, c->frame, c->page) == c->cookie;
	case RACED:
		policy->ops->rejected(policy->state, c->frame, HMM_REJECT_RACED);
		return true;
	default:
		policy->ops->tick(policy->state);
		return true;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Times of batches of faults, memory being full; returns their number, or -errno. */
static long time_calls(struct instance *policy, const struct log *log, uint64_t warm, double *times)
{
	uint64_t faults = 0, start = now_ns();
	long n = 0;

	for (size_t i = 0; i < log->n; i++) {
		if (!make_call(policy, &log->calls[i]))
			return -EIO;
		if (log->calls[i].kind != MISS || ++faults % BATCH)
			continue;
		if (faults > warm)
			times[n++] = (double)(now_ns() - start) / BATCH;
		start = now_ns();
	}
	return n;
}

int measure_work(const char *spec, uint32_t frames, const struct requests *trace, struct work *work)
{
	struct log log = { .n = 0 };
	struct instance policy;
	double *times = NULL;
	int r = log_calls(spec, frames, trace, &log, &work->faults);
	long n;

	work->calls = log.n;
	if (!r)
		r = instance_start(spec, frames, &policy);
	if (!r) {
		times = malloc((work->faults / BATCH + 1) * sizeof(*times));
		n = times ? time_calls(&policy, &log, frames + BATCH, times) : -ENOMEM;
		r = n < 0 ? (int)n : n ? 0 : -ENODATA;
		instance_stop(&policy);
	}
	if (!r) {
		qsort(times, (size_t)n, sizeof(*times), compare);
		work->median_ns = times[n / 2];
		work->worst_ns = times[n - 1 - n / 100];
	}
	free(times);
	free(log.calls);
	return r;
}
