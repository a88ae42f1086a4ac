/* SPDX-License-Identifier: MIT */
/*
 * store.h - where contents live while they hold no frame
 *
 * A store is a sparse array of bytes, read and written in whole pages, many pages a call.  The library brings three
 * (file, swap file, memory) and takes any other as a table of callbacks.  A store is reference counted: the creator
 * holds one reference and each region or space that uses it another, so it may be put right after mapping.
 */
#ifndef HURD_MM_STORE_H
#define HURD_MM_STORE_H

#include <hurd-mm/base.h>

HMM_BEGIN_DECLS

/* One piece of a vectored transfer.  Pieces of a call never overlap; the caller passes them sorted by offset. */
struct hmm_store_vec {
	uint64_t offset; /* bytes, multiple of the store's granule */
	void *data;      /* aligned to it */
	size_t length;   /* bytes, multiple of it */
	int error;       /* out: 0, or -errno for this piece */
};

/*
 * A store's callbacks.  Fill in size = sizeof(struct hmm_store_ops) and version = HMM_STORE_VERSION.
 *
 * Every callback may be called from several threads at once, with all signals blocked and, under inline delivery, from
 * within a signal handler on the stack of the faulting thread: it must be async-signal-safe, must not touch memory
 * of any space, must not call into the library, and holds up only the pages it transfers.  No lock of the library
 * is held.
 */
struct hmm_store;
#define HMM_STORE_VERSION 1
struct hmm_store_ops {
	size_t size;
	uint32_t version;
	const char *name;

	/*
	 * Transfer n pieces.  Set error of every piece that fails (it is 0 before the call); return 0 if all
	 * succeeded, else the first error.  If no piece carries an error all share the one returned.  What was
	 * never written reads as zeros.  A read that lies wholly past the end of a store that has an end fails with
	 * -ENXIO (the access gets SIGBUS); one that begins before it fills the rest with zeros.  A write never moves
	 * that end: what lies past it is ignored, as it is of a file that is mapped.  `extend` moves it.
	 */
	int (*read)(void *ctx, struct hmm_store_vec *vec, unsigned n);
	int (*write)(void *ctx, struct hmm_store_vec *vec, unsigned n);

	/* Optional.  Make what was written durable; length 0 means to the end. */
	int (*sync)(void *ctx, uint64_t offset, uint64_t length);

	/* Optional.  The contents are no longer needed; later reads may return them or zeros. */
	int (*discard)(void *ctx, uint64_t offset, uint64_t length);

	/* Optional.  The store's end in bytes, or -errno; absent or UINT64_MAX: no end. */
	int (*length)(void *ctx, uint64_t *ret_length);

	/* Optional.  The last reference has gone. */
	void (*destroy)(void *ctx);

	/*
	 * Bytes, a power of two: the smallest unit of transfer, and the alignment of offset, length and memory of every piece.
	 * 0: the system's page size.  A region needs at most its page size, a cache (hurd-mm/cache.h) at most its own.
	 */
	size_t granule;

	/*
	 * Optional, for a store that has an end and can move it.  As write, but what lies past the end is written too: the
	 * store then ends behind the last byte that was, and what lies between reads as zeros.  Caches and
	 * hmm_store_write() use it, regions do not.  A piece that can't be written wholly must get an error (-ENOSPC, -EFBIG).
	 * Without this callback a store that tells a length refuses what lies past it with -ENOSPC.
	 */
	int (*extend)(void *ctx, struct hmm_store_vec *vec, unsigned n);

	/*
	 * Optional.  Called in a child of fork(2), by fork's handler, if the store is the swap of a space with regions of
	 * HMM_REGION_COPY_ON_FORK; before any other callback is called there.  What the store had at the fork is the child's to
	 * read for as long as it lives: the parent neither writes nor discards it.  But whatever the child writes must not be
	 * seen by the parent, and the other way round.  So return 0 and in *ret_store a store of the child's own for what it
	 * writes (same limits, same keys); ctx is then only read from.  Or leave *ret_store alone if ctx is the child's own
	 * already: it is in private memory, or was reopened just now.  -errno: the child can't have its copy.
	 *
	 * Without this callback the child goes on using ctx as fork(2) left it, and the library sees to it that the two never
	 * write to the same offsets.  That is right where offset tells all: an array, a file written with pwrite(2), also an
	 * encrypted one.  A store that keeps a table of where things are, appends to a log, or talks over a connection needs it.
	 */
	int (*fork)(void *ctx, struct hmm_store **ret_store);
};

/*
 * A caller's own store.  ops is copied, its name too (31 characters of it); ctx is passed to every callback and owned by
 * the store from success on (its destroy callback ends it).  Returns 0, -EINVAL (no read or write, wrong version, a granule
 * that is no power of two), -ENOMEM.
 */
HMM_API HMM_MUST_CHECK int hmm_store_create(const struct hmm_store_ops *ops, void *ctx, struct hmm_store **ret_store);

enum hmm_direct {
	HMM_DIRECT_AUTO = 0,  /* O_DIRECT where the file system has it */
	HMM_DIRECT_NEVER = 1, /* through the kernel's page cache */
	HMM_DIRECT_ALWAYS = 2 /* O_DIRECT, or fail with -EINVAL */
};

/*
 * A file.  fd is duplicated; flags must be 0.  The file must be a regular file or a block device, opened for reading;
 * pages of shared mappings that were written are written back only if it is open for writing too (else -EBADF).
 * Its end is the file's length at each access.  A region sees it as mmap(2) does: the last page reads zeros past the end,
 * pages wholly past it give SIGBUS, and what is stored past it is not written.  A cache, and hmm_store_write(), grow the
 * file by what they write past its end; a block device can't grow: -ENOSPC.  A write past RLIMIT_FSIZE is -EFBIG there,
 * without a signal.
 *
 * Returns 0; -EINVAL (flags); -EBADF (no descriptor, or not open for reading); -ENODEV (neither a regular file nor a
 * block device); -EMFILE, -ENFILE, -ENOMEM.  A descriptor with O_APPEND is opened anew through /proc, with the errors of
 * open(2).
 */
HMM_API HMM_MUST_CHECK int hmm_store_file(int fd, unsigned flags, struct hmm_store **ret_store);

struct hmm_swap_options {
	size_t size;
	const char *directory; /* NULL: $HURD_MM_SWAP_DIR, $TMPDIR, /var/tmp */
	uint32_t direct;       /* enum hmm_direct */
	uint32_t flags;        /* must be 0 */
	uint64_t limit;        /* bytes it may grow to; 0: no limit but the file system's.  Beyond it: -ENOSPC */
};

/*
 * A private swap file: anonymous (no name, so nothing is left behind by a crash), sparse, and growing as needed.
 * Returns 0; -EINVAL (flags, direct, or HMM_DIRECT_ALWAYS where there is no O_DIRECT); -E2BIG; -ENOMEM; or what open(2)
 * says of the directory.
 */
HMM_API HMM_MUST_CHECK int hmm_store_swap(const struct hmm_swap_options *opts, struct hmm_store **ret_store);

/*
 * Memory as a store, for tests and as a reference.  limit: bytes; a write beyond it fails with -ENOSPC.  Returns 0,
 * -EINVAL (limit 0), -ENOMEM.
 */
HMM_API HMM_MUST_CHECK int hmm_store_memory(uint64_t limit, struct hmm_store **ret_store);

HMM_API struct hmm_store *hmm_store_get(struct hmm_store *store);
HMM_API void hmm_store_put(struct hmm_store *store); /* NULL is accepted */

/*
 * Direct use, for tools and tests; as the callbacks of the same name, with all signals blocked meanwhile.  A write is an
 * `extend`: it moves the store's end, or fails where that can't be; it never succeeds without having written.  read and
 * write return -EINVAL, with nothing transferred, if pieces are misaligned, empty, overlapping or not in order; discard, if
 * its range is misaligned.  What a store has no callback for succeeds; its length is then UINT64_MAX.
 */
HMM_API HMM_MUST_CHECK int hmm_store_read(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n);
HMM_API HMM_MUST_CHECK int hmm_store_write(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n);
HMM_API HMM_MUST_CHECK int hmm_store_sync(struct hmm_store *store, uint64_t offset, uint64_t length);
HMM_API HMM_MUST_CHECK int hmm_store_discard(struct hmm_store *store, uint64_t offset, uint64_t length);
HMM_API HMM_MUST_CHECK int hmm_store_length(struct hmm_store *store, uint64_t *ret_length);
HMM_API const char *hmm_store_name(const struct hmm_store *store);
HMM_API size_t hmm_store_granule(const struct hmm_store *store); /* bytes */

struct hmm_store_stats {
	size_t size;
	uint64_t reads, writes;             /* calls */
	uint64_t bytes_read, bytes_written; /* of pieces that succeeded */
	uint64_t read_errors, write_errors; /* pieces that failed */
	uint64_t system_calls;              /* file and swap: transfers asked of the kernel */
	uint64_t bytes_held;                /* swap and memory: what they occupy; file: 0 */
	uint32_t direct;                    /* 1: O_DIRECT is in use */
	uint32_t reserved;
};
HMM_API HMM_MUST_CHECK int hmm_store_stats(struct hmm_store *store, struct hmm_store_stats *stats);

/*
 * A filter that makes another store fail, for tests of programs and of the library.  Takes its own reference on
 * inner.  The nth call (counted from 1, reads and writes separately) or, with per_million, a random one fails.
 */
struct hmm_store_fault {
	size_t size;
	uint64_t read_nth, write_nth;               /* 0: never; counts calls after this was set */
	uint32_t read_per_million, write_per_million;
	uint64_t seed;                              /* for per_million */
	int error;                                  /* -EIO, -ENOSPC, ...; 0: -EIO */
	uint32_t short_transfer;                    /* 1: the first half of the pieces succeeds, the rest fails */
	uint32_t repeat;                            /* 1: from the nth call on, every call fails */
	uint32_t reserved;
	uint64_t delay_ns;                          /* every call takes at least this long */
};
HMM_API HMM_MUST_CHECK int hmm_store_faulty(struct hmm_store *inner, struct hmm_store **ret_store);
/*
 * Change the faults of such a filter, at any time.  Calls that are being delayed go on at once: with delay_ns UINT64_MAX
 * they are held until then.  NULL: no faults.  Returns 0; -EINVAL (another kind of store, a positive error, a chance above
 * a million); -E2BIG.
 */
HMM_API HMM_MUST_CHECK int hmm_store_set_fault(struct hmm_store *store, const struct hmm_store_fault *fault);

HMM_END_DECLS

#endif
