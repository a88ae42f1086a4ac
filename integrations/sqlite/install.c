/* SPDX-License-Identifier: MIT */
/*
 * install.c - the process's page cache: installed, taken away, looked at, forked
 */
#include <errno.h>
#include <string.h>

#include "pcache.h"

struct group hmm__sqlite = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Q5.  Registered after the space's own handlers, so this runs before calls of the space are waited for, some of which need the lock. */
static void fork_prepare(void)
{
	pthread_mutex_lock(&hmm__sqlite.lock);
}

static void fork_done(void)
{
	pthread_mutex_unlock(&hmm__sqlite.lock);
}

static int at_fork(void)
{
	static bool done;

	if (!done && pthread_atfork(fork_prepare, fork_done, fork_done))
		return -ENOMEM;
	done = true;
	return 0;
}

int hmm_sqlite_install(struct hmm_space *space)
{
	struct hmm_stats s = { .size = sizeof(s) };
	int r;

	if (!space || hmm_space_stats(space, &s) || s.frames * hmm_page_size() < HMM_SQLITE_BYTES_MIN)
		return -EINVAL;
	if (hmm__sqlite.space)
		return -EALREADY;
	r = at_fork();
	if (r)
		return r;
	if (sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &hmm__sqlite.before) != SQLITE_OK)
		return -EBUSY;
	hmm__sqlite.space = space;
	hmm__sqlite_look();
	if (sqlite3_config(SQLITE_CONFIG_PCACHE2, &hmm__sqlite_methods) != SQLITE_OK) {
		hmm__sqlite.space = NULL;
		return -EBUSY;
	}
	return 0;
}

int hmm_sqlite_uninstall(void)
{
	if (!hmm__sqlite.space)
		return -ENOENT;
	if (sqlite3_config(SQLITE_CONFIG_PCACHE2, &hmm__sqlite.before) != SQLITE_OK)
		return -EBUSY;
	hmm__sqlite.space = NULL;
	memset(&hmm__sqlite.ended, 0, sizeof(hmm__sqlite.ended));
	hmm__sqlite.budget = 0;
	hmm__sqlite.refusals = hmm__sqlite.beyond = hmm__sqlite.failures = hmm__sqlite.reused = 0;
	return 0;
}

static uint64_t positive(int64_t n)
{
	return n > 0 ? (uint64_t)n : 0;
}

int hmm_sqlite_stats(struct hmm_sqlite_stats *stats)
{
	struct hmm_sqlite_stats s;
	size_t size = stats->size;

	if (!hmm__sqlite.space)
		return -ENOENT;
	hmm__sqlite_sum(&s);
	s.size = size;
	s.pinned_bytes = positive(hmm__sqlite.pinned_bytes);
	s.plain = positive(hmm__sqlite.plain);
	s.plain_bytes = positive(hmm__sqlite.plain_bytes);
	s.refusals = hmm__sqlite.refusals;
	s.beyond = hmm__sqlite.beyond;
	s.failures = hmm__sqlite.failures;
	s.reused = hmm__sqlite.reused;
	/* a caller from before, or after: what both know */
	memcpy(stats, &s, size < sizeof(s) ? size : sizeof(s));
	if (size > sizeof(s))
		memset((char *)stats + sizeof(s), 0, size - sizeof(s));
	return 0;
}

struct hmm_space *hmm_sqlite_space(void)
{
	return hmm__sqlite.space;
}
