/* SPDX-License-Identifier: MIT */
/*
 * disk.h - a disk in memory that remembers every write, and can be cut off from power at any moment of its past
 *
 * What was written before a sync began that has ended is on the disk.  Of what was written later each write may be there, or
 * not, or some of its sectors, in any combination.
 *
 * It looks after two rules: a page is written after its log, and a page that was left torn is not read before it was
 * written again.
 */
#ifndef HMM_TESTS_CRASH_DISK_H
#define HMM_TESTS_CRASH_DISK_H

#include <pthread.h>

#include "tests/integration/crash/load.h"

#define DISK_PAGES 512u
#define DISK_LOG (64u << 20) /* bytes, of which hardly any are touched */
#define SECTOR 512u

enum event_kind { EVENT_PAGE, EVENT_LOG, EVENT_FORGET, EVENT_SYNC_PAGES, EVENT_SYNC_LOG };

struct event {
	enum event_kind kind;
	uint64_t offset, length;
	uint8_t *bytes;            /* of a write */
	uint64_t began;            /* of a sync: the number of the first event that it may not include */
	uint64_t begun, committed; /* the ledger's, when it happened */
};

struct contents {
	uint8_t *pages, *log;
	bool torn[DISK_PAGES];
	uint64_t log_from;                 /* the log's bytes before it are forgotten, but for its head */
	uint64_t log_written, log_durable; /* bytes */
};

struct disk {
	struct ledger *ledger;
	pthread_mutex_t lock;
	struct contents first, now; /* when it was made; as the system sees it */
	struct event *events;
	uint64_t nevents, room;
};

struct disk *disk_create(struct ledger *ledger);
void disk_destroy(struct disk *disk);

int disk_store(struct disk *disk, struct hmm_store **ret_store);
struct device disk_device(struct disk *disk);

/*
 * The power goes just before an event, or after all of them: a disk that begins with what is left then, and `ledger` is told
 * what had been begun and committed.  Nobody uses the old disk meanwhile.  NULL: no memory.
 */
struct disk *disk_cut(const struct disk *disk, uint64_t event, uint64_t *random, struct ledger *ledger);

#endif
