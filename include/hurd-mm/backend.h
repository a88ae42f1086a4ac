/* SPDX-License-Identifier: MIT */
/*
 * backend.h - who supplies frames, and how a page gets to its address
 *
 * A backend is the thin adapter to one physmem: the local kernel, a mock, or a server.  The heart of the library
 * decides which page is mapped, unmapped, protected; the backend does it and knows nothing of policies or stores.
 *
 * Words.  A *window* is memory of the backend in which the heart prepares and keeps contents out of the
 * application's reach; it is divided into *slots* of one page size.  A slot is *empty* (no frame behind it) or
 * *populated*.  To *grant* is to move the frame itself between a slot and an address: the side that gives is
 * empty afterwards.  To *copy* leaves the populated slot populated and takes or frees a frame at the address.
 *
 * The heart calls every callback except open and close with all signals blocked, from any thread, from a signal
 * handler too, several at once, and never two at once for the same page or slot.  Callbacks must be
 * async-signal-safe.  No lock of the library is held, except where noted.
 */
#ifndef HURD_MM_BACKEND_H
#define HURD_MM_BACKEND_H

#include <hurd-mm/base.h>

HMM_BEGIN_DECLS

#define HMM_BACKEND_VERSION 1

/* Who resolves a fault.  See hmm_region(3). */
enum hmm_delivery {
	HMM_DELIVERY_THREAD = 0, /* a pager thread: works everywhere, also inside system calls */
	HMM_DELIVERY_INLINE = 1, /* the faulting thread, in a SIGBUS handler: fastest, needs no privilege */
	HMM_DELIVERY_NONE = 2    /* nobody: windows only, for caches; never attached to addresses */
};

enum hmm_backend_flags {
	HMM_BACKEND_INHERIT = 1 << 0, /* a forked child gets a copy of the windows; else they are empty there */
	HMM_BACKEND_LOCK = 1 << 1     /* nobody pages frames of windows and ranges out behind our back; not in a forked child */
};

/* How frames travel between window and application. */
enum hmm_engine {
	HMM_ENGINE_AUTO = 0, /* whichever measured faster for the case */
	HMM_ENGINE_MOVE = 1, /* grant wherever the kernel can */
	HMM_ENGINE_COPY = 2  /* never grant: for kernels without UFFDIO_MOVE (before 6.8), and tests */
};

/* Capabilities of an open backend. */
enum hmm_backend_caps {
	HMM_BACKEND_GRANT = 1 << 0,      /* map and unmap can grant */
	HMM_BACKEND_REFERENCED = 1 << 1, /* harvest reports referenced pages */
	HMM_BACKEND_POISON = 1 << 2,     /* poison works */
	HMM_BACKEND_HELD = 1 << 3,       /* unmap says -EBUSY where the kernel has pinned a frame: with GRANT, or HELD */
	HMM_BACKEND_LOCKED = 1 << 4,     /* HMM_BACKEND_LOCK was asked for, and is kept */
	HMM_BACKEND_BACK = 1 << 5,       /* map knows HMM_MAP_BACK */
	HMM_BACKEND_CLEAN = 1 << 6       /* unmap knows HMM_UNMAP_CLEAN */
};

enum hmm_fault_access {
	HMM_FAULT_READ = 0,
	HMM_FAULT_WRITE = 1,
	HMM_FAULT_UNKNOWN = 2 /* the machine does not tell */
};

/* What the backend calls back.  All may be called from a signal handler (inline) or a pager thread. */
struct hmm_backend_config {
	size_t size;
	uint32_t delivery; /* enum hmm_delivery */
	uint32_t engine;   /* enum hmm_engine */
	uint32_t pagers;   /* thread delivery: pager threads; 0: one */
	uint32_t flags;    /* enum hmm_backend_flags */
	uint64_t capacity; /* frames: the most that will ever be in use at once */
	void *backend_arg; /* as in struct hmm_space_options */
	void *arg;         /* first argument of the callbacks */

	/*
	 * An access trapped.  Resolve it.  Returns 0 (try the access again), -EAGAIN (thread delivery: whoever is busy
	 * with the page will wake the accessor), -ENOENT (not an address of ours), or the -errno that the accessor is
	 * to be told by SIGBUS.  May be called for any address, and a moment after close: look the address up before
	 * touching what arg points to.
	 */
	int (*fault)(void *arg, uintptr_t address, enum hmm_fault_access access);

	/* The application unmapped this range behind our back: it is other people's now, don't touch it. */
	void (*gone)(void *arg, uintptr_t address, size_t length);

	/* The supplier wants frames back (> 0), or offers more (< 0).  Returns at once; frames_return follows. */
	void (*pressure)(void *arg, int64_t frames);
};

enum hmm_map_flags {
	HMM_MAP_GRANT = 1 << 0,   /* move the slot's frame; else copy it */
	HMM_MAP_PROTECT = 1 << 1, /* write-protected: the first write traps */
	HMM_MAP_WAKE = 1 << 2,    /* wake accessors that wait in the kernel */
	HMM_MAP_ZERO = 1 << 3,    /* zero-filled; slot is ignored */
	/*
	 * With GRANT: what a slot has of a page whose other part is at the address, after a transfer that did not get to the page's
	 * end.  Not given up before all is there, or -ENOENT: the range is gone.  The slot is empty after it in any case.  Sent with
	 * HMM_BACKEND_BACK only.
	 */
	HMM_MAP_BACK = 1 << 4
};

struct hmm_map {
	void *address; /* page-aligned, of an attached range */
	void *slot;
	size_t length; /* bytes, multiple of the page size; slot is as long and contiguous */
	uint32_t flags;
	int error;     /* out: 0; -EEXIST: something is mapped there already (done tells how far it got);
	                  -EBUSY: the frame can't be granted now; -ENOENT: range is gone; -ENOMEM */
	size_t done;   /* out: bytes mapped, from the start */
	int dirtied;   /* out: 1 if, with GRANT and PROTECT, they may have been written before the protection held */
};

enum hmm_unmap_flags {
	HMM_UNMAP_GRANT = 1 << 0, /* the frames move to the slot, which is empty */
	HMM_UNMAP_COPY = 1 << 1,  /* contents are copied to the slot, which is populated; then dropped */
	HMM_UNMAP_PEEK = 1 << 2,  /* with COPY: copied, and left mapped */
	HMM_UNMAP_HELD = 1 << 3,  /* with COPY: -EBUSY if the kernel has it pinned, as far as that can be told; sent with HMM_BACKEND_HELD only */
	HMM_UNMAP_CLEAN = 1 << 4  /* protected since it was mapped, for all that the caller knows: -ESTALE, and it stays mapped, if
	                             it is not any more (the kernel has merged it), so that it may have been written */
};

struct hmm_unmap {
	void *address;
	void *slot; /* NULL without GRANT and COPY: contents are dropped */
	size_t length;
	uint32_t flags;
	int error;   /* out: 0; -EBUSY: pinned by the kernel, still mapped; -ENOENT: nothing is mapped there; -ESTALE */
	size_t done; /* out: bytes, from the start */
};

struct hmm_span {
	void *address;
	size_t length;
};

enum hmm_harvest_bits {
	HMM_HARVEST_PRESENT = 1 << 0,
	HMM_HARVEST_WRITABLE = 1 << 1, /* present and not write-protected */
	HMM_HARVEST_REFERENCED = 1 << 2,
	HMM_HARVEST_SWAPPED = 1 << 3   /* with PRESENT: the kernel has swapped it out itself */
};

enum hmm_attach_flags {
	HMM_ATTACH_FIXED = 1 << 0,  /* exactly at the hint; -EEXIST where something is mapped there already */
	HMM_ATTACH_INHERIT = 1 << 1 /* a forked child gets a copy; else the range is absent there */
};

struct hmm_backend_ops {
	size_t size;
	uint32_t version;
	const char *name;

	/* Not async-signal-safe.  *ret_caps: enum hmm_backend_caps.  -ENOTSUP, -EPERM where the delivery can't be had. */
	int (*open)(const struct hmm_backend_config *config, void **ret_backend, uint32_t *ret_caps);
	void (*close)(void *backend);

	/*
	 * In a forked child, before anything else: renew what fork does not inherit.  The windows are empty after it, with
	 * HMM_BACKEND_INHERIT as they were.
	 */
	int (*reopen)(void *backend);

	/*
	 * Frames in bulk: ask the supplier for n more; returns how many it allows (possibly 0).  And give them back: none that is
	 * in use; what could not be emptied goes with close.
	 */
	int64_t (*frames_take)(void *backend, uint64_t n);
	void (*frames_return)(void *backend, uint64_t n);

	/* A window of nslots empty slots of 1 << page_shift bytes; once for each page size, lives until close. */
	int (*window)(void *backend, unsigned page_shift, uint32_t nslots, void **ret_base);
	/* Populate empty slots, and empty populated ones. */
	int (*fill)(void *backend, void *slot, size_t length);
	int (*drop)(void *backend, const struct hmm_span *slots, unsigned n);

	/* A range of addresses whose accesses trap until something is mapped.  prot: PROT_READ, PROT_WRITE. */
	int (*attach)(void *backend, void *hint, size_t length, unsigned page_shift, int prot, unsigned flags,
	              void **ret_base);
	int (*detach)(void *backend, void *base, size_t length);
	int (*protect)(void *backend, void *base, size_t length, int prot);

	/* Pages.  Each entry gets its own error; returns 0 if all are 0, else the first. */
	int (*map)(void *backend, struct hmm_map *maps, unsigned n);
	int (*unmap)(void *backend, struct hmm_unmap *unmaps, unsigned n);

	/* Let the next write trap (on), or not (off: and wake who trapped). */
	int (*write_protect)(void *backend, const struct hmm_span *spans, unsigned n, int on);

	/* What the hardware knows of each page of a range: enum hmm_harvest_bits, and clear the reference bits. */
	int (*harvest)(void *backend, void *base, size_t npages, uint8_t *bits);

	/* Thread delivery: let accessors that wait in the kernel try again.  The range may have been detached by now. */
	int (*wake)(void *backend, void *base, size_t length);

	/* Accesses to these absent pages get SIGBUS (on), or trap again (off).  -ENOTSUP without the capability. */
	int (*poison)(void *backend, void *base, size_t length, int on);

	/*
	 * Optional.  on: a fork is about to come that knows of us, so its child shall get the ranges attached with
	 * HMM_ATTACH_INHERIT.  off: it is over, also where it failed; until the next one children get none of them, for one that
	 * was made without our knowledge would read zeros where nothing is mapped.  Returns 0, or the first error, with as much
	 * done as could be.  Called by the forking thread; reopen does it for the child.
	 */
	int (*inherit)(void *backend, int on);
};

/* The local kernel, by userfaultfd.  backend_arg: NULL. */
HMM_API const struct hmm_backend_ops *hmm_backend_local(void);

/* What the local kernel can do, and what is missing.  Texts are static. */
struct hmm_probe {
	size_t size;
	uint32_t inline_delivery;    /* 1: works; 0: inline_missing says why not */
	uint32_t thread_delivery;
	uint32_t move;               /* UFFDIO_MOVE, kernel 6.8 */
	uint32_t poison;             /* UFFDIO_POISON, kernel 6.6 */
	uint32_t write_protect;      /* UFFDIO_WRITEPROTECT on anonymous memory, kernel 5.7 */
	uint32_t rwp;                /* UFFDIO_REGISTER_MODE_RWP: access tracking */
	uint64_t features;           /* as UFFDIO_API reports them */
	const char *inline_missing;  /* NULL, or what is missing and what to do about it */
	const char *thread_missing;
};
HMM_API HMM_MUST_CHECK int hmm_probe(struct hmm_probe *probe);

HMM_END_DECLS

#endif
