/* SPDX-License-Identifier: MIT */
/*
 * policy.h - which page gives up its frame
 *
 * A policy orders pages; the core does everything else (residency, pins, dirty state, I/O, ghosts, water marks).  It
 * sees page identities and frame numbers, never memory, so a bad policy can be slow but can't be unsafe.
 *
 * A resident page is known by its frame number, 0 <= frame < capacity, dense: per-frame state lives in arrays
 * by that number.  page is the page's identity: it stays the same when the page leaves and comes back, and is all
 * that is left of a page that has gone (ghosts).
 *
 * Order of one miss: ghost look-up -> miss(page, cookie) -> choose -> evicted ... -> inserted.
 *
 * Every hook is called under the policy's lock (never two at once for one instance), with all signals blocked, in
 * a signal handler as well as outside one.  A hook must not block, allocate, make system calls, or touch memory of
 * a space.  State is allocated by the core, zeroed and unpaged.
 */
#ifndef HURD_MM_POLICY_H
#define HURD_MM_POLICY_H

#include <hurd-mm/base.h>

HMM_BEGIN_DECLS

#define HMM_POLICY_VERSION 1

/* Why a page was inserted, and by what kind of access. */
enum hmm_access {
	HMM_ACCESS_READ = 0,
	HMM_ACCESS_WRITE = 1,
	HMM_ACCESS_PREFETCH = 2, /* read ahead or WILLNEED: nobody has asked for it yet */
	HMM_ACCESS_PIN = 3       /* pinned or locked by a call */
};

enum hmm_reject {
	HMM_REJECT_PINNED = 0, /* pinned or locked */
	HMM_REJECT_BUSY = 1,   /* in a transition, or held by the kernel */
	HMM_REJECT_WRITE = 2,  /* its store did not take it, or write order forbids it now */
	HMM_REJECT_RACED = 3   /* touched meanwhile: stays resident */
};

enum hmm_removed {
	HMM_REMOVED_UNMAPPED = 0,
	HMM_REMOVED_DISCARDED = 1, /* contents dropped by the application */
	HMM_REMOVED_FAILED = 2     /* its load failed after it was inserted */
};

enum hmm_hint {
	HMM_HINT_DISCARD = 0,    /* contents are garbage: first victims */
	HMM_HINT_EVICT_NEXT = 1, /* cold, says the application */
	HMM_HINT_WONTNEED = 2,   /* will not be used again soon */
	HMM_HINT_WILLNEED = 3,   /* will be used soon */
	HMM_HINT_PRIORITY = 4,   /* value: -64 .. 63, 0 is plain */
	HMM_HINT_SEQUENTIAL = 5, /* part of a scan */
	HMM_HINT_RANDOM = 6,     /* access in this range has no order */
	HMM_HINT_USER = 256      /* from here on: the policy's own */
};

/* What the policy needs to do its work well; shown by tools, used by simulator and pager. */
enum hmm_policy_caps {
	HMM_POLICY_EXACT = 1 << 0,    /* wants to see every access */
	HMM_POLICY_REFBITS = 1 << 1,  /* reference bits suffice */
	HMM_POLICY_NO_HITS = 1 << 2,  /* does nothing on hits */
	HMM_POLICY_GHOSTS = 1 << 3,   /* returns cookies from evicted() */
	HMM_POLICY_PRIORITY = 1 << 4  /* honours HMM_HINT_PRIORITY */
};

/* A range of page identities of one region: page .. page + npages - 1. */
struct hmm_page_range {
	uint64_t page;
	uint64_t npages;
};

/* What a policy takes for at most so many frames. */
struct hmm_policy_sizes {
	size_t size;     /* sizeof(struct hmm_policy_sizes): fields past it are not known to the caller */
	size_t state;    /* bytes of state */
	uint64_t ghosts; /* pages to remember that left with a cookie; 0: as many as frames */
};

/* How a page came to its frame. */
struct hmm_placement {
	size_t size;            /* sizeof(struct hmm_placement): fields past it are not known to the caller */
	uint32_t region;        /* a small number, the same for all pages of a region */
	uint32_t access;        /* enum hmm_access */
	uint32_t page_class;    /* of the application's; 0: plain */
	uint32_t stream;        /* scan that the page was read for; 0: none */
};

/* What exchange() needs of its caller, and returns to it. */
struct hmm_exchange {
	size_t size;            /* sizeof(struct hmm_exchange): fields past it are not known to the caller */
	const uint64_t *pages;  /* by frame: its page.  All frames have one */
	uint32_t frames;
	uint32_t region;        /* of the new page; see struct hmm_placement */
	uint32_t access;        /* enum hmm_access */
	uint32_t cookie;        /* set by the hook: the cookie to keep of the page that left, 0 for none */
};

struct hmm_policy_ops {
	size_t size;      /* sizeof(struct hmm_policy_ops): smaller, older tables still load */
	uint32_t version; /* HMM_POLICY_VERSION */
	uint32_t caps;    /* enum hmm_policy_caps */
	const char *name; /* lower case, digits, '-', unique */
	const char *summary; /* one line for lists */

	/* Bytes of state for at most capacity frames. */
	size_t (*state_size)(uint32_t capacity);

	/*
	 * Begin.  state: zeroed, aligned to 64 bytes.  frames <= capacity: the number in use now.  params: "" or
	 * "name=value,name=value".  Returns 0, or -EINVAL for a parameter it does not know.
	 */
	int (*start)(void *state, uint32_t capacity, uint32_t frames, const char *params);

	/* Optional.  The budget changed; frames <= capacity.  Resident pages stay until chosen. */
	void (*resize)(void *state, uint32_t frames);

	/* Optional.  End; the core frees the state. */
	void (*stop)(void *state);

	/*
	 * Optional.  page was not resident and will be inserted (after victims were chosen, where one is needed; or
	 * not at all, where its load fails).  cookie: what evicted() returned when it last left, 0 if that is not known.
	 */
	void (*miss)(void *state, uint64_t page, uint32_t cookie, enum hmm_access access);

	/* page now has this frame.  region: a small number, the same for all pages of a region. */
	void (*inserted)(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access);

	/* Optional.  These resident pages were used: rescued, pinned, or found referenced.  In batches. */
	void (*touched)(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access);

	/*
	 * Propose up to want different victims in out, best first; look at no more than scan frames.  Returns their
	 * number.  A proposed page stays in the policy's books until evicted(), rejected() or removed() speaks of it;
	 * it must not be proposed again before that.  The core may take any of them, or none.
	 */
	uint32_t (*choose)(void *state, uint32_t want, uint32_t *out, uint32_t scan);

	/* The page gave up its frame, whether proposed or not: forget it.  Returns the cookie to keep, 0 for none. */
	uint32_t (*evicted)(void *state, uint32_t frame, uint64_t page);

	/* A proposed page could not be taken and stays resident: keep it, where the policy sees fit. */
	void (*rejected)(void *state, uint32_t frame, enum hmm_reject why);

	/* The page has gone for good: forget it, leave no ghost. */
	void (*removed)(void *state, uint32_t frame, uint64_t page, enum hmm_removed why);

	/*
	 * Optional.  Knowledge about pages.  frame: the resident page it speaks of, or UINT32_MAX if it speaks of a
	 * range (whose resident pages are named one by one after it).
	 */
	void (*hint)(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value);

	/* Optional.  Called about every tenth of a second of busy time, for ages and generations. */
	void (*tick)(void *state);

	/*
	 * Optional, instead of state_size: sizes that depend on the parameters.  *sizes comes filled in with 0.  Returns 0,
	 * or -EINVAL for a parameter it does not know.
	 */
	int (*sizes)(uint32_t capacity, const char *params, struct hmm_policy_sizes *sizes);

	/* Optional, instead of inserted: the page now has this frame, and came this way. */
	void (*placed)(void *state, uint32_t frame, uint64_t page, const struct hmm_placement *placement);

	/*
	 * Optional.  The parameters that start() knows, with their defaults: "small=0.1,ghost=0.9"; "" for none.  NULL: not
	 * told.  "POLICY", or "name=value,...:POLICY": then the name of another policy follows, with its own parameters.
	 */
	const char *params;

	/*
	 * Optional.  A miss while all frames hold pages that may be evicted, in one call: as miss, choose of one
	 * victim, its evicted, and inserted into its frame, which is returned.  UINT32_MAX: no victim was found; what
	 * follows miss is left to the caller.  A caller may make the four calls instead at any time; the pager does.
	 * HMM_POLICY_EXCHANGE() writes this hook.
	 */
	uint32_t (*exchange)(void *state, uint64_t page, uint32_t cookie, struct hmm_exchange *exchange);
};

/*
 * Make a policy known by its name, for all spaces created later.  ops is borrowed for good.  Returns 0, -EEXIST (the
 * name is taken), -EINVAL (a required hook or the name is missing, wrong version), -ENOMEM.
 */
HMM_API HMM_MUST_CHECK int hmm_policy_register(const struct hmm_policy_ops *ops);

/*
 * Load a policy from a shared object, whose symbol `hmm_policy_module` is a struct hmm_policy_ops, and register it.
 * Loading the same policy again is no error.  Returns 0, -ENOENT (no such file or symbol; *ret_why, if not NULL, gets
 * a text valid until the next call in this thread), or as hmm_policy_register().
 */
HMM_API HMM_MUST_CHECK int hmm_policy_load(const char *path, const char **ret_why);

/* Look one up by name; NULL if unknown.  Names of all, in order of registration: index from 0, NULL past the end. */
HMM_API const struct hmm_policy_ops *hmm_policy_lookup(const char *name);
HMM_API const char *hmm_policy_name(unsigned index);

/*
 * Would a space take this policy?  spec: "name" or "name:parameters", as in hmm_space_options.policy.  why: gets a text
 * of at most size - 1 bytes that says what is wrong and lists the names or parameters that exist, "" if nothing is;
 * NULL with size 0 for none.  Returns 0, -ENOENT (no policy has that name), -EINVAL (a parameter), -ENOMEM.
 */
HMM_API int hmm_policy_check(const char *spec, char *why, size_t size);

/* In a module: HMM_POLICY_MODULE(my_ops) exports the table under the name that hmm_policy_load() looks for. */
#define HMM_POLICY_MODULE(ops_variable) \
	extern HMM_API const struct hmm_policy_ops hmm_policy_module __attribute__((alias(#ops_variable)))

/*
 * The hook exchange, made of the others, which the compiler then sees in one piece: static name(...).  miss may be
 * hmm_policy_no_miss.
 */
#define HMM_POLICY_EXCHANGE(name, miss, choose, evicted, inserted) \
	static __attribute__((flatten)) uint32_t name(void *state, uint64_t page, uint32_t cookie, \
	                                              struct hmm_exchange *exchange) \
	{ \
		uint32_t frame; \
		miss(state, page, cookie, (enum hmm_access)exchange->access); \
		if (choose(state, 1, &frame, UINT32_MAX) != 1 || frame >= exchange->frames) \
			return UINT32_MAX; \
		exchange->cookie = evicted(state, frame, exchange->pages[frame]); \
		inserted(state, frame, page, exchange->region, (enum hmm_access)exchange->access); \
		return frame; \
	}

/* For HMM_POLICY_EXCHANGE(), where a policy has no hook miss. */
static inline void hmm_policy_no_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	(void)state, (void)page, (void)cookie, (void)access;
}

HMM_END_DECLS

#endif
