/* SPDX-License-Identifier: MIT */
/*
 * main.c - threads that fault, fork, cancel, end, take signals, map and unmap, all in one process, until each owner has made
 * its steps
 *
 *	life [--seed N] [--steps N] [--backend NAME] [--calm on] [--without ACTOR,...]
 *
 * With root, the machine merges equal pages meanwhile (KSM) and makes huge pages wherever it can; tests/kernelswap/squeeze
 * puts it in a memory cgroup that is too small.  Descriptors and locked memory are scarce.  Nothing may stand still: the
 * watchdog ends a run that does, and says where.  To find out who is to blame: with --calm the machine's settings stay as they
 * are, --without leaves actors out (fork, cancel, end, map, checkpoint, signals).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys/compat.h"
#include "tests/kernelswap/settings.h"
#include "tests/stress/life/life.h"
#include "tests/world.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define KSM "/sys/kernel/mm/ksm/"
#define SIGNAL_NS 200000 /* 5,000 a second */
#define BALLAST ((size_t)48 << 20)
#define STEPS 3000
#define STEPS_LEAST 300
#define STILL_SECONDS 30

struct life life;

static struct {
	uint64_t steps;
	enum world_backend backend;
	bool calm;
	const char *without;
} arguments = { .backend = WORLD_INLINE_AUTO, .without = "" };

/* What is not allowed or not there is said and done without. */
static void unsettle(struct settings *settings)
{
	static const struct setting huge[] = {
		{ THP "khugepaged/scan_sleep_millisecs", "10" },
		{ THP "enabled", "always" },
		{ KSM "pages_to_scan", "2000" },
		{ KSM "sleep_millisecs", "20" },
		{ KSM "run", "1" },
		{ NULL, NULL },
	};
	int r = arguments.calm ? -ECANCELED : geteuid() == 0 ? settings_change(settings, huge) : -EPERM;

	if (r) {
		settings->keeper = 0;
		printf("# without huge pages everywhere and KSM: %s\n", strerror(-r));
	} else if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) < 0) {
		printf("# KSM by madvise(2) only: %s\n", strerror(errno));
	}
}

static void settle(struct settings *settings)
{
	if (settings->keeper)
		settings_restore(settings);
}

static void limit(int resource, rlim_t most)
{
	struct rlimit l;

	ck_assert_int_eq(getrlimit(resource, &l), 0);
	l.rlim_cur = l.rlim_max < most ? l.rlim_max : most;
	ck_assert_int_eq(setrlimit(resource, &l), 0);
}

/* Memory of the program that is not paged by us: what the kernel swaps first in a cgroup that is too small. */
static uint8_t *load_ballast(void)
{
	uint8_t *ballast = mmap(NULL, BALLAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(ballast, MAP_FAILED);
	madvise(ballast, BALLAST, MADV_DONTFORK);
	for (size_t i = 0; i < BALLAST; i += 4096)
		ballast[i] = (uint8_t)(i >> 12);
	return ballast;
}

static void signals_begin(timer_t *timer)
{
	struct sigaction action = { .sa_handler = life_signal, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec often = { .it_interval.tv_nsec = SIGNAL_NS, .it_value.tv_nsec = SIGNAL_NS };

	sigemptyset(&action.sa_mask);
	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &event, timer), 0);
	ck_assert_int_eq(timer_settime(*timer, 0, &often, NULL), 0);
}

static void open_life(struct hmm_store **ret_store)
{
	struct hmm_space_options so = { .size = sizeof(so), .policy = "clock" };
	struct hmm_region_options ro = { .size = sizeof(ro), .delivery = world_delivery(arguments.backend),
		                         .flags = HMM_REGION_COPY_ON_FORK };
	struct hmm_cache_options co = { .size = sizeof(co), .max_pages = 64 };

	life.delivery = ro.delivery;
	so.engine = arguments.backend == WORLD_INLINE_COPY || arguments.backend == WORLD_THREAD_COPY ? HMM_ENGINE_COPY
	                                                                                             : HMM_ENGINE_AUTO;
	ck_assert_int_eq(hmm_space_create(LIFE_FRAMES, &so, &life.space), 0);
	ck_assert_int_eq(hmm_region_map(life.space, NULL, 0, LIFE_PAGES * (size_t)sysconf(_SC_PAGESIZE), &ro, &life.home), 0);
	ck_assert_int_eq(hmm_store_memory(1 << 20, ret_store), 0);
	ck_assert_int_eq(hmm_cache_create(life.space, *ret_store, 4096, &co, &life.cache), 0);
	life.sequences = calloc(LIFE_PAGES, sizeof(*life.sequences));
	ck_assert_ptr_nonnull(life.sequences);
	life_fill();
}

static void close_life(struct hmm_store *store)
{
	struct hmm_stats stats = { .size = sizeof(stats) };

	for (uint64_t page = 0; page < LIFE_PAGES; page++)
		life_look(NULL, page);
	ck_assert_int_eq(hmm_space_stats(life.space, &stats), 0);
	ck_assert_uint_eq(stats.policy_errors, 0);
	ck_assert_uint_le(stats.peak_held, LIFE_FRAMES);
	printf("# %llu faults, %llu evictions, %llu busy\n", (unsigned long long)stats.faults,
	       (unsigned long long)stats.evictions, (unsigned long long)stats.busy);
	ck_assert_int_eq(hmm_cache_destroy(life.cache), 0);
	hmm_region_abandon(life.home);
	hmm_space_destroy(life.space);
	hmm_store_put(store);
	free(life.sequences);
}

START_TEST(nothing_stands_still)
{
	static const struct {
		const char *name;
		void *(*run)(void *);
	} actors[] = {
		{ "own", life_own },       { "own", life_own }, { "own", life_own }, { "fork", life_fork },
		{ "cancel", life_cancel }, { "end", life_end }, { "map", life_map }, { "checkpoint", life_checkpoint },
	};
	enum { ACTORS = sizeof(actors) / sizeof(actors[0]) };
	const char *missing = world_missing(arguments.backend);
	pthread_t threads[ACTORS];
	unsigned n = 0;
	struct settings settings;
	struct hmm_store *store;
	uint8_t *ballast;
	timer_t timer;

	if (missing)
		test_skip(missing);
	life.seed = test_seed();
	life.steps = arguments.steps ? arguments.steps : test_operations("steps", STEPS, STEPS_LEAST);
	unsettle(&settings);
	ballast = load_ballast();
	limit(RLIMIT_NOFILE, 64);
	limit(RLIMIT_MEMLOCK, 64 << 10);
	open_life(&store);
	watchdog_start(STILL_SECONDS);
	if (!strstr(arguments.without, "signals"))
		signals_begin(&timer);
	for (uintptr_t i = 0; i < ACTORS; i++) {
		if (!strstr(arguments.without, actors[i].name))
			ck_assert_int_eq(pthread_create(&threads[n++], NULL, actors[i].run, (void *)i), 0);
	}
	while (n)
		pthread_join(threads[--n], NULL);
	if (!strstr(arguments.without, "signals"))
		timer_delete(timer);
	watchdog_stop();
	for (size_t i = 0; i < BALLAST; i += 4096)
		ck_assert_uint_eq(ballast[i], (uint8_t)(i >> 12));
	printf("# %llu steps of %u owners each; %llu signals, %llu forks, %llu threads cancelled, %llu ended, %llu regions, "
	       "%llu checkpoints\n",
	       (unsigned long long)life.steps, LIFE_OWNERS, (unsigned long long)life.signals, (unsigned long long)life.forks,
	       (unsigned long long)life.cancelled, (unsigned long long)life.ended, (unsigned long long)life.mapped,
	       (unsigned long long)life.checkpoints);
	close_life(store);
	settle(&settings);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("life");
	TCase *c = tcase_create("life");

	/* The watchdog ends what stands still; this only ends a watchdog that does. */
	tcase_set_timeout(c, test_patience(300 + (unsigned)(arguments.steps / 200)));
	tcase_add_test(c, nothing_stands_still);
	suite_add_tcase(s, c);
	return s;
}

static int backend_of(const char *name)
{
	for (int i = WORLD_INLINE_AUTO; i < WORLD_BACKENDS; i++) {
		if (!strcmp(name, world_backend_names[i])) {
			arguments.backend = (enum world_backend)i;
			return 0;
		}
	}
	fprintf(stderr, "life: there is no backend %s\n", name);
	return -1;
}

int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			setenv("HMM_TEST_SEED", argv[i + 1], 1);
		else if (!strcmp(argv[i], "--steps"))
			arguments.steps = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--calm"))
			arguments.calm = true;
		else if (!strcmp(argv[i], "--without"))
			arguments.without = argv[i + 1];
		else if (strcmp(argv[i], "--backend") || backend_of(argv[i + 1]) < 0)
			return 2;
	}
	return test_main(suite);
}
