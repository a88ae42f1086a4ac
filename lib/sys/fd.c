/* SPDX-License-Identifier: MIT */
/*
 * fd.c - the library's descriptors: where they lie, and whether a number is still ours
 *
 * D1  A handle is the number that a descriptor got at first.  No two live handles are the same, nor share a place in
 *     the table: a number that a program has closed behind our back is not used for another one.
 * D2  A descriptor lies high: from FLOOR on, or above three quarters of RLIMIT_NOFILE where that is less; lower if there
 *     is no room, but never on 0 to 2, which the program takes for its own standard streams.  Numbers go round, so that
 *     one that was closed is not soon used again.  All are close-on-exec.
 * D3  Closing any descriptor of a file takes away the process's record locks on it (POSIX).  So a file of the caller's is
 *     not moved after it was opened, but from 0 to 2; copies get their high number in one step.
 * D4  Before I/O the identity of the file is compared (hmm__fd_use): device, inode, and when it was made, for the number of
 *     an inode that has gone (a swap file, which has no name, goes with its last descriptor) is soon used again; an ioctl of userfaultfd says itself when it is
 *     another's (uffd.c).  What is not ours any more is left alone: not read, not written, not closed.
 * D5  Between the look and the I/O another thread of the program may still close the number and open its own file there.
 */
#include "lib/sys/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/lock.h"
#include "lib/sys/inject.h"
#include "lib/sys/keeper.h"

#define FLOOR 1024u   /* above what select(2) can wait for: programs of few descriptors never come here */
#define PLACES 16384u
#define BATCH 8u

/* Key: (h) the handle's owner  (l) lock, to write */
struct place {
	_Atomic uint32_t taken;  /* handle + 1, or 0 */
	_Atomic int number;      /* (l) where it is now */
	bool callers;            /* (h) D3 */
	struct hmm__file_id id;  /* (h) */
	struct hmm__kept kept;   /* (h) */
};

static struct place places[PLACES];
static _Atomic uint32_t turn;
static struct hmm__lock lock = HMM__LOCK_INIT(HMM__RANK_DESCRIPTOR);
static struct hmm__file_id standard_error;
static _Atomic bool said;

/* --- files --- */

int hmm__sys_file_id(int number, struct hmm__file_id *ret_id)
{
	struct statx stx;
	int r = (int)HMM__SYS_CALL(HMM__SYS_FILE_ID, syscall(SYS_statx, number, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
	                                                     STATX_INO | STATX_BTIME, &stx));

	if (r == -ENOSYS || r == -EPERM) { /* a filter of system calls that does not know it */
		struct stat st;

		r = (int)HMM__SYS_CALL(HMM__SYS_FILE_ID, fstat(number, &st));
		if (!r)
			*ret_id = (struct hmm__file_id){ .dev = st.st_dev, .ino = st.st_ino };
		return r;
	}
	if (r)
		return r;
	ret_id->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	ret_id->ino = stx.stx_ino;
	ret_id->born = 0;
	if (stx.stx_mask & STATX_BTIME)
		ret_id->born = (uint64_t)stx.stx_btime.tv_sec * 1000000000 + stx.stx_btime.tv_nsec;
	return 0;
}

/* Are they one open file?  1, 0, or -errno where the kernel does not tell. */
static int same_file(int a, int b)
{
	int r = (int)HMM__SYS_CALL(HMM__SYS_SAME_FILE, fcntl(a, F_DUPFD_QUERY, b)); /* Linux 6.10 */
	long tid;

	if (r != -EINVAL)
		return r == -EBADF ? 0 : r;
	tid = syscall(SYS_gettid);
	r = (int)HMM__SYS_CALL(HMM__SYS_SAME_FILE, syscall(SYS_kcmp, tid, tid, (long)KCMP_FILE, (long)a, (long)b));
	return r >= 0 ? r == 0 : r == -EBADF ? 0 : r;
}

static int copy_from(int number, unsigned floor)
{
	return (int)HMM__SYS_CALL(HMM__SYS_DUP, fcntl(number, F_DUPFD_CLOEXEC, (int)floor));
}

static void close_number(int number)
{
	int saved = errno;

	syscall(SYS_close, number); /* Linux closes it, whatever is returned */
	errno = saved;
}

/* --- numbers --- */

/* From where on to look for a number, best first. */
struct floors {
	unsigned floor[4];
	unsigned end; /* RLIMIT_NOFILE */
};

static struct floors floors_now(void)
{
	struct rlimit limit = { .rlim_cur = 1024 };
	unsigned end, high, span;
	int saved = errno;

	getrlimit(RLIMIT_NOFILE, &limit);
	errno = saved;
	end = limit.rlim_cur > INT_MAX ? INT_MAX : (unsigned)limit.rlim_cur;
	high = HMM__MIN(end - end / 4, FLOOR);
	span = HMM__MIN(end - high, FLOOR);
	if (span)
		span = atomic_fetch_add(&turn, 1) % span;
	return (struct floors){ { high + span, high, end / 2, 3 }, end };
}

static bool is_free(unsigned number)
{
	return !atomic_load(&places[number % PLACES].taken);
}

static bool claim(unsigned number)
{
	uint32_t none = 0;

	return atomic_compare_exchange_strong(&places[number % PLACES].taken, &none, number + 1);
}

/* A copy at a number whose place was free and is taken now (D1). */
static int copy_from_floor(int number, unsigned floor, unsigned end)
{
	for (; floor < end; floor++) {
		int copy;

		if (!is_free(floor))
			continue;
		copy = copy_from(number, floor);
		if (copy < 0 || claim((unsigned)copy))
			return copy;
		close_number(copy);
		floor = (unsigned)copy;
	}
	return -EMFILE;
}

static int copy_high(int number)
{
	struct floors f = floors_now();
	int r = -EMFILE;

	/* EINVAL: the limit was lowered meanwhile */
	for (unsigned i = 0; i < HMM__ARRAY_SIZE(f.floor) && (r == -EMFILE || r == -EINVAL); i++)
		r = copy_from_floor(number, HMM__MAX(f.floor[i], 3u), f.end);
	return r == -EINVAL ? -EMFILE : r;
}

/* --- the table --- */

static struct place *find(int handle)
{
	struct place *p = &places[(unsigned)handle % PLACES];

	return handle >= 0 && atomic_load_explicit(&p->taken, memory_order_acquire) == (uint32_t)handle + 1 ? p : NULL;
}

/* The number's place is taken already. */
static int enter(int number, bool callers)
{
	struct place *p = &places[(unsigned)number % PLACES];
	int r = hmm__sys_file_id(number, &p->id);

	if (r) {
		close_number(number);
		atomic_store(&p->taken, 0);
		return r;
	}
	p->callers = callers;
	p->kept = (struct hmm__kept){ 0 };
	atomic_store(&p->number, number);
	return number;
}

int hmm__fd_own_copy(int number, bool callers)
{
	int copy = copy_high(number);

	return copy < 0 ? copy : enter(copy, callers);
}

int hmm__fd_own(int number, bool callers)
{
	int high;

	if (number < 0)
		return number;
	if (callers && number > 2 && claim((unsigned)number))
		return enter(number, true);
	high = copy_high(number);
	/* there is no room above, but it may stay where it is */
	if (high < 0 && number > 2 && claim((unsigned)number))
		return enter(number, callers);
	close_number(number);
	return high < 0 ? high : enter(high, callers);
}

int hmm__fd_number(int handle)
{
	struct place *p = find(handle);

	return p ? atomic_load_explicit(&p->number, memory_order_relaxed) : handle;
}

/* --- losing and recovering --- */

/* 0: it is the file, as far as its identity says.  -EBADF: it is not, or nothing. */
static int look(const struct place *p, int number)
{
	struct hmm__file_id id;
	int r = hmm__sys_file_id(number, &id);

	return r ? r : hmm__file_id_equal(&id, &p->id) ? 0 : -EBADF;
}

/* Where what was taken from the keeper shall lie: where it was, if that is free, for threads with other tables. */
static int settle(const struct place *p, int taken, int before)
{
	int number;

	if (p->callers && taken > 2)
		return taken;
	number = copy_from(taken, (unsigned)HMM__MAX(before, 3));
	if (number < 0)
		number = copy_from(taken, 3);
	if (number < 0 && taken > 2)
		return taken;
	close_number(taken);
	return number;
}

/* Under the lock: `before` is suspected.  The number that is good, or -errno. */
static int recover_locked(struct place *p, int before)
{
	int taken, number = atomic_load(&p->number);

	if (number != before)
		return number; /* another thread was first */
	taken = hmm__keeper_take(&p->kept);
	if (taken >= 0 && look(p, taken)) { /* of no keeper of ours */
		close_number(taken);
		taken = -EBADF;
	}
	if (taken < 0)
		return look(p, before) == 0 ? before : taken;
	if (same_file(taken, before) == 1) {
		close_number(taken);
		return before;
	}
	number = settle(p, taken, before);
	if (number >= 0)
		atomic_store(&p->number, number);
	return number;
}

static int recover(struct place *p, int before)
{
	sigset_t saved;
	int r;

	if (!hmm__keeper_has(&p->kept)) /* in a child of vfork(2), too, whose memory is its parent's */
		return (r = look(p, before)) ? r : before;
	hmm__signals_block(&saved);
	hmm__lock(&lock);
	r = recover_locked(p, before);
	hmm__unlock(&lock);
	hmm__signals_restore(&saved);
	return r;
}

/* Shortage passes, and then it is recovered. */
static bool passes(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EINTR || error == -EAGAIN;
}

static int lost(int error)
{
	if (!passes(error) && !atomic_exchange(&said, true))
		hmm__fd_say("hurd-mm: the program has closed or replaced a descriptor of the library, and it can't be "
		            "recovered; accesses to what was behind it will fail\n");
	return error;
}

int hmm__fd_use(int handle)
{
	struct place *p = find(handle);
	int number, r;

	if (!p)
		return handle;
	number = atomic_load(&p->number);
	r = look(p, number);
	if (HMM__LIKELY(!r))
		return number;
	if (r == -EBADF)
		r = recover(p, number);
	return r < 0 ? lost(r) : r;
}

int hmm__fd_use_exact(int handle)
{
	struct place *p = find(handle);
	int r;

	if (!p)
		return handle;
	r = recover(p, atomic_load(&p->number));
	return r < 0 ? lost(r) : r;
}

void hmm__fd_forked(void)
{
	hmm__lock_init(&lock, HMM__RANK_DESCRIPTOR);
}

/* --- keeping and closing --- */

static void keep_some(const int *handles, unsigned n)
{
	struct hmm__kept kept[BATCH] = { 0 };
	int numbers[BATCH];

	for (unsigned i = 0; i < n; i++)
		numbers[i] = find(handles[i]) ? hmm__fd_number(handles[i]) : -1;
	hmm__keeper_add(numbers, kept, n);
	for (unsigned i = 0; i < n; i++) {
		if (numbers[i] >= 0)
			find(handles[i])->kept = kept[i];
	}
}

void hmm__fd_keep(const int *handles, unsigned n)
{
	for (unsigned i = 0; i < n; i += BATCH)
		keep_some(handles + i, HMM__MIN(n - i, BATCH));
}

bool hmm__fd_is_kept(int handle)
{
	struct place *p = find(handle);

	return p && hmm__keeper_has(&p->kept);
}

/* Is the number ours to close?  In doubt about an anonymous inode it is. */
static bool is_ours(const struct place *p, int number)
{
	int taken, same;

	if (look(p, number))
		return false;
	taken = p->callers ? -EBADF : hmm__keeper_take(&p->kept);
	if (taken < 0)
		return true;
	same = same_file(taken, number);
	close_number(taken);
	return same != 0;
}

static void close_some(const int *handles, unsigned n)
{
	struct hmm__kept kept[BATCH] = { 0 };

	for (unsigned i = 0; i < n; i++) {
		struct place *p = find(handles[i]);
		int number = hmm__fd_number(handles[i]);

		if (number >= 0 && (!p || is_ours(p, number)))
			close_number(number);
		if (p)
			kept[i] = p->kept;
	}
	hmm__keeper_drop(kept, n);
	for (unsigned i = 0; i < n; i++) {
		struct place *p = find(handles[i]);

		if (p)
			atomic_store_explicit(&p->taken, 0, memory_order_release);
	}
}

void hmm__fd_close(const int *handles, unsigned n)
{
	for (unsigned i = 0; i < n; i += BATCH)
		close_some(handles + i, HMM__MIN(n - i, BATCH));
}

/* --- stderr --- */

__attribute__((constructor(102))) static void note_standard_error(void)
{
	if (hmm__sys_file_id(STDERR_FILENO, &standard_error))
		standard_error.ino = 0;
}

void hmm__fd_say(const char *line)
{
	struct hmm__file_id now;
	int saved = errno;

	if (standard_error.ino && !hmm__sys_file_id(STDERR_FILENO, &now) && hmm__file_id_equal(&now, &standard_error))
		(void)!syscall(SYS_write, STDERR_FILENO, line, strlen(line));
	errno = saved;
}
