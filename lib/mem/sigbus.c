/* SPDX-License-Identifier: MIT */
/*
 * sigbus.c - the handler of SIGBUS: faults under inline delivery, and what is not ours
 *
 * F1  The handler runs with all signals blocked and cancellation off, and leaves errno alone.
 * F2  A SIGBUS that no instance knows, or that could not be resolved, is dealt with as the kernel would have done had the
 *     program's own action still been there.
 * F3  The table of inline instances is read without a lock and without a count of its readers (two contended
 *     cache lines a fault less).  So a callback may be called a moment after its instance was closed; backend.h tells it so.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <hurd-mm/region.h>

#include "lib/base/util.h"
#include "lib/mem/local.h"
#include "lib/mem/ownstack.h"
#include "lib/sys/sys.h"

#define MAX_INLINE 64

typedef int fault_function(void *arg, uintptr_t address, enum hmm_fault_access access);

struct inline_entry {
	_Atomic(fault_function *) fault; /* NULL: free */
	void *arg;
};

static struct inline_entry inline_table[MAX_INLINE];
static struct hmm__lock inline_lock = HMM__LOCK_INIT(HMM__RANK_BACKEND);
static struct sigaction previous;
static _Atomic bool previous_spent; /* SA_RESETHAND: it has been called */
static _Atomic bool installed;

static enum hmm_fault_access access_of(const ucontext_t *context)
{
#if defined(__x86_64__)
	return context->uc_mcontext.gregs[REG_ERR] & 2 ? HMM_FAULT_WRITE : HMM_FAULT_READ;
#elif defined(__aarch64__)
	/* the ESR record of the signal frame; bit 6 of a data abort's syndrome is WnR */
	const struct _aarch64_ctx *head = (const void *)context->uc_mcontext.__reserved;

	for (; head->magic && head->size; head = (const void *)((const char *)head + head->size)) {
		if (head->magic == ESR_MAGIC)
			return ((const struct esr_context *)head)->esr & 64 ? HMM_FAULT_WRITE : HMM_FAULT_READ;
	}
	return HMM_FAULT_UNKNOWN;
#else
	(void)context;
	return HMM_FAULT_UNKNOWN;
#endif
}

/* Ask every inline instance; -ENOENT if it is none's. */
static int dispatch(uintptr_t address, enum hmm_fault_access access)
{
	int r = -ENOENT;

	for (unsigned i = 0; i < MAX_INLINE && r == -ENOENT; i++) {
		fault_function *fault = atomic_load(&inline_table[i].fault);

		if (fault)
			r = fault(inline_table[i].arg, address, access);
	}
	/* moved there, and not settled yet (local_moved.c, V3): the access is tried again */
	if (HMM__UNLIKELY(r == -ENOENT && atomic_load(&hmm__local_events))) {
		sched_yield();
		return 0;
	}
	return r;
}

struct question {
	const siginfo_t *si;
	const ucontext_t *uc;
	int answer;
};

static void ask(void *arg)
{
	struct question *q = arg;

	q->answer = dispatch((uintptr_t)q->si->si_addr, access_of(q->uc));
}

static int resolve(const siginfo_t *si, const ucontext_t *uc)
{
	struct question q = { .si = si, .uc = uc };

	if (HMM__UNLIKELY(hmm__ownstack_needed(uc)))
		hmm__ownstack_run(ask, &q);
	else
		ask(&q);
	return q.answer;
}

int hmm_fault_signal(int signal, void *info, void *context)
{
	const siginfo_t *si = info;
	int saved = errno, r;
	sigset_t mask;

	if (signal != SIGBUS || si->si_code != BUS_ADRERR)
		return 0;
	hmm__signals_block(&mask);
	r = resolve(si, context);
	hmm__signals_restore(&mask);
	errno = saved;
	return r == 0;
}

/*
 * Did a handler of the program's call us, one that was installed later?  Then signals may have been open, and it goes on
 * after we return.  The kernel would have blocked what is in sa_mask; SIGUSR1 stands for all of them.
 */
static bool called_by_handler(const sigset_t *before)
{
	const uint64_t some = UINT64_C(1) << (SIGBUS - 1) | UINT64_C(1) << (SIGUSR1 - 1) | UINT64_C(1) << (SIGALRM - 1);
	uint64_t mask;

	memcpy(&mask, before, sizeof(mask)); /* no call of the C library: to find it the first time takes much stack */
	return (mask & some) != some;
}

/* --- what is not ours (F2) --- */

/*
 * By kill(2) and the like, or by the kernel to say that some memory of the process has gone bad, which nobody has touched:
 * such a signal may be ignored.  All others come from an instruction, which would only meet it again.
 */
static bool was_sent(const siginfo_t *si)
{
	return si->si_code <= 0 || si->si_code == BUS_MCEERR_AO;
}

/*
 * The same signal once more, without a handler.  It is blocked here, so it is taken where we return to, and a core shows
 * that place.  A process that is the first of its namespace does not die of a signal that was sent.
 */
static void take_default(siginfo_t *si)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	pid_t tid = (pid_t)syscall(SYS_gettid);

	if (was_sent(si) && getpid() == 1)
		return;
	hmm__sys_sigaction(SIGBUS, &dfl, NULL);
	if (hmm__sys_tgsigqueue(tid, SIGBUS, si))
		syscall(SYS_tgkill, getpid(), tid, SIGBUS);
}

static bool is_function(const struct sigaction *action)
{
	return action->sa_flags & SA_SIGINFO || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static void mask_as_of(const struct sigaction *action, const ucontext_t *uc)
{
	sigset_t mask = action->sa_mask;

	if (!(action->sa_flags & SA_NODEFER))
		sigaddset(&mask, SIGBUS);
	hmm__signals_set(&uc->uc_sigmask, &mask);
}

/* As the kernel would have done, had we never come.  direct: it is the kernel that called us. */
__attribute__((noinline)) static void pass_on(int signal, siginfo_t *si, void *context, bool direct)
{
	if (!is_function(&previous)) {
		if (previous.sa_handler == SIG_DFL || !was_sent(si))
			take_default(si);
		return;
	}
	if (previous.sa_flags & SA_RESETHAND && atomic_exchange(&previous_spent, true)) {
		take_default(si);
		return;
	}
	if (direct)
		mask_as_of(&previous, context);
	if (previous.sa_flags & SA_SIGINFO)
		previous.sa_sigaction(signal, si, context);
	else
		previous.sa_handler(signal);
}

/* --- ours --- */

/*
 * The C library keeps two signals out of sa_mask, one of which ends a thread that is cancelled asynchronously.  Until they
 * are blocked, too, nothing has begun.
 */
static void on_sigbus(int signal, siginfo_t *si, void *context)
{
	const ucontext_t *uc = context;
	int saved = errno, r = -ENOENT;
	sigset_t mask;
	bool direct;

	hmm__signals_block(&mask);
	direct = !called_by_handler(&mask);
	if (si->si_code == BUS_ADRERR)
		r = resolve(si, uc);
	if (direct)
		hmm__signals_return(&mask, &uc->uc_sigmask);
	else
		hmm__signals_restore(&mask);
	errno = saved;
	if (r)
		pass_on(signal, si, context, direct);
}

/*
 * System calls go on after a signal that was sent, where they did before.  (Those that never do, like poll(2), now end with
 * EINTR also where the program ignores the signal.)
 */
static int restart_flag(const struct sigaction *before)
{
	return is_function(before) ? before->sa_flags & SA_RESTART : SA_RESTART;
}

static int install_handler(void)
{
	struct sigaction act = { .sa_sigaction = on_sigbus };
	int r;

	if (atomic_load(&installed))
		return 0;
	r = hmm__sys_sigaction(SIGBUS, NULL, &previous); /* before the first signal asks for it */
	if (r)
		return r;
	sigfillset(&act.sa_mask);
	act.sa_flags = SA_SIGINFO | SA_ONSTACK | restart_flag(&previous);
	r = hmm__sys_sigaction(SIGBUS, &act, NULL);
	if (!r)
		atomic_store(&installed, true);
	return r;
}

int hmm__sigbus_publish(fault_function *fault, void *arg)
{
	int r;

	hmm__lock(&inline_lock);
	r = hmm__ownstack_prepare();
	if (!r)
		r = install_handler();
	if (!r) {
		r = -EMFILE;
		for (unsigned i = 0; i < MAX_INLINE; i++) {
			if (atomic_load(&inline_table[i].fault) && inline_table[i].arg != arg) /* a child has its parent's entry */
				continue;
			inline_table[i].arg = arg;
			atomic_store(&inline_table[i].fault, fault);
			r = 0;
			break;
		}
	}
	hmm__unlock(&inline_lock);
	return r;
}

void hmm__sigbus_unpublish(void *arg)
{
	hmm__lock(&inline_lock);
	for (unsigned i = 0; i < MAX_INLINE; i++) {
		if (atomic_load(&inline_table[i].fault) && inline_table[i].arg == arg)
			atomic_store(&inline_table[i].fault, NULL);
	}
	hmm__unlock(&inline_lock);
}
