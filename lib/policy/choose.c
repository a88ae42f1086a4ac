/* SPDX-License-Identifier: MIT */
/*
 * choose.c - victims: what the policy proposes, filtered, and a fallback where it proposes nothing
 *
 * C1  Every frame returned is in range, was RESIDENT and is PROPOSED or FALLBACK now; so no frame is returned twice
 *     before its verdict.  What a policy names against that is dropped and counted, whether the check is on or not.
 * C2  While a frame is RESIDENT, choose returns at least one.  A policy that finds none within the scan budget is
 *     asked again with four times the budget until it has been allowed to look at every frame four times (a two-bit
 *     CLOCK needs that); then the fallback takes frames in the order of their numbers, from where it stopped last.
 * C3  The policy gets verdicts only for what it proposed.
 */
#include "lib/policy/internal.h"

#define EVEN_BITS 0x5555555555555555u
#define ROUNDS 4

static const char *why_not_again(const uint32_t *taken, uint32_t n, uint32_t frame)
{
	for (uint32_t i = 0; i < n; i++) {
		if (taken[i] == frame)
			return "victim named twice in one call";
	}
	return "victim proposed again before its verdict";
}

/* Keep the good ones of n proposals, in their order; returns how many. */
static uint32_t filter(struct hmm__policy *policy, uint32_t *victims, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t frame = victims[i];

		if (HMM__UNLIKELY(frame >= policy->capacity)) {
			hmm__policy_violation(policy, "choose", "victim out of range", frame);
			continue;
		}
		switch (hmm__frame_state(policy, frame)) {
		case HMM__FRAME_RESIDENT:
			hmm__frame_set_state(policy, frame, HMM__FRAME_PROPOSED);
			policy->resident--;
			victims[kept++] = frame;
			break;
		case HMM__FRAME_FALLBACK: /* right of the policy, but the core has it already; the verdict will come */
			hmm__frame_set_state(policy, frame, HMM__FRAME_PROPOSED);
			break;
		case HMM__FRAME_PROPOSED:
			hmm__policy_violation(policy, "choose", why_not_again(victims, kept, frame), frame);
			break;
		default:
			hmm__policy_violation(policy, "choose", "victim is not resident", frame);
		}
	}
	return kept;
}

/* One call of the hook.  *ret_named: how many it named, good or bad. */
static uint32_t ask(struct hmm__policy *policy, uint32_t want, uint32_t *out, uint32_t scan, uint32_t *ret_named)
{
	uint32_t n;

	if (HMM__UNLIKELY(policy->check != NULL))
		n = hmm__check_choose(policy, want, out, scan);
	else
		n = policy->hooks.choose(policy->state, want, out, scan);
	if (HMM__UNLIKELY(n > want)) {
		hmm__policy_violation(policy, "choose", "returned more victims than wanted", UINT32_MAX);
		n = want;
	}
	*ret_named = n;
	return filter(policy, out, n);
}

static uint32_t fall_back(struct hmm__policy *policy, uint32_t want, uint32_t *out)
{
	uint32_t nwords = (policy->capacity + 31) / 32, n = 0;

	for (uint32_t i = 0; i < nwords && n < want && policy->resident > 0; i++) {
		uint64_t word = policy->states[policy->hand];
		uint64_t candidates = word & ~(word >> 1) & EVEN_BITS; /* RESIDENT is 01 */

		for (; candidates != 0 && n < want; candidates &= candidates - 1) {
			uint32_t frame = policy->hand * 32 + (uint32_t)__builtin_ctzll(candidates) / 2;

			hmm__frame_set_state(policy, frame, HMM__FRAME_FALLBACK);
			policy->resident--;
			out[n++] = frame;
		}
		if (candidates == 0)
			policy->hand = policy->hand + 1 < nwords ? policy->hand + 1 : 0;
	}
	return n;
}

uint32_t hmm__policy_choose(struct hmm__policy *policy, uint32_t want, uint32_t *out, uint32_t scan)
{
	uint64_t all = (uint64_t)policy->resident * ROUNDS, budget = scan;
	uint32_t n, named;

	if (want == 0 || policy->resident == 0)
		return 0;
	n = ask(policy, want, out, scan, &named);
	while (named == 0 && !policy->is_idle && budget < all) {
		budget = (budget > 0 ? budget : 1) * 4;
		budget = HMM__MIN(budget, all);
		n = ask(policy, want, out, (uint32_t)HMM__MIN(budget, UINT32_MAX), &named);
	}
	if (HMM__LIKELY(n > 0)) {
		policy->is_idle = false;
		return n;
	}
	if (named == 0 && !policy->is_idle) {
		policy->is_idle = true;
		hmm__policy_violation(policy, "choose", "proposed nothing though pages are resident", UINT32_MAX);
	}
	return fall_back(policy, want, out);
}
