/* SPDX-License-Identifier: MIT */
/*
 * pins.c - debug builds: who holds which pin
 *
 * Each pin is noted with the return addresses of the calls that led to it, in a table of fixed size; when it is full further
 * pins are only counted.  A lock of its own, innermost, guards it: pins are taken without any other lock.
 */
#include "lib/vm/cache/cache.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/arena.h"

#ifdef HMM_DEBUG

#ifdef HMM_HAVE_LIBUNWIND
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#endif

#define PLACES 8 /* calls noted of each pin */
#define OWN 3    /* ... above backtrace(), hmm__pins_taken() and hmm_cache_get() */
#define TABLE 4096u
#define REPORTS 32u

struct pin {
	uint64_t page;
	uint32_t used;
	uint32_t mode;
	void *places[PLACES];
};

struct hmm__pins {
	struct hmm__lock lock;
	uint64_t beyond; /* pins that found no room */
	struct pin table[TABLE];
};

/* The calls that led here, without those of the library.  (unw_backtrace() has a cache by thread, which sanitizers mind.) */
static __attribute__((noinline)) void backtrace(void **places)
{
#ifdef HMM_HAVE_LIBUNWIND
	unw_context_t context;
	unw_cursor_t cursor;
	unw_word_t ip;

	if (unw_getcontext(&context) || unw_init_local(&cursor, &context))
		return;
	for (unsigned depth = 1; depth < PLACES + OWN && unw_step(&cursor) > 0; depth++) {
		if (depth < OWN)
			continue;
		if (unw_get_reg(&cursor, UNW_REG_IP, &ip))
			return;
		places[depth - OWN] = (void *)(uintptr_t)ip;
	}
#else
	(void)places;
#endif
}

#ifdef HMM_HAVE_LIBUNWIND
/* libunwind makes its tables at the first use, and two threads at once would race for them. */
__attribute__((constructor)) static void prepare(void)
{
	void *places[PLACES];

	backtrace(places);
}
#endif

static struct hmm__pins *pins_of(struct hmm_cache *cache)
{
	struct hmm__pins *pins = __atomic_load_n(&cache->pins, __ATOMIC_ACQUIRE), *none = NULL;

	if (pins)
		return pins;
	pins = hmm__sparse_alloc(sizeof(*pins));
	if (!pins)
		return NULL;
	hmm__lock_init(&pins->lock, HMM__RANK_PINS);
	if (__atomic_compare_exchange_n(&cache->pins, &none, pins, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return pins;
	hmm__sparse_free(pins, sizeof(*pins));
	return none;
}

static struct pin *slot(struct hmm__pins *pins, uint64_t page, unsigned i)
{
	return &pins->table[((page * UINT64_C(0x9e3779b97f4a7c15) >> 52) + i) & (TABLE - 1)];
}

static struct pin *find(struct hmm__pins *pins, uint64_t page, int write)
{
	for (unsigned i = 0; i < TABLE; i++) {
		struct pin *p = slot(pins, page, i);

		if (p->used && p->page == page && (write < 0 || (int)(p->mode & HMM_CACHE_WRITE) == write))
			return p;
	}
	return NULL;
}

void hmm__pins_taken(struct hmm_cache *cache, uint64_t page, unsigned mode)
{
	struct hmm__pins *pins = pins_of(cache);
	struct pin *free = NULL;
	struct pin pin = { .page = page, .used = 1, .mode = mode };
	sigset_t mask;

	if (!pins)
		return;
	hmm__signals_block(&mask);
	backtrace(pin.places);
	hmm__lock(&pins->lock);
	for (unsigned i = 0; i < TABLE && !free; i++)
		free = slot(pins, page, i)->used ? NULL : slot(pins, page, i);
	if (free)
		*free = pin;
	else
		pins->beyond++;
	hmm__unlock(&pins->lock);
	hmm__signals_restore(&mask);
}

static void forget(struct hmm_cache *cache, uint64_t page, int write, bool all)
{
	struct hmm__pins *pins = __atomic_load_n(&cache->pins, __ATOMIC_ACQUIRE);
	sigset_t mask;
	struct pin *p;

	if (!pins)
		return;
	hmm__signals_block(&mask);
	hmm__lock(&pins->lock);
	do {
		p = find(pins, page, write);
		if (p)
			p->used = 0;
		else if (!all && pins->beyond)
			pins->beyond--;
	} while (p && all);
	hmm__unlock(&pins->lock);
	hmm__signals_restore(&mask);
}

void hmm__pins_put(struct hmm_cache *cache, uint64_t page, unsigned mode)
{
	forget(cache, page, (int)(mode & HMM_CACHE_WRITE), false);
}

void hmm__pins_gone(struct hmm_cache *cache, uint64_t page)
{
	forget(cache, page, -1, true);
}

void hmm__pins_moved(struct hmm_cache *cache, uint64_t from, uint64_t to)
{
	struct hmm__pins *pins = __atomic_load_n(&cache->pins, __ATOMIC_ACQUIRE);
	struct pin moved = { .used = 0 }, *p;
	sigset_t mask;

	if (!pins)
		return;
	hmm__signals_block(&mask);
	hmm__lock(&pins->lock);
	p = find(pins, from, -1);
	if (p) {
		moved = *p;
		p->used = 0;
		moved.page = to;
	}
	for (unsigned i = 0; p && i < TABLE; i++) {
		if (!slot(pins, to, i)->used) {
			*slot(pins, to, i) = moved;
			break;
		}
	}
	hmm__unlock(&pins->lock);
	hmm__signals_restore(&mask);
}

/* "page 7, pinned for writing by f+0x12 < g+0x34" */
static void describe(const struct pin *p, char *text, size_t size)
{
	size_t at = (size_t)snprintf(text, size, "page %" PRIu64 " is pinned%s by", p->page,
	                             p->mode & HMM_CACHE_WRITE ? " for writing" : "");

	for (unsigned i = 0; i < PLACES && p->places[i] && at < size; i++) {
		const char *sign = i ? " <" : "";
		Dl_info info;

		if (dladdr(p->places[i], &info) && info.dli_sname)
			at += (size_t)snprintf(text + at, size - at, "%s %s+0x%tx", sign, info.dli_sname,
			                       (char *)p->places[i] - (char *)info.dli_saddr);
		else
			at += (size_t)snprintf(text + at, size - at, "%s %p", sign, p->places[i]);
	}
}

static void report(struct hmm_cache *cache, const struct pin *p)
{
	struct hmm_space *space = cache->space;
	char text[sizeof(space->event_text[0])];
	sigset_t mask;

	describe(p, text, sizeof(text));
	if (!space->event) {
		fprintf(stderr, "hurd-mm: %s\n", text);
		return;
	}
	hmm__signals_block(&mask);
	hmm__event(space, HMM_EVENT_PIN_LEAK, NULL, 0, 1, 0, text);
	hmm__signals_restore(&mask);
}

void hmm__pins_report(struct hmm_cache *cache)
{
	struct hmm__pins *pins = __atomic_load_n(&cache->pins, __ATOMIC_ACQUIRE);

	for (unsigned i = 0, told = 0; pins && i < TABLE && told < REPORTS; i++) {
		struct pin p;
		sigset_t mask;

		hmm__signals_block(&mask);
		hmm__lock(&pins->lock);
		p = pins->table[i];
		hmm__unlock(&pins->lock);
		hmm__signals_restore(&mask);
		if (!p.used)
			continue;
		report(cache, &p);
		told++;
	}
}

void hmm__pins_forked(struct hmm_cache *cache)
{
	if (cache->pins)
		hmm__lock_init(&cache->pins->lock, HMM__RANK_PINS);
}

void hmm__pins_fini(struct hmm_cache *cache)
{
	if (cache->pins)
		hmm__sparse_free(cache->pins, sizeof(*cache->pins));
	cache->pins = NULL;
}

#else

void hmm__pins_taken(struct hmm_cache *cache, uint64_t page, unsigned mode)
{
	(void)cache, (void)page, (void)mode;
}

void hmm__pins_put(struct hmm_cache *cache, uint64_t page, unsigned mode)
{
	(void)cache, (void)page, (void)mode;
}

void hmm__pins_gone(struct hmm_cache *cache, uint64_t page)
{
	(void)cache, (void)page;
}

void hmm__pins_moved(struct hmm_cache *cache, uint64_t from, uint64_t to)
{
	(void)cache, (void)from, (void)to;
}

void hmm__pins_report(struct hmm_cache *cache)
{
	(void)cache;
}

void hmm__pins_forked(struct hmm_cache *cache)
{
	(void)cache;
}

void hmm__pins_fini(struct hmm_cache *cache)
{
	(void)cache;
}

#endif
