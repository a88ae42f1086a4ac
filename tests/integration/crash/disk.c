/* SPDX-License-Identifier: MIT */
/*
 * disk.c - a disk in memory that remembers every write
 */
#include "tests/integration/crash/disk.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Mapped, not allocated: it is large, mostly untouched, and sanitizers look at every byte of what is freed. */
static uint8_t *map_zeros(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void contents_fini(struct contents *c)
{
	if (c->pages)
		munmap(c->pages, (size_t)DISK_PAGES * PAGE_SIZE);
	if (c->log)
		munmap(c->log, DISK_LOG);
}

static int contents_init(struct contents *c)
{
	memset(c, 0, sizeof(*c));
	c->pages = map_zeros((size_t)DISK_PAGES * PAGE_SIZE);
	c->log = map_zeros(DISK_LOG);
	c->log_from = c->log_written = c->log_durable = LOG_BEGIN;
	return c->pages && c->log ? 0 : -ENOMEM;
}

static void contents_copy(struct contents *to, const struct contents *from)
{
	memcpy(to->pages, from->pages, (size_t)DISK_PAGES * PAGE_SIZE);
	memcpy(to->log, from->log, LOG_BEGIN);
	memcpy(to->log + from->log_from, from->log + from->log_from, from->log_written - from->log_from);
	memcpy(to->torn, from->torn, sizeof(to->torn));
	to->log_from = from->log_from;
	to->log_written = from->log_written;
	to->log_durable = from->log_durable;
}

struct disk *disk_create(struct ledger *ledger)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		return NULL;
	disk->ledger = ledger;
	pthread_mutex_init(&disk->lock, NULL);
	if (contents_init(&disk->first) == 0 && contents_init(&disk->now) == 0)
		return disk;
	disk_destroy(disk);
	return NULL;
}

void disk_destroy(struct disk *disk)
{
	for (uint64_t i = 0; i < disk->nevents; i++)
		free(disk->events[i].bytes);
	free(disk->events);
	contents_fini(&disk->first);
	contents_fini(&disk->now);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

/* Under the lock. */
static int remember(struct disk *disk, struct event event, const void *bytes)
{
	if (disk->nevents == disk->room) {
		uint64_t room = disk->room ? 2 * disk->room : 1024;
		struct event *events = realloc(disk->events, room * sizeof(*events));

		if (!events)
			return -ENOMEM;
		disk->events = events;
		disk->room = room;
	}
	if (bytes) {
		event.bytes = malloc(event.length);
		if (!event.bytes)
			return -ENOMEM;
		memcpy(event.bytes, bytes, event.length);
	}
	/* begun first: never less than committed */
	event.committed = atomic_load(&disk->ledger->committed);
	event.begun = atomic_load(&disk->ledger->begun);
	disk->events[disk->nevents++] = event;
	return 0;
}

static int store_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct disk *disk = ctx;

	pthread_mutex_lock(&disk->lock);
	for (unsigned i = 0; i < n; i++) {
		memcpy(vec[i].data, disk->now.pages + vec[i].offset, vec[i].length);
		for (uint64_t at = vec[i].offset; at < vec[i].offset + vec[i].length; at += PAGE_SIZE)
			if (disk->now.torn[at / PAGE_SIZE])
				atomic_fetch_add(&disk->ledger->torn_read, 1);
	}
	pthread_mutex_unlock(&disk->lock);
	return 0;
}

static int write_page(struct disk *disk, uint64_t offset, const uint8_t *bytes)
{
	struct event event = { .kind = EVENT_PAGE, .offset = offset, .length = PAGE_SIZE };
	int r;

	pthread_mutex_lock(&disk->lock);
	if (((const struct page *)bytes)->lsn > disk->now.log_durable)
		atomic_fetch_add(&disk->ledger->rule_broken, 1);
	atomic_fetch_add(&disk->ledger->page_writes, 1);
	r = remember(disk, event, bytes);
	if (r == 0) {
		memcpy(disk->now.pages + offset, bytes, PAGE_SIZE);
		disk->now.torn[offset / PAGE_SIZE] = false;
	}
	pthread_mutex_unlock(&disk->lock);
	return r;
}

static int store_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < n; i++)
		for (uint64_t at = 0; r == 0 && at < vec[i].length; at += PAGE_SIZE)
			r = write_page(ctx, vec[i].offset + at, (const uint8_t *)vec[i].data + at);
	return r;
}

/* Others may write between its begin and its end, and that is not synced. */
static int sync_kind(struct disk *disk, enum event_kind kind)
{
	struct event event = { .kind = kind };
	uint64_t written;
	int r;

	pthread_mutex_lock(&disk->lock);
	event.began = disk->nevents;
	written = disk->now.log_written;
	pthread_mutex_unlock(&disk->lock);
	sched_yield();
	pthread_mutex_lock(&disk->lock);
	r = remember(disk, event, NULL);
	/* two syncs may overlap: what one has made durable stays so */
	if (r == 0 && kind == EVENT_SYNC_LOG && written > disk->now.log_durable)
		disk->now.log_durable = written;
	pthread_mutex_unlock(&disk->lock);
	return r;
}

static int store_sync(void *ctx, uint64_t offset, uint64_t length)
{
	(void)offset;
	(void)length;
	return sync_kind(ctx, EVENT_SYNC_PAGES);
}

static int store_length(void *ctx, uint64_t *ret_length)
{
	(void)ctx;
	*ret_length = DISK_PAGES * (uint64_t)PAGE_SIZE;
	return 0;
}

int disk_store(struct disk *disk, struct hmm_store **ret_store)
{
	static const struct hmm_store_ops ops = {
		.size = sizeof(ops),
		.version = HMM_STORE_VERSION,
		.name = "disk in memory",
		.read = store_read,
		.write = store_write,
		.sync = store_sync,
		.length = store_length,
	};

	return hmm_store_create(&ops, disk, ret_store);
}

static int log_read_bytes(void *ctx, uint64_t offset, void *data, size_t length)
{
	struct disk *disk = ctx;
	int r = 0;

	pthread_mutex_lock(&disk->lock);
	if (offset + length > DISK_LOG)
		memset(data, 0, length);
	else if (offset >= LOG_BEGIN && offset < disk->now.log_from)
		r = -EIO; /* nobody has any business there */
	else
		memcpy(data, disk->now.log + offset, length);
	pthread_mutex_unlock(&disk->lock);
	return r;
}

static int log_write_bytes(void *ctx, uint64_t offset, const void *data, size_t length)
{
	struct disk *disk = ctx;
	int r;

	if (offset + length > DISK_LOG)
		return -ENOSPC;
	pthread_mutex_lock(&disk->lock);
	atomic_fetch_add(&disk->ledger->log_writes, 1);
	r = remember(disk, (struct event){ .kind = EVENT_LOG, .offset = offset, .length = length }, data);
	if (r == 0) {
		memcpy(disk->now.log + offset, data, length);
		if (offset + length > disk->now.log_written)
			disk->now.log_written = offset + length;
	}
	pthread_mutex_unlock(&disk->lock);
	return r;
}

static int log_sync(void *ctx)
{
	return sync_kind(ctx, EVENT_SYNC_LOG);
}

static void log_forget(void *ctx, uint64_t offset, uint64_t length)
{
	struct disk *disk = ctx;

	pthread_mutex_lock(&disk->lock);
	if (remember(disk, (struct event){ .kind = EVENT_FORGET, .offset = offset, .length = length }, NULL) == 0)
		disk->now.log_from = offset + length;
	pthread_mutex_unlock(&disk->lock);
}

struct device disk_device(struct disk *disk)
{
	return (struct device){
		.ctx = disk,
		.read = log_read_bytes,
		.write = log_write_bytes,
		.sync = log_sync,
		.forget = log_forget,
	};
}

/* ---- the cut ---- */

/* Chances in 256 that a write which was not synced is there at all, and then, that it is there in parts. */
struct luck {
	uint32_t there, torn;
	uint64_t *random;
};

static bool chance(const struct luck *luck, uint32_t in_256)
{
	return load_random(luck->random) % 256 < in_256;
}

/* Some of the sectors that a write covers. */
static void apply_torn(struct contents *c, const struct event *e, const struct luck *luck)
{
	uint8_t *to = e->kind == EVENT_PAGE ? c->pages : c->log;

	for (uint64_t at = e->offset; at < e->offset + e->length;) {
		uint64_t end = (at / SECTOR + 1) * SECTOR;

		if (end > e->offset + e->length)
			end = e->offset + e->length;
		if (chance(luck, 128))
			memcpy(to + at, e->bytes + (at - e->offset), end - at);
		at = end;
	}
	if (e->kind == EVENT_PAGE)
		c->torn[e->offset / PAGE_SIZE] = true;
}

static void apply(struct contents *c, const struct event *e)
{
	memcpy((e->kind == EVENT_PAGE ? c->pages : c->log) + e->offset, e->bytes, e->length);
	if (e->kind == EVENT_PAGE)
		c->torn[e->offset / PAGE_SIZE] = false;
}

static void account(struct contents *c, const struct event *e, bool synced, const struct luck *luck)
{
	if (e->kind == EVENT_FORGET)
		c->log_from = e->offset + e->length;
	if (e->kind != EVENT_PAGE && e->kind != EVENT_LOG)
		return;
	if (e->kind == EVENT_LOG && e->offset + e->length > c->log_written)
		c->log_written = e->offset + e->length;
	if (synced)
		apply(c, e);
	else if (chance(luck, luck->there)) {
		if (chance(luck, luck->torn))
			apply_torn(c, e, luck);
		else
			apply(c, e);
	}
}

static void cut(const struct disk *disk, uint64_t event, const struct luck *luck, struct contents *c)
{
	uint64_t pages_synced = 0, log_synced = 0;

	for (uint64_t i = 0; i < event; i++) {
		const struct event *e = &disk->events[i];

		if (e->kind == EVENT_SYNC_PAGES && e->began > pages_synced)
			pages_synced = e->began;
		else if (e->kind == EVENT_SYNC_LOG && e->began > log_synced)
			log_synced = e->began;
	}
	for (uint64_t i = 0; i < event; i++) {
		const struct event *e = &disk->events[i];

		account(c, e, i < (e->kind == EVENT_PAGE ? pages_synced : log_synced), luck);
	}
	/* What is there now stays there. */
	c->log_durable = c->log_written;
}

struct disk *disk_cut(const struct disk *disk, uint64_t event, uint64_t *random, struct ledger *ledger)
{
	struct luck luck = { .random = random };
	struct disk *left = disk_create(ledger);

	if (!left)
		return NULL;
	luck.there = (uint32_t)(load_random(random) % 257);
	luck.torn = load_random(random) % 2 ? (uint32_t)(load_random(random) % 257) : 0;
	contents_copy(&left->first, &disk->first);
	cut(disk, event, &luck, &left->first);
	contents_copy(&left->now, &left->first);
	if (event < disk->nevents) {
		atomic_store(&ledger->begun, disk->events[event].begun);
		atomic_store(&ledger->committed, disk->events[event].committed);
	}
	return left;
}
