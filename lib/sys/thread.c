/* SPDX-License-Identifier: MIT */
/*
 * thread.c - threads, signals and the process itself
 */
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/lock.h"
#include "lib/sys/inject.h"

/* The CPUs that the process was started on: what a thread goes back to.  Set once, at load. */
static cpu_set_t process_cpus;

__attribute__((constructor(101))) static void note_process_cpus(void)
{
	if (sched_getaffinity(0, sizeof(process_cpus), &process_cpus) < 0)
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			CPU_SET(cpu, &process_cpus); /* the kernel leaves out what may not be used */
}

int hmm__sys_pidfd_open(void)
{
	return HMM__SYS_OPENS(HMM__SYS_PIDFD_OPEN, syscall(SYS_pidfd_open, getpid(), 0));
}

int hmm__sys_sigaction(int signal, const struct sigaction *act, struct sigaction *ret_old)
{
	return (int)HMM__SYS_CALL(HMM__SYS_SIGACTION, sigaction(signal, act, ret_old));
}

int hmm__sys_tgsigqueue(pid_t tid, int signal, siginfo_t *info)
{
	return (int)HMM__SYS_CALL(HMM__SYS_TGSIGQUEUE, syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, signal, info));
}

int hmm__sys_thread_create(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg)
{
	int r = hmm__sys_injected(HMM__SYS_THREAD_CREATE), saved = errno;
	pthread_t thread;
	pthread_attr_t attr;
	sigset_t all, saved_mask;

	if (r)
		return r;
	r = -pthread_attr_init(&attr);
	if (r)
		return r;
	/*
	 * Not the caller's mask, which may have all blocked: the attribute leaves out the C library's own signals, and a thread
	 * that blocks those for good would let setuid(2) wait for ever.
	 */
	sigfillset(&all);
	hmm__signals_block(&saved_mask); /* the first pthread_create() of a process opens those two in its caller */
	r = -pthread_attr_setsigmask_np(&attr, &all);
	if (!r)
		r = -pthread_create(&thread, &attr, run, arg);
	hmm__signals_restore(&saved_mask);
	pthread_attr_destroy(&attr);
	if (!r) {
		pthread_setname_np(thread, name); /* for those who look: no harm if it fails */
		*ret_thread = thread;
	}
	errno = saved;
	return r;
}

int hmm__sys_setaffinity(pid_t tid, int cpu)
{
	cpu_set_t cpus;

	if (cpu < 0)
		return (int)HMM__SYS_CALL(HMM__SYS_SETAFFINITY,
		                          sched_setaffinity(tid, sizeof(process_cpus), &process_cpus));
	if (cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	return (int)HMM__SYS_CALL(HMM__SYS_SETAFFINITY, sched_setaffinity(tid, sizeof(cpus), &cpus));
}
