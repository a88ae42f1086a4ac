/* SPDX-License-Identifier: MIT */
/*
 * install.c - the interface of the integration
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap.h"

#define DELIVERIES (HMM_BDWGC_THREAD_DELIVERY | HMM_BDWGC_INLINE_DELIVERY)
#define FLAGS (HMM_BDWGC_NO_DISCARD | HMM_BDWGC_NO_PHASES | HMM_BDWGC_NO_SIZING | DELIVERIES)

struct hmm__counters hmm__counters;

/* The program's own notifier, if it has one. */
static _Atomic(GC_on_collection_event_proc) program_event;

static void GC_CALLBACK on_event(GC_EventType event)
{
	GC_on_collection_event_proc next = atomic_load(&program_event);

	hmm__collection_event(event);
	if (next)
		next(event);
}

/* In place of libgc's: ours stays the one that libgc calls. */
WRAPPER void GC_CALL GC_set_on_collection_event(GC_on_collection_event_proc function)
{
	if (hmm__heap.region)
		atomic_store(&program_event, function);
	else if (hmm__libgc.set_on_collection_event || !hmm__libgc_find())
		hmm__libgc.set_on_collection_event(function);
}

WRAPPER GC_on_collection_event_proc GC_CALL GC_get_on_collection_event(void)
{
	if (hmm__heap.region)
		return atomic_load(&program_event);
	if (hmm__libgc.get_on_collection_event || !hmm__libgc_find())
		return hmm__libgc.get_on_collection_event();
	return NULL;
}

static void on_child(void)
{
	hmm__heap.pid = getpid();
}

int hmm_bdwgc_install(struct hmm_space *space, const struct hmm_bdwgc_options *opts)
{
	struct hmm_bdwgc_options options = { .size = sizeof(options) };
	int r;

	if (opts) {
		if (opts->size < sizeof(options))
			return -EINVAL;
		options = *opts;
	}
	if (!space || options.flags & ~(uint32_t)FLAGS || (options.flags & DELIVERIES) == DELIVERIES)
		return -EINVAL;
	if (hmm__heap.region)
		return -EALREADY;
	r = hmm__libgc_find();
	if (r)
		return r;
	if (!hmm__wrap_reaches_us())
		return -ENOTSUP;
	if (hmm__libgc.get_heap_size())
		return -EBUSY;
	r = hmm__heap_make(space, &options);
	if (r)
		return r;
	(void)!pthread_atfork(NULL, NULL, on_child); /* without it a child touches what it could pin */
	unsetenv("GC_ENABLE_INCREMENTAL"); /* wrap_memory.c */
	atomic_store(&program_event, hmm__libgc.get_on_collection_event());
	hmm__libgc.set_on_collection_event(on_event);
	hmm__room_plan(&(struct hmm__survey){ 0 }, 0);
	return 0;
}

struct hmm_region *hmm_bdwgc_region(void)
{
	return hmm__heap.region;
}

int hmm_bdwgc_stats(struct hmm_bdwgc_stats *stats)
{
	struct hmm_bdwgc_stats now = { .size = sizeof(now) };
	size_t page = hmm__heap.page;

	if (stats->size < sizeof(stats->size))
		return -EINVAL;
	if (!hmm__heap.region)
		return -ENOENT;
	now.heap_bytes = hmm__libgc.get_heap_size();
	now.other_bytes = atomic_load(&hmm__heap.used) - now.heap_bytes;
	now.collections = atomic_load(&hmm__counters.collections);
	now.live_bytes = atomic_load(&hmm__counters.live) * page;
	now.discarded_bytes = atomic_load(&hmm__counters.discarded) * page;
	now.room_bytes = atomic_load(&hmm__counters.room) * page;
	now.memory_bytes = atomic_load(&hmm__counters.memory) * page;
	now.scan_ns = atomic_load(&hmm__counters.scan_ns);
	now.held_calls = atomic_load(&hmm__counters.held);
	now.unheld_calls = atomic_load(&hmm__counters.unheld);
	now.refused_bytes = atomic_load(&hmm__counters.refused);
	now.inline_delivery = hmm__heap.is_inline;
	now.size = stats->size;
	memcpy(stats, &now, stats->size < sizeof(now) ? stats->size : sizeof(now));
	return 0;
}
