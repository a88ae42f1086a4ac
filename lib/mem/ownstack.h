/* SPDX-License-Identifier: MIT */
/*
 * ownstack.h - stacks of the library's own, for handlers on a small alternate stack
 */
#ifndef HMM_MEM_OWNSTACK_H
#define HMM_MEM_OWNSTACK_H

#include <stdbool.h>
#include <ucontext.h>

/* Before the first fault; not in reach of a second thread.  -ENOMEM. */
int hmm__ownstack_prepare(void);
/* -ENOBUFS: the calling thread's alternate stack is too small for the kernel's frame and the handler. */
int hmm__ownstack_check(void);
/* In a forked child: those that used the others' are not here. */
void hmm__ownstack_forked(void);

/* In a handler with this context: does too little of the stack remain to resolve a fault on it? */
bool hmm__ownstack_needed(const ucontext_t *uc);
/* Call function(arg) on a stack of ours, which is waited for if need be. */
void hmm__ownstack_run(void (*function)(void *arg), void *arg);

#endif
