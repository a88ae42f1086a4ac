/* SPDX-License-Identifier: MIT */
/*
 * local_fault.c - pager threads, and events of the address space
 *
 * F4  Some thread always reads a userfaultfd's events: munmap(2) by the application waits for it.
 * F5  A userfaultfd that the program has closed or replaced is recovered, or the process ends: never do absent pages
 *     read zeros, nor is a file of the program's read.
 * F6  The thread that forks is woken last, when nothing is left to be done for its fault (lib/base/forker.h).
 */
#include "lib/mem/local.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/forker.h"
#include "lib/base/futex.h"
#include "lib/base/util.h"
#include "lib/mem/tasks.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define LOOK_MS 1000  /* how often a thread that waits looks whether its userfaultfd is still there */
#define SPIN_NS 20000 /* how long a pager looks for the next fault before it sleeps */

static void handle_pagefault(struct hmm__local *local, const struct uffd_msg *msg)
{
	uintptr_t page = hmm_page_size(), address = (uintptr_t)msg->arg.pagefault.address & ~(page - 1);
	bool write = msg->arg.pagefault.flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
	bool forks = local->features & UFFD_FEATURE_THREAD_ID && hmm__forker_is(msg->arg.pagefault.feat.ptid);
	int r;

	hmm__forker_serve(forks);
	r = local->config.fault(local->config.arg, address, write ? HMM_FAULT_WRITE : HMM_FAULT_READ);
	hmm__forker_serve(false);
	if (forks && (!r || r == -EAGAIN))
		hmm__local_wake(local, (void *)address, page);
	if (!r || r == -EAGAIN)
		return;
	/*
	 * ENOENT: unmapped meanwhile, so let the access find out; or never ours (local_moved.c).  Any other error here means that the page could not
	 * be poisoned (before kernel 6.6): raise the signal that the poison would have raised.
	 */
	if (r != -ENOENT && (local->features & UFFD_FEATURE_THREAD_ID)) {
		siginfo_t si = { .si_signo = SIGBUS, .si_code = BUS_ADRERR, .si_addr = (void *)address };

		hmm__sys_tgsigqueue((pid_t)msg->arg.pagefault.feat.ptid, SIGBUS, &si);
	}
	if (r == -ENOENT)
		hmm__local_nobodys(local, (void *)address);
	hmm__local_wake(local, (void *)address, page);
}

static void unmapped(struct hmm__local *local, uint64_t start, uint64_t length)
{
	hmm__local_forget(local, (void *)(uintptr_t)start, (size_t)length);
	local->config.gone(local->config.arg, (uintptr_t)start, (size_t)length);
}

void hmm__local_handle(struct hmm__local *local, const struct uffd_msg *msg)
{
	switch (msg->event) {
	case UFFD_EVENT_PAGEFAULT:
		handle_pagefault(local, msg);
		break;
	case UFFD_EVENT_UNMAP:
		unmapped(local, msg->arg.remove.start, msg->arg.remove.end - msg->arg.remove.start);
		break;
	case UFFD_EVENT_REMAP:
		hmm__local_moved(local, (void *)(uintptr_t)msg->arg.remap.to, (size_t)msg->arg.remap.len);
		unmapped(local, msg->arg.remap.from, msg->arg.remap.len);
		break;
	default:
		break;
	}
}

/* Read what is there; false if there was nothing. */
static bool drain(struct hmm__local *local)
{
	bool inlined = local->config.delivery == HMM_DELIVERY_INLINE; /* before it is read: V3 in local_moved.c */
	struct uffd_msg msgs[8];
	ssize_t got;

	atomic_fetch_add(&local->readers, 1);
	if (inlined)
		atomic_fetch_add(&hmm__local_events, 1);
	got = hmm__sys_uffd_read(local->uffd, msgs, sizeof(msgs));
	for (ssize_t i = 0; i < got / (ssize_t)sizeof(msgs[0]); i++)
		hmm__local_handle(local, &msgs[i]);
	if (inlined)
		atomic_fetch_sub(&hmm__local_events, 1);
	atomic_fetch_sub(&local->readers, 1);
	return got >= (ssize_t)sizeof(msgs[0]);
}

void hmm__local_serve_others(struct hmm__local *local)
{
	if (!hmm__local_message_waits(local) || !drain(local))
		hmm__sys_poll(NULL, 0, 1);
}

/* A pager that was just busy is likely to be needed again at once: waking it costs more than looking a while. */
static void drain_and_linger(struct hmm__local *local, bool waits, uint64_t linger_ns)
{
	uint64_t until = 0;

	for (;; waits = hmm__local_message_waits(local)) {
		uint64_t now;

		hmm__local_catch_up(local);
		if (waits && drain(local)) {
			until = 0;
			continue;
		}
		now = linger_ns ? hmm__now_ns() : 0;
		if (!until)
			until = now + linger_ns;
		if (now >= until)
			return;
		hmm__cpu_relax();
	}
}

/* The userfaultfd is gone: absent pages read zeros, or their accessors wait for ever.  An end is better than both. */
static void end_process(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t bus;

	hmm__fd_say("hurd-mm: the program has closed the library's userfaultfd: its memory is lost; ending\n");
	hmm__sys_sigaction(SIGBUS, &dfl, NULL);
	syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGBUS);
	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
}

/* Look whether it is still there.  Without a free number it can't be recovered just now, but the keeper has it. */
static void look_after(struct hmm__local *local)
{
	int r;

	do {
		r = hmm__fd_use_exact(local->uffd);
		if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
			hmm__sys_poll(NULL, 0, 10);
		else if (r < 0)
			end_process();
	} while (r < 0 && !atomic_load(&local->stopping));
}

/*
 * True: there is a message.  The numbers are looked up each time.  A userfaultfd says POLLIN and nothing else; nearly
 * every other file says more (or nothing), and is not read from.  While it says nothing we look from time to time.
 */
static bool wait_for_message(struct hmm__local *local)
{
	struct pollfd fds[2] = {
		{ .fd = hmm__fd_number(local->uffd), .events = HMM__MESSAGE_EVENTS },
		{ .fd = hmm__fd_number(local->stop), .events = POLLIN },
	};
	int r = hmm__sys_poll(fds, 2, LOOK_MS);

	if (atomic_load(&local->stopping))
		return false;
	if (r == 0 || (r > 0 && fds[0].revents != POLLIN))
		look_after(local);
	if (r > 0 && fds[1].revents) /* another file's: it would say so for ever */
		(void)!hmm__fd_use_exact(local->stop);
	return r > 0 && fds[0].revents == POLLIN;
}

static void *serve(void *arg)
{
	struct hmm__local *local = arg;
	bool pager = local->config.delivery == HMM_DELIVERY_THREAD;

	hmm__tasks_add(1);
	for (;;) {
		bool waits = wait_for_message(local);

		if (atomic_load(&local->stopping))
			break;
		drain_and_linger(local, waits, pager ? SPIN_NS : 0);
	}
	hmm__tasks_add(-1);
	return NULL;
}

/*
 * Where there is no keeper: a thread that waits for a file holds it, also when the program has closed it, and one that
 * waits for nothing that a userfaultfd has to say is not woken by it.  So the ranges stay registered until the threads
 * above have ended the process.
 */
static void *hold(void *arg)
{
	struct hmm__local *local = arg;
	struct pollfd fds[2] = {
		{ .fd = hmm__fd_number(local->uffd), .events = 0 },
		{ .fd = hmm__fd_number(local->stop), .events = POLLIN },
	};

	hmm__tasks_add(1);
	while (!atomic_load(&local->stopping) && hmm__sys_poll(fds, 2, -1) < 0)
		;
	if (!atomic_load(&local->stopping))
		end_process();
	hmm__tasks_add(-1);
	return NULL;
}

static int start_thread(struct hmm__local *local, const char *name, void *(*run)(void *))
{
	int r = hmm__sys_thread_create(&local->threads[local->nthreads], name, run, local);

	local->nthreads += r == 0;
	return r;
}

int hmm__local_start(struct hmm__local *local, unsigned npagers)
{
	bool pager = local->config.delivery == HMM_DELIVERY_THREAD;
	unsigned want = pager ? HMM__MIN(npagers, (unsigned)HMM__MAX_PAGERS) : 1;
	int r = 0;

	if (local->config.delivery == HMM_DELIVERY_NONE)
		return 0;
	if (!pager)
		r = hmm__sigbus_publish(local->config.fault, local->config.arg);
	while (!r && local->nthreads < want)
		r = start_thread(local, pager ? "hmm-pager" : "hmm-events", serve);
	if (!r && !hmm__fd_is_kept(local->uffd))
		local->holds = !(r = start_thread(local, "hmm-holder", hold));
	if (r)
		hmm__local_stop(local);
	return r;
}

void hmm__local_stop(struct hmm__local *local)
{
	uint64_t one = 1;
	int stop;

	if (local->config.delivery == HMM_DELIVERY_INLINE)
		hmm__sigbus_unpublish(local->config.arg);
	atomic_store(&local->stopping, true);
	/*
	 * It can't fail for good: the counter of an eventfd has room.  If it is lost, the threads look for themselves, only
	 * not at once.
	 */
	stop = local->nthreads ? hmm__fd_use_exact(local->stop) : -EBADF;
	while (stop >= 0 && hmm__sys_write(stop, &one, sizeof(one)) < 0)
		sched_yield();
	if (stop < 0 && local->holds) { /* it waits for nothing else, and must not: it sleeps until the process ends */
		pthread_detach(local->threads[--local->nthreads]);
		local->left = true;
		/* the userfaultfd lives on with it, and nobody reads what munmap(2) has to say */
		for (struct hmm__local_range *w = local->windows; w; w = w->next)
			hmm__sys_uffd_unregister(local->uffd, w->base, w->length);
	}
	local->holds = false;
	while (local->nthreads)
		pthread_join(local->threads[--local->nthreads], NULL);
	atomic_store(&local->stopping, local->left);
}
