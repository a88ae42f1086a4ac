/* SPDX-License-Identifier: MIT */
/*
 * linked.c - a program that links with hurd-mm-bdwgc: what install refuses, and what must work with a heap four times the
 * budget: stopping threads, marker threads, system calls into the heap, waiting in it, blocked signals, fork
 *
 * Usage: linked inline | thread | default.  Prints TAP.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define GC_THREADS
#include <gc/gc.h>

#include <hurd-mm/bdwgc.h>
#include <hurd-mm/hurd-mm.h>

#define FRAMES 2048u /* 8 MiB */
#define KEPT (32u << 20)
#define PIECE 8176u /* with the byte that libgc adds: two pages */
#define PIECES (KEPT / 8192)
#define THREADS 3

static unsigned number, failed;
static struct hmm_space *space;
static uint32_t delivery; /* flags of hmm_bdwgc_install() */
static bool is_inline;
static uint64_t **kept;

static void ok(bool good, const char *name)
{
	number++;
	failed += !good;
	printf("%sok %u - %s\n", good ? "" : "not ", number, name);
	fflush(stdout);
}

static void fill(uint64_t *piece, uint64_t key)
{
	for (size_t i = 0; i < PIECE / 8; i++)
		piece[i] = key * 1000003 + i;
}

static bool is_filled(const uint64_t *piece, uint64_t key)
{
	for (size_t i = 0; i < PIECE / 8; i++) {
		if (piece[i] != key * 1000003 + i)
			return false;
	}
	return true;
}

static bool all_kept(void)
{
	for (size_t i = 0; i < PIECES; i++) {
		if (!is_filled(kept[i], i))
			return false;
	}
	return true;
}

static void refusals(void)
{
	struct hmm_bdwgc_options options = { .size = sizeof(options), .flags = 1u << 30 };
	struct hmm_bdwgc_stats stats = { .size = sizeof(stats) };

	ok(hmm_bdwgc_install(NULL, NULL) == -EINVAL, "no space");
	ok(hmm_bdwgc_install(space, &options) == -EINVAL, "unknown flags");
	options.flags = HMM_BDWGC_INLINE_DELIVERY | HMM_BDWGC_THREAD_DELIVERY;
	ok(hmm_bdwgc_install(space, &options) == -EINVAL, "both deliveries");
	ok(hmm_bdwgc_stats(&stats) == -ENOENT && !hmm_bdwgc_region(), "nothing before it is installed");
}

static _Atomic unsigned events;

static void GC_CALLBACK count_event(GC_EventType event)
{
	events += event == GC_EVENT_END;
}

static void install(void)
{
	struct hmm_bdwgc_options options = { .size = sizeof(options), .reserve = (uint64_t)1 << 30, .flags = delivery };
	struct hmm_bdwgc_stats stats = { .size = sizeof(stats) };

	GC_set_on_collection_event(count_event);
	ok(hmm_bdwgc_install(space, &options) == 0, "install");
	ok(hmm_bdwgc_install(space, &options) == -EALREADY, "once only");
	ok(hmm_bdwgc_stats(&stats) == 0 && stats.inline_delivery == is_inline, "the delivery");
	GC_INIT();
	GC_allow_register_threads();
	GC_enable_incremental();
	ok(!GC_is_incremental_mode(), "the incremental mode stays off");
}

static void keep(void)
{
	kept = GC_MALLOC(PIECES * sizeof(*kept));
	for (size_t i = 0; i < PIECES; i++) {
		kept[i] = GC_MALLOC_ATOMIC(PIECE);
		fill(kept[i], i);
		if (i % 4 == 0)
			fill(GC_MALLOC(PIECE), i); /* garbage at once */
	}
	ok(all_kept(), "contents of four times the budget");
}

static uint64_t check_collections(void)
{
	struct hmm_bdwgc_stats g = { .size = sizeof(g) };
	struct hmm_stats s = { .size = sizeof(s) };
	unsigned before = events;

	GC_gcollect();
	ok(hmm_bdwgc_stats(&g) == 0 && hmm_space_stats(space, &s) == 0, "statistics");
	ok(g.collections > 0 && events > before, "collections are seen, and the program's own notifier still is");
	ok(g.live_bytes >= KEPT && g.live_bytes < KEPT + KEPT / 4, "live pages are those that hold objects");
	ok(g.heap_bytes >= 4 * FRAMES * 4096u && g.discarded_bytes > 0, "garbage is discarded");
	ok(s.peak_held <= FRAMES && s.write_outs > 0 && s.loads > 0, "the budget is kept");
	return g.collections;
}

/* Threads that allocate and drop while others do the same: each collection stops all of them anywhere. */
static _Atomic unsigned wrong;

static void *churn(void *arg)
{
	uint64_t **mine = GC_MALLOC(64 * sizeof(*mine)), seed = (uintptr_t)arg + 1;
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGBUS);
	sigaddset(&mask, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &mask, NULL); /* as programs do that leave signals to one thread */
	for (unsigned i = 0; i < 4000; i++) {
		uint64_t slot;

		if (i % 400 == 0)
			GC_gcollect();
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		slot = seed >> 40 & 63;
		if (mine[slot] && !is_filled(mine[slot], slot + (uintptr_t)arg * 64))
			wrong++;
		mine[slot] = i & 1 ? GC_MALLOC_ATOMIC(PIECE) : GC_MALLOC(PIECE);
		fill(mine[slot], slot + (uintptr_t)arg * 64);
		if (!is_filled(kept[seed >> 20 & (PIECES - 1)], seed >> 20 & (PIECES - 1)))
			wrong++;
	}
	return mine;
}

static void threads(uint64_t collections)
{
	struct hmm_bdwgc_stats g = { .size = sizeof(g) };
	pthread_t thread[THREADS];
	unsigned started = 0;
	sigset_t mask;

	for (; started < THREADS; started++) {
		if (pthread_create(&thread[started], NULL, churn, (void *)(uintptr_t)started))
			break;
	}
	for (unsigned i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	(void)!hmm_bdwgc_stats(&g);
	ok(started == THREADS && wrong == 0 && g.collections >= collections + 10 * THREADS, "threads are stopped anywhere");
	sigfillset(&mask);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	ok(sigismember(&mask, SIGBUS) == !is_inline && sigismember(&mask, SIGUSR1) == 1,
	   "under inline delivery SIGBUS can't be blocked");
	sigemptyset(&mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* Make a piece of the heap not resident: the budget is used for others. */
static void push_out(const void *piece)
{
	uintptr_t page = (uintptr_t)piece & ~(uintptr_t)4095;

	(void)!hmm_region_advise(hmm_bdwgc_region(), (void *)page, 8192 + 4096, HMM_ADVISE_PAGEOUT);
}

static void system_calls(void)
{
	char name[] = "/tmp/hmm-bdwgc-XXXXXX", *path;
	int fd = mkstemp(name);
	struct iovec iov[2];
	FILE *file;
	bool good;

	push_out(kept[7]);
	good = write(fd, kept[7], PIECE) == PIECE;
	push_out(kept[8]);
	good = good && pwrite(fd, kept[8], PIECE, PIECE) == PIECE;
	push_out(kept[9]);
	good = good && pread(fd, kept[9], PIECE, 0) == PIECE && is_filled(kept[9], 7);
	ok(good, "read and write from and to pages that are not resident");
	push_out(kept[9]), push_out(kept[10]);
	iov[0] = (struct iovec){ kept[9], PIECE }, iov[1] = (struct iovec){ kept[10], PIECE };
	ok(preadv(fd, iov, 2, 0) == 2 * PIECE && is_filled(kept[9], 7) && is_filled(kept[10], 8), "with several buffers");
	file = fdopen(fd, "r+");
	setvbuf(file, NULL, _IONBF, 0);
	push_out(kept[10]);
	rewind(file);
	ok(fread(kept[10], 1, PIECE, file) == PIECE && is_filled(kept[10], 7), "by way of a stream");
	path = GC_MALLOC_ATOMIC(3 * PIECE);
	strcpy(path + PIECE, name);
	push_out(path), push_out(path + PIECE);
	ok(access(path + PIECE, R_OK) == 0, "a name");
	fill(kept[9], 9), fill(kept[10], 10);
	fclose(file);
	unlink(name);
}

static void too_large(void)
{
	size_t n = 3 * (size_t)FRAMES * 4096, done = 0;
	char *large = GC_MALLOC_ATOMIC(n);
	int fd = open("/dev/zero", 0);
	bool good = large != NULL;

	for (size_t i = 0; good && i < n; i += 4096)
		large[i] = 1;
	while (good && done < n) {
		ssize_t some = read(fd, large + done, n - done);

		good = some > 0;
		done += good ? (size_t)some : 0;
	}
	for (size_t i = 0; good && i < n; i += 4096)
		good = large[i] == 0;
	close(fd);
	ok(good, "a read larger than the budget comes in parts");
}

struct sleeper {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	sem_t ready;
	bool is_called;
};

static void *sleep_there(void *arg)
{
	struct sleeper *s = arg;

	pthread_mutex_lock(&s->mutex);
	sem_post(&s->ready);
	while (!s->is_called)
		pthread_cond_wait(&s->cond, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
	return NULL;
}

static void waits(void)
{
	struct sleeper *s = GC_MALLOC_UNCOLLECTABLE(sizeof(*s));
	pthread_t thread;

	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->cond, NULL);
	sem_init(&s->ready, 0, 0);
	push_out(s);
	if (pthread_create(&thread, NULL, sleep_there, s))
		exit(1);
	sem_wait(&s->ready);
	GC_gcollect();
	push_out(s);
	pthread_mutex_lock(&s->mutex);
	s->is_called = true;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->mutex);
	ok(pthread_join(thread, NULL) == 0, "a condition variable in the heap");
}

static volatile sig_atomic_t caught;

static void on_signal(int signal)
{
	caught = signal;
}

static void own_handler(void)
{
	struct sigaction act = { .sa_handler = on_signal }, old = { .sa_handler = SIG_IGN };

	sigaction(SIGBUS, &act, NULL);
	push_out(kept[20]);
	ok(is_filled(kept[20], 20) && !caught, "with a handler of the program's own, faults are still hurd-mm's");
	raise(SIGBUS);
	ok(caught == SIGBUS, "and what is sent is the program's");
	act.sa_handler = SIG_DFL;
	sigaction(SIGBUS, &act, &old);
	ok(old.sa_handler == on_signal, "which can ask for its handler");
}

static void in_child(void)
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0) {
		bool good = all_kept();

		GC_gcollect();
		_exit(good && all_kept() ? 0 : 1);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a forked child has the heap");
}

/* False: not here. */
static bool choose(const char *name)
{
	struct hmm_probe probe = { .size = sizeof(probe) };

	if (hmm_probe(&probe))
		return false;
	is_inline = strcmp(name, "inline") == 0 || (strcmp(name, "default") == 0 && !probe.thread_delivery);
	delivery = strcmp(name, "inline") == 0 ? HMM_BDWGC_INLINE_DELIVERY :
	           strcmp(name, "thread") == 0 ? HMM_BDWGC_THREAD_DELIVERY : 0;
	return is_inline || probe.thread_delivery;
}

int main(int argc, char **argv)
{
	struct hmm_space_options options = { .size = sizeof(options), .policy = "gc:scan=0.5:lru",
		                             .rescue = HMM_RESCUE_NEVER };
	int r = hmm_space_create(FRAMES, &options, &space);
	uint64_t collections;

	if (r) {
		printf("1..0 # SKIP no space: %s\n", strerror(-r));
		return 0;
	}
	if (!choose(argc > 1 ? argv[1] : "default")) {
		printf("1..0 # SKIP a permission for thread delivery\n");
		return 0;
	}
	GC_set_handle_fork(1);
	refusals();
	install();
	keep();
	collections = check_collections();
	threads(collections);
	system_calls();
	too_large();
	waits();
	own_handler();
	in_child();
	ok(all_kept(), "contents at the end");
	printf("1..%u\n", number);
	return failed != 0;
}
