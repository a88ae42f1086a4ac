/* SPDX-License-Identifier: MIT */
/*
 * arena.c - the library's own memory, straight from the kernel
 *
 * Small objects come from chunks, by size class, each class with a list of free ones.  Chunks are never given back: the
 * library's small objects are few and live long.  What is larger than a class is a mapping of its own.
 *
 * A1  A free object is zero but for the link at its start; what is left of a chunk is zero.
 * A2  Every class is a multiple of 64 bytes, so every object is aligned to 64.
 * A3  The lock is free in a forked child: the forking thread holds it across fork, and does without it until then (forker.h).
 *
 * Key: (l) lock  (a) atomic
 */
#include "lib/base/arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/forker.h"
#include "lib/base/lock.h"
#include "lib/base/util.h"

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

#ifdef ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#endif

#define CHUNK_BYTES ((size_t)64 << 10)

static const uint32_t class_bytes[] = { 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192 };

#define CLASSES HMM__ARRAY_SIZE(class_bytes)
#define LARGEST (class_bytes[CLASSES - 1])

struct free_object {
	struct free_object *next;
};

static struct {
	struct hmm__lock lock;
	struct free_object *free[CLASSES]; /* (l) */
	char *chunk;                       /* (l) what is left of the newest chunk */
	size_t left;                       /* (l) */
	_Atomic size_t bytes;              /* (a) */
	_Atomic bool forking;              /* (a) the lock is that of the thread that forks */
} arena = { .lock = HMM__LOCK_INIT(HMM__RANK_ARENA) };

static struct {
	_Atomic bool armed;
	_Atomic uint64_t calls, nth;
	_Atomic int repeat;
} injection;

/* Tell the sanitizer what the object's owner may touch, and that pointers to malloc'ed memory may stand there. */
static void sanitizer_mapped(void *memory, size_t size)
{
#ifdef ASAN
	__lsan_register_root_region(memory, size);
#else
	(void)memory;
	(void)size;
#endif
}

static void sanitizer_unmapped(void *memory, size_t size)
{
#ifdef ASAN
	__lsan_unregister_root_region(memory, size);
#else
	(void)memory;
	(void)size;
#endif
}

static void sanitizer_freed(void *object, size_t room)
{
#ifdef ASAN
	ASAN_POISON_MEMORY_REGION((char *)object + sizeof(struct free_object), room - sizeof(struct free_object));
#else
	(void)object;
	(void)room;
#endif
}

/* size of room bytes may be touched. */
static void sanitizer_taken(void *object, size_t size, size_t room)
{
#ifdef ASAN
	ASAN_UNPOISON_MEMORY_REGION(object, size);
	ASAN_POISON_MEMORY_REGION((char *)object + size, room - size);
#else
	(void)object;
	(void)size;
	(void)room;
#endif
}

void hmm__alloc_fail(uint64_t nth, int repeat)
{
	atomic_store(&injection.calls, 0);
	atomic_store(&injection.nth, nth);
	atomic_store(&injection.repeat, repeat);
	atomic_store(&injection.armed, true);
}

uint64_t hmm__alloc_calls(void)
{
	return atomic_load(&injection.calls);
}

static bool injected(void)
{
	uint64_t call, nth;

	if (HMM__LIKELY(!atomic_load_explicit(&injection.armed, memory_order_relaxed)))
		return false;
	call = atomic_fetch_add(&injection.calls, 1) + 1;
	nth = atomic_load(&injection.nth);
	return nth && (call == nth || (call > nth && atomic_load(&injection.repeat)));
}

static bool is_ours_already(void)
{
	return HMM__UNLIKELY(atomic_load_explicit(&arena.forking, memory_order_relaxed)) && hmm__for_forker();
}

static void lock_arena(void)
{
	if (!is_ours_already())
		hmm__lock(&arena.lock);
}

static void unlock_arena(void)
{
	if (!is_ours_already())
		hmm__unlock(&arena.lock);
}

/* NULL, with errno as it was. */
static void *map(size_t size, int flags)
{
	int saved = errno;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (memory == MAP_FAILED) {
		errno = saved;
		return NULL;
	}
	return memory;
}

static void unmap(void *memory, size_t size)
{
	int saved = errno;

	munmap(memory, size); /* fails only where the kernel has no memory to split a mapping: then it leaks */
	errno = saved;
}

static size_t page_round(size_t size)
{
	return HMM__ALIGN_UP(size, (size_t)sysconf(_SC_PAGESIZE));
}

static unsigned class_of(size_t size)
{
	unsigned c = 0;

	while (class_bytes[c] < size)
		c++;
	return c;
}

/* Give what is left of the chunk to the classes that it is good for, largest first. */
static void retire_chunk_locked(void)
{
	for (unsigned c = CLASSES; c-- > 0;)
		while (arena.left >= class_bytes[c]) {
			struct free_object *object = (struct free_object *)(void *)arena.chunk;

			object->next = arena.free[c];
			arena.free[c] = object;
			arena.chunk += class_bytes[c];
			arena.left -= class_bytes[c];
			sanitizer_freed(object, class_bytes[c]);
		}
}

static void *take_new_locked(unsigned c)
{
	void *object;

	if (arena.left < class_bytes[c]) {
		char *chunk = map(CHUNK_BYTES, 0);

		if (!chunk)
			return NULL;
		retire_chunk_locked();
		sanitizer_mapped(chunk, CHUNK_BYTES);
		arena.chunk = chunk;
		arena.left = CHUNK_BYTES;
		atomic_fetch_add_explicit(&arena.bytes, CHUNK_BYTES, memory_order_relaxed);
	}
	object = arena.chunk;
	arena.chunk += class_bytes[c];
	arena.left -= class_bytes[c];
	return object;
}

static void *take_locked(unsigned c)
{
	struct free_object *object = arena.free[c];

	if (!object)
		return take_new_locked(c);
	arena.free[c] = object->next;
	object->next = NULL;
	return object;
}

static void *alloc_large(size_t size)
{
	void *memory;

	if (size > PTRDIFF_MAX)
		return NULL;
	size = page_round(size);
	memory = map(size, 0);
	if (memory) {
		sanitizer_mapped(memory, size);
		atomic_fetch_add_explicit(&arena.bytes, size, memory_order_relaxed);
	}
	return memory;
}

void *hmm__alloc(size_t size)
{
	sigset_t saved;
	void *object;
	unsigned c;

	if (injected())
		return NULL;
	if (size > LARGEST)
		return alloc_large(size);
	c = class_of(size);
	hmm__signals_block(&saved);
	lock_arena();
	object = take_locked(c);
	unlock_arena();
	hmm__signals_restore(&saved);
	if (object)
		sanitizer_taken(object, size, class_bytes[c]);
	return object;
}

static void free_large(void *object, size_t size)
{
	size = page_round(size);
	sanitizer_unmapped(object, size);
	atomic_fetch_sub_explicit(&arena.bytes, size, memory_order_relaxed);
	unmap(object, size);
}

void hmm__free(void *object, size_t size)
{
	struct free_object *freed = object;
	sigset_t saved;
	unsigned c;

	if (!object)
		return;
	if (size > LARGEST) {
		free_large(object, size);
		return;
	}
	c = class_of(size);
	sanitizer_taken(object, class_bytes[c], class_bytes[c]);
	memset(object, 0, class_bytes[c]);
	sanitizer_freed(object, class_bytes[c]);
	hmm__signals_block(&saved);
	lock_arena();
	freed->next = arena.free[c];
	arena.free[c] = freed;
	unlock_arena();
	hmm__signals_restore(&saved);
}

static __thread struct {
	int (*fix)(void *table, size_t size);
	int error;
} fixing;

void hmm__sparse_begin(int (*fix)(void *table, size_t size))
{
	fixing.fix = fix;
	fixing.error = 0;
}

int hmm__sparse_end(int r)
{
	fixing.fix = NULL;
	return r == -ENOMEM && fixing.error ? fixing.error : r;
}

/* NULL: it was refused, and is gone. */
static void *fix(void *table, size_t size)
{
	int r = fixing.fix ? fixing.fix(table, size) : 0;

	if (!r)
		return table;
	if (!fixing.error)
		fixing.error = r;
	unmap(table, size);
	return NULL;
}

/*
 * Under mlockall(MCL_FUTURE) the kernel would fill the whole table at once, unless it may not be touched yet.  (With that and
 * a limit on locked memory it refuses, by EAGAIN.)
 */
static void *map_unlocked(size_t size)
{
	void *table = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (table == MAP_FAILED) {
		if (errno == EAGAIN && !fixing.error)
			fixing.error = -EAGAIN;
		return NULL;
	}
	/* refused by a filter of system calls: then nothing was locked, as far as one can tell */
	if (syscall(SYS_munlock, table, size) && errno == ENOMEM) {
		munmap(table, size);
		return NULL;
	}
	if (mprotect(table, size, PROT_READ | PROT_WRITE)) {
		munmap(table, size);
		return NULL;
	}
	return table;
}

void *hmm__sparse_alloc_for_all(size_t size)
{
	int saved = errno;
	void *table;

	if (injected() || size == 0 || size > PTRDIFF_MAX)
		return NULL;
	size = page_round(size);
	table = map_unlocked(size);
	errno = saved;
	if (table) {
		/* Advice: a kernel without transparent huge pages refuses the first, and nothing is lost. */
		madvise(table, size, MADV_NOHUGEPAGE);
		madvise(table, size, MADV_DONTDUMP);
		errno = saved;
	}
	return table;
}

void *hmm__sparse_alloc(size_t size)
{
	void *table = hmm__sparse_alloc_for_all(size);

	return table ? fix(table, page_round(size)) : NULL;
}

void hmm__sparse_free(void *table, size_t size)
{
	if (table)
		unmap(table, page_round(size));
}

size_t hmm__arena_bytes(void)
{
	return atomic_load_explicit(&arena.bytes, memory_order_relaxed);
}

/* Registered at load, so before any other part's handlers: prepare runs after theirs, and the rest before. */
static sigset_t fork_mask;

static void fork_prepare(void)
{
	sigset_t saved;

	hmm__signals_block_but_bus(&saved); /* older handlers of the program's may trap */
	hmm__lock(&arena.lock);
	atomic_store(&arena.forking, true);
	fork_mask = saved;
}

static void fork_done(void)
{
	sigset_t saved = fork_mask;

	atomic_store(&arena.forking, false);
	hmm__unlock(&arena.lock);
	hmm__signals_restore(&saved);
}

/* Before those of spaces (lib/vm/fork.c), which allocate: handlers that prepare a fork run last registered first. */
__attribute__((constructor(101))) static void install_fork_handlers(void)
{
	/* Fails only where there is no memory for the list of handlers, at load: then there is no arena either. */
	pthread_atfork(fork_prepare, fork_done, fork_done);
}
