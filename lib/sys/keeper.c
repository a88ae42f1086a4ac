/* SPDX-License-Identifier: MIT */
/*
 * keeper.c - a thread with a descriptor table of its own, which holds copies of the library's descriptors
 *
 * A userfaultfd whose last descriptor is closed gives up its ranges, and absent pages read zeros from then on.  A thread
 * whose table is not the program's holds another descriptor of it, which no close(2), dup2(2) or close_range(2) of the
 * program can reach.  The rest goes to it as well, so that everything can be recovered.
 *
 * K1  The keeper leaves the program's table before it holds anything, with CLOSE_RANGE_UNSHARE (Linux 5.9): it never
 *     holds a file of the program.
 * K2  It does nothing but sleep and answer one request at a time; the lock is held by who asks.
 * K3  A request is answered before its caller goes on: what was dropped is closed.
 * K4  A forked child has no keeper, and may have been forked while the lock was held.  So everything looks first whose
 *     process the keeper is of; the child's first addition starts anew, and what the parent's holds is unknown to it.  Its
 *     process: by number, which a child of vfork(2) does not share, and by a mark in memory that a fork wipes, for the first
 *     process of each PID namespace has the same number.
 * K5  To take something out (pidfd_getfd on a thread, Linux 6.9) asks nothing of the thread, and takes no lock.
 */
#include "lib/sys/keeper.h"

#include <limits.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <hurd-mm/base.h>

#include "lib/base/futex.h"
#include "lib/base/lock.h"
#include "lib/sys/fd.h"
#include "lib/sys/inject.h"
#include "lib/sys/sys.h"

enum request { KEEPER_ADD, KEEPER_DROP, KEEPER_END };

static struct {
	struct hmm__lock lock;
	_Atomic pid_t process;   /* whose it is; negative while that one begins */
	_Atomic(_Atomic uint32_t *) mark; /* 1 in that process, 0 in its children; NULL: can't be had */
	_Atomic uint32_t number; /* counts keepers, also over forks: names this one; 0 before the first */
	_Atomic pid_t tid;       /* 0: there is none */
	_Atomic int counted;     /* for hmm__fd_threads() */
	pthread_t thread;        /* (l) */
	unsigned held;           /* (l) */

	/* the request, written under the lock before asked goes up, and answered when answered has come up to it */
	_Atomic uint32_t asked, answered;
	enum request request;
	pid_t from;
	const int *numbers;
	struct hmm__kept *kept;
	unsigned n;
} keeper = { .lock = HMM__LOCK_INIT(HMM__RANK_KEEPER) };

/* --- the thread --- */

static int open_table_of(pid_t tid)
{
	int pidfd = (int)HMM__SYS_CALL(HMM__SYS_PIDFD_OPEN, syscall(SYS_pidfd_open, tid, PIDFD_THREAD));

	if (pidfd == -EINVAL || pidfd == -ENOENT) /* before 6.9: the table of the process's first thread */
		pidfd = (int)HMM__SYS_CALL(HMM__SYS_PIDFD_OPEN, syscall(SYS_pidfd_open, getpid(), 0));
	return pidfd;
}

static int get(int pidfd, int number)
{
	return (int)HMM__SYS_CALL(HMM__SYS_PIDFD_GETFD, syscall(SYS_pidfd_getfd, pidfd, number, 0));
}

static void add(void)
{
	int pidfd = open_table_of(keeper.from);

	for (unsigned i = 0; i < keeper.n; i++) {
		int number = pidfd < 0 || keeper.numbers[i] < 0 ? -EBADF : get(pidfd, keeper.numbers[i]);

		keeper.kept[i].in = number < 0 ? 0 : atomic_load(&keeper.number);
		keeper.kept[i].number = number;
	}
	if (pidfd >= 0)
		syscall(SYS_close, pidfd);
}

static void drop(void)
{
	for (unsigned i = 0; i < keeper.n; i++) {
		if (keeper.kept[i].in)
			syscall(SYS_close, keeper.kept[i].number);
	}
}

static void answer(uint32_t sequence)
{
	atomic_store(&keeper.answered, sequence);
	hmm__futex_wake(&keeper.answered, 1);
}

static void *keep(void *arg)
{
	uint32_t sequence = atomic_load(&keeper.answered);
	bool apart = !HMM__SYS_CALL(HMM__SYS_CLOSE_RANGE, syscall(SYS_close_range, 0u, UINT_MAX, CLOSE_RANGE_UNSHARE));

	atomic_fetch_add(&keeper.counted, 1);
	if (apart)
		atomic_store(&keeper.tid, (pid_t)syscall(SYS_gettid));
	for (answer(++sequence); apart; answer(++sequence)) {
		while (atomic_load(&keeper.asked) == sequence)
			hmm__futex_wait(&keeper.asked, sequence, UINT64_MAX);
		if (keeper.request == KEEPER_END)
			break;
		if (keeper.request == KEEPER_ADD)
			add();
		else
			drop();
	}
	atomic_store(&keeper.tid, 0);
	atomic_fetch_sub(&keeper.counted, 1);
	return arg;
}

/* --- who asks --- */

static bool is_ours(void)
{
	_Atomic uint32_t *mark = atomic_load(&keeper.mark);

	return atomic_load(&keeper.process) == getpid() && (!mark || atomic_load(mark));
}

/* Under the lock: until what was asked is answered. */
static void wait_for_answer(void)
{
	uint32_t asked = atomic_load(&keeper.asked), answered;

	while ((answered = atomic_load(&keeper.answered)) != asked)
		hmm__futex_wait(&keeper.answered, answered, UINT64_MAX);
}

static void post(enum request request, const int *numbers, struct hmm__kept *kept, unsigned n)
{
	keeper.request = request;
	keeper.from = (pid_t)syscall(SYS_gettid);
	keeper.numbers = numbers;
	keeper.kept = kept;
	keeper.n = n;
	atomic_fetch_add(&keeper.asked, 1);
	hmm__futex_wake(&keeper.asked, 1);
}

/* Under the lock.  False where the system does not let us. */
static bool start(void)
{
	if (atomic_load(&keeper.tid))
		return true;
	if (atomic_fetch_add(&keeper.number, 1) == UINT32_MAX)
		atomic_fetch_add(&keeper.number, 1);
	atomic_fetch_add(&keeper.asked, 1); /* its first answer says that it is apart, or is not */
	if (hmm__sys_thread_create(&keeper.thread, "hmm-keeper", keep, NULL)) {
		atomic_fetch_sub(&keeper.asked, 1);
		return false;
	}
	wait_for_answer();
	if (atomic_load(&keeper.tid))
		return true;
	pthread_join(keeper.thread, NULL);
	return false;
}

/* Under the lock. */
static void end_if_idle(void)
{
	if (keeper.held || !atomic_load(&keeper.tid))
		return;
	post(KEEPER_END, NULL, NULL, 0);
	pthread_join(keeper.thread, NULL);
	atomic_store(&keeper.answered, atomic_load(&keeper.asked));
}

static _Atomic uint32_t *make_mark(void)
{
	void *page;

	if (hmm__sys_mmap(NULL, hmm_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &page))
		return NULL;
	if (!hmm__sys_madvise(page, hmm_page_size(), MADV_WIPEONFORK))
		return page;
	hmm__sys_munmap(page, hmm_page_size());
	return NULL;
}

/* Nobody else looks at anything before the process is published. */
static void renew(bool forked)
{
	_Atomic uint32_t *mark = atomic_load(&keeper.mark);

	if (forked) {
		hmm__lock_init(&keeper.lock, HMM__RANK_KEEPER);
		hmm__fd_forked();
		atomic_store(&keeper.tid, 0);
		atomic_store(&keeper.counted, 0);
		atomic_store(&keeper.answered, atomic_load(&keeper.asked));
		keeper.held = 0;
	}
	if (!mark)
		atomic_store(&keeper.mark, mark = make_mark());
	if (mark)
		atomic_store(mark, 1);
}

/* A forked child, or the first time (K4). */
static void begin_anew(void)
{
	pid_t self = getpid();

	while (!is_ours()) {
		pid_t process = atomic_load(&keeper.process);

		if (process == -self) { /* another thread is at it */
			sched_yield();
			continue;
		}
		if (!atomic_compare_exchange_strong(&keeper.process, &process, -self))
			continue;
		renew(process != 0);
		atomic_store(&keeper.process, self);
	}
}

void hmm__keeper_add(const int *numbers, struct hmm__kept *ret_kept, unsigned n)
{
	sigset_t saved;

	hmm__signals_block(&saved);
	begin_anew();
	hmm__lock(&keeper.lock);
	if (start()) {
		post(KEEPER_ADD, numbers, ret_kept, n);
		wait_for_answer();
		for (unsigned i = 0; i < n; i++)
			keeper.held += ret_kept[i].in != 0;
		end_if_idle();
	}
	hmm__unlock(&keeper.lock);
	hmm__signals_restore(&saved);
}

void hmm__keeper_drop(struct hmm__kept *kept, unsigned n)
{
	unsigned ours = 0;
	sigset_t saved;

	for (unsigned i = 0; i < n; i++) {
		if (kept[i].in != atomic_load(&keeper.number))
			kept[i].in = 0;
		ours += kept[i].in != 0;
	}
	if (!ours || !is_ours())
		return;
	hmm__signals_block(&saved);
	hmm__lock(&keeper.lock);
	post(KEEPER_DROP, NULL, kept, n);
	wait_for_answer();
	keeper.held -= ours;
	end_if_idle();
	hmm__unlock(&keeper.lock);
	hmm__signals_restore(&saved);
}

bool hmm__keeper_has(const struct hmm__kept *kept)
{
	return kept->in && kept->in == atomic_load(&keeper.number) && atomic_load(&keeper.tid) && is_ours();
}

int hmm__keeper_take(const struct hmm__kept *kept)
{
	pid_t tid = atomic_load(&keeper.tid);
	int pidfd, number;

	if (!hmm__keeper_has(kept))
		return -EBADF;
	pidfd = (int)HMM__SYS_CALL(HMM__SYS_PIDFD_OPEN, syscall(SYS_pidfd_open, tid, PIDFD_THREAD));
	if (pidfd < 0)
		return pidfd;
	number = get(pidfd, kept->number);
	syscall(SYS_close, pidfd);
	return number;
}

int hmm__fd_threads(void)
{
	return atomic_load(&keeper.counted);
}
