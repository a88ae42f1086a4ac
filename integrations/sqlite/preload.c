/* SPDX-License-Identifier: MIT */
/*
 * preload.c - for programs that know nothing of hurd-mm: what to do is in the environment
 *
 *     HURD_MM_MEMORY=64M   the budget in bytes; K, M, G.  Without it SQLite's own page cache stays
 *     HURD_MM_POLICY=sieve the policy
 *     HURD_MM_STATS=1      a line of statistics to standard error at the end
 *
 * This object needs libsqlite3, so it is there when the constructor runs, and a program that loads it later (Python's
 * module) gets the same one.  The constructor, before main(), only puts a method table in place: the program may still call
 * sqlite3_config() itself.  The space is made when SQLite is initialised, in processes that use it.  What can't be
 * understood is said on standard error, and the program runs with SQLite's own page cache.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pcache.h"

#define POLICY_DEFAULT "sieve"

static sqlite3_pcache_methods2 before;
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

static const char *setting(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value ? value : NULL;
}

static bool parse_bytes(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGkmg";
	unsigned long long n;
	unsigned shift = 0;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || text[0] < '0' || text[0] > '9')
		return false;
	if (*end) {
		const char *unit = strchr(units, *end++);

		if (!unit || *end)
			return false;
		shift = 10 * ((unsigned)(unit - units) % 3 + 1);
	}
	*ret_bytes = n << shift;
	return *ret_bytes >> shift == n;
}

static int make_space(void)
{
	/* nothing needs to be written, so no thread of ours is needed: the C library is faster in a process with one */
	struct hmm_space_options o = { .size = sizeof(o), .policy = setting("HURD_MM_POLICY"),
		                       .flags = HMM_SPACE_NO_RECLAIMER };
	uint64_t bytes;

	if (!parse_bytes(setting("HURD_MM_MEMORY"), &bytes))
		return -EINVAL;
	if (!o.policy)
		o.policy = POLICY_DEFAULT;
	return hmm_space_create(bytes / hmm_page_size(), &o, &space);
}

/* SQLite initialises itself; it calls nothing else of a page cache before this has returned. */
static int first_use(void *arg)
{
	int r = make_space();

	(void)arg;
	(void)sqlite3_config(SQLITE_CONFIG_PCACHE2, &before);
	if (!r)
		r = hmm_sqlite_install(space);
	if (!r)
		return hmm__sqlite_methods.xInit(NULL);
	say("hurd-mm: HURD_MM_MEMORY=%s HURD_MM_POLICY=%s: %s; SQLite keeps its own page cache\n",
	    setting("HURD_MM_MEMORY"), setting("HURD_MM_POLICY") ? setting("HURD_MM_POLICY") : POLICY_DEFAULT,
	    strerror(-r));
	hmm_space_destroy(space);
	space = NULL;
	return before.xInit(before.pArg);
}

__attribute__((constructor)) static void on_load(void)
{
	static sqlite3_pcache_methods2 methods;

	if (!setting("HURD_MM_MEMORY") || sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &before) != SQLITE_OK)
		return;
	methods = hmm__sqlite_methods;
	methods.xInit = first_use;
	(void)sqlite3_config(SQLITE_CONFIG_PCACHE2, &methods);
}

__attribute__((destructor)) static void on_unload(void)
{
	const char *wanted = setting("HURD_MM_STATS");
	struct hmm_sqlite_stats s = { .size = sizeof(s) };

	if (!space || !wanted || strcmp(wanted, "0") == 0 || hmm_sqlite_stats(&s))
		return;
	say("hurd-mm: sqlite policy %s, hits %llu, misses %llu, evictions %llu, refusals %llu, beyond the budget %llu, "
	    "failures %llu, resident %llu pages of %llu bytes\n", hmm_space_policy(space), (unsigned long long)s.hits,
	    (unsigned long long)s.misses, (unsigned long long)s.evictions, (unsigned long long)s.refusals,
	    (unsigned long long)s.beyond, (unsigned long long)s.failures, (unsigned long long)s.resident,
	    (unsigned long long)s.frame_bytes);
}
