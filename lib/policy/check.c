/* SPDX-License-Identifier: MIT */
/*
 * check.c - the checking wrapper: what a policy did against its contract, named
 *
 * K1  The policy is never trusted for memory safety of the core's own data: it gets its own buffer for victims and a
 *     filled margin behind its state, and both are looked at after the call.
 * K2  The core's own mistakes (a hook for a frame in the wrong state, two hooks at once, another page than was
 *     inserted) are assertions.
 * K3  Reporting allocates nothing and uses no stdio: it may run in a signal handler.
 *
 * Pages are remembered here, 8 bytes a frame, so that a report can name them.  In debug builds the first reports carry
 * the addresses of their callers.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#if defined(HMM_DEBUG) && defined(HMM_HAVE_LIBUNWIND)
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#endif

#include "lib/base/arena.h"
#include "lib/policy/internal.h"

#define MARGIN 64           /* bytes behind the state */
#define MARGIN_FILL 0xa5
#define WANT_MOST 256u      /* victims of one call */
#define WANT_MARGIN 64u     /* more room for a policy that writes too many */
#define WANT_FILL 0xfffffff0u
#define BACKTRACES 8        /* reports that carry one */
#define BACKTRACE_DEPTH 12
#define REPORTS_IN_FULL 64

struct hmm__check {
	uint64_t *pages;        /* by frame, valid while it is not ABSENT */
	atomic_flag is_in_hook;
	uint32_t backtraces;
	uint32_t victims[WANT_MOST + WANT_MARGIN];
};

/* Text */

struct text {
	char buffer[512];
	size_t length;
};

static void add(struct text *text, const char *s)
{
	while (*s != '\0' && text->length + 1 < sizeof(text->buffer))
		text->buffer[text->length++] = *s++;
	text->buffer[text->length] = '\0';
}

static void add_number(struct text *text, uint64_t value, unsigned base)
{
	char digits[24];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	add(text, base == 16 ? "0x" : "");
	add(text, digits + at);
}

static void add_backtrace(struct text *text)
{
#if defined(HMM_DEBUG) && defined(HMM_HAVE_LIBUNWIND)
	unw_context_t context;
	unw_cursor_t cursor;
	unw_word_t ip;

	if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0)
		return;
	add(text, "; called from");
	for (int depth = 0; depth < BACKTRACE_DEPTH && unw_step(&cursor) > 0; depth++) {
		if (unw_get_reg(&cursor, UNW_REG_IP, &ip) != 0)
			break;
		add(text, " ");
		add_number(text, ip, 16);
	}
#else
	(void)text;
#endif
}

void hmm__policy_violation(struct hmm__policy *policy, const char *hook, const char *rule, uint32_t frame)
{
	struct text text = { .length = 0 };

	policy->errors++;
	if (policy->report == NULL ||
	    (policy->errors > REPORTS_IN_FULL && (policy->errors & (policy->errors - 1)) != 0))
		return;
	add(&text, "policy ");
	add(&text, policy->hooks.name);
	add(&text, ": ");
	add(&text, hook);
	add(&text, ": ");
	add(&text, rule);
	if (frame != UINT32_MAX) {
		add(&text, ", frame ");
		add_number(&text, frame, 10);
	}
	if (policy->check != NULL && frame < policy->capacity &&
	    hmm__frame_state(policy, frame) != HMM__FRAME_ABSENT) {
		add(&text, ", page ");
		add_number(&text, policy->check->pages[frame], 16);
	}
	if (policy->check != NULL && policy->check->backtraces < BACKTRACES) {
		policy->check->backtraces++;
		add_backtrace(&text);
	}
	policy->report(policy->report_arg, text.buffer);
}

/* State */

size_t hmm__check_margin(void)
{
	return MARGIN;
}

static uint8_t *margin(const struct hmm__policy *policy)
{
	return (uint8_t *)policy->state + policy->state_size - MARGIN;
}

int hmm__check_create(struct hmm__policy *policy)
{
	struct hmm__check *check = hmm__alloc(sizeof(*check));

	if (check == NULL)
		return -ENOMEM;
	check->pages = hmm__sparse_alloc(policy->capacity * sizeof(uint64_t));
	if (check->pages == NULL) {
		hmm__free(check, sizeof(*check));
		return -ENOMEM;
	}
	memset(margin(policy), MARGIN_FILL, MARGIN);
	atomic_flag_clear(&check->is_in_hook);
	policy->check = check;
	return 0;
}

void hmm__check_destroy(struct hmm__policy *policy)
{
	hmm__sparse_free(policy->check->pages, policy->capacity * sizeof(uint64_t));
	hmm__free(policy->check, sizeof(*policy->check));
}

void hmm__check_enter(struct hmm__policy *policy, uint32_t frame, unsigned states, uint64_t page)
{
	bool was_in_hook = atomic_flag_test_and_set(&policy->check->is_in_hook);

	assert(!was_in_hook && "two hooks of one policy at once");
	(void)was_in_hook;
	if (frame == UINT32_MAX)
		return;
	assert(frame < policy->capacity);
	assert((states & HMM__CHECK_STATE(hmm__frame_state(policy, frame))) != 0 && "frame in the wrong state");
	assert((page == HMM__CHECK_ANY_PAGE || page == policy->check->pages[frame]) && "not the page inserted");
	(void)states, (void)page;
}

void hmm__check_leave(struct hmm__policy *policy, const char *hook)
{
	uint8_t *bytes = margin(policy), damage = 0;

	for (int i = 0; i < MARGIN; i++)
		damage |= bytes[i] ^ MARGIN_FILL;
	if (HMM__UNLIKELY(damage != 0)) {
		memset(bytes, MARGIN_FILL, MARGIN);
		hmm__policy_violation(policy, hook, "wrote past the end of its state", UINT32_MAX);
	}
	atomic_flag_clear(&policy->check->is_in_hook);
}

void hmm__check_inserted(struct hmm__policy *policy, uint32_t frame, uint64_t page)
{
	hmm__check_enter(policy, frame, HMM__CHECK_STATE(HMM__FRAME_ABSENT), HMM__CHECK_ANY_PAGE);
	policy->check->pages[frame] = page;
}

uint32_t hmm__check_choose(struct hmm__policy *policy, uint32_t want, uint32_t *out, uint32_t scan)
{
	uint32_t *victims = policy->check->victims, n;

	want = HMM__MIN(want, WANT_MOST);
	for (uint32_t i = want; i < want + WANT_MARGIN; i++)
		victims[i] = WANT_FILL;
	hmm__check_enter(policy, UINT32_MAX, 0, HMM__CHECK_ANY_PAGE);
	n = policy->hooks.choose(policy->state, want, victims, scan);
	hmm__check_leave(policy, "choose");
	if (n > want) {
		hmm__policy_violation(policy, "choose", "returned more victims than wanted", UINT32_MAX);
		n = want;
	} else {
		for (uint32_t i = want; i < want + WANT_MARGIN; i++) {
			if (victims[i] != WANT_FILL) {
				hmm__policy_violation(policy, "choose", "wrote more victims than wanted", UINT32_MAX);
				break;
			}
		}
	}
	memcpy(out, victims, n * sizeof(*out));
	return n;
}
