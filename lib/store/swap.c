/* SPDX-License-Identifier: MIT */
/*
 * swap.c - a private swap file: no name, sparse, growing as it is written
 *
 * W1  The file has no name from before its first byte is written on, so a crash leaves nothing behind.
 * W2  What was never written, also past the end of the file, reads as zeros.
 * W3  A write past the limit fails with -ENOSPC and is not tried; the limit is never above RLIMIT_FSIZE, whose signal
 *     (SIGXFSZ) would end the program.
 *
 * O_DIRECT keeps evicted pages from being cached a second time by the kernel, outside of the budget.  Whether
 * the file system has it is found out by a trial: open succeeds on some that refuse the transfer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/store/store.h"
#include "lib/store/transfer.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define DIRECTORY_MAX ((size_t)PATH_MAX)

struct swap {
	struct hmm_store store;
	int fd;         /* (i) a handle (lib/sys/fd.h) */
	int fd_plain;   /* (i) the same without O_DIRECT, or -1 */
	uint64_t limit; /* (i) bytes */
	uint32_t direct;    /* (i) as asked for, with the two below: for a forked child's */
	uint64_t limit_given; /* (i) */
	char *directory;    /* (i) absolute */
};

static int swap_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct swap *swap = ctx;
	struct hmm__transfer t = { .store = &swap->store, .fd = swap->fd, .fd_plain = swap->fd_plain };

	return hmm__transfer(&t, vec, n);
}

static int swap_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct swap *swap = ctx;
	struct hmm__transfer t = {
		.store = &swap->store, .fd = swap->fd, .fd_plain = swap->fd_plain, .write = true, .end = UINT64_MAX,
	};
	unsigned within = n;
	int error, beyond;

	while (within > 0 && vec[within - 1].offset + vec[within - 1].length > swap->limit)
		within--;
	error = hmm__transfer(&t, vec, within);
	beyond = hmm__transfer_all(vec + within, n - within, -ENOSPC);
	return error ? error : beyond;
}

static int swap_discard(void *ctx, uint64_t offset, uint64_t length)
{
	struct swap *swap = ctx;
	int fd = hmm__fd_use(swap->fd), error;

	if (fd < 0)
		return fd;
	error = hmm__sys_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
	return error == -EOPNOTSUPP ? 0 : error;
}

static uint64_t swap_bytes_held(void *ctx)
{
	struct swap *swap = ctx;
	struct stat st;
	int fd = hmm__fd_use(swap->fd);

	return fd >= 0 && hmm__sys_fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void swap_destroy(void *ctx)
{
	struct swap *swap = ctx;

	hmm__fd_close((int[]){ swap->fd, swap->fd_plain }, 2);
	hmm__free(swap->directory, DIRECTORY_MAX);
}

static int swap_fork(void *ctx, struct hmm_store **ret_store);

static void swap_keep(void *ctx)
{
	struct swap *swap = ctx;

	hmm__fd_keep((int[]){ swap->fd, swap->fd_plain }, 2);
}

static const struct hmm_store_ops swap_ops = {
	.size = sizeof(swap_ops),
	.version = HMM_STORE_VERSION,
	.name = "swap",
	.read = swap_read,
	.write = swap_write,
	.discard = swap_discard,
	.destroy = swap_destroy,
	.fork = swap_fork,
};

static const char *swap_directory(const char *given)
{
	static const char *const variables[] = { "HURD_MM_SWAP_DIR", "TMPDIR" };

	if (given)
		return given;
	for (size_t i = 0; i < HMM__ARRAY_SIZE(variables); i++) {
		const char *value = secure_getenv(variables[i]);

		if (value && *value)
			return value;
	}
	return "/var/tmp";
}

/* For file systems without O_TMPFILE: a file with a name that is taken away at once.  path: room for its name. */
static int open_and_unlink_at(const char *directory, char *path)
{
	uint64_t salt = hmm__now_ns();

	for (int attempt = 0; attempt < 100; attempt++, salt = salt * 6364136223846793005u + 1442695040888963407u) {
		int length = snprintf(path, DIRECTORY_MAX, "%s/.hurd-mm-swap-%d-%016llx", directory, (int)getpid(),
		                      (unsigned long long)salt);
		int fd, error;

		if (length >= (int)DIRECTORY_MAX)
			return -ENAMETOOLONG;
		fd = hmm__sys_open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd == -EEXIST)
			continue;
		if (fd < 0) { /* it may have been made, and then found no number */
			hmm__sys_unlink(path);
			return fd;
		}
		error = hmm__sys_unlink(path);
		if (error == 0)
			return fd;
		hmm__sys_close(fd);
		return error;
	}
	return -EEXIST;
}

static int open_and_unlink(const char *directory)
{
	char *path = hmm__alloc(DIRECTORY_MAX);
	int r = path ? open_and_unlink_at(directory, path) : -ENOMEM;

	hmm__free(path, DIRECTORY_MAX);
	return r;
}

static int open_nameless(const char *directory)
{
	int fd = hmm__sys_open(directory, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	/* the three ways in which kernels and file systems say that they don't know O_TMPFILE */
	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL)
		return open_and_unlink(directory);
	return fd;
}

/* Write and read back one page through fd. */
static int try_direct(int fd)
{
	size_t page = hmm_page_size();
	char *buffer = hmm__sparse_alloc(page);
	struct iovec iov = { buffer, page };
	ssize_t moved;

	if (!buffer)
		return -ENOMEM;
	memset(buffer, 0x5a, page);
	moved = hmm__sys_pwritev(fd, &iov, 1, 0);
	if (moved == (ssize_t)page) {
		memset(buffer, 0, page);
		moved = hmm__sys_preadv(fd, &iov, 1, 0);
	}
	if (moved == (ssize_t)page)
		moved = buffer[0] == 0x5a && buffer[page - 1] == 0x5a ? 0 : -EIO;
	else if (moved >= 0)
		moved = -EINVAL;
	hmm__sparse_free(buffer, page);
	return (int)moved;
}

/*
 * Put O_DIRECT to use where it works.  Returns 0 also if it does not, unless it must; an error if what the trial wrote
 * can't be taken back, for then the file would not read as zeros (W2).
 */
static int open_direct(struct swap *swap, uint32_t direct)
{
	int fd, error, truncated;

	if (direct == HMM_DIRECT_NEVER)
		return 0;
	fd = hmm__transfer_reopen(hmm__fd_number(swap->fd), O_RDWR | O_DIRECT, false);
	if (fd < 0)
		return direct == HMM_DIRECT_ALWAYS ? fd : 0;
	error = try_direct(fd);
	truncated = hmm__sys_ftruncate(fd, 0);
	if (error == 0 && truncated == 0) {
		swap->fd_plain = swap->fd;
		swap->fd = fd;
		swap->store.flags |= HMM__STORE_DIRECT;
		return 0;
	}
	hmm__sys_close(fd);
	if (truncated)
		return truncated;
	return direct == HMM_DIRECT_ALWAYS ? error : 0;
}

static uint64_t effective_limit(uint64_t limit)
{
	struct rlimit file_size;

	if (limit == 0 || limit > INT64_MAX)
		limit = INT64_MAX;
	if (getrlimit(RLIMIT_FSIZE, &file_size) == 0 && file_size.rlim_cur < limit)
		limit = file_size.rlim_cur;
	return limit;
}

/* What the name means now, for a child that may be elsewhere by the time it needs a file of its own. */
static int keep_directory(struct swap *swap, const char *name)
{
	size_t length = 0;

	swap->directory = hmm__alloc(DIRECTORY_MAX);
	if (!swap->directory)
		return -ENOMEM;
	if (name[0] != '/') {
		if (!getcwd(swap->directory, DIRECTORY_MAX - 1))
			return -errno;
		length = strlen(swap->directory);
		swap->directory[length++] = '/';
	}
	if (strlen(name) >= DIRECTORY_MAX - length)
		return -ENAMETOOLONG;
	strcpy(swap->directory + length, name);
	return 0;
}

int hmm__store_swap(const struct hmm_swap_options *opts, struct hmm_store **ret_store)
{
	struct hmm_swap_options known;
	struct swap *swap;
	int error = hmm__options_read(&known, sizeof(known), opts);

	if (error)
		return error;
	if (!ret_store || known.flags || known.direct > HMM_DIRECT_ALWAYS)
		return -EINVAL;
	swap = hmm__store_new(sizeof(*swap), HMM__STORE_SWAP, HMM__STORE_WRITABLE, &swap_ops);
	if (!swap)
		return -ENOMEM;
	swap->limit = swap->store.capacity = effective_limit(known.limit);
	swap->store.bytes_held = swap_bytes_held;
	swap->fd_plain = -1;
	swap->store.heritage = HMM__HERITAGE_OWN;
	swap->store.keep = swap_keep;
	swap->direct = known.direct;
	swap->limit_given = known.limit;
	swap->fd = -1;
	error = keep_directory(swap, swap_directory(known.directory));
	if (!error)
		swap->fd = error = open_nameless(swap->directory);
	if (error >= 0)
		error = open_direct(swap, known.direct);
	if (error < 0) {
		hmm__sys_close(swap->fd < 0 ? -1 : swap->fd);
		hmm__free(swap->directory, DIRECTORY_MAX);
		hmm__store_free(&swap->store);
		return error;
	}
	*ret_store = &swap->store;
	return 0;
}

int hmm_store_swap(const struct hmm_swap_options *opts, struct hmm_store **ret_store)
{
	int error = hmm__store_swap(opts, ret_store);

	if (!error) {
		struct swap *swap = (struct swap *)*ret_store;

		swap_keep(swap);
	}
	return error;
}

/* One like it.  In the fault path of a forked child: its descriptors are not kept, for that may sleep. */
static int swap_fork(void *ctx, struct hmm_store **ret_store)
{
	struct swap *swap = ctx;
	struct hmm_swap_options like = {
		.size = sizeof(like), .directory = swap->directory, .direct = swap->direct, .limit = swap->limit_given,
	};

	return hmm__store_swap(&like, ret_store);
}
