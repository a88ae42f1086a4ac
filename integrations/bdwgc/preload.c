/* SPDX-License-Identifier: MIT */
/*
 * preload.c - for programs that know nothing of hurd-mm: what to do is in the environment
 *
 *     HURD_MM_MEMORY=64M       the budget in bytes; K, M, G.  Without it nothing is paged
 *     HURD_MM_POLICY=gc:lru    the policy
 *     HURD_MM_SWAP=cached      the swap file through the kernel's page cache
 *     HURD_MM_DELIVERY=thread  pager threads resolve faults; inline; auto: by thread where the system allows it
 *     HURD_MM_GC=none          what libgc and the policy hear of each other: discard,phases,size; all
 *     HURD_MM_STATS=1          statistics to standard error at the end
 *
 * A process without libgc is left alone: the environment reaches the program's children too.  What can't be understood is
 * said on standard error, and the program runs unpaged.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap.h"

static struct hmm_space *space;

/* In one piece, and not through stdio, which the program may have closed or filled. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char text[512];
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (n > 0)
		(void)!write(STDERR_FILENO, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

static bool parse_bytes(const char *text, uint64_t *ret_bytes)
{
	unsigned long long n;
	unsigned shift = 0;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || text[0] < '0' || text[0] > '9')
		return false;
	if (*end) {
		static const char units[] = "KMGkmg";
		const char *unit = strchr(units, *end++);

		if (!unit || *end)
			return false;
		shift = 10 * ((unsigned)(unit - units) % 3 + 1);
	}
	*ret_bytes = n << shift;
	return *ret_bytes >> shift == n;
}

/* One of the names, or the first if the variable is not set; -1: another one. */
static int choice(const char *variable, const char *const *names)
{
	const char *value = getenv(variable);

	for (int i = 0; names[i]; i++) {
		if (!value || !*value || strcmp(value, names[i]) == 0)
			return i;
	}
	say("hurd-mm: %s=%s is not understood\n", variable, value);
	return -1;
}

/* "discard,phases,size", "all", "none" */
static bool parse_gc(const char *text, uint32_t *flags)
{
	static const char *const names[] = { "discard", "phases", "size" };
	uint32_t off = HMM_BDWGC_NO_DISCARD | HMM_BDWGC_NO_PHASES | HMM_BDWGC_NO_SIZING;

	if (!text || !*text || strcmp(text, "all") == 0)
		return true;
	while (*text && strcmp(text, "none") != 0) {
		size_t n = strcspn(text, ",");
		uint32_t i = 0;

		while (i < 3 && (strlen(names[i]) != n || strncmp(text, names[i], n) != 0))
			i++;
		if (i == 3) {
			say("hurd-mm: HURD_MM_GC: %s is not understood\n", text);
			return false;
		}
		off &= ~(UINT32_C(1) << i);
		text += n + (text[n] == ',');
	}
	*flags |= off;
	return true;
}

static void on_hmm_event(void *arg, const struct hmm_event *event)
{
	const char *what = event->kind == HMM_EVENT_READ_ERROR ? "a page can't be read" :
	                   event->kind == HMM_EVENT_WRITE_ERROR ? "a page can't be written" :
	                   event->kind == HMM_EVENT_NO_FRAME ? "no frame can be had" :
	                   event->kind == HMM_EVENT_POLICY ? event->text : NULL;

	(void)arg;
	if (what)
		say("hurd-mm: %s: %s\n", what, strerror(-event->error));
}

static int make_space(uint64_t bytes, bool cached)
{
	const char *policy = getenv("HURD_MM_POLICY");
	struct hmm_space_options options = {
		.size = sizeof(options),
		.policy = policy && *policy ? policy : HMM__GC_POLICY,
		.event = on_hmm_event,
		.rescue = HMM_RESCUE_NEVER, /* marking uses all that lives: that a page comes back tells nothing of its use */
	};
	struct hmm_swap_options swap = { .size = sizeof(swap), .direct = HMM_DIRECT_NEVER };
	int r = cached ? hmm_store_swap(&swap, &options.swap) : 0;

	if (r)
		return r;
	r = hmm_space_create(bytes / hmm_page_size(), &options, &space);
	hmm_store_put(options.swap); /* the space has its own reference */
	return r;
}

static int start(const char *memory)
{
	static const char *const deliveries[] = { "auto", "inline", "thread", NULL };
	static const char *const swaps[] = { "direct", "cached", NULL };
	struct hmm_bdwgc_options options = { .size = sizeof(options) };
	int delivery = choice("HURD_MM_DELIVERY", deliveries), swap = choice("HURD_MM_SWAP", swaps), r;
	uint64_t bytes;

	if (!parse_bytes(memory, &bytes)) {
		say("hurd-mm: HURD_MM_MEMORY=%s is not understood\n", memory);
		return -EINVAL;
	}
	if (delivery < 0 || swap < 0 || !parse_gc(getenv("HURD_MM_GC"), &options.flags))
		return -EINVAL;
	options.flags |= delivery == 1 ? HMM_BDWGC_INLINE_DELIVERY : delivery == 2 ? HMM_BDWGC_THREAD_DELIVERY : 0;
	r = make_space(bytes, swap);
	return r ? r : hmm_bdwgc_install(space, &options);
}

__attribute__((constructor)) static void on_load(void)
{
	const char *memory = getenv("HURD_MM_MEMORY");
	int r;

	if (!memory || !*memory || hmm__libgc_find() == -ENOSYS)
		return;
	r = start(memory);
	if (!r)
		return;
	say("hurd-mm: nothing is paged: %s\n", strerror(-r));
	hmm_space_destroy(space);
	space = NULL;
}

#define SHOW(of, name) { #name, of.name }

__attribute__((destructor)) static void on_unload(void)
{
	const char *wanted = getenv("HURD_MM_STATS");
	struct hmm_stats s = { .size = sizeof(s) };
	struct hmm_bdwgc_stats g = { .size = sizeof(g) };

	if (!space || !wanted || !*wanted || strcmp(wanted, "0") == 0 || hmm_space_stats(space, &s) || hmm_bdwgc_stats(&g))
		return;
	const struct {
		const char *name;
		uint64_t value;
	} shown[] = {
		SHOW(s, frames), SHOW(s, peak_held), SHOW(s, faults), SHOW(s, zero_fills), SHOW(s, loads), SHOW(s, prefetches),
		SHOW(s, rescues), SHOW(s, evictions), SHOW(s, write_outs), SHOW(s, discards), SHOW(s, faults_protect),
		SHOW(s, faults_failed), SHOW(g, heap_bytes), SHOW(g, other_bytes), SHOW(g, collections), SHOW(g, live_bytes),
		SHOW(g, discarded_bytes), SHOW(g, room_bytes), SHOW(g, memory_bytes), SHOW(g, scan_ns), SHOW(g, held_calls),
		SHOW(g, unheld_calls), SHOW(g, refused_bytes), SHOW(g, inline_delivery),
	};

	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		say("hurd-mm: %-16s %llu\n", shown[i].name, (unsigned long long)shown[i].value);
}
