/* SPDX-License-Identifier: MIT */
/*
 * plain_policies.c - FIFO, CLOCK, LRU, MRU, SIEVE, S3-FIFO, 2Q, ARC, CAR over arrays
 */
#include "tests/unit/plain_policies.h"

#include <string.h>

#include "lib/base/util.h"

#define NOT_THERE UINT32_MAX

static uint32_t find(const struct plain_queue *q, uint32_t page)
{
	for (uint32_t i = 0; i < q->n; i++) {
		if (q->page[i] == page)
			return i;
	}
	return NOT_THERE;
}

static void append(struct plain_queue *q, uint32_t page, unsigned count)
{
	q->page[q->n] = page;
	q->count[q->n++] = count;
}

static uint32_t take(struct plain_queue *q, uint32_t i)
{
	uint32_t page = q->page[i];

	q->n--;
	memmove(&q->page[i], &q->page[i + 1], (q->n - i) * sizeof(q->page[0]));
	memmove(&q->count[i], &q->count[i + 1], (q->n - i) * sizeof(q->count[0]));
	return page;
}

static bool take_page(struct plain_queue *q, uint32_t page)
{
	uint32_t i = find(q, page);

	if (i != NOT_THERE)
		take(q, i);
	return i != NOT_THERE;
}

static void move_to_end(struct plain_queue *q, uint32_t i)
{
	unsigned count = q->count[i];

	append(q, take(q, i), count);
}

/* One queue */

static bool clock_request(struct plain *plain, uint32_t page, unsigned most)
{
	struct plain_queue *q = &plain->q[0];
	uint32_t i = find(q, page);

	if (i != NOT_THERE) {
		q->count[i] += q->count[i] < most;
		return true;
	}
	if (q->n == plain->c) {
		while (q->count[0] > 0) {
			q->count[0]--;
			move_to_end(q, 0);
		}
		take(q, 0);
	}
	append(q, page, 0);
	return false;
}

static bool fifo(struct plain *plain, uint32_t page)
{
	return clock_request(plain, page, 0);
}

static bool clock_one(struct plain *plain, uint32_t page)
{
	return clock_request(plain, page, 1);
}

static bool clock_two(struct plain *plain, uint32_t page)
{
	return clock_request(plain, page, 3);
}

/* By recency; the victim is the one used longest ago, or the one used last. */
static bool recency_request(struct plain *plain, uint32_t page, bool newest_goes)
{
	struct plain_queue *q = &plain->q[0];
	uint32_t i = find(q, page);

	if (i != NOT_THERE) {
		move_to_end(q, i);
		return true;
	}
	if (q->n == plain->c)
		take(q, newest_goes ? q->n - 1 : 0);
	append(q, page, 0);
	return false;
}

static bool lru(struct plain *plain, uint32_t page)
{
	return recency_request(plain, page, false);
}

static bool mru(struct plain *plain, uint32_t page)
{
	return recency_request(plain, page, true);
}

/* NSDI 2024, algorithm 1; the tail is entry 0. */
static bool sieve(struct plain *plain, uint32_t page)
{
	struct plain_queue *q = &plain->q[0];
	uint32_t i = find(q, page);

	if (i != NOT_THERE) {
		q->count[i] = 1;
		return true;
	}
	if (q->n == plain->c) {
		uint32_t hand = plain->hand;

		while (q->count[hand] != 0) {
			q->count[hand] = 0;
			hand = hand + 1 < q->n ? hand + 1 : 0;
		}
		take(q, hand); /* its predecessor, towards the head, is at this place now */
		plain->hand = hand < q->n ? hand : 0;
	}
	append(q, page, 0);
	return false;
}

/* Several queues */

/* SOSP 2023, algorithm 1 as its authors' simulator has it. */
enum { S, M, G };

static void s3fifo_evict_main(struct plain_queue *m)
{
	while (m->count[0] > 0) {
		m->count[0] = HMM__MIN(m->count[0], 3u) - 1;
		move_to_end(m, 0);
	}
	take(m, 0);
}

static void s3fifo_evict(struct plain *plain, uint32_t small, uint32_t ghosts)
{
	struct plain_queue *q = plain->q;

	if (q[M].n > plain->c - small || q[S].n == 0) {
		s3fifo_evict_main(&q[M]);
		return;
	}
	while (q[S].n > 0) {
		unsigned count = q[S].count[0];
		uint32_t page = take(&q[S], 0);

		if (count >= 2) {
			append(&q[M], page, 0);
			continue;
		}
		if (q[G].n == ghosts)
			take(&q[G], 0);
		append(&q[G], page, 0);
		return;
	}
}

static bool s3fifo_request(struct plain *plain, uint32_t page, bool fills_main)
{
	uint32_t small = HMM__MAX(plain->c / 10, 1u), ghosts = HMM__MAX(plain->c * 9 / 10, 1u);
	struct plain_queue *q = plain->q;
	bool was_ghost;

	for (int k = S; k <= M; k++) {
		uint32_t i = find(&q[k], page);

		if (i != NOT_THERE) {
			q[k].count[i]++;
			return true;
		}
	}
	was_ghost = take_page(&q[G], page);
	while (q[S].n + q[M].n == plain->c) {
		s3fifo_evict(plain, small, ghosts);
		plain->full = true;
	}
	append(&q[was_ghost || (fills_main && !plain->full && q[S].n >= small) ? M : S], page, 0);
	return false;
}

static bool s3fifo(struct plain *plain, uint32_t page)
{
	return s3fifo_request(plain, page, true);
}

static bool s3fifo_v0(struct plain *plain, uint32_t page)
{
	return s3fifo_request(plain, page, false);
}

/* VLDB 1994, the full version. */
enum { A1IN, AM, A1OUT };

static bool twoq(struct plain *plain, uint32_t page)
{
	uint32_t in = plain->c / 4, out = HMM__MAX(plain->c / 2, 1u), i;
	struct plain_queue *q = plain->q;
	bool was_ghost;

	i = find(&q[AM], page);
	if (i != NOT_THERE) {
		move_to_end(&q[AM], i);
		return true;
	}
	if (find(&q[A1IN], page) != NOT_THERE)
		return true;
	was_ghost = take_page(&q[A1OUT], page);
	if (q[A1IN].n + q[AM].n == plain->c) {
		if (q[A1IN].n > in || q[AM].n == 0) {
			if (q[A1OUT].n == out)
				take(&q[A1OUT], 0);
			append(&q[A1OUT], take(&q[A1IN], 0), 0);
		} else {
			take(&q[AM], 0);
		}
	}
	append(&q[was_ghost ? AM : A1IN], page, 0);
	return false;
}

/* FAST 2003, figure 4; FAST 2004, figure 2. */
enum { T1, T2, B1, B2 };

static void adapt(struct plain *plain, bool in_b1)
{
	double b1 = plain->q[B1].n, b2 = plain->q[B2].n;

	if (in_b1)
		plain->p = HMM__MIN(plain->p + HMM__MAX(b2 / b1, 1.0), (double)plain->c);
	else
		plain->p = HMM__MAX(plain->p - HMM__MAX(b1 / b2, 1.0), 0.0);
}

static void arc_replace(struct plain *plain, bool in_b2)
{
	struct plain_queue *q = plain->q;
	double t1 = q[T1].n;

	if (q[T1].n > 0 && (t1 > plain->p || (in_b2 && t1 == plain->p) || q[T2].n == 0))
		append(&q[B1], take(&q[T1], 0), 0);
	else
		append(&q[B2], take(&q[T2], 0), 0);
}

static void arc_case_iv(struct plain *plain)
{
	struct plain_queue *q = plain->q;
	uint32_t l1 = q[T1].n + q[B1].n, all = l1 + q[T2].n + q[B2].n;

	if (l1 == plain->c) {
		if (q[T1].n < plain->c) {
			take(&q[B1], 0);
			arc_replace(plain, false);
		} else {
			take(&q[T1], 0);
		}
	} else if (all >= plain->c) {
		if (all == 2 * plain->c)
			take(&q[B2], 0);
		arc_replace(plain, false);
	}
}

static bool arc(struct plain *plain, uint32_t page)
{
	struct plain_queue *q = plain->q;
	bool in_b1, in_b2;

	if (take_page(&q[T1], page) || take_page(&q[T2], page)) {
		append(&q[T2], page, 0);
		return true;
	}
	in_b1 = find(&q[B1], page) != NOT_THERE;
	in_b2 = find(&q[B2], page) != NOT_THERE;
	if (!in_b1 && !in_b2) {
		arc_case_iv(plain);
		append(&q[T1], page, 0);
		return false;
	}
	adapt(plain, in_b1);
	take_page(&q[in_b1 ? B1 : B2], page);
	arc_replace(plain, in_b2);
	append(&q[T2], page, 0);
	return false;
}

static void car_replace(struct plain *plain)
{
	struct plain_queue *q = plain->q;

	for (;;) {
		int t = q[T1].n >= HMM__MAX(plain->p, 1.0) ? T1 : T2;
		bool referenced = q[t].count[0] != 0;
		uint32_t page = take(&q[t], 0);

		append(&q[referenced ? T2 : t == T1 ? B1 : B2], page, 0);
		if (!referenced)
			return;
	}
}

static bool car(struct plain *plain, uint32_t page)
{
	struct plain_queue *q = plain->q;
	bool in_b1 = find(&q[B1], page) != NOT_THERE, in_b2 = find(&q[B2], page) != NOT_THERE;

	for (int t = T1; t <= T2; t++) {
		uint32_t i = find(&q[t], page);

		if (i != NOT_THERE) {
			q[t].count[i] = 1;
			return true;
		}
	}
	if (q[T1].n + q[T2].n == plain->c) {
		car_replace(plain);
		if (!in_b1 && !in_b2) {
			if (q[T1].n + q[B1].n == plain->c)
				take(&q[B1], 0);
			else if (q[T1].n + q[T2].n + q[B1].n + q[B2].n == 2 * plain->c)
				take(&q[B2], 0);
		}
	}
	if (in_b1 || in_b2) {
		adapt(plain, in_b1);
		take_page(&q[in_b1 ? B1 : B2], page);
	}
	append(&q[in_b1 || in_b2 ? T2 : T1], page, 0);
	return false;
}

const struct plain_algorithm plain_algorithms[] = {
	{ "fifo", fifo, false },
	{ "clock", clock_one, false },
	{ "clock:bits=1", clock_one, false },
	{ "clock:bits=2", clock_two, false },
	{ "clock2", clock_two, false },
	{ "lru", lru, false },
	{ "mru", mru, false },
	{ "sieve", sieve, false },
	{ "s3fifo", s3fifo, false },
	{ "s3fifo:small=0.1,ghost=0.9", s3fifo, false },
	{ "s3fifo-v0", s3fifo_v0, false },
	{ "2q", twoq, false },
	{ "2q:out=0.5,in=0.25", twoq, false },
	{ "arc", arc, true },
	{ "car", car, true },
};
const int plain_nalgorithms = HMM__ARRAY_SIZE(plain_algorithms);
