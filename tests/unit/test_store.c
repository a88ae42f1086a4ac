/* SPDX-License-Identifier: MIT */
/*
 * test_store.c - the handle, callback stores, the memory store and the filter that fails
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/store/store.h"
#include "lib/sys/sys.h"
#include "tests/harness.h"
#include "tests/unit/store_hammer.h"
#include "tests/unit/store_pages.h"

/* A caller's store that answers as it is told and remembers what it saw. */
struct told {
	int result;
	int piece_error;     /* of the piece `which`, unless 0 */
	unsigned which;
	uint64_t length;     /* what the store says its end is; 0: it has none */
	unsigned last_n;
	_Atomic unsigned calls, destroyed, unblocked;
};

static int told_transfer(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct told *told = ctx;
	sigset_t now;

	pthread_sigmask(SIG_BLOCK, NULL, &now);
	if (!sigismember(&now, SIGUSR1) || !sigismember(&now, SIGALRM))
		told->unblocked++;
	told->calls++;
	told->last_n = n;
	if (told->piece_error)
		vec[told->which].error = told->piece_error;
	return told->result;
}

static int told_range(void *ctx, uint64_t offset, uint64_t length)
{
	struct told *told = ctx;

	(void)offset;
	(void)length;
	told->calls++;
	return told->result;
}

static int told_length(void *ctx, uint64_t *ret_length)
{
	struct told *told = ctx;

	*ret_length = told->length ? told->length : UINT64_MAX;
	return told->result;
}

static int told_no_length(void *ctx, uint64_t *ret_length)
{
	(void)ctx;
	(void)ret_length;
	return -EIO;
}

static void told_destroy(void *ctx)
{
	struct told *told = ctx;

	told->destroyed++;
}

static const struct hmm_store_ops told_ops = {
	.size = sizeof(told_ops),
	.version = HMM_STORE_VERSION,
	.name = "told",
	.read = told_transfer,
	.write = told_transfer,
	.sync = told_range,
	.discard = told_range,
	.length = told_length,
	.destroy = told_destroy,
};

static struct hmm_store *told_store(struct told *told)
{
	struct hmm_store *store = NULL;

	ck_assert_int_eq(hmm_store_create(&told_ops, told, &store), 0);
	return store;
}

static struct hmm_store *memory_store(uint64_t npages)
{
	struct hmm_store *store = NULL;

	ck_assert_int_eq(hmm_store_memory(npages * hmm_page_size(), &store), 0);
	return store;
}

START_TEST(create_refuses_wrong_tables)
{
	struct hmm_store_ops ops = told_ops;
	struct hmm_store *store = NULL;
	struct told told = { 0 };

	ops.version++;
	ck_assert_int_eq(hmm_store_create(&ops, &told, &store), -EINVAL);
	ops = told_ops;
	ops.read = NULL;
	ck_assert_int_eq(hmm_store_create(&ops, &told, &store), -EINVAL);
	ops = told_ops;
	ops.write = NULL;
	ck_assert_int_eq(hmm_store_create(&ops, &told, &store), -EINVAL);
	ops = told_ops;
	ops.size = offsetof(struct hmm_store_ops, write);
	ck_assert_int_eq(hmm_store_create(&ops, &told, &store), -EINVAL);
	ck_assert_int_eq(hmm_store_create(NULL, &told, &store), -EINVAL);
	ck_assert_ptr_null(store);
	ck_assert_uint_eq(told.destroyed, 0);
}
END_TEST

START_TEST(callbacks_past_the_size_of_a_table_are_not_called)
{
	struct hmm_store_ops ops = told_ops;
	struct hmm_store *store = NULL;
	struct told told = { 0 };
	uint64_t length = 0;

	ops.size = offsetof(struct hmm_store_ops, sync);
	ck_assert_int_eq(hmm_store_create(&ops, &told, &store), 0);
	memset(&ops, 0xff, sizeof(ops)); /* the table was copied */
	ck_assert_str_eq(hmm_store_name(store), "told");
	ck_assert_int_eq(hmm_store_sync(store, 0, 0), 0);
	ck_assert_int_eq(hmm_store_discard(store, 0, hmm_page_size()), 0);
	ck_assert_int_eq(hmm_store_length(store, &length), 0);
	ck_assert_uint_eq(length, UINT64_MAX);
	hmm_store_put(store);
	ck_assert_uint_eq(told.calls, 0);
	ck_assert_uint_eq(told.destroyed, 0);
}
END_TEST

static void *get_and_put(void *arg)
{
	for (int i = 0; i < 10000; i++)
		hmm_store_put(hmm_store_get(arg));
	hmm_store_put(arg);
	return NULL;
}

START_TEST(last_reference_destroys_once)
{
	struct told told = { 0 };
	struct hmm_store *store = told_store(&told);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, get_and_put, hmm_store_get(store)), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(told.destroyed, 0);
	hmm_store_put(store);
	ck_assert_uint_eq(told.destroyed, 1);
	hmm_store_put(NULL);
}
END_TEST

START_TEST(ill_formed_pieces_are_refused_before_the_callback)
{
	size_t page = hmm_page_size();
	struct told told = { 0 };
	struct hmm_store *store = told_store(&told);
	char *data = pages_new(4);
	struct hmm_store_vec good[2] = { piece(5, data), piece(6, data + page) };
	struct hmm_store_vec bad[8][2];

	for (int i = 0; i < 8; i++)
		memcpy(bad[i], good, sizeof(good));
	bad[0][1].offset += 512;
	bad[1][1].length = page / 2;
	bad[2][1].length = 0;
	bad[3][1].data = data + 8;
	bad[4][1].data = NULL;
	bad[5][1].offset = 5 * page;          /* twice the same */
	bad[6][0].offset = 7 * page;          /* not ascending */
	bad[7][1].offset = 0 - (uint64_t)page; /* past what a file can have */
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(hmm_store_read(store, bad[i], 2), -EINVAL);
		ck_assert_int_eq(hmm_store_write(store, bad[i], 2), -EINVAL);
	}
	ck_assert_int_eq(hmm_store_read(store, NULL, 1), -EINVAL);
	ck_assert_int_eq(hmm_store_discard(store, 512, page), -EINVAL);
	ck_assert_uint_eq(told.calls, 0);
	ck_assert_int_eq(hmm_store_read(store, good, 2), 0);
	ck_assert_int_eq(hmm_store_write(store, NULL, 0), 0);
	ck_assert_uint_eq(told.calls, 1);
	hmm_store_put(store);
	pages_free(data, 4);
}
END_TEST

START_TEST(callbacks_run_with_signals_blocked)
{
	struct told told = { 0 };
	struct hmm_store *store = told_store(&told);
	char *data = pages_new(1);
	struct hmm_store_vec vec = piece(0, data);
	sigset_t now;

	ck_assert_int_eq(hmm_store_read(store, &vec, 1), 0);
	ck_assert_int_eq(hmm_store_write(store, &vec, 1), 0);
	ck_assert_uint_eq(told.calls, 2);
	ck_assert_uint_eq(told.unblocked, 0);
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	ck_assert_int_eq(sigismember(&now, SIGUSR1), 0);
	hmm_store_put(store);
	pages_free(data, 1);
}
END_TEST

START_TEST(result_and_piece_errors_agree)
{
	/* what the callback answers: result, error of piece 1; and what is seen: result, errors of pieces 0 and 1 */
	static const int cases[][5] = {
		{ 0, 0, 0, 0, 0 },
		{ 0, -EIO, -EIO, 0, -EIO },
		{ -ENOSPC, 0, -ENOSPC, -ENOSPC, -ENOSPC },
		{ -ENOSPC, -EIO, -EIO, 0, -EIO },
		{ 1, 0, -EIO, -EIO, -EIO },
		{ 0, ENOSPC, -EIO, 0, -EIO },
	};
	char *data = pages_new(2);
	struct hmm_store_vec vec[2] = { piece(0, data), piece(1, data + hmm_page_size()) };
	uint64_t failed = 0, bytes = 0;
	struct told told = { .which = 1 };
	struct hmm_store_ops ops = told_ops;
	struct hmm_store *store = NULL;

	ops.length = NULL; /* whose errors are another matter */
	ck_assert_int_eq(hmm_store_create(&ops, &told, &store), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		told.result = cases[i][0];
		told.piece_error = cases[i][1];
		ck_assert_int_eq(hmm_store_read(store, vec, 2), cases[i][2]);
		for (int k = 0; k < 2; k++) {
			ck_assert_int_eq(vec[k].error, cases[i][3 + k]);
			failed += vec[k].error != 0;
			bytes += vec[k].error == 0 ? hmm_page_size() : 0;
		}
		ck_assert_int_eq(hmm_store_write(store, vec, 2), cases[i][2]);
	}
	ck_assert_uint_eq(store_stats(store).reads, 6);
	ck_assert_uint_eq(store_stats(store).writes, 6);
	ck_assert_uint_eq(store_stats(store).read_errors, failed);
	ck_assert_uint_eq(store_stats(store).write_errors, failed);
	ck_assert_uint_eq(store_stats(store).bytes_read, bytes);
	ck_assert_uint_eq(store_stats(store).bytes_written, bytes);
	hmm_store_put(store);
	pages_free(data, 2);
}
END_TEST

START_TEST(sync_discard_and_length_pass_their_errors)
{
	struct told told = { .result = -EIO, .length = 777 };
	struct hmm_store *store = told_store(&told);
	uint64_t length = 5;

	ck_assert_int_eq(hmm_store_sync(store, 0, 0), -EIO);
	ck_assert_int_eq(hmm_store_discard(store, 0, hmm_page_size()), -EIO);
	ck_assert_int_eq(hmm_store_length(store, &length), -EIO);
	ck_assert_uint_eq(length, 5);
	told.result = 0;
	ck_assert_int_eq(hmm_store_length(store, &length), 0);
	ck_assert_uint_eq(length, 777);
	hmm_store_put(store);
}
END_TEST

/* A store that has an end and no `extend`: what lies past it is refused, and the rest is written. */
START_TEST(write_past_an_end_that_stays_is_refused)
{
	size_t page = hmm_page_size();
	struct told told = { .length = 2 * page + 100 };
	struct hmm_store *store = told_store(&told), *filter = NULL;
	char *data = pages_new(4);
	struct hmm_store_vec vec[4];

	ck_assert_int_eq(hmm_store_faulty(store, &filter), 0);
	for (unsigned turn = 0; turn < 2; turn++) {
		struct hmm_store *used = turn ? filter : store;

		for (unsigned i = 0; i < 4; i++)
			vec[i] = piece(i, data + i * page);
		memset(data, 0xee, 4 * page);
		ck_assert_int_eq(hmm_store_write(used, vec, 4), -ENOSPC);
		ck_assert_uint_eq(told.last_n, 2);
		for (unsigned i = 0; i < 4; i++)
			ck_assert_int_eq(vec[i].error, i < 2 ? 0 : -ENOSPC);
		/* what the last page has past the end is zeros: nothing is lost */
		memset(data + 2 * page + 100, 0, page - 100);
		ck_assert_int_eq(hmm_store_write(used, vec, 3), 0);
		ck_assert_uint_eq(told.last_n, 3);
		data[3 * page - 1] = 1;
		ck_assert_int_eq(hmm_store_write(used, vec, 3), -ENOSPC);
		ck_assert_int_eq(vec[2].error, -ENOSPC);
		/* zeros are refused too where the whole page lies past it */
		memset(data + 3 * page, 0, page);
		told.last_n = 0;
		ck_assert_int_eq(hmm_store_write(used, &vec[3], 1), -ENOSPC);
		ck_assert_uint_eq(told.last_n, 0);
	}
	told.result = -EIO; /* of the length: nothing is known to fit */
	ck_assert_int_eq(hmm_store_write(store, vec, 2), -EIO);
	ck_assert_int_eq(vec[0].error, -EIO);
	ck_assert_uint_eq(told.last_n, 0);
	hmm_store_put(filter);
	hmm_store_put(store);
	pages_free(data, 4);
}
END_TEST

START_TEST(write_past_an_end_that_moves_is_an_extend)
{
	struct told told = { .length = 100, .which = 1 };
	struct hmm_store_ops ops = told_ops;
	struct hmm_store *store = NULL;
	char *data = pages_new(2);
	struct hmm_store_vec vec[2] = { piece(5, data), piece(7, data + hmm_page_size()) };

	ops.extend = told_transfer;
	ops.length = told_no_length; /* not asked for */
	ck_assert_int_eq(hmm_store_create(&ops, &told, &store), 0);
	ck_assert_int_eq(hmm_store_write(store, vec, 2), 0);
	ck_assert_uint_eq(told.last_n, 2);
	told.piece_error = -EFBIG;
	ck_assert_int_eq(hmm_store_write(store, vec, 2), -EFBIG);
	ck_assert_int_eq(vec[0].error, 0);
	ck_assert_int_eq(vec[1].error, -EFBIG);
	hmm_store_put(store);
	/* a table from before there was `extend` */
	ops.size = offsetof(struct hmm_store_ops, extend);
	ops.length = told_length;
	told = (struct told){ .length = 100 };
	ck_assert_int_eq(hmm_store_create(&ops, &told, &store), 0);
	ck_assert_int_eq(hmm_store_write(store, vec, 2), -ENOSPC);
	hmm_store_put(store);
	pages_free(data, 2);
}
END_TEST

START_TEST(memory_reads_zeros_where_nothing_was_written)
{
	struct hmm_store *store = memory_store(100);
	size_t page = hmm_page_size();
	char *data = pages_new(4);
	struct hmm_store_vec vec[3] = { piece(1, data), piece(2, data + page), piece(90, data + 2 * page) };

	ck_assert_int_eq(put_page(store, 2, 22), 0);
	ck_assert_int_eq(hmm_store_read(store, vec, 3), 0);
	ck_assert(page_is_byte(data, 0));
	ck_assert(page_is(data + page, 22));
	ck_assert(page_is_byte(data + 2 * page, 0));
	ck_assert(page_is_byte(data + 3 * page, 0xee));
	ck_assert(has_zeros(store, 1000)); /* past the limit: never written either */
	ck_assert_uint_eq(store_stats(store).bytes_held, page);
	ck_assert_str_eq(hmm_store_name(store), "memory");
	hmm_store_put(store);
	pages_free(data, 4);
}
END_TEST

START_TEST(memory_refuses_writes_past_its_limit)
{
	struct hmm_store *store = memory_store(4);
	size_t page = hmm_page_size();
	char *data = pages_new(3);
	struct hmm_store_vec vec[2] = { piece(2, data), { 3 * page, data + page, 2 * page, 0 } };

	page_fill(data, 2);
	ck_assert_int_eq(hmm_store_write(store, vec, 2), -ENOSPC);
	ck_assert_int_eq(vec[0].error, 0);
	ck_assert_int_eq(vec[1].error, -ENOSPC);
	ck_assert(has_page(store, 2, 2));
	ck_assert(has_zeros(store, 3));
	hmm_store_put(store);
	store = NULL;
	ck_assert_int_eq(hmm_store_memory(0, &store), -EINVAL);
	ck_assert_int_eq(hmm_store_memory(UINT64_MAX, &store), -ENOMEM);
	ck_assert_int_eq(hmm_store_memory((uint64_t)1 << 62, &store), -ENOMEM);
	ck_assert_ptr_null(store);
	pages_free(data, 3);
}
END_TEST

START_TEST(memory_gives_back_what_is_discarded)
{
	struct hmm_store *store = memory_store(64);

	for (uint64_t i = 0; i < 64; i++)
		ck_assert_int_eq(put_page(store, i, i), 0);
	ck_assert_uint_eq(store_stats(store).bytes_held, 64 * hmm_page_size());
	ck_assert_int_eq(hmm_store_discard(store, 10 * hmm_page_size(), 20 * hmm_page_size()), 0);
	ck_assert_uint_eq(store_stats(store).bytes_held, 44 * hmm_page_size());
	ck_assert(has_page(store, 9, 9));
	ck_assert(has_zeros(store, 10));
	ck_assert(has_zeros(store, 29));
	ck_assert(has_page(store, 30, 30));
	ck_assert_int_eq(hmm_store_discard(store, 1000 * hmm_page_size(), hmm_page_size()), 0);
	ck_assert_int_eq(hmm_store_discard(store, 0, 0), 0);
	ck_assert_uint_eq(store_stats(store).bytes_held, 44 * hmm_page_size());
	/* what the kernel does not take back is zero all the same */
	hmm__sys_fail(HMM__SYS_MADVISE, 1, 0, ENOMEM);
	ck_assert_int_eq(hmm_store_discard(store, 50 * hmm_page_size(), hmm_page_size()), -ENOMEM);
	hmm__sys_fail_none();
	ck_assert(has_zeros(store, 50));
	hmm_store_put(store);
}
END_TEST

START_TEST(memory_serves_four_threads)
{
	struct hmm_store *store = memory_store(1024);

	pages_hammer(store, test_seed(), 1024, 300);
	hmm_store_put(store);
}
END_TEST

/* A failing filter over a memory store of 64 pages; page i holds i. */
static struct hmm_store *faulty_store(void)
{
	struct hmm_store *inner = memory_store(64), *store = NULL;

	for (uint64_t i = 0; i < 64; i++)
		ck_assert_int_eq(put_page(inner, i, i), 0);
	ck_assert_int_eq(hmm_store_faulty(inner, &store), 0);
	hmm_store_put(inner);
	return store;
}

static void set_fault(struct hmm_store *store, struct hmm_store_fault fault)
{
	fault.size = sizeof(fault);
	ck_assert_int_eq(hmm_store_set_fault(store, &fault), 0);
}

START_TEST(filter_without_faults_changes_nothing)
{
	struct hmm_store *store = faulty_store();
	uint64_t length = 0;

	ck_assert(has_page(store, 3, 3));
	ck_assert_int_eq(put_page(store, 3, 33), 0);
	ck_assert(has_page(store, 3, 33));
	ck_assert_uint_eq(store_stats(store).bytes_held, 64 * hmm_page_size());
	ck_assert_int_eq(hmm_store_discard(store, 0, 2 * hmm_page_size()), 0);
	ck_assert_uint_eq(store_stats(store).bytes_held, 62 * hmm_page_size());
	ck_assert_int_eq(hmm_store_sync(store, 0, 0), 0);
	ck_assert_int_eq(hmm_store_length(store, &length), 0);
	ck_assert_uint_eq(length, UINT64_MAX);
	ck_assert_str_eq(hmm_store_name(store), "faulty");
	hmm_store_put(store);
}
END_TEST

START_TEST(filter_holds_its_store_and_lets_it_go)
{
	struct told told = { 0 };
	struct hmm_store *inner = told_store(&told), *store = NULL;

	ck_assert_int_eq(hmm_store_faulty(inner, &store), 0);
	hmm_store_put(inner);
	ck_assert_uint_eq(told.destroyed, 0);
	hmm_store_put(store);
	ck_assert_uint_eq(told.destroyed, 1);
}
END_TEST

START_TEST(nth_call_fails_and_only_that)
{
	struct hmm_store *store = faulty_store();

	set_fault(store, (struct hmm_store_fault){ .read_nth = 2, .write_nth = 3, .error = -ENOSPC });
	for (int i = 1; i <= 5; i++)
		ck_assert_int_eq(put_page(store, 7, 700 + i), i == 3 ? -ENOSPC : 0);
	for (int i = 1; i <= 5; i++)
		ck_assert_int_eq(has_page(store, 7, 705), i != 2);
	/* counted anew */
	set_fault(store, (struct hmm_store_fault){ .write_nth = 1 });
	ck_assert_int_eq(put_page(store, 7, 1), -EIO);
	ck_assert(has_page(store, 7, 705));
	hmm_store_put(store);
}
END_TEST

START_TEST(repeated_fault_lasts_until_it_is_taken_away)
{
	struct hmm_store *store = faulty_store();

	set_fault(store, (struct hmm_store_fault){ .write_nth = 2, .repeat = 1 });
	ck_assert_int_eq(put_page(store, 1, 100), 0);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(put_page(store, 1, 200), -EIO);
	ck_assert(has_page(store, 1, 100));
	ck_assert_int_eq(hmm_store_set_fault(store, NULL), 0);
	ck_assert_int_eq(put_page(store, 1, 200), 0);
	ck_assert(has_page(store, 1, 200));
	ck_assert_uint_eq(store_stats(store).write_errors, 10);
	hmm_store_put(store);
}
END_TEST

/* One bit for each of 64 reads: did it fail? */
static uint64_t failures(struct hmm_store *store, uint64_t seed)
{
	uint64_t bits = 0;

	set_fault(store, (struct hmm_store_fault){ .read_per_million = 300000, .seed = seed });
	for (uint64_t i = 0; i < 64; i++)
		bits |= (uint64_t)!has_page(store, i, i) << i;
	return bits;
}

START_TEST(random_faults_follow_from_the_seed)
{
	struct hmm_store *store = faulty_store();
	uint64_t first = failures(store, 42);

	ck_assert_uint_eq(failures(store, 42), first);
	ck_assert_uint_ne(failures(store, 43), first);
	ck_assert_int_gt(__builtin_popcountll(first), 5);
	ck_assert_int_lt(__builtin_popcountll(first), 40);
	set_fault(store, (struct hmm_store_fault){ .write_per_million = 1000000 });
	for (uint64_t i = 0; i < 64; i++) {
		ck_assert(has_page(store, i, i));
		ck_assert_int_eq(put_page(store, i, 99), -EIO);
	}
	hmm_store_put(store);
}
END_TEST

START_TEST(short_transfer_does_the_first_half)
{
	struct hmm_store *store = faulty_store();
	char *data = pages_new(5);
	struct hmm_store_vec vec[5];

	for (unsigned i = 0; i < 5; i++) {
		vec[i] = piece(2 * i, data + i * hmm_page_size());
		page_fill(vec[i].data, 1000 + i);
	}
	set_fault(store, (struct hmm_store_fault){ .write_nth = 1, .short_transfer = 1, .error = -ENOSPC });
	ck_assert_int_eq(hmm_store_write(store, vec, 5), -ENOSPC);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(vec[i].error, i < 2 ? 0 : -ENOSPC);
		ck_assert(has_page(store, 2 * i, i < 2 ? 1000 + i : 2 * i));
	}
	hmm_store_put(store);
	pages_free(data, 5);
}
END_TEST

START_TEST(wrong_faults_are_refused_and_change_nothing)
{
	struct hmm_store *store = faulty_store(), *plain = memory_store(1);
	struct hmm_store_fault wrong[] = {
		{ .size = sizeof(wrong[0]), .error = EIO },
		{ .size = sizeof(wrong[0]), .read_per_million = 1000001 },
		{ .size = sizeof(wrong[0]), .write_per_million = 1000001 },
		{ .size = sizeof(wrong[0]), .reserved = 1 },
		{ .size = 0 },
	};

	set_fault(store, (struct hmm_store_fault){ .read_nth = 1, .repeat = 1 });
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_int_eq(hmm_store_set_fault(store, &wrong[i]), -EINVAL);
	ck_assert(!has_page(store, 1, 1));
	ck_assert_int_eq(hmm_store_set_fault(plain, NULL), -EINVAL);
	ck_assert_int_eq(hmm_store_set_fault(NULL, NULL), -EINVAL);
	hmm_store_put(store);
	hmm_store_put(plain);
}
END_TEST

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

START_TEST(delayed_call_takes_at_least_that_long)
{
	struct hmm_store *store = faulty_store();
	uint64_t start;

	set_fault(store, (struct hmm_store_fault){ .delay_ns = 20000000 });
	start = now_ns();
	ck_assert(has_page(store, 5, 5));
	ck_assert_uint_ge(now_ns() - start, 20000000);
	hmm_store_put(store);
}
END_TEST

struct held {
	struct hmm_store *store;
	_Atomic pid_t tid;
	_Atomic int ok; /* -1: not yet */
};

static void *held_run(void *arg)
{
	struct held *held = arg;

	held->tid = (pid_t)syscall(SYS_gettid);
	held->ok = has_page(held->store, 5, 5);
	return NULL;
}

/* Until the kernel says that the thread sleeps. */
static void wait_for_sleep(pid_t tid)
{
	char path[64], state = 'R';

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	while (state != 'S') {
		FILE *stat = fopen(path, "r");

		ck_assert_ptr_nonnull(stat);
		ck_assert_int_eq(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
		fclose(stat);
	}
}

START_TEST(change_of_faults_lets_a_held_call_go_on)
{
	struct held held = { .store = faulty_store(), .ok = -1 };
	pthread_t thread;

	set_fault(held.store, (struct hmm_store_fault){ .delay_ns = UINT64_MAX });
	ck_assert_int_eq(pthread_create(&thread, NULL, held_run, &held), 0);
	while (held.tid == 0)
		sched_yield();
	wait_for_sleep(held.tid);
	ck_assert_int_eq(held.ok, -1);
	ck_assert_int_eq(hmm_store_set_fault(held.store, NULL), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(held.ok, 1);
	hmm_store_put(held.store);
}
END_TEST

START_TEST(stats_keep_to_the_size_of_the_caller)
{
	struct hmm_store *store = memory_store(1);
	struct hmm_store_stats stats;

	memset(&stats, 0xff, sizeof(stats));
	stats.size = offsetof(struct hmm_store_stats, bytes_read);
	ck_assert_int_eq(hmm_store_stats(store, &stats), 0);
	ck_assert_uint_eq(stats.reads, 0);
	ck_assert_uint_eq(stats.bytes_read, UINT64_MAX);
	hmm_store_put(store);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("callbacks");

	tcase_add_test(tc, create_refuses_wrong_tables);
	tcase_add_test(tc, callbacks_past_the_size_of_a_table_are_not_called);
	tcase_add_test(tc, last_reference_destroys_once);
	tcase_add_test(tc, ill_formed_pieces_are_refused_before_the_callback);
	tcase_add_test(tc, callbacks_run_with_signals_blocked);
	tcase_add_test(tc, result_and_piece_errors_agree);
	tcase_add_test(tc, sync_discard_and_length_pass_their_errors);
	tcase_add_test(tc, stats_keep_to_the_size_of_the_caller);
	suite_add_tcase(s, tc);

	tc = tcase_create("memory");
	tcase_add_test(tc, write_past_an_end_that_stays_is_refused);
	tcase_add_test(tc, write_past_an_end_that_moves_is_an_extend);
	tcase_add_test(tc, memory_reads_zeros_where_nothing_was_written);
	tcase_add_test(tc, memory_refuses_writes_past_its_limit);
	tcase_add_test(tc, memory_gives_back_what_is_discarded);
	tcase_add_test(tc, memory_serves_four_threads);
	suite_add_tcase(s, tc);

	tc = tcase_create("faulty");
	tcase_add_test(tc, filter_without_faults_changes_nothing);
	tcase_add_test(tc, filter_holds_its_store_and_lets_it_go);
	tcase_add_test(tc, nth_call_fails_and_only_that);
	tcase_add_test(tc, repeated_fault_lasts_until_it_is_taken_away);
	tcase_add_test(tc, random_faults_follow_from_the_seed);
	tcase_add_test(tc, short_transfer_does_the_first_half);
	tcase_add_test(tc, wrong_faults_are_refused_and_change_nothing);
	tcase_add_test(tc, delayed_call_takes_at_least_that_long);
	tcase_add_test(tc, change_of_faults_lets_a_held_call_go_on);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
