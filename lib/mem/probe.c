/* SPDX-License-Identifier: MIT */
/*
 * probe.c - what the running kernel and our privileges allow
 *
 * A userfaultfd accepts only features that the kernel has, so each is opened twice: once to ask, once to use.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/util.h"
#include "lib/mem/local.h"
#include "lib/sys/sys.h"

/* Without these there is no exact dirty tracking, and without it nothing works. */
#define FEATURES_NEEDED (UFFD_FEATURE_PAGEFAULT_FLAG_WP)
#define FEATURES_USED (UFFD_FEATURE_MOVE | UFFD_FEATURE_POISON | UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP)

static int open_user_mode(void)
{
	int flags = O_CLOEXEC | O_NONBLOCK, fd = hmm__sys_userfaultfd(flags | UFFD_USER_MODE_ONLY);

	return fd == -EINVAL ? hmm__sys_userfaultfd(flags) : fd; /* EINVAL: before 5.11 there was no such flag */
}

/* Faults from inside system calls need privilege, or the device (6.1) whose file mode says who may. */
static int open_full(void)
{
	int flags = O_CLOEXEC | O_NONBLOCK, fd = hmm__sys_userfaultfd(flags), dev;

	if (fd != -EPERM)
		return fd;
	dev = hmm__sys_open("/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
	if (dev < 0)
		return -EPERM;
	fd = hmm__sys_userfaultfd_dev(dev, flags);
	hmm__sys_close(dev);
	return fd;
}

static int ask(enum hmm_delivery delivery, uint64_t *ret_features)
{
	uint64_t ioctls;
	int fd = delivery == HMM_DELIVERY_INLINE ? open_user_mode() : open_full(), r;

	if (fd < 0)
		return fd;
	r = hmm__sys_uffd_api(fd, 0, ret_features, &ioctls);
	hmm__sys_close(fd);
	return r;
}

int hmm__uffd_open(enum hmm_delivery delivery, uint64_t *ret_features)
{
	uint64_t have, want = FEATURES_NEEDED | (delivery == HMM_DELIVERY_INLINE ? UFFD_FEATURE_SIGBUS : 0), ioctls;
	int r = ask(delivery, &have), fd;

	if (r)
		return r == -ENOSYS || r == -EINVAL ? -ENOTSUP : r;
	if ((have & want) != want)
		return -ENOTSUP;
	want |= have & FEATURES_USED;
	if (delivery == HMM_DELIVERY_THREAD)
		want |= have & UFFD_FEATURE_THREAD_ID;
	fd = delivery == HMM_DELIVERY_INLINE ? open_user_mode() : open_full();
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
	if (error == -ENOSYS)
		return "userfaultfd(2) is not in this kernel (CONFIG_USERFAULTFD), or a seccomp filter forbids it";
	if (error == -EPERM)
		return delivery == HMM_DELIVERY_THREAD
		               ? "no permission: needs CAP_SYS_PTRACE, or access to /dev/userfaultfd, or sysctl "
		                 "vm.unprivileged_userfaultfd=1; inline delivery needs none of them"
		               : "userfaultfd(2) is forbidden (seccomp, or a kernel before 5.11 with "
		                 "vm.unprivileged_userfaultfd=0)";
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

	r = ask(HMM_DELIVERY_THREAD, &features);
	p.thread_missing = missing(HMM_DELIVERY_THREAD, r, features);
	r = ask(HMM_DELIVERY_INLINE, &features);
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
