/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of this layer share: the instance, the state of its frames, the check
 */
#ifndef HMM_POLICY_INTERNAL_H
#define HMM_POLICY_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/util.h"
#include "lib/policy/ghost.h"
#include "lib/policy/instance.h"

/* Of a frame, as the core sees it; two bits. */
enum hmm__frame_state {
	HMM__FRAME_ABSENT = 0,
	HMM__FRAME_RESIDENT = 1, /* may be proposed */
	HMM__FRAME_FALLBACK = 2, /* the fallback proposed it: the policy does not know, and gets no verdict */
	HMM__FRAME_PROPOSED = 3  /* the policy proposed it and awaits the verdict */
};

struct hmm__check;

/* All fields: under the space's lock; (i) fixed at creation. */
struct hmm__policy {
	struct hmm_policy_ops hooks;       /* (i) by value: one load less a call */
	void *state;                       /* (i) */
	uint64_t *states;                  /* enum hmm__frame_state, 32 a word */
	struct hmm__ghosts *ghosts;        /* (i) NULL: the policy has none */
	struct hmm__check *check;          /* (i) NULL: hooks are called directly */
	uint32_t capacity;                 /* (i) */
	uint32_t resident;                 /* frames that may be proposed */
	uint32_t hand;                     /* of the fallback: next word of states */
	bool is_idle;                      /* it proposed nothing though it could: ask once only */
	uint64_t errors;                   /* contract violations */
	hmm__policy_report *report;        /* (i) may be NULL */
	void *report_arg;                  /* (i) */
	const struct hmm_policy_ops *ops;  /* (i) the registry's */
	size_t state_size;                 /* (i) as allocated */
};

static inline unsigned hmm__frame_state(const struct hmm__policy *policy, uint32_t frame)
{
	return policy->states[frame / 32] >> (frame % 32 * 2) & 3;
}

static inline void hmm__frame_set_state(struct hmm__policy *policy, uint32_t frame, enum hmm__frame_state state)
{
	uint64_t *word = &policy->states[frame / 32];
	unsigned shift = frame % 32 * 2;

	*word = (*word & ~((uint64_t)3 << shift)) | (uint64_t)state << shift;
}

/*
 * The policy broke its contract: count it and tell, naming hook, rule and frame (UINT32_MAX: none).  The first 64 are
 * told, then those whose count is a power of two.
 */
void hmm__policy_violation(struct hmm__policy *policy, const char *hook, const char *rule, uint32_t frame);

/* check.c; called only where policy->check is set. */
#define HMM__CHECK_STATE(s) (1u << (s))
#define HMM__CHECK_ANY_PAGE UINT64_MAX
int hmm__check_create(struct hmm__policy *policy);
void hmm__check_destroy(struct hmm__policy *policy);
/* Bytes to allocate behind the policy's state: they must stay as hmm__check_create() fills them. */
size_t hmm__check_margin(void);
/* The core calls a hook: no other runs, and the frame is in one of the states (UINT32_MAX: no frame is meant). */
void hmm__check_enter(struct hmm__policy *policy, uint32_t frame, unsigned states, uint64_t page);
void hmm__check_leave(struct hmm__policy *policy, const char *hook);
void hmm__check_inserted(struct hmm__policy *policy, uint32_t frame, uint64_t page);
/* The choose hook, into memory with room for what it should not write; returns at most want. */
uint32_t hmm__check_choose(struct hmm__policy *policy, uint32_t want, uint32_t *out, uint32_t scan);

#endif
