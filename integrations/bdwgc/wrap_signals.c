/* SPDX-License-Identifier: MIT */
/*
 * wrap_signals.c - SIGBUS is never blocked, and hurd-mm hears of it first
 *
 * Under inline delivery a thread that touches a page which is not resident gets SIGBUS; if it has blocked it, the kernel
 * ends the process.  libgc's marker threads and its handler for stopping a thread block nearly all signals, and so do
 * programs that leave signals to one thread.  So SIGBUS is taken out of every mask that is set.  A handler that the
 * program installs for SIGBUS is called for what is not ours.  Under thread delivery all this does no harm, and a program
 * that blocks SIGBUS there finds it blocked.
 */
#include <errno.h>
#include <signal.h>

#include "loans.h"

#define KERNEL_SET 8u /* bytes of a set that the kernel reads */

static bool is_ours(void)
{
	return hmm__heap.is_inline;
}

/* A set that can't be read is the kernel's to refuse. */
const sigset_t *hmm__without_sigbus(const sigset_t *set, sigset_t *room)
{
	if (!set || !is_ours())
		return set;
	sigemptyset(room);
	if (!hmm__peek(room, set, KERNEL_SET))
		return set;
	sigdelset(room, SIGBUS);
	return room;
}

/* For functions of the C library that look at the set themselves. */
static const sigset_t *copy_without_sigbus(const sigset_t *set, sigset_t *room)
{
	if (!set || !is_ours())
		return set;
	*room = *set;
	sigdelset(room, SIGBUS);
	return room;
}

#define MASK(name) \
	NEXT(name) \
	WRAPPER int name(int how, const sigset_t *set, sigset_t *old) \
	{ \
		LOANS(loans); \
		sigset_t room; \
		set = how == SIG_UNBLOCK ? hmm__lend(&loans, LENT(set), sizeof(*set), HMM__READ, 0) : \
		                           copy_without_sigbus(set, &room); \
		old = hmm__lend(&loans, LENT(old), sizeof(*old), HMM__WRITTEN, 0); \
		return REAL(name)(how, set, old); \
	}

MASK(sigprocmask)
MASK(pthread_sigmask)

NEXT(sigsuspend)

WRAPPER int sigsuspend(const sigset_t *set)
{
	sigset_t room;

	return REAL(sigsuspend)(hmm__without_sigbus(set, &room));
}

/* The program's action for SIGBUS, while ours is in place. */
static struct sigaction program;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	if (hmm_fault_signal(signal, info, context))
		return;
	if (program.sa_flags & SA_SIGINFO)
		program.sa_sigaction(signal, info, context);
	else
		program.sa_handler(signal);
}

NEXT(sigaction)

/* hurd-mm's handler passes what is not its own on to the default action by itself. */
static int set_sigbus(const struct sigaction *act, struct sigaction *old)
{
	static struct sigaction first; /* hurd-mm's */
	struct sigaction before = program, ours;
	int r = 0;

	if (!first.sa_sigaction && REAL(sigaction)(SIGBUS, NULL, &first))
		return -1;
	if (act) {
		bool is_function = act->sa_flags & SA_SIGINFO || (act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN);

		ours = first;
		if (is_function) {
			ours = *act;
			ours.sa_flags |= SA_SIGINFO | SA_ONSTACK;
			ours.sa_flags &= ~(int)SA_RESETHAND;
			ours.sa_sigaction = on_sigbus;
			sigdelset(&ours.sa_mask, SIGBUS);
			program = *act;
		}
		r = REAL(sigaction)(SIGBUS, &ours, NULL);
		if (!r)
			program = *act;
	}
	if (!r && old)
		*old = before;
	return r;
}

WRAPPER int sigaction(int signal, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction ours;

	if (!is_ours() || hmm__in_hurd(CALLER))
		return REAL(sigaction)(signal, act, old);
	if (signal == SIGBUS)
		return set_sigbus(act, old);
	if (!act)
		return REAL(sigaction)(signal, act, old);
	ours = *act;
	sigdelset(&ours.sa_mask, SIGBUS);
	return REAL(sigaction)(signal, &ours, old);
}

NEXT(signal)

WRAPPER sighandler_t signal(int number, sighandler_t handler)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;

	if (!is_ours() || number != SIGBUS)
		return REAL(signal)(number, handler);
	sigemptyset(&act.sa_mask);
	return sigaction(number, &act, &old) ? SIG_ERR : old.sa_handler;
}
