/* SPDX-License-Identifier: MIT */
/*
 * probe.c - what the running kernel and our privileges allow
 *
 * A userfaultfd accepts only features that the kernel has, so each is opened twice: once to ask, once to use.
 *
 * hmm_probe() and the opening of an instance go through the same functions, so that what one promises the other has.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/util.h"
#include "lib/mem/local.h"
#include "lib/sys/sys.h"

/* Without these there is no exact dirty tracking, and without it nothing works. */
#define FEATURES_NEEDED (UFFD_FEATURE_PAGEFAULT_FLAG_WP)
#define HMM__NO_COPY 1 /* no error of the kernel's */
#define FEATURES_USED (UFFD_FEATURE_MOVE | UFFD_FEATURE_POISON | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP)

int hmm__uffd_device(void)
{
	return hmm__sys_open("/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
}

/* Refused to us: faults from inside system calls need privilege; and a seccomp filter may forbid the call altogether. */
static bool is_refusal(int error)
{
	return error == -EPERM || error == -EACCES || error == -ENOSYS;
}

/* Through the device (6.1), whose file mode says who may.  What the call said, where there is none. */
static int open_by_device(int flags, int device, int refusal)
{
	int opened = device < 0 ? hmm__uffd_device() : -1, fd;

	if (device < 0 && opened < 0)
		return refusal;
	fd = hmm__sys_userfaultfd_dev(device < 0 ? opened : device, flags);
	hmm__sys_close(opened);
	return fd == -ENOTTY || fd == -EINVAL ? refusal : fd;
}

static int open_for(enum hmm_delivery delivery, int device)
{
	int flags = O_CLOEXEC | O_NONBLOCK | (delivery == HMM_DELIVERY_INLINE ? UFFD_USER_MODE_ONLY : 0);
	int fd = hmm__sys_userfaultfd(flags);

	if (fd == -EINVAL && flags & UFFD_USER_MODE_ONLY) /* before 5.11 there was no such flag */
		fd = hmm__sys_userfaultfd(flags & ~UFFD_USER_MODE_ONLY);
	return is_refusal(fd) ? open_by_device(flags, device, fd) : fd;
}

/* Pages are copied out by it (local_pages.c): where a seccomp filter forbids it nothing could be evicted. */
static int can_copy_out(void)
{
	char from = 0, to;
	struct iovec local = { &to, 1 }, remote = { &from, 1 };
	ssize_t r = hmm__sys_process_vm_readv(&local, 1, &remote, 1);

	return is_refusal((int)r) ? HMM__NO_COPY : 0;
}

static int ask(enum hmm_delivery delivery, int device, uint64_t *ret_features)
{
	uint64_t ioctls;
	int fd = open_for(delivery, device), r;

	if (fd < 0)
		return fd;
	r = hmm__sys_uffd_api(fd, 0, ret_features, &ioctls);
	hmm__sys_close(fd);
	return r ? r : can_copy_out();
}

int hmm__uffd_open(enum hmm_delivery delivery, int device, uint64_t *ret_features)
{
	uint64_t have, want = FEATURES_NEEDED | (delivery == HMM_DELIVERY_INLINE ? UFFD_FEATURE_SIGBUS : 0), ioctls;
	int r = ask(delivery, device, &have), fd;

	if (r)
		return r == -ENOSYS || r == -EINVAL ? -ENOTSUP : r == HMM__NO_COPY || r == -EACCES ? -EPERM : r;
	if ((have & want) != want)
		return -ENOTSUP;
	want |= have & FEATURES_USED;
	if (delivery == HMM_DELIVERY_THREAD)
		want |= have & UFFD_FEATURE_THREAD_ID;
	fd = open_for(delivery, device);
	if (fd < 0)
		return fd;
	r = hmm__sys_uffd_api(fd, want, &have, &ioctls);
	if (r) {
		hmm__sys_close(fd);
		return r;
	}
	*ret_features = want;
	return fd;
}

static const char *missing(enum hmm_delivery delivery, int error, uint64_t features)
{
	if (error == HMM__NO_COPY)
		return "process_vm_readv(2) on the process itself is forbidden (seccomp)";
	if (error == -ENOSYS)
		return "userfaultfd(2) is not in this kernel (CONFIG_USERFAULTFD), or a seccomp filter forbids it and there "
		       "is no access to /dev/userfaultfd";
	if (error == -EPERM || error == -EACCES)
		return delivery == HMM_DELIVERY_THREAD
		               ? "no permission: needs CAP_SYS_PTRACE, or access to /dev/userfaultfd, or sysctl "
		                 "vm.unprivileged_userfaultfd=1; inline delivery needs none of them"
		               : "userfaultfd(2) is forbidden (seccomp, or a kernel before 5.11 with "
		                 "vm.unprivileged_userfaultfd=0), and there is no access to /dev/userfaultfd";
	if (error)
		return "userfaultfd(2) failed";
	if (!(features & UFFD_FEATURE_PAGEFAULT_FLAG_WP))
		return "userfaultfd write protection (CONFIG_HAVE_ARCH_USERFAULTFD_WP, kernel 5.7)";
	if (delivery == HMM_DELIVERY_INLINE && !(features & UFFD_FEATURE_SIGBUS))
		return "UFFD_FEATURE_SIGBUS (kernel 4.14)";
	return NULL;
}

int hmm_probe(struct hmm_probe *probe)
{
	struct hmm_probe p = { .size = sizeof(p) };
	uint64_t features = 0;
	int r;

	r = ask(HMM_DELIVERY_THREAD, -1, &features);
	p.thread_missing = missing(HMM_DELIVERY_THREAD, r, features);
	r = ask(HMM_DELIVERY_INLINE, -1, &features);
	p.inline_missing = missing(HMM_DELIVERY_INLINE, r, features);
	p.thread_delivery = !p.thread_missing;
	p.inline_delivery = !p.inline_missing;
	p.features = features;
	p.move = !!(features & UFFD_FEATURE_MOVE);
	p.poison = !!(features & UFFD_FEATURE_POISON);
	p.write_protect = !!(features & UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	p.rwp = !!(features & UFFD_FEATURE_RWP);
	return hmm__stats_write(probe, &p, sizeof(p));
}
