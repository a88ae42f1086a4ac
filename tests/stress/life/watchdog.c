/* SPDX-License-Identifier: MIT */
/*
 * watchdog.c - find the beat that stands still, and say all there is to say
 *
 * The report takes no lock that the stuck threads may hold: plain writes to standard error, /proc, and signals.
 */
#include "tests/stress/life/watchdog.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/vm/owner.h"
#include "lib/vm/vm.h"
#include "tests/harness.h"

#define BEATS 64u
#define STACK_SIGNAL (SIGRTMIN + 6)
#define STACK_FRAMES 48

static struct {
	_Atomic(struct beat *) beats[BEATS];
	pthread_t thread;
	sem_t stop, shown;
	unsigned patience; /* seconds */
} dog;

void beat_begin(struct beat *beat, const char *name)
{
	struct beat *none = NULL;

	beat->name = name;
	atomic_store(&beat->tid, (pid_t)syscall(SYS_gettid));
	atomic_store(&beat->child, 0);
	beat_step(beat, "begins", NULL);
	for (unsigned i = 0; i < BEATS; i++, none = NULL) {
		if (atomic_compare_exchange_strong(&dog.beats[i], &none, beat))
			return;
	}
	dprintf(STDERR_FILENO, "watchdog: more than %u beats\n", BEATS);
	abort();
}

void beat_end(struct beat *beat)
{
	for (unsigned i = 0; i < BEATS; i++) {
		struct beat *same = beat;

		if (atomic_compare_exchange_strong(&dog.beats[i], &same, NULL))
			return;
	}
}

static void show_stack(int signal)
{
	void *frames[STACK_FRAMES];
	int saved = errno;

	(void)signal;
	dprintf(STDERR_FILENO, "-- stack of thread %d of process %d:\n", (int)syscall(SYS_gettid), (int)getpid());
	backtrace_symbols_fd(frames, backtrace(frames, STACK_FRAMES), STDERR_FILENO);
	sem_post(&dog.shown);
	errno = saved;
}

/* One line of a file under /proc/PID/task/TID, or why there is none. */
static void show_proc(pid_t pid, pid_t tid, const char *file)
{
	char path[96], text[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		n = snprintf(text, sizeof(text), "%s", strerror(errno));
	if (fd >= 0)
		close(fd);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	dprintf(STDERR_FILENO, "   %s: %s\n", file, text);
}

/*
 * Without a reference, and without waiting for a gate as hmm__region_get() does: nothing moves any more, and the process is
 * about to be aborted.
 */
static const struct hmm_region *region_at(uintptr_t address)
{
	for (const struct hmm_space *s = hmm__spaces; s; s = s->next) {
		for (const struct hmm_region *r = s->regions; r; r = r->next) {
			if (address - (uintptr_t)r->base < r->npages << r->shift)
				return r;
		}
	}
	return NULL;
}

static void show_spaces(void)
{
	for (const struct hmm_space *s = hmm__spaces; s; s = s->next)
		dprintf(STDERR_FILENO, "-- space %p: gate %s, %u calls inside, %llu of %llu frames held, lock %s\n", (const void *)s,
		        atomic_load(&s->gate) ? "closed (somebody forks)" : "open", (unsigned)atomic_load(&s->inside),
		        (unsigned long long)s->held, (unsigned long long)s->frames, atomic_load(&s->lock.word) ? "taken" : "free");
}

static void show_page(const void *address)
{
	static const char *const states[] = { "ABSENT", "LOADING", "MAPPED", "EVICTING", "LAUNDRY", "AVAILABLE", "6", "7" };
	const struct hmm_region *region = region_at((uintptr_t)address);
	uint64_t page, w;

	if (!region) {
		dprintf(STDERR_FILENO, "   address %p: of no region\n", address);
		return;
	}
	page = ((uintptr_t)address - (uintptr_t)region->base) >> region->shift;
	w = atomic_load(&region->words[page]);
	dprintf(STDERR_FILENO, "   address %p: page %llu, %s, word %#llx, %u pins%s%s%s%s%s, owner %s\n", address,
	        (unsigned long long)page, states[hmm__word_state(w)], (unsigned long long)w, hmm__word_pins(w),
	        w & HMM__WAITERS ? ", somebody waits" : "", w & HMM__DIRTY ? ", dirty" : "",
	        w & HMM__WRITEBACK ? ", being written" : "", w & HMM__POISONED ? ", poisoned" : "",
	        w & HMM__FREE ? ", free" : "", hmm__owner_text(&region->words[page], w));
}

static void show_beat(const struct beat *beat)
{
	const void *address = atomic_load(&beat->address);

	dprintf(STDERR_FILENO, "-- %s: thread %d, %llu steps, %s\n", beat->name, (int)beat->tid,
	        (unsigned long long)atomic_load(&beat->steps), atomic_load(&beat->doing));
	if (address)
		show_page(address);
}

/* Threads that block the signal, as those of the library do, show what they wait for in the kernel. */
static void show_threads(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);
		struct timespec until;

		if (tid <= 0 || (pid == getpid() && tid == (pid_t)syscall(SYS_gettid)))
			continue;
		dprintf(STDERR_FILENO, "-- thread %d of process %d\n", (int)tid, (int)pid);
		show_proc(pid, tid, "comm");
		show_proc(pid, tid, "wchan");
		show_proc(pid, tid, "syscall");
		if (syscall(SYS_tgkill, pid, tid, STACK_SIGNAL) < 0)
			continue;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		sem_timedwait(&dog.shown, &until); /* a child's post is not ours: then it is the second that gives it time */
	}
	if (dir)
		closedir(dir);
}

static void report(const struct beat *still)
{
	dprintf(STDERR_FILENO, "watchdog: %s stands still for %u seconds: %s\n", still->name, dog.patience,
	        atomic_load(&still->doing));
	for (unsigned i = 0; i < BEATS; i++) {
		const struct beat *beat = atomic_load(&dog.beats[i]);

		if (beat)
			show_beat(beat);
	}
	show_spaces();
	show_threads(getpid());
	if (atomic_load(&still->child))
		show_threads(atomic_load(&still->child));
}

static void *watch(void *arg)
{
	struct {
		const struct beat *beat;
		uint64_t steps;
		unsigned still; /* seconds */
	} seen[BEATS] = { 0 };
	struct timespec until;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &until);
	do {
		for (unsigned i = 0; i < BEATS; i++) {
			struct beat *beat = atomic_load(&dog.beats[i]);
			uint64_t steps = beat ? atomic_load(&beat->steps) : 0;

			seen[i].still = beat && beat == seen[i].beat && steps == seen[i].steps ? seen[i].still + 1 : 0;
			seen[i].beat = beat;
			seen[i].steps = steps;
			if (seen[i].still > dog.patience) {
				report(beat);
				abort();
			}
		}
		until.tv_sec++;
	} while (sem_timedwait(&dog.stop, &until) < 0);
	return NULL;
}

void watchdog_start(unsigned patience)
{
	struct sigaction action = { .sa_handler = show_stack, .sa_flags = SA_RESTART };
	void *frame;
	sigset_t all, mask;

	dog.patience = test_patience(patience);
	backtrace(&frame, 1); /* loads what it needs now, not in a handler */
	sigfillset(&action.sa_mask);
	sigaction(STACK_SIGNAL, &action, NULL);
	sem_init(&dog.stop, 0, 0);
	sem_init(&dog.shown, 0, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	ck_assert_int_eq(pthread_create(&dog.thread, NULL, watch, NULL), 0);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

void watchdog_stop(void)
{
	sem_post(&dog.stop);
	pthread_join(dog.thread, NULL);
}
