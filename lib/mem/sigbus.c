/* SPDX-License-Identifier: MIT */
/*
 * sigbus.c - the handler of SIGBUS: faults under inline delivery, and what is not ours
 *
 * F1  The handler runs with all signals blocked and cancellation off, and leaves errno alone.
 * F2  A SIGBUS that no instance knows goes to the handler that was there before ours.
 * F3  The table of inline instances is read without a lock and without a count of its readers (two contended
 *     cache lines a fault less).  So a callback may be called a moment after its instance was closed; backend.h tells it so.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <hurd-mm/region.h>

#include "lib/mem/local.h"
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
	return r;
}

int hmm_fault_signal(int signal, void *info, void *context)
{
	const siginfo_t *si = info;
	int saved = errno, r;
	sigset_t mask;

	if (signal != SIGBUS || si->si_code != BUS_ADRERR)
		return 0;
	hmm__signals_block(&mask);
	r = dispatch((uintptr_t)si->si_addr, access_of(context));
	hmm__signals_restore(&mask);
	errno = saved;
	return r == 0;
}

/* As the kernel would have called it: with its own mask, and the default action by way of a second fault. */
static void chain(int signal, siginfo_t *si, void *context)
{
	const ucontext_t *uc = context;
	sigset_t mask = uc->uc_sigmask;

	if (!(previous.sa_flags & SA_SIGINFO) && (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN)) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		hmm__sys_sigaction(SIGBUS, &dfl, NULL);
		if (si->si_code <= 0) /* sent, not raised by an access: there will be no second fault */
			syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGBUS);
		return;
	}
	for (int s = 1; s < NSIG; s++) {
		if (sigismember(&previous.sa_mask, s) == 1)
			sigaddset(&mask, s);
	}
	if (!(previous.sa_flags & SA_NODEFER))
		sigaddset(&mask, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (previous.sa_flags & SA_SIGINFO)
		previous.sa_sigaction(signal, si, context);
	else
		previous.sa_handler(signal);
}

/*
 * Did a handler of the program's call us, one that was installed later?  Then signals may have been open, and it goes on
 * after we return.  The kernel would have blocked what is in sa_mask; SIGUSR1 stands for all of them.
 */
static bool called_by_handler(const sigset_t *before)
{
	return sigismember(before, SIGBUS) != 1 || sigismember(before, SIGUSR1) != 1 || sigismember(before, SIGALRM) != 1;
}

/*
 * The C library keeps two signals out of sa_mask, one of which ends a thread that is cancelled asynchronously.  Until they
 * are blocked, too, nothing has begun.
 */
static int resolve(const siginfo_t *si, const ucontext_t *uc)
{
	sigset_t mask;
	int r;

	hmm__signals_block(&mask);
	r = dispatch((uintptr_t)si->si_addr, access_of(uc));
	if (called_by_handler(&mask))
		hmm__signals_restore(&mask);
	else
		hmm__signals_return(&mask, &uc->uc_sigmask);
	return r;
}

static void on_sigbus(int signal, siginfo_t *si, void *context)
{
	int saved = errno, r = -ENOENT;

	if (si->si_code == BUS_ADRERR)
		r = resolve(si, context);
	errno = saved;
	if (r)
		chain(signal, si, context);
}

static int install_handler(void)
{
	struct sigaction act = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	int r;

	if (atomic_load(&installed))
		return 0;
	sigfillset(&act.sa_mask);
	r = hmm__sys_sigaction(SIGBUS, &act, &previous);
	if (!r)
		atomic_store(&installed, true);
	return r;
}

int hmm__sigbus_publish(fault_function *fault, void *arg)
{
	int r;

	hmm__lock(&inline_lock);
	r = install_handler();
	if (!r) {
		r = -EMFILE;
		for (unsigned i = 0; i < MAX_INLINE; i++) {
			if (atomic_load(&inline_table[i].fault))
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
