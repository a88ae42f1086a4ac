/* SPDX-License-Identifier: MIT */
/*
 * thread.c - threads, signals and the process itself
 */
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/lock.h"
#include "lib/base/util.h"
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

int hmm__sys_sigaltstack(stack_t *ret_now)
{
	return (int)HMM__SYS_CALL(HMM__SYS_SIGALTSTACK, sigaltstack(NULL, ret_now));
}

int hmm__sys_tgsigqueue(pid_t tid, int signal, siginfo_t *info)
{
	return (int)HMM__SYS_CALL(HMM__SYS_TGSIGQUEUE, syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, signal, info));
}

struct start {
	void *(*run)(void *);
	void *arg;
};

/*
 * The creator has all signals blocked, and so has its thread.  But one that blocks the C library's own for good would let
 * setuid(2) wait for ever.
 */
static void *begin(void *given)
{
	struct start start = *(struct start *)given;
	uint64_t own = 0;

	hmm__free(given, sizeof(start));
	for (int s = 32; s < SIGRTMIN; s++)
		own |= UINT64_C(1) << (s - 1);
	syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &own, NULL, sizeof(own));
	return start.run(start.arg);
}

/*
 * In a forked child malloc's lock may still be held, if its fork handlers are younger than ours: so no attributes, for which the
 * C library allocates.  For the thread it has a stack of one of the parent's.
 */
int hmm__sys_thread_create(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg)
{
	int r = hmm__sys_injected(HMM__SYS_THREAD_CREATE), saved = errno;
	struct start *start;
	pthread_t thread;
	sigset_t mask;

	if (r)
		return r;
	start = hmm__alloc(sizeof(*start));
	if (!start)
		return -ENOMEM;
	*start = (struct start){ run, arg };
	hmm__signals_block(&mask); /* also: the first pthread_create() of a process opens those two in its caller */
	r = -pthread_create(&thread, NULL, begin, start);
	hmm__signals_restore(&mask);
	if (!r) {
		pthread_setname_np(thread, name); /* for those who look: no harm if it fails */
		*ret_thread = thread;
	} else {
		hmm__free(start, sizeof(*start));
	}
	errno = saved;
	return r;
}

/* --- what lies at the upper end of a thread's stack --- */

/*
 * The C library puts a thread's descriptor and its thread-local variables there, and in the descriptor are the words that
 * the kernel reads and writes by itself: the thread's id, which it clears at the end (pthread_join(3) waits for that), the
 * head of the list of robust mutexes, the area of restartable sequences.  Where they lie is the C library's affair, so a
 * thread looks.
 */
struct end_of_stack {
	uintptr_t top;
	size_t length;
};

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
extern const ptrdiff_t __rseq_offset __attribute__((weak));

static uintptr_t rseq_area(void)
{
	return &__rseq_offset ? (uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset : UINTPTR_MAX;
}
#else
static uintptr_t rseq_area(void)
{
	return UINTPTR_MAX;
}
#endif

static void *look_at_end(void *arg)
{
	struct end_of_stack *end = arg;
	uintptr_t lowest = (uintptr_t)pthread_self();
	void *head = NULL;
	size_t length;

	lowest = HMM__MIN(lowest, rseq_area());
	if (!syscall(SYS_get_robust_list, 0, &head, &length) && head)
		lowest = HMM__MIN(lowest, (uintptr_t)head);
	end->length = lowest < end->top ? end->top - lowest : 0;
	return NULL;
}

static int look_from_a_thread(struct end_of_stack *end, void *stack, size_t size)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r = -pthread_attr_init(&attr);

	if (r)
		return r;
	r = -pthread_attr_setstack(&attr, stack, size);
	if (!r)
		r = -pthread_create(&thread, &attr, look_at_end, end);
	pthread_attr_destroy(&attr);
	return r ? r : -pthread_join(thread, NULL);
}

int hmm__sys_thread_end(size_t *ret_length)
{
	static _Atomic size_t known;
	size_t size = HMM__ALIGN_UP((size_t)HMM__MAX(sysconf(_SC_THREAD_STACK_MIN), 0) + ((size_t)256 << 10), (size_t)1 << 16);
	int saved = errno, r = 0;
	sigset_t mask;
	void *stack;

	if (!atomic_load(&known)) {
		struct end_of_stack end;

		r = hmm__sys_injected(HMM__SYS_THREAD_CREATE);
		if (!r)
			r = hmm__sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0, &stack);
		if (r)
			return r;
		end = (struct end_of_stack){ .top = (uintptr_t)stack + size };
		hmm__signals_block(&mask);
		r = look_from_a_thread(&end, stack, size);
		hmm__signals_restore(&mask);
		hmm__sys_munmap(stack, size);
		if (!r)
			atomic_store(&known, end.length + 1);
	}
	if (!r)
		*ret_length = atomic_load(&known) - 1;
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
