/* SPDX-License-Identifier: MIT */
/*
 * wrap_waits.c - condition variables, semaphores, barriers in the heap
 *
 * A thread that waits there sleeps in futex(2), which looks at the word once.  If that fails the C library ends the
 * process.  (A mutex ignores the failure and looks again, so mutexes need nothing.)
 */
#include "wrap.h"

#include <semaphore.h>
#include <time.h>

#define SLEEP(name, parameters, object, ...) \
	NEXT(name) \
	WRAPPER int name parameters \
	{ \
		HOLD(hold); \
		hmm__hold(&hold, (uintptr_t)(object), sizeof(*(object)), HMM__IS_WRITTEN); \
		return REAL(name)(__VA_ARGS__); \
	}

SLEEP(pthread_cond_wait, (pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex), cond, cond, mutex)
SLEEP(pthread_cond_timedwait, (pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
      const struct timespec *restrict until), cond, cond, mutex, until)
SLEEP(pthread_cond_clockwait, (pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, clockid_t clock,
      const struct timespec *restrict until), cond, cond, mutex, clock, until)
SLEEP(sem_wait, (sem_t *semaphore), semaphore, semaphore)
SLEEP(sem_timedwait, (sem_t *restrict semaphore, const struct timespec *restrict until), semaphore, semaphore, until)
SLEEP(pthread_barrier_wait, (pthread_barrier_t *barrier), barrier, barrier)
SLEEP(pthread_rwlock_rdlock, (pthread_rwlock_t *lock), lock, lock)
SLEEP(pthread_rwlock_wrlock, (pthread_rwlock_t *lock), lock, lock)
