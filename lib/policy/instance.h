/* SPDX-License-Identifier: MIT */
/*
 * instance.h - one running policy of one space: state, ghosts, and the check between core and hooks
 *
 * The heart calls only this; a policy sees only hurd-mm/policy.h.  All calls are made under the space's lock, except
 * create and destroy.
 */
#ifndef HMM_POLICY_INSTANCE_H
#define HMM_POLICY_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>

#include <hurd-mm/policy.h>

struct hmm__policy;

/* Called, under the space's lock, for each contract violation; text is valid during the call.  No allocation, no I/O. */
typedef void hmm__policy_report(void *arg, const char *text);

/*
 * spec: "name" or "name:parameters".  capacity: most frames.  check: put the checking wrapper in between.
 * -ENOENT: no such policy (the public call turns it into -EINVAL), -EINVAL parameters, -ENOMEM.
 */
int hmm__policy_create(const char *spec, uint32_t capacity, uint32_t frames, bool check,
                       hmm__policy_report *report, void *report_arg, struct hmm__policy **ret_policy);
void hmm__policy_destroy(struct hmm__policy *policy);
const struct hmm_policy_ops *hmm__policy_ops(const struct hmm__policy *policy);
uint64_t hmm__policy_errors(const struct hmm__policy *policy);
size_t hmm__policy_bytes(const struct hmm__policy *policy); /* state and ghosts, for statistics */

void hmm__policy_resize(struct hmm__policy *policy, uint32_t frames);
/* Looks up (and removes) the ghost, then calls the hook. */
void hmm__policy_miss(struct hmm__policy *policy, uint64_t page, enum hmm_access access);
void hmm__policy_inserted(struct hmm__policy *policy, uint32_t frame, uint64_t page, uint32_t region,
                          enum hmm_access access);
/* The same, with all that is known of it.  placement->size: sizeof(struct hmm_placement). */
void hmm__policy_placed(struct hmm__policy *policy, uint32_t frame, uint64_t page,
                        const struct hmm_placement *placement);
/* A frame that awaits its verdict still does so afterwards. */
void hmm__policy_touched(struct hmm__policy *policy, const uint32_t *frames, uint32_t n, enum hmm_access access);
/*
 * The checked result: every returned frame is resident, not yet proposed, and named once.  Returns 0 only if no resident
 * frame is left that awaits no verdict: scan bounds the first attempt; after it the policy may look further, and a
 * policy that finds nothing is stood in for.
 */
uint32_t hmm__policy_choose(struct hmm__policy *policy, uint32_t want, uint32_t *out, uint32_t scan);
/* Keeps the cookie as a ghost where there is one. */
void hmm__policy_evicted(struct hmm__policy *policy, uint32_t frame, uint64_t page);
/* The frame was returned by choose, and stays. */
void hmm__policy_rejected(struct hmm__policy *policy, uint32_t frame, enum hmm_reject why);
void hmm__policy_removed(struct hmm__policy *policy, uint32_t frame, uint64_t page, enum hmm_removed why);
void hmm__policy_hint(struct hmm__policy *policy, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint,
                      int64_t value);
void hmm__policy_tick(struct hmm__policy *policy);

/* The library's own policies, one per file in policies/; registered on first use. */
extern const struct hmm_policy_ops hmm__policy_fifo, hmm__policy_clock, hmm__policy_lru, hmm__policy_clock2;
extern const struct hmm_policy_ops hmm__policy_random, hmm__policy_mru, hmm__policy_sieve;
extern const struct hmm_policy_ops hmm__policy_s3fifo, hmm__policy_s3fifo_v0;
extern const struct hmm_policy_ops hmm__policy_2q, hmm__policy_arc, hmm__policy_car;
extern const struct hmm_policy_ops hmm__policy_lirs, hmm__policy_clockpro, hmm__policy_clockpro_adaptive;
extern const struct hmm_policy_ops hmm__policy_lru2;
extern const struct hmm_policy_ops hmm__policy_wtinylfu, hmm__policy_mglru, hmm__policy_gc, hmm__policy_db;

#endif
