/* SPDX-License-Identifier: MIT */
/*
 * owner.c - who owns which page: a note for each transition, in builds with run-time checks
 */
#include "lib/vm/owner.h"

#include <stdio.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "lib/vm/page.h"

#ifdef HMM_DEBUG

#define NOTES 4096u

/* Both halves of a note are written by the page's owner; of two that share one, either stays. */
static struct {
	_Atomic uintptr_t word;
	_Atomic pid_t tid;
} notes[NOTES];

static unsigned place_of(const _Atomic uint64_t *word)
{
	return (unsigned)((uintptr_t)word / sizeof(*word)) % NOTES;
}

void hmm__owner_note(const _Atomic uint64_t *word)
{
	unsigned i = place_of(word);

	atomic_store_explicit(&notes[i].word, (uintptr_t)word, memory_order_relaxed);
	atomic_store_explicit(&notes[i].tid, (pid_t)syscall(SYS_gettid), memory_order_relaxed);
}

static pid_t noted(const _Atomic uint64_t *word)
{
	unsigned i = place_of(word);

	return notes[i].word == (uintptr_t)word ? notes[i].tid : 0;
}

#else

static pid_t noted(const _Atomic uint64_t *word)
{
	(void)word;
	return 0;
}

#endif

const char *hmm__owner_text(const _Atomic uint64_t *word, uint64_t value)
{
	static char text[32];
	pid_t tid;

	if (!hmm__word_busy(value))
		return "nobody";
	tid = noted(word);
	if (!tid)
		return "not known (meson setup -Dchecks=true notes owners)";
	snprintf(text, sizeof(text), "thread %d", (int)tid);
	return text;
}
