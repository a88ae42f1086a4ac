/* SPDX-License-Identifier: MIT */
/*
 * mock.c - the mock backend's instances, frame accounts and calls for tests
 *
 * Owns: struct hmm_mock (accounts, shared by all instances opened with it) and the operations table.
 * K2 is kept here: frames are added by compare-and-swap, so the count never overshoots, not even for an instant.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/util.h"
#include "lib/mem/mock.h"

#define PRESSURE_MAX 16u

/* Without backend_arg: made by nobody, shared by all. */
static struct hmm_mock standard = {
	.lock = HMM__LOCK_INIT(HMM__RANK_BACKEND),
	.sites = {
		[0 ... HMM_MOCK_SITES - 1] = { .lock = HMM__LOCK_INIT(HMM__RANK_BACKEND) },
	},
};

void hmm__mock_misuse(struct hmm_mock *mock, const char *text)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&mock->misuse, &none, text);
	atomic_fetch_add(&mock->misuses, 1);
}

unsigned hmm__mock_frame_shift(void)
{
	return (unsigned)__builtin_ctzll((unsigned long long)hmm_page_size());
}

/* Add n to an account, unless it would pass the limit. */
static bool account_add(_Atomic uint64_t *account, uint64_t n, uint64_t limit, uint64_t *ret_now)
{
	uint64_t old = atomic_load(account);

	do {
		if (n > limit || old > limit - n)
			return false;
	} while (!atomic_compare_exchange_weak(account, &old, old + n));
	*ret_now = old + n;
	return true;
}

static uint64_t frames_taken(struct hmm_mock *mock)
{
	return atomic_load(&mock->takes) ? atomic_load(&mock->taken) : UINT64_MAX;
}

int hmm__mock_frames_add(struct hmm__mock_backend *b, uint64_t n)
{
	struct hmm_mock *mock = b->mock;
	uint64_t now, peak, limit = frames_taken(mock);

	if (!account_add(&b->frames, n, b->config.capacity, &now)) {
		hmm__mock_misuse(mock, "more frames in use than the capacity");
		return -ENOMEM;
	}
	while (!account_add(&mock->frames, n, limit, &now)) {
		/* others may have taken some, and used them, since we looked */
		if (frames_taken(mock) > limit) {
			limit = frames_taken(mock);
			continue;
		}
		atomic_fetch_sub(&b->frames, n);
		hmm__mock_misuse(mock, "more frames in use than were taken");
		return -ENOMEM;
	}
	peak = atomic_load(&mock->peak);
	while (now > peak && !atomic_compare_exchange_weak(&mock->peak, &peak, now))
		;
	return 0;
}

void hmm__mock_frames_sub(struct hmm__mock_backend *b, uint64_t n)
{
	atomic_fetch_sub(&b->mock->frames, n);
	atomic_fetch_sub(&b->frames, n);
}

void hmm__mock_enter(struct hmm__mock_backend *b)
{
	sigset_t now;

	pthread_sigmask(SIG_BLOCK, NULL, &now);
	if (sigismember(&now, SIGUSR1) != 1 || sigismember(&now, SIGALRM) != 1)
		hmm__mock_misuse(b->mock, "called while signals could arrive");
}

static int mock_open(const struct hmm_backend_config *config, void **ret_backend, uint32_t *ret_caps)
{
	struct hmm_mock *mock = config->backend_arg ? config->backend_arg : &standard;
	struct hmm__mock_backend *b;
	sigset_t saved;

	if (config->size < sizeof(*config))
		return -EINVAL;
	b = hmm__alloc(sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->mock = mock;
	b->config = *config;
	b->caps = HMM_BACKEND_POISON;
	if (!mock->no_grant && config->engine != HMM_ENGINE_COPY)
		b->caps |= HMM_BACKEND_GRANT;
	if (!mock->no_referenced)
		b->caps |= HMM_BACKEND_REFERENCED;
	hmm__signals_block(&saved);
	hmm__lock(&mock->lock);
	b->next = mock->instances;
	mock->instances = b;
	hmm__unlock(&mock->lock);
	hmm__signals_restore(&saved);
	*ret_backend = b;
	*ret_caps = b->caps;
	return 0;
}

static void mock_close(void *backend)
{
	struct hmm__mock_backend *b = backend, **link;
	sigset_t saved;

	hmm__signals_block(&saved);
	hmm__lock(&b->mock->lock);
	for (link = &b->mock->instances; *link; link = &(*link)->next) {
		if (*link == b) {
			*link = b->next;
			break;
		}
	}
	hmm__unlock(&b->mock->lock);
	hmm__mock_ranges_free(b);
	hmm__mock_windows_free(b);
	hmm__signals_restore(&saved);
	if (atomic_load(&b->frames) != 0)
		hmm__mock_misuse(b->mock, "frames in use that neither a slot nor a page has");
	atomic_fetch_sub(&b->mock->taken, atomic_load(&b->taken)); /* what could not be given back goes with us */
	hmm__free(b, sizeof(*b));
}

/*
 * In the child only this thread runs, and another one may have held any lock at the fork; its critical sections leave
 * nothing half done that matters here, so the locks are simply made anew.
 */
static int mock_reopen(void *backend)
{
	struct hmm__mock_backend *b = backend;
	unsigned i;

	hmm__lock_init(&b->mock->lock, HMM__RANK_BACKEND);
	for (i = 0; i < HMM_MOCK_SITES; i++)
		hmm__lock_init(&b->mock->sites[i].lock, HMM__RANK_BACKEND);
	if (!(b->config.flags & HMM_BACKEND_INHERIT))
		hmm__mock_windows_reset(b);
	hmm__mock_ranges_reopen(b);
	return 0;
}

static int64_t mock_frames_take(void *backend, uint64_t n)
{
	struct hmm__mock_backend *b = backend;

	hmm__mock_enter(b);
	atomic_store(&b->mock->takes, true);
	if (hmm__mock_inject(b->mock, HMM_MOCK_FRAMES) != 0)
		return 0;
	atomic_fetch_add(&b->mock->taken, n);
	atomic_fetch_add(&b->taken, n);
	return (int64_t)n;
}

static void mock_frames_return(void *backend, uint64_t n)
{
	struct hmm__mock_backend *b = backend;
	uint64_t taken = atomic_load(&b->mock->taken);

	hmm__mock_enter(b);
	do {
		if (n > taken || taken - n < atomic_load(&b->mock->frames)) {
			hmm__mock_misuse(b->mock, "frames given back that are in use or were never taken");
			return;
		}
	} while (!atomic_compare_exchange_weak(&b->mock->taken, &taken, taken - n));
	atomic_fetch_sub(&b->taken, n);
}

const struct hmm_backend_ops *hmm_backend_mock(void)
{
	static const struct hmm_backend_ops ops = {
		.size = sizeof(ops),
		.version = HMM_BACKEND_VERSION,
		.name = "mock",
		.open = mock_open,
		.close = mock_close,
		.reopen = mock_reopen,
		.frames_take = mock_frames_take,
		.frames_return = mock_frames_return,
		.window = hmm__mock_window,
		.fill = hmm__mock_fill,
		.drop = hmm__mock_drop,
		.attach = hmm__mock_attach,
		.detach = hmm__mock_detach,
		.protect = hmm__mock_protect,
		.map = hmm__mock_map,
		.unmap = hmm__mock_unmap,
		.write_protect = hmm__mock_write_protect,
		.harvest = hmm__mock_harvest,
		.wake = hmm__mock_wake,
		.poison = hmm__mock_poison,
	};

	return &ops;
}

int hmm_mock_create(const struct hmm_mock_options *opts, struct hmm_mock **ret_mock)
{
	struct hmm_mock_options known;
	struct hmm_mock *mock;
	int r;

	r = hmm__options_read(&known, sizeof(known), opts);
	if (r < 0)
		return r;
	mock = hmm__alloc(sizeof(*mock));
	if (!mock)
		return -ENOMEM;
	mock->no_grant = known.no_grant;
	mock->no_referenced = known.no_referenced;
	mock->no_access = known.no_access;
	mock->wake_ns = known.wake_ns;
	hmm__lock_init(&mock->lock, HMM__RANK_BACKEND);
	hmm__mock_sites_init(mock);
	*ret_mock = mock;
	return 0;
}

void hmm_mock_destroy(struct hmm_mock *mock)
{
	if (!mock)
		return;
	assert(!mock->instances);
	hmm__free(mock, sizeof(*mock));
}

uint64_t hmm_mock_frames(struct hmm_mock *mock, uint64_t *ret_peak)
{
	if (!mock)
		mock = &standard;
	if (ret_peak)
		*ret_peak = atomic_load(&mock->peak);
	return atomic_load(&mock->frames);
}

uint64_t hmm_mock_misuses(struct hmm_mock *mock, const char **ret_text)
{
	if (!mock)
		mock = &standard;
	if (ret_text)
		*ret_text = atomic_load(&mock->misuse);
	return atomic_load(&mock->misuses);
}

/* The callbacks run without the lock: what they do is theirs, and it may end in frames_return. */
void hmm_mock_pressure(struct hmm_mock *mock, int64_t frames)
{
	struct hmm_backend_config open[PRESSURE_MAX];
	struct hmm__mock_backend *b;
	unsigned i, n = 0;
	sigset_t saved;

	hmm__signals_block(&saved);
	hmm__lock(&mock->lock);
	for (b = mock->instances; b && n < PRESSURE_MAX; b = b->next)
		open[n++] = b->config;
	hmm__unlock(&mock->lock);
	for (i = 0; i < n; i++) {
		if (open[i].pressure)
			open[i].pressure(open[i].arg, frames);
	}
	hmm__signals_restore(&saved);
}

void hmm_mock_clock_set(uint64_t ns)
{
	hmm__clock_set(ns);
}

void hmm_mock_clock_advance(uint64_t ns)
{
	hmm__clock_advance(ns);
}
