/* SPDX-License-Identifier: MIT */
/*
 * world.c - opening, closing and touching the worlds of the suites
 */
#include "tests/world.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

const char *const world_backend_names[WORLD_BACKENDS] = {
	"mock",        "mock-no-grant", "mock-thread", "inline-auto", "inline-move",
	"inline-copy", "thread-auto",   "thread-move", "thread-copy",
};
const char *const world_store_names[WORLD_STORES] = {
	"swap-file", "swap-memory", "file-private", "file-shared", "callback",
};
const char *const world_policy_names[WORLD_POLICIES] = { "fifo", "clock", "clock-bits2", "lru" };
const char *const world_policy_specs[WORLD_POLICIES] = { "fifo", "clock", "clock:bits=2", "lru" };

bool world_is_mock(const struct world *w)
{
	return w->backend <= WORLD_MOCK_THREAD;
}

bool world_is_anonymous(const struct world *w)
{
	return w->kind == WORLD_SWAP_FILE || w->kind == WORLD_SWAP_MEMORY;
}

bool world_is_shared(const struct world *w)
{
	return w->kind == WORLD_FILE_SHARED || w->kind == WORLD_CALLBACK;
}

uint32_t world_delivery(enum world_backend backend)
{
	return backend >= WORLD_THREAD_AUTO || backend == WORLD_MOCK_THREAD ? HMM_DELIVERY_THREAD : HMM_DELIVERY_INLINE;
}

static uint32_t engine_of(enum world_backend backend)
{
	switch (backend) {
	case WORLD_INLINE_MOVE:
	case WORLD_THREAD_MOVE:
		return HMM_ENGINE_MOVE;
	case WORLD_INLINE_COPY:
	case WORLD_THREAD_COPY:
		return HMM_ENGINE_COPY;
	default:
		return HMM_ENGINE_AUTO;
	}
}

const char *world_missing(enum world_backend backend)
{
	struct hmm_probe probe = { .size = sizeof(probe) };

	if (backend <= WORLD_MOCK_THREAD)
		return NULL;
	if (hmm_probe(&probe) < 0)
		return "userfaultfd";
	if (world_delivery(backend) == HMM_DELIVERY_INLINE && !probe.inline_delivery)
		return probe.inline_missing;
	if (world_delivery(backend) == HMM_DELIVERY_THREAD && !probe.thread_delivery)
		return probe.thread_missing;
	if (engine_of(backend) == HMM_ENGINE_MOVE && !probe.move)
		return "UFFDIO_MOVE, Linux 6.8";
	return NULL;
}

/* Address space only; ThreadSanitizer leaves too little for several of a tebibyte. */
#define SWAP_BYTES (UINT64_C(1) << (TEST_TSAN ? 36 : 40))

#define WORLD_RANDOM_STEP UINT64_C(0x9e3779b97f4a7c15)

uint64_t world_random(uint64_t *state)
{
	uint64_t z = (*state += WORLD_RANDOM_STEP);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Guards: a fault in a guarded access of this thread ends the access. */
static __thread sigjmp_buf guard;
static __thread volatile sig_atomic_t guarded;

static void caught(int signal)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	void *frames[32];

	if (guarded) {
		guarded = 0;
		siglongjmp(guard, signal);
	}
	backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
	sigaction(signal, &plain, NULL); /* the access is tried again, and kills */
}

/* Once in a process: later it would take the library's handler away. */
void world_guard(void)
{
	static bool done;
	struct sigaction action = { .sa_handler = caught };

	if (done)
		return;
	done = true;
	sigfillset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

static void unblock(void)
{
	sigset_t none;

	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

typedef uint64_t aliasing_word __attribute__((may_alias));

/*
 * Words where both sides are aligned, else bytes; atomic, so that a test may read what another thread is writing, and
 * nobody turns it into memcpy().
 */
static void copy(uint8_t *to, const uint8_t *from, size_t length)
{
	size_t i = 0;

	if ((((uintptr_t)to | (uintptr_t)from) & 7) == 0)
		for (; i + 8 <= length; i += 8)
			__atomic_store_n((aliasing_word *)(to + i), __atomic_load_n((const aliasing_word *)(from + i), __ATOMIC_RELAXED),
			                 __ATOMIC_RELAXED);
	for (; i < length; i++)
		__atomic_store_n(to + i, __atomic_load_n(from + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

static int guarded_copy(uint8_t *to, const uint8_t *from, size_t length)
{
	int signal = sigsetjmp(guard, 0);

	if (signal) {
		unblock();
		return signal == SIGBUS ? -EIO : -EACCES;
	}
	guarded = 1;
	copy(to, from, length);
	guarded = 0;
	return 0;
}

int world_guarded_read(const uint8_t *from, uint8_t *to, size_t length)
{
	return guarded_copy(to, from, length);
}

int world_guarded_write(uint8_t *to, const uint8_t *from, size_t length)
{
	return guarded_copy(to, from, length);
}

/* What a program would meet: SIGBUS, whatever the reason, or SIGSEGV. */
static int as_signal(int r)
{
	return r == 0 || r == -EACCES ? r : r == -ENOENT ? -EACCES : -EIO;
}

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

struct mapping {
	uintptr_t from, to;
	unsigned long inode;
	char read, write, private;
};

/* One line of /proc/self/maps.  By hand: no allocation, for threads do this while others fork. */
static bool parse(const char *line, struct mapping *m)
{
	char *end;

	m->from = strtoul(line, &end, 16);
	if (*end != '-')
		return false;
	m->to = strtoul(end + 1, &end, 16);
	if (*end != ' ' || strlen(end) < 6)
		return false;
	m->read = end[1];
	m->write = end[2];
	m->private = end[4];
	end = strchr(end + 1, ' '); /* behind permissions, offset, device */
	end = end ? strchr(end + 1, ' ') : NULL;
	end = end ? strchr(end + 1, ' ') : NULL;
	if (!end)
		return false;
	m->inode = strtoul(end, NULL, 10);
	return true;
}

static void page_out(const char *line)
{
	uintptr_t here = (uintptr_t)&line;
	struct mapping m;

	if (parse(line, &m) && m.read == 'r' && m.write == 'w' && m.private == 'p' && !m.inode &&
	    (here < m.from || here >= m.to))
		madvise((void *)m.from, m.to - m.from, MADV_PAGEOUT);
}

void world_page_out(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), saved = errno;
	char text[4096];
	size_t have = 0;
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, text + have, sizeof(text) - 1 - have)) > 0) {
		char *line = text, *end;

		have += (size_t)n;
		text[have] = '\0';
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			page_out(line);
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
	}
	close(fd);
	errno = saved;
}

/* $HMM_TEST_PAGEOUT: before the first access, and then every so many.  Unset: never. */
static void page_out_in_turn(void)
{
	static atomic_uint accesses;
	static atomic_int every = -1;
	int n = atomic_load_explicit(&every, memory_order_relaxed);

	if (n < 0) {
		const char *text = getenv("HMM_TEST_PAGEOUT");

		n = text ? atoi(text) : 0;
		atomic_store(&every, n > 0 ? n : 0);
	}
	if (n > 0 && atomic_fetch_add(&accesses, 1) % (unsigned)n == 0)
		world_page_out();
}

int world_read(struct world *w, struct hmm_region *region, const void *address, void *buffer, size_t length)
{
	page_out_in_turn();
	if (world_is_mock(w))
		return as_signal(hmm_mock_read(region, address, buffer, length));
	return world_guarded_read(address, buffer, length);
}

#define WAIT_SECONDS 10

bool world_wait(struct world_wait *wait)
{
	struct timespec pause = { .tv_nsec = 1000000 }, now;
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	if (!wait->until)
		wait->until = ns + (uint64_t)test_patience(wait->seconds ? wait->seconds : WAIT_SECONDS) * 1000000000;
	nanosleep(&pause, NULL);
	return ns < wait->until;
}

int world_read_again(struct world *w, struct hmm_region *region, const void *address, void *buffer, size_t length)
{
	int r = world_read(w, region, address, buffer, length);
	struct world_wait wait = { 0 };

	while (r == -EIO && world_wait(&wait)) {
		r = hmm_space_poll(w->space);
		ck_assert_int_eq(r, 0);
		r = world_read(w, region, address, buffer, length);
	}
	return r;
}

int world_write(struct world *w, struct hmm_region *region, void *address, const void *buffer, size_t length)
{
	page_out_in_turn();
	if (world_is_mock(w))
		return as_signal(hmm_mock_write(region, address, buffer, length));
	return world_guarded_write(address, buffer, length);
}

static void count_event(void *arg, const struct hmm_event *event)
{
	struct world *w = arg;

	if (event->kind < sizeof(w->events) / sizeof(w->events[0]))
		atomic_fetch_add(&w->events[event->kind], 1);
	if (event->kind == HMM_EVENT_POLICY && !w->policy_errors_expected)
		fprintf(stderr, "policy: %s\n", event->text ? event->text : "");
}

static struct hmm_store *faulty(struct hmm_store *inner)
{
	struct hmm_store *store;

	ck_assert_int_eq(hmm_store_faulty(inner, &store), 0);
	hmm_store_put(inner);
	return store;
}

static struct hmm_store *make_swap(enum world_store kind, struct hmm_store *given)
{
	struct hmm_swap_options opts = { .size = sizeof(opts), .directory = "/tmp", .direct = HMM_DIRECT_NEVER };
	struct hmm_store *inner;

	if (given)
		inner = hmm_store_get(given);
	else if (kind == WORLD_SWAP_FILE)
		ck_assert_int_eq(hmm_store_swap(&opts, &inner), 0);
	else
		ck_assert_int_eq(hmm_store_memory(SWAP_BYTES, &inner), 0);
	return faulty(inner);
}

void world_open(struct world *w, enum world_backend backend, enum world_store kind, unsigned policy, uint64_t frames,
                const struct hmm_space_options *more)
{
	struct hmm_space_options opts = { .size = sizeof(opts) };
	struct hmm_mock_options mock = { .size = sizeof(mock), .no_grant = backend == WORLD_MOCK_NO_GRANT,
		                         .wake_ns = test_patience(20) * UINT64_C(1000000000) };
	int r;

	memset(w, 0, sizeof(*w));
	w->backend = backend;
	w->kind = kind;
	w->policy = policy;
	w->page = hmm_page_size();
	w->most_frames = frames;
	world_guard();
	if (more)
		opts = *more;
	w->swap = make_swap(kind, opts.swap);
	opts.swap = w->swap;
	opts.policy = opts.policy ? opts.policy : world_policy_specs[policy];
	opts.engine = engine_of(backend);
	opts.flags |= HMM_SPACE_CHECK_POLICY;
	opts.event = count_event;
	opts.event_arg = w;
	if (world_is_mock(w)) {
		ck_assert_int_eq(hmm_mock_create(&mock, &w->mock), 0);
		opts.backend = hmm_backend_mock();
		opts.backend_arg = w->mock;
	}
	r = hmm_space_create(frames, &opts, &w->space);
	ck_assert_msg(r == 0, "hmm_space_create: %s", strerror(-r));
}

struct hmm_stats world_stats(struct world *w)
{
	struct hmm_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_space_stats(w->space, &s), 0);
	return s;
}

void world_check_stats(struct world *w)
{
	struct hmm_stats s = world_stats(w);

	if (!w->held_may_exceed)
		ck_assert_uint_le(s.held, s.frames);
	ck_assert_uint_le(s.peak_held, w->most_frames);
	ck_assert_uint_le(s.held, s.peak_held);
	ck_assert_uint_le(s.resident + s.available + s.laundry, s.held);
	ck_assert_uint_le(s.free, s.frames);
	ck_assert_uint_le(s.dirty, s.resident + s.laundry);
	ck_assert_uint_le(s.pinned, s.resident);
	ck_assert_uint_eq(s.faults, s.faults_inline + s.faults_thread);
	ck_assert_uint_ge(s.faults, s.faults_read + s.faults_write + s.faults_protect);
	if (!w->policy_errors_expected)
		ck_assert_uint_eq(s.policy_errors, 0);
	if (w->mock) {
		const char *text;
		uint64_t peak, now = hmm_mock_frames(w->mock, &peak);

		ck_assert_uint_le(now, s.peak_held);
		ck_assert_uint_le(peak, w->most_frames);
		ck_assert_msg(hmm_mock_misuses(w->mock, &text) == 0, "misuse: %s", text);
	}
}

void world_close(struct world *w)
{
	const char *text;

	world_check_stats(w);
	hmm_space_destroy(w->space);
	if (w->mock) {
		ck_assert_msg(hmm_mock_misuses(w->mock, &text) == 0, "misuse: %s", text);
		ck_assert_uint_eq(hmm_mock_frames(w->mock, NULL), 0);
		hmm_mock_destroy(w->mock);
	}
	hmm_store_put(w->swap);
}

/* The caller's own store.  Async-signal-safe: memcpy, no lock; pieces of different calls never overlap. */
static int bytes_transfer(struct world_bytes *b, struct hmm_store_vec *vec, unsigned n, bool write)
{
	int error = 0;

	for (unsigned i = 0; i < n; i++) {
		struct hmm_store_vec *v = &vec[i];
		size_t within = v->offset >= b->length ? 0 : (size_t)(b->length - v->offset);

		within = within < v->length ? within : v->length;
		v->error = !write && within == 0 ? -ENXIO : 0;
		error = error ? error : v->error;
		if (write) {
			memcpy(b->data + v->offset, v->data, within);
		} else if (!v->error) {
			memcpy(v->data, b->data + v->offset, within);
			memset((uint8_t *)v->data + within, 0, v->length - within);
		}
	}
	return error;
}

static int bytes_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct world_bytes *b = ctx;

	atomic_fetch_add(&b->reads, 1);
	return bytes_transfer(b, vec, n, false);
}

static int bytes_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct world_bytes *b = ctx;

	atomic_fetch_add(&b->writes, 1);
	return bytes_transfer(b, vec, n, true);
}

static int bytes_sync(void *ctx, uint64_t offset, uint64_t length)
{
	struct world_bytes *b = ctx;

	(void)offset;
	(void)length;
	atomic_fetch_add(&b->syncs, 1);
	return 0;
}

static int bytes_length(void *ctx, uint64_t *ret_length)
{
	struct world_bytes *b = ctx;

	*ret_length = b->length;
	return 0;
}

static void bytes_destroy(void *ctx)
{
	struct world_bytes *b = ctx;

	atomic_store(&b->destroyed, 1);
}

static const struct hmm_store_ops bytes_ops = {
	.size = sizeof(bytes_ops),
	.version = HMM_STORE_VERSION,
	.name = "bytes",
	.read = bytes_read,
	.write = bytes_write,
	.sync = bytes_sync,
	.length = bytes_length,
	.destroy = bytes_destroy,
};

uint8_t world_initial(const struct world *w, uint64_t offset)
{
	return world_is_anonymous(w) ? 0 : (uint8_t)(offset * 31 + offset / 4096 * 7 + 1);
}

static void make_file(struct world *w, struct world_map *m, uint64_t length)
{
	char path[] = "/tmp/hurd-mm-world-XXXXXX";
	uint8_t buffer[16384];
	struct hmm_store *inner;
	uint64_t at = 0;

	m->fd = mkstemp(path);
	ck_assert_int_ge(m->fd, 0);
	unlink(path);
	while (at < length) {
		size_t n = length - at < sizeof(buffer) ? (size_t)(length - at) : sizeof(buffer);

		for (size_t i = 0; i < n; i++)
			buffer[i] = world_initial(w, at + i);
		ck_assert_int_eq(pwrite(m->fd, buffer, n, (off_t)at), (ssize_t)n);
		at += n;
	}
	ck_assert_int_eq(hmm_store_file(m->fd, 0, &inner), 0);
	m->store = faulty(inner);
}

static void make_bytes(struct world *w, struct world_map *m, uint64_t length)
{
	struct hmm_store *inner;

	m->bytes = calloc(1, sizeof(*m->bytes));
	ck_assert_ptr_nonnull(m->bytes);
	m->bytes->data = malloc(length);
	ck_assert_ptr_nonnull(m->bytes->data);
	m->bytes->length = length;
	for (uint64_t i = 0; i < length; i++)
		m->bytes->data[i] = world_initial(w, i);
	ck_assert_int_eq(hmm_store_create(&bytes_ops, m->bytes, &inner), 0);
	m->store = faulty(inner);
}

bool world_recycles(const struct world *w)
{
	return !w->never_recycles && (w->backend == WORLD_MOCK_THREAD || w->backend == WORLD_INLINE_MOVE ||
	                              w->backend == WORLD_THREAD_MOVE);
}

void world_map_short(struct world *w, struct world_map *m, size_t length, uint64_t store_length,
                     const struct hmm_region_options *more)
{
	struct hmm_region_options opts = { .size = sizeof(opts) };
	int r;

	memset(m, 0, sizeof(*m));
	m->fd = -1;
	if (more)
		opts = *more;
	opts.delivery = world_delivery(w->backend);
	if (world_is_shared(w))
		opts.flags |= HMM_REGION_SHARED;
	if (world_recycles(w))
		opts.flags |= HMM_REGION_RECYCLE;
	if (w->kind == WORLD_FILE_PRIVATE || w->kind == WORLD_FILE_SHARED)
		make_file(w, m, store_length);
	else if (w->kind == WORLD_CALLBACK)
		make_bytes(w, m, store_length);
	r = hmm_region_map(w->space, m->store, 0, length, &opts, &m->region);
	ck_assert_msg(r == 0, "hmm_region_map: %s", strerror(-r));
	m->base = hmm_region_base(m->region);
	m->length = length;
	m->page = hmm_region_page_size(m->region);
	m->npages = length / m->page;
	ck_assert_uint_eq(hmm_region_length(m->region), length);
	ck_assert_uint_eq((uintptr_t)m->base % m->page, 0);
}

void world_map(struct world *w, struct world_map *m, size_t length, const struct hmm_region_options *more)
{
	world_map_short(w, m, length, length, more);
}

void world_map_close(struct world_map *m)
{
	hmm_store_put(m->store);
	if (m->fd >= 0)
		close(m->fd);
	if (m->bytes) {
		ck_assert_uint_eq(m->bytes->destroyed, 1);
		free(m->bytes->data);
		free(m->bytes);
	}
}

/* Another thread that sleeps has begun; one that does not may only be about to. */
static bool others_sleep(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	bool sleep = true;

	ck_assert_ptr_nonnull(tasks);
	while ((entry = readdir(tasks))) {
		char path[300], state = 'S';
		FILE *f;

		if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/stat", entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue; /* it has ended */
		ck_assert_int_eq(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
		fclose(f);
		sleep = sleep && state == 'S';
	}
	closedir(tasks);
	return sleep;
}

void world_threads_rest(void)
{
	struct world_wait wait = { 0 };

	while (!others_sleep())
		ck_assert_msg(world_wait(&wait), "another thread never sleeps");
}

void world_unmap(struct world *w, struct world_map *m)
{
	(void)w;
	ck_assert_int_eq(hmm_region_unmap(m->region), 0);
	m->region = NULL;
	world_map_close(m);
}

void world_store_peek(const struct world_map *m, uint64_t offset, void *buffer, size_t length)
{
	if (m->bytes)
		memcpy(buffer, m->bytes->data + offset, length);
	else
		ck_assert_int_eq(pread(m->fd, buffer, length, (off_t)offset), (ssize_t)length);
}

/* Bytes `from` to `from + length` of a page with this tag; multiples of 8. */
static void contents_part(const struct world *w, size_t page_size, size_t page, uint64_t tag, size_t from,
                          size_t length, uint8_t *buffer)
{
	uint64_t state = tag * UINT64_C(0x100000001b3) + page + from / 8 * WORLD_RANDOM_STEP;

	if (tag == 0) {
		for (size_t i = 0; i < length; i++)
			buffer[i] = world_initial(w, (uint64_t)page * page_size + from + i);
		return;
	}
	for (size_t i = 0; i < length; i += 8) {
		uint64_t word = world_random(&state);

		memcpy(buffer + i, &word, 8);
	}
}

void world_contents(const struct world *w, size_t page_size, size_t page, uint64_t tag, uint8_t *buffer)
{
	contents_part(w, page_size, page, tag, 0, page_size, buffer);
}

void world_put(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	uint8_t *buffer = malloc(m->page);
	int r;

	ck_assert_ptr_nonnull(buffer);
	world_contents(w, m->page, page, tag, buffer);
	r = world_write(w, m->region, m->base + page * m->page, buffer, m->page);
	ck_assert_msg(r == 0, "page %zu: write: %s", page, strerror(-r));
	free(buffer);
}

/* No malloc(): threads do this while others fork, and children of such a fork, where some allocators would hang. */
int world_has(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	_Alignas(8) uint8_t seen[4096], expected[sizeof(seen)];

	for (size_t from = 0; from < m->page; from += sizeof(seen)) {
		int r = world_read(w, m->region, m->base + page * m->page + from, seen, sizeof(seen));

		if (r)
			return r;
		contents_part(w, m->page, page, tag, from, sizeof(seen), expected);
		if (memcmp(seen, expected, sizeof(seen)) != 0)
			return 0;
	}
	return 1;
}

void world_check(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	int r = world_has(w, m, page, tag);

	ck_assert_msg(r >= 0, "page %zu: read: %s", page, strerror(-r));
	ck_assert_msg(r == 1, "page %zu: wrong contents", page);
}
