/* SPDX-License-Identifier: MIT */
/*
 * local.h - the local kernel as a backend: what its files share
 *
 * One instance is one userfaultfd with one delivery: a mapping can belong to one userfaultfd only, and
 * UFFDIO_MOVE works only inside one.
 */
#ifndef HMM_MEM_LOCAL_H
#define HMM_MEM_LOCAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <hurd-mm/backend.h>

#include "lib/base/lock.h"
#include "lib/sys/sys.h"

#define HMM__MAX_PAGERS 16
#define HMM__LANES 4
#define HMM__LANE_LENGTH ((size_t)2 << 20) /* the largest page */

struct hmm__local_range {
	struct hmm__local_range *next;
	void *base;
	size_t length;
	unsigned flags;
};

#define HMM__NOTES 64
/* A message of the address space that was read by who could not deal with it. */
struct hmm__local_note {
	_Atomic uint32_t state; /* enum note of local_back.c */
	struct uffd_msg message;
};

struct hmm__local {
	struct hmm_backend_config config;
	int uffd;                 /* this and the next: handles (lib/sys/fd.h) */
	int pidfd;
	int pagemap;              /* -1: can't be had here, see local_look.c */
	int merging;              /* a handle, or -1: local_merge.c */
	int device;               /* /dev/userfaultfd, for a forked child that could not open it any more; or -1 */
	int stop;                 /* eventfd: readable when there is something in stopping */
	uint64_t features;        /* of the userfaultfd, as enabled */
	uint32_t caps;            /* enum hmm_backend_caps */
	bool madvise_self;        /* process_madvise(MADV_DONTNEED) on oneself works (kernel 6.13) */
	_Atomic uint32_t readers; /* threads that have messages in hand */
	_Atomic bool stopping;    /* the threads shall end */
	bool holds;               /* the last of the threads is a holder */
	bool left;                /* a holder that can't be woken was left behind, and has this structure for good */
	unsigned nthreads;
	pthread_t threads[HMM__MAX_PAGERS + 1]; /* one may be a holder */

	char *probe;              /* three slots, the middle one always empty: local_look.c.  NULL: none */
	char *lanes;              /* engine copy, where the kernel could move: local_held.c.  NULL: none */
	_Atomic bool merged;      /* some page may be, or have been: local_merge.c */
	_Atomic uint32_t lane_used[HMM__LANES];
	_Atomic uint32_t lane_full[HMM__LANES]; /* its user's */

	struct hmm__local_note notes[HMM__NOTES]; /* local_back.c */
	_Atomic uint32_t noted;   /* of them, written and not dealt with */

	struct hmm__lock lock;    /* the lists below */
	struct hmm__local_range *ranges;  /* attached */
	struct hmm__local_range *windows;
	struct hmm__local_range *spare[2];
};

/* local.c: wake accessors that wait in the kernel */
int hmm__local_wake(void *backend, void *base, size_t length);
/* local.c: the application unmapped this range itself */
void hmm__local_forget(struct hmm__local *local, void *start, size_t length);

/* sigbus.c: who is asked about a fault under inline delivery.  -EMFILE: too many are */
int hmm__sigbus_publish(int (*fault)(void *arg, uintptr_t address, enum hmm_fault_access access), void *arg);
void hmm__sigbus_unpublish(void *arg);

/* local_fault.c: the threads */
int hmm__local_start(struct hmm__local *local, unsigned npagers);
void hmm__local_stop(struct hmm__local *local);
/* deal with a message.  May wait for pages */
void hmm__local_handle(struct hmm__local *local, const struct uffd_msg *message);

/* local_back.c: HMM_MAP_BACK */
int hmm__local_map_back(struct hmm__local *local, struct hmm_map *map);
/* what a userfaultfd may be asked for, so that no other file is taken for one (wait_for_message) */
#define HMM__MESSAGE_EVENTS (POLLIN | POLLRDNORM | POLLOUT)
bool hmm__local_message_waits(struct hmm__local *local);
/* by a thread that reads messages: deal with those that others have read */
void hmm__local_catch_up(struct hmm__local *local);
void hmm__local_notes_forked(struct hmm__local *local);

/* local_move.c: grant.  How far it got, whatever the kernel says: see there */
enum hmm__direction { HMM__TO_WINDOW, HMM__FROM_WINDOW };
int hmm__local_move(struct hmm__local *local, void *dst, void *src, size_t length, uint64_t mode,
                    enum hmm__direction direction, unsigned pin_patience, size_t *ret_done);

/* has the machine swap, so that pages may be swapped out? */
bool hmm__local_has_swap(void);
/* after moves to the window: the kernel may have left some slots write-protected */
void hmm__local_make_writable(struct hmm__local *local, const struct hmm_unmap *unmaps, unsigned n);

/* local_pages.c: the operations on pages */
/* how often to try again what an unread event stands in the way of */
unsigned hmm__local_patience(const struct hmm__local *local);
/* UFFDIO_WRITEPROTECT of one range, tried again while the address space is changing */
int hmm__local_protect_span(struct hmm__local *local, void *address, size_t length, uint64_t mode);
int hmm__local_map(void *backend, struct hmm_map *maps, unsigned n);
int hmm__local_unmap(void *backend, struct hmm_unmap *unmaps, unsigned n);
void hmm__local_unmap_grant(struct hmm__local *local, struct hmm_unmap *unmap);
int hmm__local_write_protect(void *backend, const struct hmm_span *spans, unsigned n, int on);
int hmm__local_fill(void *backend, void *slot, size_t length);
int hmm__local_drop(void *backend, const struct hmm_span *slots, unsigned n);

/* local_look.c: what is at an address, also where there is no pagemap */
int hmm__local_harvest(void *backend, void *base, size_t npages, uint8_t *bits);
/* Open pagemap, or do without: 0 but for a lack of numbers or memory. */
int hmm__local_open_pagemap(struct hmm__local *local);
/* A window could be made by now; also in a forked child. */
void hmm__local_look_prepare(struct hmm__local *local);

/* local_merge.c: keep a range out of what the kernel merges; does it look at our pages all the same? */
int hmm__local_keep_apart(void *base, size_t length);
int hmm__local_open_merging(struct hmm__local *local); /* 0 but for a lack of numbers or memory */
bool hmm__local_merges(struct hmm__local *local);
/* 0; -ESTALE: a page of it is there and not protected */
int hmm__local_still_clean(struct hmm__local *local, const char *address, size_t length);

/* local.c: a window of its own, as the heart's are */
int hmm__local_window(void *backend, unsigned page_shift, uint32_t nslots, void **ret_base);

/* local_moved.c: the application has moved a range of ours to there */
void hmm__local_moved(struct hmm__local *local, void *to, size_t length);
/* local_fault.c: meanwhile read what there is, or wait a moment */
void hmm__local_serve_others(struct hmm__local *local);
/* thread delivery: a page that traps and is nobody's reads zeros */
void hmm__local_nobodys(struct hmm__local *local, void *page);
/* around the making of a range; and in a forked child */
void hmm__local_moving_begin(void);
void hmm__local_moving_end(void);
void hmm__local_moving_forked(void);
extern _Atomic uint32_t hmm__local_events; /* threads that deal with events of inline instances */

/* local_held.c: copy to the slots what nobody has pinned; contents are gone from their addresses */
void hmm__local_copy_held(struct hmm__local *local, struct hmm_unmap *unmaps, unsigned n);

/*
 * probe.c: a userfaultfd for a delivery, with the features that the kernel has of those we use; or -errno.  device: an open
 * /dev/userfaultfd to make it by where the call is refused; -1: what can be opened now.
 */
int hmm__uffd_open(enum hmm_delivery delivery, int device, uint64_t *ret_features);
int hmm__uffd_device(void); /* a handle, or -errno */

#endif
