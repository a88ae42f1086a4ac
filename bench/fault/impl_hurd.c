/* SPDX-License-Identifier: MIT */
/*
 * impl_hurd.c - the library itself, by its public headers
 *
 * Defaults everywhere, but for what the case or the command line asks for.  A miss is an access that found no page:
 * loads + rescues + zero fills.  The trap of a first write to a clean page is not a miss: its cost is part of the cost
 * of the misses.
 */
#include <errno.h>
#include <hurd-mm/hurd-mm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/fault/impl.h"

struct hurd {
	struct hmm_space *space;
	struct hmm_region *region;
	_Atomic uint64_t events; /* errors that the library reported */
};

static void on_event(void *arg, const struct hmm_event *event)
{
	struct hurd *h = arg;

	if (event->kind != HMM_EVENT_PRESSURE) {
		atomic_fetch_add(&h->events, 1);
		fprintf(stderr, "hurd-mm event %u, error %d: %s\n", event->kind, event->error,
		        event->text ? event->text : "");
	}
}

static int make_store(const struct setup *setup, struct identity *identity, struct hmm_store **ret_store)
{
	struct hmm_swap_options swap = {
		.size = sizeof(swap),
		.directory = setup->directory,
		.direct = setup->direct,
	};
	struct hmm_store_stats stats = { .size = sizeof(stats) };
	int r;

	if (setup->kind == KIND_FILE) {
		strcpy(identity->store, "page-cache");
		return hmm_store_file(setup->fd, 0, ret_store);
	}
	r = hmm_store_swap(&swap, ret_store);
	if (r < 0)
		return r;
	r = hmm_store_stats(*ret_store, &stats);
	if (r < 0) {
		hmm_store_put(*ret_store);
		return r;
	}
	strcpy(identity->store, stats.direct ? "swap-direct" : "swap-cached");
	return 0;
}

static int map(struct hurd *h, const struct setup *setup, struct hmm_store *store, struct identity *identity,
               char why[TEXT_BYTES])
{
	struct hmm_space_options options = {
		.size = sizeof(options),
		.policy = setup->policy,
		.engine = setup->engine,
		.rescue = setup->rescue,
		.swap = setup->kind == KIND_ANON ? store : NULL,
		.event = on_event,
		.event_arg = h,
	};
	struct hmm_region_options region = {
		.size = sizeof(region),
		.delivery = setup->delivery == DELIVERY_INLINE ? HMM_DELIVERY_INLINE : HMM_DELIVERY_THREAD,
		.page_shift = setup->page_shift,
		.flags = (setup->kind == KIND_FILE ? HMM_REGION_SHARED : 0) | (setup->recycle ? HMM_REGION_RECYCLE : 0),
	};
	struct hmm_stats stats = { .size = sizeof(stats) };
	int r = hmm_space_create(setup->budget / hmm_page_size(), &options, &h->space);

	if (r < 0) {
		snprintf(why, TEXT_BYTES, "hmm_space_create: %s", strerror(-r));
		return r;
	}
	r = hmm_region_map(h->space, setup->kind == KIND_FILE ? store : NULL, 0, setup->bytes, &region, &h->region);
	if (r == 0)
		r = hmm_space_stats(h->space, &stats);
	if (r < 0) {
		snprintf(why, TEXT_BYTES, "hmm_region_map: %s", strerror(-r));
		hmm_space_destroy(h->space);
		return r;
	}
	snprintf(identity->policy, sizeof(identity->policy), "%s", hmm_space_policy(h->space));
	snprintf(identity->engine, sizeof(identity->engine), "%s", stats.engine == HMM_ENGINE_MOVE ? "move" : "copy");
	return 0;
}

/* Names what the kernel lacks, where the delivery can't be had: the case is skipped, not failed. */
static int probe(const struct setup *setup, char why[TEXT_BYTES])
{
	struct hmm_probe probed = { .size = sizeof(probed) };
	int r = hmm_probe(&probed);
	int works = setup->delivery == DELIVERY_INLINE ? (int)probed.inline_delivery : (int)probed.thread_delivery;
	const char *missing = setup->delivery == DELIVERY_INLINE ? probed.inline_missing : probed.thread_missing;

	if (r < 0 || works)
		return r;
	snprintf(why, TEXT_BYTES, "%s", missing ? missing : "delivery is not available");
	return -ENOTSUP;
}

static int hurd_open(const struct setup *setup, struct identity *identity, void **ret_context, void **ret_base,
                     char why[TEXT_BYTES])
{
	struct hurd *h = calloc(1, sizeof(*h));
	struct hmm_store *store;
	int r;

	if (!h)
		return -ENOMEM;
	r = probe(setup, why);
	if (r == 0) {
		r = make_store(setup, identity, &store);
		if (r < 0)
			snprintf(why, TEXT_BYTES, "store: %s", strerror(-r));
	}
	if (r == 0) {
		r = map(h, setup, store, identity, why);
		hmm_store_put(store);
	}
	if (r < 0) {
		free(h);
		return r;
	}
	*ret_context = h;
	*ret_base = hmm_region_base(h->region);
	return 0;
}

static void hurd_counters(void *context, struct counters *counters)
{
	struct hurd *h = context;
	struct hmm_stats stats = { .size = sizeof(stats) };

	memset(counters, 0, sizeof(*counters));
	if (hmm_space_stats(h->space, &stats) < 0)
		return;
	counters->loads = stats.loads;
	counters->rescues = stats.rescues;
	counters->zero_fills = stats.zero_fills;
	counters->misses = stats.loads + stats.rescues + stats.zero_fills;
	counters->prefetches = stats.prefetches;
	counters->protects = stats.faults_protect;
	counters->write_outs = stats.write_outs;
	counters->resident = stats.resident * hmm_page_size();
}

static int hurd_close(void *context)
{
	struct hurd *h = context;
	int r = hmm_region_unmap(h->region);

	hmm_space_destroy(h->space);
	if (r == 0 && atomic_load(&h->events))
		r = -EIO;
	free(h);
	return r;
}

/* Two tables, as the contents of a file are there at first and those of anonymous memory are not. */
const struct impl impl_hurd_file = {
	.name = "hurd-mm",
	.filled = 1,
	.open = hurd_open,
	.counters = hurd_counters,
	.close = hurd_close,
};

const struct impl impl_hurd = {
	.name = "hurd-mm",
	.open = hurd_open,
	.counters = hurd_counters,
	.close = hurd_close,
};
