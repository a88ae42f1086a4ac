/* SPDX-License-Identifier: MIT */
/*
 * owner.h - builds with run-time checks: which thread owns a page that is LOADING or EVICTING (P1)
 *
 * For whoever asks why a page stands still: the watchdog of tests/stress/life, or a debugger.  A table of fixed size whose
 * entries overwrite each other, so now and then the answer is that it is not known.  Other builds note nothing.
 */
#ifndef HMM_VM_OWNER_H
#define HMM_VM_OWNER_H

#include <stdatomic.h>
#include <stdint.h>

#ifdef HMM_DEBUG
void hmm__owner_note(const _Atomic uint64_t *word);
#else
static inline void hmm__owner_note(const _Atomic uint64_t *word)
{
	(void)word;
}
#endif

/* "thread 4711", "nobody", or why it is not known; value: of the word.  A static text: one caller at a time. */
const char *hmm__owner_text(const _Atomic uint64_t *word, uint64_t value);

#endif
