/* SPDX-License-Identifier: MIT */
/*
 * test_held.c - frames that the kernel holds: for a device that writes to them, or for a peer that has not read them yet
 *
 * A buffer registered with io_uring stays pinned, so what is read into it later comes without any trap, whatever the
 * library did to the page meanwhile.  Pages that went into a pipe or a socket are held without a pin, and nobody tells.
 */
#include "tests/world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/integration/ring.h"

#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif
#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

#define FRAMES 64
#define NPAGES 256
#define HELD 8 /* pages from the first on that the kernel gets */

static const enum world_backend backends[] = { WORLD_INLINE_AUTO, WORLD_INLINE_MOVE, WORLD_INLINE_COPY,
	                                       WORLD_THREAD_AUTO, WORLD_THREAD_MOVE, WORLD_THREAD_COPY };
#define NBACKENDS ((int)(sizeof(backends) / sizeof(backends[0])))

struct held {
	struct world w;
	struct world_map m;
	struct ring ring;
	int pipe[2];
};

static void begin(struct held *h, int i, enum world_store kind, uint32_t flags)
{
	const char *missing = world_missing(backends[i]);
	struct hmm_probe probe = { .size = sizeof(probe) };
	struct hmm_region_options o = { .size = sizeof(o), .delivery = world_delivery(backends[i]), .flags = flags };

	if (missing)
		test_skip(missing);
	ck_assert_int_eq(hmm_probe(&probe), 0);
	if (!probe.move)
		test_skip("UFFDIO_MOVE, Linux 6.8");
	world_open(&h->w, backends[i], kind, 1, FRAMES, NULL);
	h->w.never_recycles = true;
	world_map(&h->w, &h->m, NPAGES * h->w.page, &o);
	ck_assert_int_eq(pipe2(h->pipe, O_CLOEXEC), 0);
	h->ring.fd = -1;
}

static void finish(struct held *h)
{
	if (h->ring.fd >= 0)
		ring_close(&h->ring);
	close(h->pipe[0]);
	close(h->pipe[1]);
	world_unmap(&h->w, &h->m);
	world_close(&h->w);
}

/* Every page but the first ones is written, so that all that can leave has to, and frames are used again. */
static void churn(struct held *h, uint64_t tag)
{
	(void)!hmm_region_advise(h->m.region, h->m.base, h->m.length, HMM_ADVISE_PAGEOUT);
	for (size_t page = HELD; page < h->m.npages; page++)
		world_put(&h->w, &h->m, page, tag);
	(void)!hmm_region_advise(h->m.region, h->m.base, h->m.length, HMM_ADVISE_PAGEOUT);
}

static void put_held(struct held *h, uint64_t tag)
{
	for (size_t page = 0; page < HELD; page++)
		world_put(&h->w, &h->m, page, tag);
}

static void check_all(struct held *h, uint64_t held, uint64_t others)
{
	for (size_t page = 0; page < h->m.npages; page++)
		world_check(&h->w, &h->m, page, page < HELD ? held : others);
}

/* A device that knows nothing of page tables writes to the registered pages. */
static void device_writes(struct held *h, uint64_t tag)
{
	size_t page = h->w.page;
	uint8_t *data = malloc(page);

	for (size_t i = 0; i < HELD; i++) {
		world_contents(&h->w, page, i, tag, data);
		ck_assert_int_eq(write(h->pipe[1], data, page), (ssize_t)page);
		ck_assert_int_eq(ring_submit(&h->ring, IORING_OP_READ_FIXED, h->pipe[0], h->m.base + i * page, page, (uint64_t)-1), 0);
		ck_assert_int_eq(ring_wait(&h->ring), (int)page);
	}
	free(data);
}

static void register_held(struct held *h)
{
	int r = ring_open(&h->ring);

	if (r) {
		h->ring.fd = -1;
		test_skip("io_uring, Linux 5.6");
	}
	r = ring_register(&h->ring, h->m.base, HELD * h->w.page);
	if (r == -ENOMEM)
		test_skip("RLIMIT_MEMLOCK for io_uring buffers");
	ck_assert_int_eq(r, 0);
}

static void registered_buffer(int i, uint32_t flags)
{
	struct held h;

	begin(&h, i, WORLD_SWAP_FILE, flags);
	put_held(&h, 1);
	register_held(&h);
	for (uint64_t round = 0; round < 3; round++) {
		churn(&h, 10 + round);
		device_writes(&h, 20 + round);
		churn(&h, 30 + round);
		check_all(&h, 20 + round, 30 + round);
	}
	device_writes(&h, 40);
	ck_assert_int_eq(ring_unregister(&h.ring), 0);
	churn(&h, 41);
	check_all(&h, 40, 41);
	finish(&h);
}

START_TEST(registered_buffer_keeps_what_is_read_into_it)
{
	registered_buffer(_i, 0);
}
END_TEST

START_TEST(registered_buffer_of_a_region_that_forks_keeps_what_is_read_into_it)
{
	registered_buffer(_i, HMM_REGION_COPY_ON_FORK);
}
END_TEST

START_TEST(registered_buffer_of_a_region_for_devices_keeps_what_is_read_into_it)
{
	registered_buffer(_i, HMM_REGION_DIRECT_IO);
}
END_TEST

static bool all_gone(struct held *h, size_t npages)
{
	uint8_t states[NPAGES];

	ck_assert_int_eq(hmm_region_residency(h->m.region, h->m.base, npages * h->w.page, states), 0);
	for (size_t i = 0; i < npages; i++) {
		if (states[i] & HMM_RESIDENT)
			return false;
	}
	return true;
}

/* A page that was cleaned in place is written by a device without a trap: the next sync and the eviction must see it. */
START_TEST(device_write_after_a_sync_reaches_the_store)
{
	uint8_t *expected, *seen;
	struct held h;

	begin(&h, _i, WORLD_FILE_SHARED, 0);
	expected = malloc(h.w.page);
	seen = malloc(h.w.page);
	put_held(&h, 1);
	register_held(&h);
	for (uint64_t round = 2; round < 5; round++) {
		ck_assert_int_eq(hmm_region_sync(h.m.region, h.m.base, h.m.length, 0), 0);
		device_writes(&h, round);
		ck_assert_int_eq(hmm_region_sync(h.m.region, h.m.base, h.m.length, 0), 0);
		for (size_t page = 0; page < HELD; page++) {
			world_contents(&h.w, h.w.page, page, round, expected);
			world_store_peek(&h.m, page * h.w.page, seen, h.w.page);
			ck_assert_msg(!memcmp(expected, seen, h.w.page), "round %d, page %zu is not in the store",
			              (int)round, page);
		}
	}
	device_writes(&h, 6);
	ck_assert_int_eq(ring_unregister(&h.ring), 0);
	churn(&h, 7);
	ck_assert(all_gone(&h, HELD));
	check_all(&h, 6, 7);
	free(expected);
	free(seen);
	finish(&h);
}
END_TEST

/* What nobody holds is not written twice: clean by its print is clean. */
START_TEST(synced_pages_are_not_written_again)
{
	struct hmm_stats before, after;
	struct held h;

	begin(&h, _i, WORLD_FILE_SHARED, 0);
	put_held(&h, 1);
	ck_assert_int_eq(hmm_region_sync(h.m.region, h.m.base, h.m.length, 0), 0);
	before = world_stats(&h.w);
	ck_assert_int_eq(hmm_region_sync(h.m.region, h.m.base, h.m.length, 0), 0);
	ck_assert_int_eq(hmm_region_advise(h.m.region, h.m.base, HELD * h.w.page, HMM_ADVISE_PAGEOUT), 0);
	after = world_stats(&h.w);
	ck_assert(all_gone(&h, HELD));
	ck_assert_uint_eq(after.write_outs, before.write_outs);
	for (size_t page = 0; page < HELD; page++)
		world_check(&h.w, &h.m, page, 1);
	finish(&h);
}
END_TEST

START_TEST(registered_buffer_that_is_read_only_keeps_what_is_read_into_it)
{
	struct held h;
	uint8_t byte = 1;

	begin(&h, _i, WORLD_SWAP_FILE, 0);
	put_held(&h, 1);
	register_held(&h);
	ck_assert_int_eq(hmm_region_protect(h.m.region, h.m.base, HELD * h.w.page, PROT_READ), 0);
	churn(&h, 2);
	device_writes(&h, 3);
	churn(&h, 4);
	check_all(&h, 3, 4);
	device_writes(&h, 5);
	ck_assert_int_eq(ring_unregister(&h.ring), 0);
	churn(&h, 6);
	ck_assert(all_gone(&h, HELD));
	check_all(&h, 5, 6);
	ck_assert_int_eq(world_write(&h.w, h.m.region, h.m.base, &byte, 1), -EACCES);
	ck_assert_int_eq(hmm_region_protect(h.m.region, h.m.base, HELD * h.w.page, PROT_READ | PROT_WRITE), 0);
	put_held(&h, 7);
	churn(&h, 8);
	check_all(&h, 7, 8);
	finish(&h);
}
END_TEST

/* A region in which one page is pinned and one is read-only goes on as before. */
START_TEST(one_held_page_keeps_no_other_resident)
{
	struct held h;

	begin(&h, _i, WORLD_SWAP_FILE, 0);
	put_held(&h, 1);
	register_held(&h);
	ck_assert_int_eq(hmm_region_protect(h.m.region, h.m.base + HELD * h.w.page, h.w.page, PROT_READ), 0);
	for (size_t page = HELD + 1; page < HELD + 20; page++)
		world_put(&h.w, &h.m, page, 2);
	ck_assert_int_eq(hmm_region_advise(h.m.region, h.m.base, h.m.length, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_uint_eq(hmm_region_resident(h.m.region), HELD);
	ck_assert_uint_ge(world_stats(&h.w).busy, HELD);
	ck_assert_int_eq(ring_unregister(&h.ring), 0);
	ck_assert_int_eq(hmm_region_advise(h.m.region, h.m.base, h.m.length, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_uint_eq(hmm_region_resident(h.m.region), 0);
	finish(&h);
}
END_TEST

#if !TEST_TSAN
/* Shared with a child: a page of the parent can leave nevertheless, and neither sees what the other writes. */
START_TEST(pages_shared_with_a_child_leave)
{
	struct held h;
	int go[2], status;
	char c = 0;
	pid_t pid;

	begin(&h, _i, WORLD_SWAP_FILE, HMM_REGION_COPY_ON_FORK);
	ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
	put_held(&h, 1);
	ck_assert_int_eq(hmm_region_protect(h.m.region, h.m.base, 2 * h.w.page, PROT_READ), 0);
	world_threads_rest();
	pid = fork();
	if (!pid) {
		close(go[1]);
		while (read(go[0], &c, 1) < 0 && errno == EINTR)
			;
		for (size_t page = 0; page < HELD; page++) {
			if (world_has(&h.w, &h.m, page, 1) != 1)
				_exit(1);
		}
		_exit(hmm_region_advise(h.m.region, h.m.base, HELD * h.w.page, HMM_ADVISE_PAGEOUT) ||
		      hmm_region_resident(h.m.region));
	}
	ck_assert_int_gt(pid, 0);
	close(go[0]);
	ck_assert_int_eq(hmm_region_advise(h.m.region, h.m.base, HELD * h.w.page, HMM_ADVISE_PAGEOUT), 0);
	ck_assert(all_gone(&h, HELD));
	ck_assert_int_eq(hmm_region_protect(h.m.region, h.m.base, 2 * h.w.page, PROT_READ | PROT_WRITE), 0);
	put_held(&h, 2);
	churn(&h, 3);
	check_all(&h, 2, 3);
	ck_assert_int_eq(write(go[1], &c, 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "the child: %x", (unsigned)status);
	close(go[1]);
	finish(&h);
}
END_TEST
#endif

static void check_received(struct held *h, const uint8_t *seen, uint64_t tag)
{
	uint8_t *expected = malloc(h->w.page);

	for (size_t page = 0; page < HELD; page++) {
		world_contents(&h->w, h->w.page, page, tag, expected);
		ck_assert_msg(!memcmp(seen + page * h->w.page, expected, h->w.page), "page %zu arrived with other bytes", page);
	}
	free(expected);
}

static void receive(int fd, uint8_t *to, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t r = read(fd, to + done, length - done);

		ck_assert_int_gt(r, 0);
		done += (size_t)r;
	}
}

/*
 * Dirty pages, or clean ones that were read from the store.  All the others are in the store, so that frames are filled from
 * there when they are used next.
 */
static void ready_to_send(struct held *h, bool dirty)
{
	churn(h, 9);
	put_held(h, 1);
	if (dirty)
		return;
	churn(h, 2);
	for (size_t page = 0; page < HELD; page++)
		world_check(&h->w, &h->m, page, 1);
}

/* The pages sent leave, and as many others as there are frames come in for writing. */
static void evict_sent(struct held *h)
{
	ck_assert_int_eq(hmm_region_advise(h->m.region, h->m.base, h->m.length, HMM_ADVISE_PAGEOUT), 0);
	for (size_t page = h->m.npages - 1; page >= HELD; page--)
		world_put(&h->w, &h->m, page, 3);
}

/* Under inline delivery a system call gets only what is resident for certain: pinned, but no longer than the call. */
static void hold(struct held *h)
{
	ck_assert_int_eq(hmm_region_pin(h->m.region, h->m.base, HELD * h->w.page, 0), 0);
}

static void let_go(struct held *h)
{
	ck_assert_int_eq(hmm_region_unpin(h->m.region, h->m.base, HELD * h->w.page), 0);
}

static void into_a_pipe(int i, bool dirty)
{
	struct held h;
	struct iovec iov;
	uint8_t *seen;

	begin(&h, i, WORLD_SWAP_FILE, 0);
	seen = malloc(HELD * h.w.page);
	ready_to_send(&h, dirty);
	iov = (struct iovec){ h.m.base, HELD * h.w.page };
	hold(&h);
	ck_assert_int_eq(vmsplice(h.pipe[1], &iov, 1, 0), (ssize_t)iov.iov_len);
	let_go(&h);
	evict_sent(&h);
	for (size_t page = 0; page < h.m.npages; page++)
		world_check(&h.w, &h.m, page, page < HELD ? 1 : 3);
	receive(h.pipe[0], seen, HELD * h.w.page);
	check_received(&h, seen, 1);
	free(seen);
	finish(&h);
}

START_TEST(dirty_pages_in_a_pipe_keep_their_bytes)
{
	into_a_pipe(_i, true);
}
END_TEST

START_TEST(clean_pages_in_a_pipe_keep_their_bytes)
{
	into_a_pipe(_i, false);
}
END_TEST

static void connect_pair(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096, big = 1 << 20, one = 1;
	socklen_t length = sizeof(a);

	ck_assert_int_ge(l, 0);
	if (bind(l, (struct sockaddr *)&a, sizeof(a)))
		test_skip("a loopback interface");
	ck_assert_int_eq(setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	ck_assert_int_eq(listen(l, 1), 0);
	ck_assert_int_eq(getsockname(l, (struct sockaddr *)&a, &length), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big)), 0);
	if (setsockopt(fds[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		test_skip("SO_ZEROCOPY, Linux 4.14");
	ck_assert_int_eq(connect(fds[0], (struct sockaddr *)&a, sizeof(a)), 0);
	fds[1] = accept(l, NULL, NULL);
	ck_assert_int_ge(fds[1], 0);
	close(l);
}

/* The receiver's buffer is small: most of it waits at the sender, in our frames. */
START_TEST(pages_in_a_socket_keep_their_bytes)
{
	int fds[2], big = 1 << 20;
	struct held h;
	uint8_t *seen;

	begin(&h, _i, WORLD_SWAP_FILE, 0);
	seen = malloc(HELD * h.w.page);
	connect_pair(fds);
	ready_to_send(&h, true);
	hold(&h);
	ck_assert_int_eq(send(fds[0], h.m.base, HELD * h.w.page, MSG_ZEROCOPY), (ssize_t)(HELD * h.w.page));
	let_go(&h);
	evict_sent(&h);
	setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	receive(fds[1], seen, HELD * h.w.page);
	check_received(&h, seen, 1);
	close(fds[0]);
	close(fds[1]);
	free(seen);
	finish(&h);
}
END_TEST

/* Another process, or a debugger, writes while pages come and go. */
struct other {
	struct held *h;
	int mem; /* /proc/self/mem, or -1: process_vm_writev */
	uint64_t written[HELD];
	_Atomic int stop;
};

static void *write_from_outside(void *arg)
{
	struct other *o = arg;
	uint64_t random = 1;

	for (uint64_t n = 1; n <= 4000 || !atomic_load(&o->stop); n++) {
		size_t page = world_random(&random) % HELD;
		uint8_t *at = o->h->m.base + page * o->h->w.page;
		struct iovec local = { &n, sizeof(n) }, remote = { at, sizeof(n) };
		ssize_t r = o->mem < 0 ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0)
		                       : pwrite(o->mem, &n, sizeof(n), (off_t)(uintptr_t)at);

		if (r == (ssize_t)sizeof(n)) /* else it was not resident, under inline delivery */
			o->written[page] = n;
		if (n % 16 == 0 && o->h->m.base[page * o->h->w.page + 8] == 255) /* bring it back */
			abort();
	}
	return NULL;
}

static void from_outside(int i, bool debugger)
{
	struct other o = { .mem = -1 };
	struct held h;
	pthread_t t;

	begin(&h, i, WORLD_SWAP_FILE, 0);
	o.h = &h;
	memset(h.m.base, 0, HELD * h.w.page);
	if (debugger) {
		o.mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
		if (o.mem < 0)
			test_skip("/proc/self/mem");
	}
	ck_assert_int_eq(pthread_create(&t, NULL, write_from_outside, &o), 0);
	for (uint64_t round = 0; round < 4; round++)
		churn(&h, round + 1);
	atomic_store(&o.stop, 1);
	pthread_join(t, NULL);
	churn(&h, 9);
	for (size_t page = 0; page < HELD; page++) {
		uint64_t seen;

		memcpy(&seen, h.m.base + page * h.w.page, sizeof(seen));
		ck_assert_uint_eq(seen, o.written[page]);
	}
	if (o.mem >= 0)
		close(o.mem);
	finish(&h);
}

START_TEST(process_vm_writev_arrives)
{
	from_outside(_i, false);
}
END_TEST

START_TEST(writes_of_a_debugger_arrive)
{
	from_outside(_i, true);
}
END_TEST

/* O_DIRECT: read(2), and io_uring with a plain buffer, while another thread makes pages leave. */
static void *churner(void *arg)
{
	struct other *o = arg;

	for (size_t page = HELD; !atomic_load(&o->stop); page = page + 1 < NPAGES ? page + 1 : HELD)
		o->h->m.base[page * o->h->w.page]++;
	return NULL;
}

static int direct_file(struct held *h, unsigned blocks)
{
	const char *dir = getenv("TMPDIR");
	size_t length = HELD * h->w.page;
	uint8_t *data = malloc(length);
	char path[256], again[64];
	int fd, direct;

	snprintf(path, sizeof(path), "%s/hurd-mm-held-XXXXXX", dir ? dir : "/var/tmp");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	for (unsigned i = 0; i < blocks; i++) {
		memset(data, (int)i + 1, length);
		ck_assert_int_eq(write(fd, data, length), (ssize_t)length);
	}
	free(data);
	ck_assert_int_eq(fdatasync(fd), 0);
	snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
	direct = open(again, O_RDONLY | O_DIRECT | O_CLOEXEC);
	unlink(path);
	close(fd);
	if (direct < 0)
		test_skip("O_DIRECT on the file system of temporary files");
	return direct;
}

static void direct_reads(int i, bool by_ring)
{
	struct other o = { .mem = -1 };
	struct held h;
	pthread_t t;
	int fd, r;

	begin(&h, i, WORLD_SWAP_FILE, HMM_REGION_COPY_ON_FORK);
	o.h = &h;
	fd = direct_file(&h, 16);
	if (by_ring && ring_open(&h.ring)) {
		h.ring.fd = -1;
		test_skip("io_uring, Linux 5.6");
	}
	ck_assert_int_eq(pthread_create(&t, NULL, churner, &o), 0);
	for (int k = 0; k < 100; k++) {
		size_t length = HELD * h.w.page;
		int block = k % 16;

		memset(h.m.base, 0, length); /* resident, as far as that goes: else EFAULT under inline delivery */
		if (by_ring) {
			ck_assert_int_eq(ring_submit(&h.ring, IORING_OP_READ, fd, h.m.base, length, (uint64_t)block * length), 0);
			r = ring_wait(&h.ring);
		} else {
			r = (int)pread(fd, h.m.base, length, (off_t)(block * (off_t)length));
			r = r < 0 ? -errno : r;
		}
		if (r == -EFAULT)
			continue;
		for (size_t page = 0; page < HELD && r == (int)length; page++) {
			const uint8_t *p = h.m.base + page * h.w.page;

			ck_assert_msg(p[0] == block + 1 && p[h.w.page - 1] == block + 1, "read %d: page %zu is stale", k, page);
		}
	}
	atomic_store(&o.stop, 1);
	pthread_join(t, NULL);
	close(fd);
	finish(&h);
}

START_TEST(direct_reads_under_eviction_arrive)
{
	direct_reads(_i, false);
}
END_TEST

START_TEST(direct_reads_by_io_uring_under_eviction_arrive)
{
	direct_reads(_i, true);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("held");
	TCase *t = tcase_create("held");

	tcase_set_timeout(t, test_patience(60));
	tcase_add_loop_test(t, registered_buffer_keeps_what_is_read_into_it, 0, NBACKENDS);
	tcase_add_loop_test(t, registered_buffer_of_a_region_that_forks_keeps_what_is_read_into_it, 0, NBACKENDS);
	tcase_add_loop_test(t, registered_buffer_of_a_region_for_devices_keeps_what_is_read_into_it, 0, NBACKENDS);
	tcase_add_loop_test(t, device_write_after_a_sync_reaches_the_store, 0, NBACKENDS);
	tcase_add_loop_test(t, synced_pages_are_not_written_again, 0, NBACKENDS);
	tcase_add_loop_test(t, registered_buffer_that_is_read_only_keeps_what_is_read_into_it, 0, NBACKENDS);
	tcase_add_loop_test(t, one_held_page_keeps_no_other_resident, 0, NBACKENDS);
#if !TEST_TSAN
	tcase_add_loop_test(t, pages_shared_with_a_child_leave, 0, NBACKENDS);
#endif
	tcase_add_loop_test(t, dirty_pages_in_a_pipe_keep_their_bytes, 0, NBACKENDS);
	tcase_add_loop_test(t, clean_pages_in_a_pipe_keep_their_bytes, 0, NBACKENDS);
	tcase_add_loop_test(t, pages_in_a_socket_keep_their_bytes, 0, NBACKENDS);
	tcase_add_loop_test(t, process_vm_writev_arrives, 0, NBACKENDS);
	tcase_add_loop_test(t, writes_of_a_debugger_arrive, 0, NBACKENDS);
	tcase_add_loop_test(t, direct_reads_under_eviction_arrive, 0, NBACKENDS);
	tcase_add_loop_test(t, direct_reads_by_io_uring_under_eviction_arrive, 0, NBACKENDS);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
