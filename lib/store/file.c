/* SPDX-License-Identifier: MIT */
/*
 * file.c - a file as a store: what a shared file mapping reads and writes
 *
 * F1  The file's end is the one it has at the access.  A read learns it from the kernel's short answer; a write asks for
 *     the length first and leaves out what lies past it, so that it never grows the file.  (A program that
 *     truncates the file between the question and the write can see it grow again by what was being written.)
 *     Only an extending write grows it: nothing is left out, and it is done when all bytes are in the file.
 * F2  Only what the caller's descriptor allows is done: one that is open for reading only is never written.
 * F3  An extending write past RLIMIT_FSIZE fails with -EFBIG before it is tried, for the kernel would send SIGXFSZ, which
 *     ends the program.  The limit is asked for each time: it may change.
 *
 * Writes are positioned, so O_APPEND, which makes Linux ignore the position, is refused by opening the file anew.
 */
#include <errno.h>
#include <fcntl.h>

#include "lib/store/store.h"
#include "lib/store/transfer.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

struct file {
	struct hmm_store store;
	int fd;       /* (i) a handle (lib/sys/fd.h) */
	int fd_plain; /* (i) the same without O_DIRECT, or -1 */
};

static int file_end(const struct file *file, uint64_t *ret_end)
{
	struct stat st;
	int fd = hmm__fd_use(file->fd), error = fd < 0 ? fd : hmm__sys_fstat(fd, &st);

	if (error)
		return error;
	if (S_ISBLK(st.st_mode))
		return hmm__sys_block_length(fd, ret_end);
	*ret_end = (uint64_t)st.st_size;
	return 0;
}

static int file_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct file *file = ctx;
	struct hmm__transfer t = {
		.store = &file->store, .fd = file->fd, .fd_plain = file->fd_plain, .bounded = true,
	};

	return hmm__transfer(&t, vec, n);
}

static int file_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct file *file = ctx;
	struct hmm__transfer t = {
		.store = &file->store, .fd = file->fd, .fd_plain = file->fd_plain, .write = true,
	};
	int error = file_end(file, &t.end);

	return error ? hmm__transfer_all(vec, n, error) : hmm__transfer(&t, vec, n);
}

static int file_extend(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct file *file = ctx;
	struct hmm__transfer t = {
		.store = &file->store, .fd = file->fd, .fd_plain = file->fd_plain, .write = true, .end = UINT64_MAX,
	};
	uint64_t limit;
	int error = hmm__sys_file_limit(&limit), past = 0;
	unsigned fit = n;

	if (error)
		return hmm__transfer_all(vec, n, error);
	while (fit && vec[fit - 1].offset + vec[fit - 1].length > limit) /* sorted */
		fit--;
	if (fit < n)
		past = hmm__transfer_all(vec + fit, n - fit, -EFBIG);
	error = hmm__transfer(&t, vec, fit);
	return error ? error : past;
}

static int file_sync(void *ctx, uint64_t offset, uint64_t length)
{
	struct file *file = ctx;
	int fd = hmm__fd_use(file->fd);

	(void)offset;
	(void)length;
	return fd < 0 ? fd : hmm__sys_fdatasync(fd);
}

static int file_length(void *ctx, uint64_t *ret_length)
{
	return file_end(ctx, ret_length);
}

static void file_destroy(void *ctx)
{
	struct file *file = ctx;

	hmm__fd_close((int[]){ file->fd, file->fd_plain }, 2);
}

static void file_keep(void *ctx)
{
	struct file *file = ctx;

	hmm__fd_keep((int[]){ file->fd, file->fd_plain }, 2);
}

static const struct hmm_store_ops file_ops = {
	.size = sizeof(file_ops),
	.version = HMM_STORE_VERSION,
	.name = "file",
	.read = file_read,
	.write = file_write,
	.sync = file_sync,
	.length = file_length,
	.destroy = file_destroy,
	.extend = file_extend,
};

/* Take a descriptor of our own, of the same open file wherever its flags allow. */
static int open_file(struct file *file, int fd, int mode)
{
	bool writable = (mode & O_ACCMODE) == O_RDWR;

	if (writable && (mode & O_APPEND))
		file->fd = hmm__transfer_reopen(fd, O_RDWR | (mode & O_DIRECT), true);
	else
		file->fd = hmm__sys_dup(fd);
	if (file->fd < 0)
		return file->fd;
	if (mode & O_DIRECT)
		file->fd_plain = hmm__transfer_reopen(fd, writable ? O_RDWR : O_RDONLY, true);
	if (file->fd_plain < 0)
		file->fd_plain = -1;
	return 0;
}

static int check_file(int fd, int *ret_mode, struct stat *ret_stat)
{
	struct stat st;
	int mode = hmm__sys_file_flags(fd);
	int error = mode < 0 ? mode : hmm__sys_fstat(fd, &st);

	if (error)
		return error;
	if ((mode & O_PATH) || (mode & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -ENODEV;
	*ret_mode = mode;
	*ret_stat = st;
	return 0;
}

int hmm_store_file(int fd, unsigned flags, struct hmm_store **ret_store)
{
	uint32_t store_flags = 0;
	struct file *file;
	struct stat st;
	int mode, error;

	if (flags || !ret_store)
		return -EINVAL;
	error = check_file(fd, &mode, &st);
	if (error)
		return error;
	if ((mode & O_ACCMODE) == O_RDWR)
		store_flags |= HMM__STORE_WRITABLE;
	if (mode & O_DIRECT)
		store_flags |= HMM__STORE_DIRECT;
	file = hmm__store_new(sizeof(*file), HMM__STORE_FILE, store_flags, &file_ops);
	if (!file)
		return -ENOMEM;
	file->fd = file->fd_plain = -1;
	error = open_file(file, fd, mode);
	if (error) {
		hmm__store_free(&file->store);
		return error;
	}
	/* O_DIRECT's needs vary; the page cache has none */
	file->store.ops.granule = mode & O_DIRECT ? hmm_page_size() : HMM__STORE_SECTOR;
	file->store.identity = (struct hmm__store_identity){ st.st_dev, st.st_ino };
	if (S_ISBLK(st.st_mode)) {
		file->store.identity = (struct hmm__store_identity){ HMM__STORE_BY_NUMBER, st.st_rdev };
		file->store.ops.extend = NULL; /* its end stays where it is */
	}
	file->store.keep = file_keep;
	file_keep(file);
	*ret_store = &file->store;
	return 0;
}
