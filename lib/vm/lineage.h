/* SPDX-License-Identifier: MIT */
/*
 * lineage.h - swap contents that a forked child shares with its parent
 *
 * A fork copies nothing of the swap.  Each slot has an *epoch*, the number of forks that had been when it was taken.  A fork
 * freezes all slots that are in use: both sides read them where they are, and write what they change to other slots, the
 * child to those of a store of its own (enum hmm__heritage says which).  So one number names a slot in the same way in
 * parent and child, and its epoch tells in whose store it is.
 *
 * The parent keeps a *lease* for each child: the read end of a pipe whose write end only the child has, and its children.
 * When all have closed it (exit, exec, or nothing left that they need) it hangs up, and the slots are as any others.
 *
 * H1  A slot is frozen as long as there is a lease at least as young as it is.  It is not written, not taken anew and not
 *     discarded until then; if its page goes it is *kept*, on the list of the youngest such lease.
 * H2  A child never writes to, discards, or takes a slot of an ancestor's store.  (Disjoint: nor one that others may take.)
 * H3  An ancestor's lease is held as long as one page of ours is in its store.  (Disjoint: for good, for the part of the free
 *     slots that we were given comes back to the parent with it.)
 * H4  A child that has lost its end of a lease, because the program closed it, reads and writes nothing of the ancestor's store any
 *     more: the parent has taken the slots back.  Its keeper has copies of that end and of the store's descriptors, so
 *     this needs a system that does not let us recover them.
 * H5  A lease whose descriptor is not ours any more, because the program closed it, never ends: slots are lost, no contents.
 *
 * All under the swap lock, but what the fork handlers do while nobody is inside.  Nothing here does I/O; to close a lease
 * takes an answer of the thread that keeps descriptors (lib/sys/keeper.c), which does nothing else.
 */
#ifndef HMM_VM_LINEAGE_H
#define HMM_VM_LINEAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/vm/vm.h"

/*
 * Prepare, all gates closed: freeze what is in use, and what comes to be in use until the two below, for one child.  0, or why
 * the child can't have it.
 */
int hmm__lineage_fork(struct hmm_space *space);
/* In the parent afterwards, also where the fork failed: the lease is the child's alone. */
void hmm__lineage_parent(struct hmm_space *space);
/* In the child.  error: it has no copy.  Returns 0 or why it can't have one. */
int hmm__lineage_child(struct hmm_space *space, int error);
/* In the child, for the pages of a region that it does not have. */
void hmm__lineage_forget(struct hmm_region *region);
void hmm__lineage_fini(struct hmm_space *space);

/* Under the swap lock: these slots were just taken.  False if there is no memory to note it. */
bool hmm__lineage_born(struct hmm_space *space, uint32_t first, uint32_t n);
/* Under the swap lock: see whose leases have ended; true if slots came free. */
bool hmm__lineage_reap(struct hmm_space *space);

/* Under the swap lock, before slots are taken: the same, now and then. */
void hmm__lineage_look(struct hmm_space *space);

enum hmm__farewell {
	HMM__SLOT_OURS,      /* nobody else needs it: it may be discarded and freed */
	HMM__SLOT_KEPT,      /* another does: nothing is to be done */
	HMM__SLOT_INHERITED, /* in an ancestor's store: only its number is free now */
};
/* Under the swap lock: a page gives its slot up.  *ret_store: to be put without the lock, or NULL. */
enum hmm__farewell hmm__lineage_drop(struct hmm_space *space, uint32_t slot, uint32_t n, struct hmm_store **ret_store);
/* Under the swap lock: would a page that gives the slot up leave it to somebody else? */
bool hmm__lineage_frozen(const struct hmm_space *space, uint32_t slot);
/* Under the swap lock: is what a child shares with its ancestors still what it was (H4)?  Else nothing may be written to it. */
bool hmm__lineage_intact(const struct hmm_space *space);
/* Under the swap lock: the store that has it; NULL: an ancestor's that is lost (H4). */
struct hmm_store *hmm__lineage_store(struct hmm_space *space, uint32_t slot);

#endif
