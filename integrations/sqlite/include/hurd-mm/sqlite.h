/* SPDX-License-Identifier: MIT */
/*
 * sqlite.h - SQLite's page cache in a space
 *
 * One line before the first connection, and the pages of all connections of the process share the space's budget under
 * its policy.  Link with hurd-mm-sqlite (pkg-config hurd-mm-sqlite), or preload libhurd-mm-sqlite-preload.so into a
 * program that knows nothing of it.  hmm-sqlite(3) has the whole of it.
 */
#ifndef HURD_MM_SQLITE_H
#define HURD_MM_SQLITE_H

#include <hurd-mm/base.h>
#include <hurd-mm/space.h>

HMM_BEGIN_DECLS

/*
 * Make the space's frames SQLite's page cache.  Before sqlite3_initialize(), which the first connection calls, or after
 * sqlite3_shutdown(); with no other thread in SQLite.  The space must live until hmm_sqlite_uninstall() or the process's end.
 *
 * The space's budget is what counts: PRAGMA cache_size and cache_spill's number are heard by nobody.
 *
 * Returns 0; -EINVAL (no space, or a budget below HMM_SQLITE_BYTES_MIN); -EALREADY; -EBUSY (SQLite is initialised);
 * -ENOMEM.
 */
#define HMM_SQLITE_BYTES_MIN (512u << 10)
HMM_API HMM_MUST_CHECK int hmm_sqlite_install(struct hmm_space *space);

/*
 * Give SQLite the page cache back that it had before.  All connections closed, and after sqlite3_shutdown().  0;
 * -ENOENT: not installed; -EBUSY: SQLite is initialised.
 */
HMM_API HMM_MUST_CHECK int hmm_sqlite_uninstall(void);

struct hmm_sqlite_stats {
	size_t size;

	/* now */
	uint64_t caches;       /* page caches that SQLite has: one a database file of a connection, and for temporary tables */
	uint64_t frame_bytes;  /* memory of the budget that a page takes; of the largest page size in use */
	uint64_t resident;     /* pages in the budget */
	uint64_t pinned_bytes; /* of the budget, about: in use at the moment, or changed and not yet written */
	uint64_t plain;        /* pages in ordinary memory: of in-memory databases, and those of `beyond` */
	uint64_t plain_bytes;

	/* since it was installed */
	uint64_t hits;         /* pages asked for and found */
	uint64_t misses;       /* pages that got a frame */
	uint64_t evictions;    /* pages that gave up their frame for another one */
	uint64_t refusals;     /* SQLite was told to write changed pages first, because too many are pinned */
	uint64_t beyond;       /* pages that got ordinary memory because the budget was all pinned, or too small for such pages */
	uint64_t failures;     /* there was no memory at all: SQLITE_NOMEM */
	uint64_t reused;       /* caches that began with the tables of one that had ended */
};
/* stats->size must be set.  -ENOENT: not installed. */
HMM_API HMM_MUST_CHECK int hmm_sqlite_stats(struct hmm_sqlite_stats *stats);

/* The space; NULL if not installed. */
HMM_API struct hmm_space *hmm_sqlite_space(void);

HMM_END_DECLS

#endif
