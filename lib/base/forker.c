/* SPDX-License-Identifier: MIT */
/*
 * forker.c - who forks, and who works for it
 */
#include "lib/base/forker.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic uint32_t forker; /* thread number, or 0 */
static _Thread_local enum { OTHER, FORKER, ITS_PAGER } self;

void hmm__forker_begin(void)
{
	self = FORKER;
	atomic_store(&forker, (uint32_t)syscall(SYS_gettid));
}

void hmm__forker_end(void)
{
	atomic_store(&forker, 0);
	self = OTHER;
}

bool hmm__for_forker(void)
{
	return self != OTHER;
}

bool hmm__forker_is(uint32_t tid)
{
	return tid && atomic_load(&forker) == tid;
}

void hmm__forker_serve(bool on)
{
	self = on ? ITS_PAGER : OTHER;
}

bool hmm__serves_forker(void)
{
	return self == ITS_PAGER;
}
