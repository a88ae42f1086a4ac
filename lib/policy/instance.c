/* SPDX-License-Identifier: MIT */
/*
 * instance.c - one running policy: its memory, and the way from the core to its hooks
 *
 * Owns: the policy's state, its ghosts, two bits a frame that say what the core knows of it.
 * I1  Every hook call goes through here or choose.c; a hook that is absent is skipped.
 * I2  Without the check a call costs a load, a predicted branch and the indirect call; states are two bits so that they
 *     add little to what the policy touches itself.
 * I3  Nothing here allocates after creation: all calls but create and destroy are async-signal-safe if the hooks are.
 * Locks: the space's, held by the caller.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/policy/internal.h"
#include "lib/policy/registry.h"

/* Lists need a few numbers past the last frame, and UINT32_MAX means no frame. */
#define CAPACITY_MAX (UINT32_MAX - 16)

static size_t states_size(uint32_t capacity)
{
	return ((size_t)capacity + 31) / 32 * sizeof(uint64_t);
}

static int measure(struct hmm__policy *policy, const char *params, struct hmm_policy_sizes *sizes)
{
	int r = 0;

	*sizes = (struct hmm_policy_sizes){ .size = sizeof(*sizes) };
	if (policy->hooks.sizes != NULL)
		r = policy->hooks.sizes(policy->capacity, params, sizes);
	else
		sizes->state = policy->hooks.state_size(policy->capacity);
	if (r != 0)
		return r > 0 ? -EINVAL : r;
	sizes->state = HMM__MAX(sizes->state, (size_t)1);
	sizes->ghosts = sizes->ghosts != 0 ? HMM__MIN(sizes->ghosts, (uint64_t)CAPACITY_MAX) : policy->capacity;
	return 0;
}

static int allocate(struct hmm__policy *policy, const struct hmm_policy_sizes *sizes, bool check)
{
	policy->state_size = sizes->state;
	if (policy->state_size > SIZE_MAX / 2)
		return -ENOMEM;
	if (check)
		policy->state_size = HMM__ALIGN_UP(policy->state_size, 64) + hmm__check_margin();
	policy->state = hmm__sparse_alloc(policy->state_size);
	policy->states = hmm__sparse_alloc(states_size(policy->capacity));
	if (policy->state == NULL || policy->states == NULL)
		return -ENOMEM;
	if (policy->hooks.caps & HMM_POLICY_GHOSTS) {
		int r = hmm__ghosts_create((uint32_t)sizes->ghosts, &policy->ghosts);

		if (r != 0)
			return r;
	}
	return check ? hmm__check_create(policy) : 0;
}

static void release(struct hmm__policy *policy)
{
	if (policy->check != NULL)
		hmm__check_destroy(policy);
	hmm__ghosts_destroy(policy->ghosts);
	if (policy->states != NULL)
		hmm__sparse_free(policy->states, states_size(policy->capacity));
	if (policy->state != NULL)
		hmm__sparse_free(policy->state, policy->state_size);
	hmm__free(policy, sizeof(*policy));
}

static int start(struct hmm__policy *policy, uint32_t frames, const char *params)
{
	int r;

	if (policy->check != NULL)
		hmm__check_enter(policy, UINT32_MAX, 0, HMM__CHECK_ANY_PAGE);
	r = policy->hooks.start(policy->state, policy->capacity, frames, params);
	if (policy->check != NULL)
		hmm__check_leave(policy, "start");
	return r > 0 ? -EINVAL : r;
}

int hmm__policy_create(const char *spec, uint32_t capacity, uint32_t frames, bool check, hmm__policy_report *report,
                       void *report_arg, struct hmm__policy **ret_policy)
{
	const struct hmm_policy_ops *ops;
	struct hmm_policy_sizes sizes;
	struct hmm__policy *policy;
	const char *params;
	size_t length;
	int r;

	if (spec == NULL || capacity == 0 || capacity > CAPACITY_MAX || frames > capacity)
		return -EINVAL;
	length = strcspn(spec, ":");
	r = hmm__policy_find(spec, length, &ops, NULL);
	if (r != 0)
		return r;
	policy = hmm__alloc(sizeof(*policy));
	if (policy == NULL)
		return -ENOMEM;
	policy->ops = ops;
	policy->hooks = *ops;
	policy->capacity = capacity;
	policy->report = report;
	policy->report_arg = report_arg;
	params = spec[length] == ':' ? spec + length + 1 : "";
	r = measure(policy, params, &sizes);
	if (r == 0)
		r = allocate(policy, &sizes, check);
	if (r == 0)
		r = start(policy, frames, params);
	if (r != 0) {
		release(policy);
		return r;
	}
	*ret_policy = policy;
	return 0;
}

void hmm__policy_destroy(struct hmm__policy *policy)
{
	if (policy == NULL)
		return;
	if (policy->hooks.stop != NULL)
		policy->hooks.stop(policy->state);
	release(policy);
}

const struct hmm_policy_ops *hmm__policy_ops(const struct hmm__policy *policy)
{
	return policy->ops;
}

uint64_t hmm__policy_errors(const struct hmm__policy *policy)
{
	return policy->errors;
}

size_t hmm__policy_bytes(const struct hmm__policy *policy)
{
	return sizeof(*policy) + policy->state_size + states_size(policy->capacity) +
	       (policy->ghosts != NULL ? hmm__ghosts_bytes(policy->ghosts) : 0);
}

/* Around every hook call: nothing but a predicted branch while the check is off. */
static inline void enter(struct hmm__policy *policy, uint32_t frame, unsigned states, uint64_t page)
{
	if (HMM__UNLIKELY(policy->check != NULL))
		hmm__check_enter(policy, frame, states, page);
}

static inline void leave(struct hmm__policy *policy, const char *hook)
{
	if (HMM__UNLIKELY(policy->check != NULL))
		hmm__check_leave(policy, hook);
}

#define RESIDENT HMM__CHECK_STATE(HMM__FRAME_RESIDENT)
#define AWAITS_VERDICT (HMM__CHECK_STATE(HMM__FRAME_PROPOSED) | HMM__CHECK_STATE(HMM__FRAME_FALLBACK))

void hmm__policy_resize(struct hmm__policy *policy, uint32_t frames)
{
	enter(policy, UINT32_MAX, 0, HMM__CHECK_ANY_PAGE);
	if (policy->hooks.resize != NULL)
		policy->hooks.resize(policy->state, frames);
	leave(policy, "resize");
}

void hmm__policy_miss(struct hmm__policy *policy, uint64_t page, enum hmm_access access)
{
	uint32_t cookie = policy->ghosts != NULL ? hmm__ghosts_take(policy->ghosts, page) : 0;

	enter(policy, UINT32_MAX, 0, HMM__CHECK_ANY_PAGE);
	if (policy->hooks.miss != NULL)
		policy->hooks.miss(policy->state, page, cookie, access);
	leave(policy, "miss");
}

void hmm__policy_placed(struct hmm__policy *policy, uint32_t frame, uint64_t page,
                        const struct hmm_placement *placement)
{
	if (HMM__UNLIKELY(policy->check != NULL))
		hmm__check_inserted(policy, frame, page);
	hmm__frame_set_state(policy, frame, HMM__FRAME_RESIDENT);
	policy->resident++;
	if (policy->hooks.placed != NULL)
		policy->hooks.placed(policy->state, frame, page, placement);
	else
		policy->hooks.inserted(policy->state, frame, page, placement->region,
		                       (enum hmm_access)placement->access);
	leave(policy, "inserted");
}

void hmm__policy_inserted(struct hmm__policy *policy, uint32_t frame, uint64_t page, uint32_t region,
                          enum hmm_access access)
{
	struct hmm_placement placement = { .size = sizeof(placement), .region = region, .access = access };

	hmm__policy_placed(policy, frame, page, &placement);
}

void hmm__policy_touched(struct hmm__policy *policy, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	if (policy->hooks.touched == NULL || n == 0)
		return;
	for (uint32_t i = 1; HMM__UNLIKELY(policy->check != NULL) && i < n; i++) {
		hmm__check_enter(policy, frames[i], RESIDENT | AWAITS_VERDICT, HMM__CHECK_ANY_PAGE);
		hmm__check_leave(policy, "touched");
	}
	enter(policy, frames[0], RESIDENT | AWAITS_VERDICT, HMM__CHECK_ANY_PAGE);
	policy->hooks.touched(policy->state, frames, n, access);
	leave(policy, "touched");
}

/* The frame has no page any more, whoever proposed it or nobody. */
static void forget(struct hmm__policy *policy, uint32_t frame)
{
	if (hmm__frame_state(policy, frame) == HMM__FRAME_RESIDENT)
		policy->resident--;
	hmm__frame_set_state(policy, frame, HMM__FRAME_ABSENT);
}

void hmm__policy_evicted(struct hmm__policy *policy, uint32_t frame, uint64_t page)
{
	uint32_t cookie;

	enter(policy, frame, RESIDENT | AWAITS_VERDICT, page);
	forget(policy, frame);
	cookie = policy->hooks.evicted(policy->state, frame, page);
	leave(policy, "evicted");
	if (cookie == 0)
		return;
	if (HMM__LIKELY(policy->ghosts != NULL))
		hmm__ghosts_put(policy->ghosts, page, cookie);
	else
		hmm__policy_violation(policy, "evicted", "returned a cookie without HMM_POLICY_GHOSTS", frame);
}

void hmm__policy_rejected(struct hmm__policy *policy, uint32_t frame, enum hmm_reject why)
{
	unsigned state = hmm__frame_state(policy, frame);

	enter(policy, frame, AWAITS_VERDICT, HMM__CHECK_ANY_PAGE);
	if (state == HMM__FRAME_PROPOSED || state == HMM__FRAME_FALLBACK) {
		hmm__frame_set_state(policy, frame, HMM__FRAME_RESIDENT);
		policy->resident++;
	}
	if (state == HMM__FRAME_PROPOSED)
		policy->hooks.rejected(policy->state, frame, why);
	leave(policy, "rejected");
}

void hmm__policy_removed(struct hmm__policy *policy, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	enter(policy, frame, RESIDENT | AWAITS_VERDICT, page);
	forget(policy, frame);
	policy->hooks.removed(policy->state, frame, page, why);
	leave(policy, "removed");
}

void hmm__policy_hint(struct hmm__policy *policy, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint,
                      int64_t value)
{
	enter(policy, frame, RESIDENT | AWAITS_VERDICT, HMM__CHECK_ANY_PAGE);
	if (policy->hooks.hint != NULL)
		policy->hooks.hint(policy->state, frame, range, hint, value);
	leave(policy, "hint");
}

void hmm__policy_tick(struct hmm__policy *policy)
{
	enter(policy, UINT32_MAX, 0, HMM__CHECK_ANY_PAGE);
	if (policy->hooks.tick != NULL)
		policy->hooks.tick(policy->state);
	leave(policy, "tick");
}
