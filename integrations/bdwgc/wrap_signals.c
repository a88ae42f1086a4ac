/* SPDX-License-Identifier: MIT */
/*
 * wrap_signals.c - SIGBUS is never blocked, and hurd-mm hears of it first
 *
 * Under inline delivery a thread that touches a page which is not resident gets SIGBUS; if it has blocked it, the kernel
 * ends the process.  libgc's marker threads and its handler for stopping a thread block nearly all signals, and so do
 * programs that leave signals to one thread.  So SIGBUS is taken out of every mask that is set.  A handler that the
 * program installs for SIGBUS is called for what is not ours.
 */
#include <errno.h>
#include <signal.h>

#include "wrap.h"

static bool is_ours(void)
{
	return hmm__heap.region != NULL;
}

static const sigset_t *without_sigbus(const sigset_t *set, sigset_t *room)
{
	if (!set || !is_ours() || sigismember(set, SIGBUS) != 1)
		return set;
	*room = *set;
	sigdelset(room, SIGBUS);
	return room;
}

NEXT(sigprocmask)

WRAPPER int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t room;

	return REAL(sigprocmask)(how, how == SIG_UNBLOCK ? set : without_sigbus(set, &room), old);
}

NEXT(pthread_sigmask)

WRAPPER int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t room;

	return REAL(pthread_sigmask)(how, how == SIG_UNBLOCK ? set : without_sigbus(set, &room), old);
}

NEXT(sigsuspend)

WRAPPER int sigsuspend(const sigset_t *set)
{
	sigset_t room;

	return REAL(sigsuspend)(without_sigbus(set, &room));
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
