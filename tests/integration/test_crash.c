/* SPDX-License-Identifier: MIT */
/*
 * test_crash.c - a B-tree with a log on the cache face (examples/btree), killed and cut off from power at random moments
 *
 * Recovery finds all that was committed and nothing that was not begun, in order and whole, and no page was ever written before
 * the log was durable up to its position.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/harness.h"
#include "tests/integration/crash/disk.h"
#include "tests/integration/crash/files.h"

/* So many for each policy. */
#if TEST_TSAN || defined(TEST_SLOW) || defined(__SANITIZE_ADDRESS__)
#define KILLS 40
#define CUTS 30
#else
#define KILLS 500
#define CUTS 250
#endif
#define CUTS_A_RUN 15
#define FIRST_OPS 8000u /* until the tree is larger than the budget */
#define MOST_OPS 1500u
#define FAILED 3 /* exit status of a child that found something wrong */

static const char *const policies[] = { "db:s3fifo", "clock" };

static int open_space(const char *policy, uint64_t *random, struct hmm_space **ret_space)
{
	struct hmm_space_options opts = { .size = sizeof(opts), .policy = policy, .flags = HMM_SPACE_CHECK_POLICY };

	return hmm_space_create(HMM_FRAMES_MIN + load_random(random) % 96, &opts, ret_space);
}

static struct btree_options tree_options(uint64_t *random, uint64_t max_pages)
{
	return (struct btree_options){
		.max_pages = max_pages,
		.dirty_target = load_random(random) % 2 ? 30 : 0,
		.checkpoint_rate = load_random(random) % 2 ? 0 : 20000,
	};
}

/* ---- killed ---- */

static void child_fails(const char *what, int r)
{
	fprintf(stderr, "child: %s: %s\n", what, strerror(-r));
	_exit(FAILED);
}

/* Recover, check, say so, and go on until the end comes; a child that gets to the end of its work ends in order. */
static void child(struct files *files, const char *policy, bool watched, uint64_t random, int ready)
{
	struct btree_options opts = tree_options(&random, DATA_PAGES);
	struct device device = files_device(files);
	struct hmm_space *space = NULL;
	struct hmm_store *store;
	struct btree *t;
	int r = watched ? files_store(files, &store) : hmm_store_file(files->fd, 0, &store);

	if (r == 0)
		r = open_space(policy, &random, &space);
	if (r < 0)
		child_fails("space", r);
	r = btree_open(space, store, &device, &opts, &t);
	if (r < 0)
		child_fails("recovery", r);
	r = ledger_check(&files->ledger, t);
	if (r < 0)
		child_fails("after recovery", r);
	if (write(ready, "!", 1) != 1)
		child_fails("pipe", -errno);
	r = load_run(&files->ledger, t, load_random(&random) % MOST_OPS);
	if (r == 0)
		r = btree_close(t);
	if (r < 0)
		child_fails("load", r);
	hmm_space_destroy(space);
	hmm_store_put(store);
	_exit(0);
}

/*
 * Some die by a clock, some in the middle of writing, some soon, one in eight while it recovers, which takes more than six
 * steps of writing; one that is spared comes to its end.  Returns what became of it, for statistics.
 */
enum how { SPARED, CLOCK_FILE, CLOCK_WATCHED, WRITING, SOON, RECOVERING };

static enum how draw_how(uint64_t *random, unsigned n)
{
	return n % 8 == 7 ? RECOVERING : CLOCK_FILE + (enum how)(load_random(random) % 4);
}

static int kill_one(struct files *files, const char *policy, uint64_t *random, enum how how)
{
	static const uint64_t steps[] = { [WRITING] = 2000, [SOON] = 60, [RECOVERING] = 6 };
	uint64_t seed = load_random(random);
	struct timespec wait = { 0, (long)(load_random(random) % 12000000) };
	int ready[2], status, came;
	char byte;
	pid_t pid;

	atomic_store(&files->until_kill, how < WRITING ? 0 : 1 + (int64_t)(load_random(random) % steps[how]));
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		child(files, policy, how != CLOCK_FILE, seed, ready[1]);
	close(ready[1]);
	came = (int)read(ready[0], &byte, 1);
	if ((how == CLOCK_FILE || how == CLOCK_WATCHED) && came == 1) {
		nanosleep(&wait, NULL);
		kill(pid, SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(ready[0]);
	ck_assert_msg((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
	                      (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL),
	              "a child ended with status %x", (unsigned)status);
	return !WIFSIGNALED(status) ? 0 : came == 1 ? 1 : 2;
}

static int temporary_file(void)
{
	char path[] = "/tmp/hurd-mm-crash-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	return fd;
}

static void *shared_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	return memory;
}

/* _i: policy */
START_TEST(killed_tree_recovers_all_that_was_committed)
{
	struct files *files = shared_memory(sizeof(*files));
	uint64_t random = files->ledger.seed = test_seed();
	unsigned ends[3] = { 0 }, n = 0;

	files->ledger.turns[0].generation = 1;
	files->fd = temporary_file();
	files->log_fd = temporary_file();
	ck_assert_int_eq(ftruncate(files->fd, DATA_PAGES * (off_t)PAGE_SIZE), 0);
	while (ends[1] + ends[2] < KILLS)
		ends[kill_one(files, policies[_i], &random, draw_how(&random, n++))]++;
	ck_assert_int_eq(kill_one(files, policies[_i], &random, SPARED), 0);
	printf("# killed %u times at work, %u in recovery, %u came to an end; %" PRIu64 " operations, %" PRIu64
	       " pages written\n", ends[1], ends[2], ends[0], atomic_load(&files->ledger.begun),
	       atomic_load(&files->ledger.page_writes));
	ck_assert_uint_eq(atomic_load(&files->ledger.rule_broken), 0);
	ck_assert_uint_gt(atomic_load(&files->ledger.page_writes), 0);
	ck_assert_uint_gt(ends[1], 0);
	ck_assert_uint_gt(ends[2], 0);
	close(files->fd);
	close(files->log_fd);
}
END_TEST

/* ---- without power ---- */

/* Open the tree of a disk, check it, and do `most` operations; then it is as if the process had gone. */
static void use_disk(struct disk *disk, const char *policy, uint64_t *random, uint64_t most)
{
	struct btree_options opts = tree_options(random, DISK_PAGES);
	struct device device = disk_device(disk);
	struct hmm_space *space;
	struct hmm_store *store;
	struct btree *t;

	ck_assert_int_eq(disk_store(disk, &store), 0);
	ck_assert_int_eq(open_space(policy, random, &space), 0);
	ck_assert_int_eq(btree_open(space, store, &device, &opts, &t), 0);
	ck_assert_int_eq(ledger_check(disk->ledger, t), 0);
	if (most > 0)
		ck_assert_int_eq(load_run(disk->ledger, t, most), 0);
	btree_abandon(t);
	hmm_space_destroy(space);
	hmm_store_put(store);
	ck_assert_uint_eq(atomic_load(&disk->ledger->rule_broken), 0);
	ck_assert_uint_eq(atomic_load(&disk->ledger->torn_read), 0);
}

static uint64_t torn_pages(const struct disk *disk)
{
	uint64_t n = 0;

	for (unsigned page = 0; page < DISK_PAGES; page++)
		n += disk->first.torn[page];
	return n;
}

struct cuts {
	const char *policy;
	uint64_t random;
	uint64_t done, twice, torn;
};

/* Recovers after a cut at a random moment, and now and then after another one during that recovery. */
static void cut_and_recover(struct cuts *cuts, const struct disk *disk, const struct ledger *now, bool again)
{
	struct ledger *ledger = malloc(sizeof(*ledger));
	struct disk *left;

	ck_assert_ptr_nonnull(ledger);
	memcpy(ledger, now, sizeof(*now));
	left = disk_cut(disk, load_random(&cuts->random) % disk->nevents, &cuts->random, ledger);
	ck_assert_ptr_nonnull(left);
	cuts->torn += torn_pages(left);
	use_disk(left, cuts->policy, &cuts->random, 0);
	cuts->done++;
	if (again && cuts->done % 4 == 0) {
		cut_and_recover(cuts, left, ledger, false);
		cuts->twice++;
	}
	disk_destroy(left);
	free(ledger);
}

/* _i: policy */
START_TEST(tree_survives_power_that_goes)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	struct cuts cuts = { .policy = policies[_i], .random = test_seed() };
	struct disk *disk, *left;

	ck_assert_ptr_nonnull(ledger);
	ledger->seed = load_random(&cuts.random);
	ledger->turns[0].generation = 1;
	disk = disk_create(ledger);
	ck_assert_ptr_nonnull(disk);
	use_disk(disk, policies[_i], &cuts.random, FIRST_OPS);
	while (cuts.done < CUTS) {
		/* a run on what the last one left when the power went in it */
		left = disk_cut(disk, load_random(&cuts.random) % disk->nevents, &cuts.random, ledger);
		disk_destroy(disk);
		disk = left;
		ck_assert_ptr_nonnull(disk);
		use_disk(disk, policies[_i], &cuts.random, 1 + load_random(&cuts.random) % MOST_OPS);
		for (unsigned i = 0; i < CUTS_A_RUN; i++)
			cut_and_recover(&cuts, disk, ledger, true);
	}
	printf("# %" PRIu64 " cuts, %" PRIu64 " of them in recovery, %" PRIu64 " pages torn\n", cuts.done, cuts.twice,
	       cuts.torn);
	ck_assert_uint_gt(cuts.torn, 0);
	ck_assert_uint_gt(cuts.twice, 0);
	disk_destroy(disk);
	free(ledger);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("crash");
	TCase *t = tcase_create("crash");
	int n = sizeof(policies) / sizeof(policies[0]);

	tcase_set_timeout(t, test_patience(120));
	tcase_add_loop_test(t, killed_tree_recovers_all_that_was_committed, 0, n);
	tcase_add_loop_test(t, tree_survives_power_that_goes, 0, n);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
