/* SPDX-License-Identifier: MIT */
/*
 * mock_inject.c - make the nth call of a site fail, or a random one with a seed
 */
#include <errno.h>

#include "lib/mem/mock.h"

void hmm__mock_sites_init(struct hmm_mock *mock)
{
	unsigned i;

	for (i = 0; i < HMM_MOCK_SITES; i++)
		hmm__lock_init(&mock->sites[i].lock, HMM__RANK_BACKEND);
}

/* splitmix64: any seed will do, also 0 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static bool due_locked(struct hmm__mock_site *s)
{
	bool due = false;

	if (s->nth > 0) {
		due = s->nth == 1;
		if (!due || !s->repeat)
			s->nth--;
	}
	if (s->per_million > 0 && next_random(&s->state) % 1000000 < s->per_million)
		due = true;
	return due;
}

int hmm__mock_inject(struct hmm_mock *mock, enum hmm_mock_site site)
{
	struct hmm__mock_site *s = &mock->sites[site];
	int error = 0;

	atomic_fetch_add_explicit(&s->calls, 1, memory_order_relaxed);
	if (!atomic_load_explicit(&s->armed, memory_order_acquire))
		return 0;
	hmm__lock(&s->lock);
	if (due_locked(s))
		error = s->error;
	hmm__unlock(&s->lock);
	return error;
}

void hmm_mock_fail(struct hmm_mock *mock, enum hmm_mock_site site, uint64_t nth, int repeat, uint32_t per_million,
                   uint64_t seed, int error)
{
	struct hmm__mock_site *s = &mock->sites[site];
	sigset_t saved;

	hmm__signals_block(&saved);
	hmm__lock(&s->lock);
	s->nth = nth;
	s->repeat = repeat;
	s->per_million = per_million;
	s->state = seed;
	s->error = error ? error : -ENOMEM;
	atomic_store_explicit(&s->armed, nth > 0 || per_million > 0, memory_order_release);
	hmm__unlock(&s->lock);
	hmm__signals_restore(&saved);
}

uint64_t hmm_mock_calls(struct hmm_mock *mock, enum hmm_mock_site site)
{
	return atomic_load_explicit(&mock->sites[site].calls, memory_order_relaxed);
}
