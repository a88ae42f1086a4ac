/* SPDX-License-Identifier: MIT */
/*
 * calls.c - system calls whose arguments all lie in pages of the heap that are not resident
 *
 * Each call is made twice: the C library's own function with plain memory, which says what is right on this machine, and
 * the function as a program calls it, with memory of the heap that was just paged out.  Both must succeed or fail alike, with
 * the same errno and, where the answer is the same each time, the same bytes.  One that this system does not have is skipped by
 * name.  And bad pointers outside the heap must be refused as without the module.
 *
 * Usage: calls inline | thread.  Prints TAP.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include <gc/gc.h>

#include <hurd-mm/bdwgc.h>
#include <hurd-mm/hurd-mm.h>

#define FRAMES 1024u
#define PAGE 4096u
#define ARENA ((size_t)64 * PAGE)

extern char **environ;

static unsigned number, failed;
static bool is_plain;
static char *heap, *plain;
static size_t used, hot;
static void *libc;
static int file, pair[2], queue;

static void ok(bool good, const char *name, const char *why)
{
	number++;
	failed += !good;
	printf("%sok %u - %s%s%s\n", good ? "" : "not ", number, name, why ? " # " : "", why ? why : "");
	fflush(stdout);
}

/* A page or more of its own for each argument; all of a call are paged out as the last thing before it: see COLD. */
static void *memory(size_t n)
{
	char *at = (is_plain ? plain : heap) + used;

	used += (n + PAGE - 1) / PAGE * PAGE;
	if (used > ARENA)
		abort();
	return at;
}

static void cool(void)
{
	if (!is_plain && hmm_region_advise(hmm_bdwgc_region(), heap, ARENA, HMM_ADVISE_PAGEOUT))
		hot++;
}

static void *copy(const void *value, size_t n)
{
	return memcpy(memory(n), value, n);
}

#define S(text) ((char *)copy(text, sizeof(text)))
#define N(type) ((type *)memory(sizeof(type)))
#define V(type, ...) ((type *)copy(&(type)__VA_ARGS__, sizeof(type)))
#define L(type, n, ...) ((type *)copy((type[n])__VA_ARGS__, sizeof(type[n])))
/* The call, when all its arguments are made. */
#define COLD(call) (cool(), (call))

static void *own(const char *name)
{
	return dlsym(libc, name);
}

struct try {
	const char *name;
	long (*make)(void);
	bool is_same; /* the bytes of its arguments are, afterwards */
};

#define DEFINE(name, set_up, expression) \
	static long try_##name(void) \
	{ \
		__typeof__(name) *call = name; \
		if (is_plain) \
			*(void **)&call = own(#name); \
		set_up; \
		return (long)COLD(expression); \
	}

#define SAME(name, set_up, expression) DEFINE(name, set_up, expression)
#define DIFF(name, set_up, expression) DEFINE(name, set_up, expression)

#define BUFFER char *b = memory(PAGE); memset(b, 'b', PAGE)
#define NAME_ char *p = S("hmm-calls-file")
#define OTHER "hmm-calls-other"
#define OTHER_ char *q = S(OTHER)

/* What a call has made is gone before the next. */
static long undo(long r)
{
	int saved = errno;

	remove(OTHER);
	remove("hmm-calls-third");
	errno = saved;
	return r;
}

static struct iovec *list(char *first, char *second)
{
	return L(struct iovec, 2, { { first, 700 }, { second, 900 } });
}

static struct msghdr *message(void)
{
	char *first = memory(PAGE), *second = memory(PAGE), *control = memory(256);
	struct iovec *iov = list(first, second);

	memset(first, 'f', 700);
	memset(second, 's', 900);
	return V(struct msghdr, { .msg_iov = iov, .msg_iovlen = 2, .msg_control = control, .msg_controllen = 0 });
}

static int child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(3);
	return pid;
}

/* A child that runs `call`: what it became. */
#define CHILD(call) \
	({ \
		pid_t pid_ = fork(); \
		int status_ = 0; \
		if (pid_ == 0) { \
			(void)!(call); \
			_exit(99); \
		} \
		while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) \
			; \
		errno = EFAULT; \
		WIFEXITED(status_) && WEXITSTATUS(status_) == 5 ? 0 : -1; \
	})

static char **shell(void)
{
	char *name = S("sh"), *option = S("-c"), *what = S("exit 5");

	return L(char *, 4, { name, option, what, NULL });
}

static char **environment(void)
{
	char *path = S("PATH=/usr/bin:/bin");

	return L(char *, 2, { path, NULL });
}

static long spawned(int error, const pid_t *pid)
{
	int status = 0;

	if (!error && waitpid(*pid, &status, 0) == *pid && WIFEXITED(status) && WEXITSTATUS(status) == 5)
		return 0;
	errno = error ? error : EFAULT;
	return -1;
}

/* Those that change something for the next call undo it. */
#define TRIES \
	SAME(access, NAME_, call(p, R_OK)) \
	SAME(faccessat, NAME_, call(AT_FDCWD, p, R_OK, 0)) \
	SAME(euidaccess, NAME_, call(p, R_OK)) \
	SAME(chmod, NAME_, call(p, 0600)) \
	SAME(fchmodat, NAME_, call(AT_FDCWD, p, 0600, 0)) \
	SAME(chown, NAME_, call(p, (uid_t)-1, (gid_t)-1)) \
	SAME(lchown, NAME_, call(p, (uid_t)-1, (gid_t)-1)) \
	SAME(fchownat, NAME_, call(AT_FDCWD, p, (uid_t)-1, (gid_t)-1, 0)) \
	SAME(mkdir, OTHER_, undo(call(q, 0700))) \
	SAME(rmdir, OTHER_; mkdir(OTHER, 0700), undo(call(q))) \
	SAME(mkdirat, OTHER_, undo(call(AT_FDCWD, q, 0700))) \
	SAME(unlinkat, OTHER_; mkdir(OTHER, 0700), undo(call(AT_FDCWD, q, AT_REMOVEDIR))) \
	SAME(mkfifo, OTHER_, undo(call(q, 0600))) \
	SAME(unlink, OTHER_; mkfifo(OTHER, 0600), undo(call(q))) \
	SAME(link, NAME_; OTHER_, undo(call(p, q))) \
	SAME(remove, OTHER_; mkfifo(OTHER, 0600), undo(call(q))) \
	SAME(symlink, NAME_; OTHER_, undo(call(p, q))) \
	SAME(readlink, OTHER_; BUFFER; (void)!symlink("where", OTHER), undo(call(q, b, 100))) \
	SAME(readlinkat, OTHER_; BUFFER; (void)!symlink("where", OTHER), undo(call(AT_FDCWD, q, b, 1000))) \
	SAME(rename, OTHER_; char *p = S("hmm-calls-third"); mkfifo(OTHER, 0600), undo(call(q, p))) \
	SAME(renameat, OTHER_; char *p = S("hmm-calls-third"); mkfifo(OTHER, 0600), undo(call(AT_FDCWD, q, AT_FDCWD, p))) \
	SAME(truncate, NAME_, call(p, 5000)) \
	SAME(getcwd, BUFFER, call(b, PAGE) ? 0 : -1) \
	DIFF(memfd_create, char *p = S("name"), call(p, 0)) \
	SAME(inotify_add_watch, NAME_, call(inotify_init(), p, IN_OPEN)) \
	DIFF(open, NAME_, call(p, O_RDONLY)) \
	DIFF(openat, NAME_, call(AT_FDCWD, p, O_RDWR | O_CREAT, 0600)) \
	DIFF(creat, OTHER_, undo(call(q, 0600))) \
	DIFF(mkstemp, char *p = S("hmm-calls-XXXXXX"), call(p) | unlink(p)) \
	DIFF(opendir, char *p = S("."), call(p) ? 0 : -1) \
	DIFF(fopen, NAME_; char *m = S("r"), call(p, m) ? 0 : -1) \
	SAME(stat, NAME_; struct stat *s = N(struct stat), call(p, s)) \
	SAME(lstat, NAME_; struct stat *s = N(struct stat), call(p, s)) \
	SAME(fstat, struct stat *s = N(struct stat), call(file, s)) \
	SAME(fstatat, NAME_; struct stat *s = N(struct stat), call(AT_FDCWD, p, s, 0)) \
	SAME(statx, NAME_; struct statx *s = N(struct statx), call(AT_FDCWD, p, 0, STATX_BASIC_STATS, s)) \
	DIFF(statfs, NAME_; struct statfs *s = N(struct statfs), call(p, s)) \
	DIFF(fstatfs, struct statfs *s = N(struct statfs), call(file, s)) \
	DIFF(statvfs, NAME_; struct statvfs *s = N(struct statvfs), call(p, s)) \
	SAME(utime, NAME_; struct utimbuf *t = V(struct utimbuf, { 5, 6 }), call(p, t)) \
	SAME(utimes, NAME_; struct timeval *t = L(struct timeval, 2, { { 5, 0 }, { 6, 0 } }), call(p, t)) \
	SAME(utimensat, NAME_; struct timespec *t = L(struct timespec, 2, { { 5, 0 }, { 6, 0 } }), call(AT_FDCWD, p, t, 0)) \
	SAME(futimens, struct timespec *t = L(struct timespec, 2, { { 5, 0 }, { 6, 0 } }), call(file, t)) \
	SAME(setxattr, NAME_; char *n = S("user.hmm"); BUFFER, call(p, n, b, 20, 0)) \
	SAME(getxattr, NAME_; char *n = S("user.hmm"); BUFFER, call(p, n, b, 100)) \
	SAME(listxattr, NAME_; BUFFER, call(p, b, 100)) \
	SAME(removexattr, NAME_; char *n = S("user.hmm"); setxattr("hmm-calls-file", "user.hmm", "x", 1, 0), call(p, n)) \
	SAME(write, BUFFER, call(file, b, 3000)) \
	SAME(pwrite, BUFFER, call(file, b, 100, 7)) \
	SAME(pread, BUFFER, call(file, b, 2000, 0)) \
	SAME(pread64, BUFFER, call(file, b, 20, 0)) \
	SAME(readv, BUFFER; char *c = memory(PAGE); struct iovec *i = list(b, c), (lseek(file, 0, SEEK_SET), call(file, i, 2))) \
	SAME(writev, BUFFER; char *c = memory(PAGE); struct iovec *i = list(b, c), call(file, i, 2)) \
	SAME(preadv, BUFFER; char *c = memory(PAGE); struct iovec *i = list(b, c), call(file, i, 2, 0)) \
	SAME(pwritev, BUFFER; char *c = memory(PAGE); struct iovec *i = list(b, c), call(file, i, 2, 0)) \
	SAME(preadv2, BUFFER; char *c = memory(PAGE); struct iovec *i = list(b, c), call(file, i, 2, 0, 0)) \
	DIFF(getrandom, BUFFER, call(b, 40, 0)) \
	DIFF(getentropy, BUFFER, call(b, 40)) \
	SAME(sendfile, off_t *o = V(off_t, { 3 }), call(pair[0], file, o, 10)) \
	SAME(recv, BUFFER, call(pair[1], b, 10, 0)) \
	SAME(send, BUFFER, call(pair[0], b, 300, 0)) \
	SAME(read, BUFFER, call(pair[1], b, 300)) \
	SAME(sendto, BUFFER, call(pair[0], b, 2000, 0, NULL, 0)) \
	SAME(recvfrom, BUFFER; struct sockaddr_un *u = N(struct sockaddr_un); socklen_t *l = V(socklen_t, { sizeof(*u) }), \
	     call(pair[1], b, 2000, 0, (struct sockaddr *)u, l)) \
	SAME(sendmsg, struct msghdr *m = message(), call(pair[0], m, 0)) \
	SAME(recvmsg, struct msghdr *m = message(), call(pair[1], m, 0)) \
	SAME(process_vm_readv, BUFFER; char *c = memory(PAGE); struct iovec *i = list(b, c); \
	     struct iovec *r = V(struct iovec, { pair, sizeof(pair) }), call(getpid(), i, 2, r, 1, 0)) \
	SAME(bind, struct sockaddr_un *u = V(struct sockaddr_un, { .sun_family = AF_UNIX, .sun_path = "hmm-calls-socket" }), \
	     (unlink("hmm-calls-socket"), queue = socket(AF_UNIX, SOCK_STREAM, 0), cool(), \
	      call(queue, (struct sockaddr *)u, sizeof(*u)) | listen(queue, 8))) \
	SAME(connect, struct sockaddr_un *u = V(struct sockaddr_un, { .sun_family = AF_UNIX, .sun_path = "hmm-calls-socket" }), \
	     call(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)u, sizeof(*u))) \
	DIFF(accept, struct sockaddr_un *u = N(struct sockaddr_un); socklen_t *l = V(socklen_t, { sizeof(*u) }), \
	     call(queue, (struct sockaddr *)u, l)) \
	SAME(getsockname, struct sockaddr_un *u = N(struct sockaddr_un); socklen_t *l = V(socklen_t, { sizeof(*u) }), \
	     call(queue, (struct sockaddr *)u, l)) \
	SAME(getpeername, struct sockaddr_un *u = N(struct sockaddr_un); socklen_t *l = V(socklen_t, { sizeof(*u) }), \
	     call(pair[0], (struct sockaddr *)u, l)) \
	SAME(getsockopt, int *v = N(int); socklen_t *l = V(socklen_t, { sizeof(*v) }), call(queue, SOL_SOCKET, SO_TYPE, v, l)) \
	SAME(setsockopt, int *v = V(int, { 8192 }), call(queue, SOL_SOCKET, SO_SNDBUF, v, sizeof(*v))) \
	DIFF(socketpair, int *f = memory(8), call(AF_UNIX, SOCK_STREAM, 0, f)) \
	DIFF(pipe, int *f = memory(8), call(f)) \
	DIFF(pipe2, int *f = memory(8), call(f, O_CLOEXEC)) \
	SAME(select, fd_set *f = N(fd_set); FD_SET(pair[0], f); struct timeval *t = N(struct timeval), \
	     call(pair[0] + 1, NULL, f, NULL, t)) \
	SAME(pselect, fd_set *f = N(fd_set); FD_SET(pair[0], f); struct timespec *t = N(struct timespec); sigset_t *m = N(sigset_t), \
	     call(pair[0] + 1, NULL, f, NULL, t, m)) \
	SAME(poll, struct pollfd *f = V(struct pollfd, { pair[0], POLLOUT, 0 }), call(f, 1, 0)) \
	SAME(ppoll, struct pollfd *f = V(struct pollfd, { pair[0], POLLOUT, 0 }); struct timespec *t = N(struct timespec); \
	     sigset_t *m = N(sigset_t), call(f, 1, t, m)) \
	SAME(epoll_ctl, struct epoll_event *e = V(struct epoll_event, { .events = EPOLLOUT, .data.u64 = 77 }), \
	     (queue = epoll_create1(0), call(queue, EPOLL_CTL_ADD, pair[0], e))) \
	SAME(epoll_wait, struct epoll_event *e = memory(4 * sizeof(*e)), call(queue, e, 4, 0)) \
	SAME(epoll_pwait, struct epoll_event *e = memory(4 * sizeof(*e)); sigset_t *m = N(sigset_t), call(queue, e, 4, 0, m)) \
	SAME(ioctl, int *v = V(int, { 9 }), call(pair[0], FIONREAD, v)) \
	SAME(fcntl, struct flock *f = V(struct flock, { .l_type = F_WRLCK }), call(file, F_GETLK, f)) \
	SAME(prctl, char *v = memory(16), call(PR_GET_NAME, v)) \
	DIFF(clock_gettime, struct timespec *t = N(struct timespec), call(CLOCK_PROCESS_CPUTIME_ID, t)) \
	SAME(clock_getres, struct timespec *t = N(struct timespec), call(CLOCK_PROCESS_CPUTIME_ID, t)) \
	SAME(nanosleep, struct timespec *t = V(struct timespec, { 0, 1 }); struct timespec *l = N(struct timespec), call(t, l)) \
	SAME(clock_nanosleep, struct timespec *t = V(struct timespec, { 0, 1 }), -(long)call(CLOCK_MONOTONIC, 0, t, NULL)) \
	DIFF(gettimeofday, struct timeval *t = N(struct timeval), call(t, NULL)) \
	DIFF(times, struct tms *t = N(struct tms), call(t)) \
	SAME(setitimer, struct itimerval *t = N(struct itimerval); struct itimerval *o = N(struct itimerval), call(ITIMER_PROF, t, o)) \
	SAME(getitimer, struct itimerval *t = N(struct itimerval), call(ITIMER_PROF, t)) \
	SAME(timerfd_settime, struct itimerspec *t = V(struct itimerspec, { { 0, 0 }, { 900, 0 } }), \
	     call(timerfd_create(CLOCK_MONOTONIC, 0), 0, t, NULL)) \
	SAME(uname, struct utsname *u = N(struct utsname), call(u)) \
	DIFF(sysinfo, struct sysinfo *i = N(struct sysinfo), call(i)) \
	SAME(getrlimit, struct rlimit *l = N(struct rlimit), call(RLIMIT_NOFILE, l)) \
	SAME(prlimit, struct rlimit *l = N(struct rlimit), call(0, RLIMIT_NOFILE, NULL, l)) \
	DIFF(getrusage, struct rusage *u = N(struct rusage), call(RUSAGE_SELF, u)) \
	SAME(getresuid, uid_t *a = N(uid_t); uid_t *b = N(uid_t); uid_t *c = N(uid_t), call(a, b, c)) \
	SAME(getgroups, gid_t *g = memory(64 * sizeof(*g)), call(64, g)) \
	SAME(sched_getaffinity, cpu_set_t *s = N(cpu_set_t), call(0, sizeof(*s), s)) \
	SAME(sched_getparam, struct sched_param *s = N(struct sched_param), call(0, s)) \
	SAME(waitpid, int *s = N(int); pid_t pid = child(), call(pid, s, 0) == pid ? 0 : -1) \
	DIFF(wait4, int *s = N(int); struct rusage *u = N(struct rusage); pid_t pid = child(), call(pid, s, 0, u) == pid ? 0 : -1) \
	DIFF(waitid, siginfo_t *s = N(siginfo_t); pid_t pid = child(), call(P_PID, (id_t)pid, s, WEXITED)) \
	SAME(sigprocmask, sigset_t *s = N(sigset_t); sigset_t *o = N(sigset_t), call(SIG_BLOCK, s, o)) \
	SAME(sigpending, sigset_t *s = N(sigset_t), call(s)) \
	SAME(sigtimedwait, sigset_t *s = N(sigset_t); struct timespec *t = N(struct timespec); siginfo_t *i = N(siginfo_t); \
	     sigaddset(s, SIGUSR2), call(s, i, t)) \
	DIFF(signalfd, sigset_t *s = N(sigset_t), call(-1, s, 0)) \
	DIFF(sigaltstack, stack_t *s = N(stack_t), call(NULL, s)) \
	SAME(sem_timedwait, sem_t *s = N(sem_t); struct timespec *t = V(struct timespec, { 1, 0 }); sem_init(s, 0, 0), call(s, t)) \
	SAME(execve, char **argv = shell(); char **envp = environment(); char *p = S("/bin/sh"), CHILD(call(p, argv, envp))) \
	SAME(execvp, char **argv = shell(); char *p = S("sh"), CHILD(call(p, argv))) \
	SAME(execl, char *p = S("/bin/sh"); char *a0 = S("sh"); char *a1 = S("-c"); char *a2 = S("exit 5"), \
	     CHILD(call(p, a0, a1, a2, NULL))) \
	DIFF(posix_spawn, char **argv = shell(); char **envp = environment(); char *p = S("/bin/sh"); pid_t *pid = N(pid_t), \
	     spawned(call(pid, p, NULL, NULL, argv, envp), pid)) \
	DIFF(posix_spawnp, char **argv = shell(); char **envp = environment(); char *p = S("sh"); pid_t *pid = N(pid_t), \
	     spawned(call(pid, p, NULL, NULL, argv, envp), pid)) \
	SAME(system, char *p = S("exit 5"), call(p) == 5 << 8 ? 0 : (errno = EFAULT, -1)) \
	DIFF(popen, char *p = S("exit 5"); char *m = S("r"), pclose(call(p, m)) == 5 << 8 ? 0 : (errno = EFAULT, -1))

TRIES

#undef SAME
#undef DIFF
#define SAME(name, set_up, expression) { #name, try_##name, true },
#define DIFF(name, set_up, expression) { #name, try_##name, false },

static const struct try tries[] = { TRIES };

static long once(const struct try *try, bool plainly, int *ret_errno)
{
	long r;

	is_plain = plainly;
	used = 0;
	memset(plainly ? plain : heap, 0, ARENA);
	errno = 0;
	r = try->make();
	*ret_errno = r < 0 ? errno : 0;
	return r < 0 ? -1 : try->is_same ? r : 0;
}

/* Lists hold addresses, so what holds them differs by the distance of the two places. */
static bool same_bytes(void)
{
	for (size_t i = 0; i < ARENA; i += sizeof(uint64_t)) {
		uint64_t a, b;

		memcpy(&a, plain + i, sizeof(a));
		memcpy(&b, heap + i, sizeof(b));
		if (a != b && a - (uintptr_t)plain != b - (uintptr_t)heap)
			return false;
	}
	return true;
}

static void compare(const struct try *try)
{
	int wrong = 0, right = 0;
	long theirs = once(try, true, &right), ours = once(try, false, &wrong);
	char why[128] = "";
	bool good = theirs == ours && right == wrong && wrong != EFAULT && (!try->is_same || same_bytes());

	if (theirs < 0 && (right == ENOSYS || right == EPERM)) {
		snprintf(why, sizeof(why), "SKIP %s", strerror(right));
		good = true;
	} else if (!good) {
		snprintf(why, sizeof(why), "%ld %s, in the heap %ld %s", theirs, strerror(right), ours, strerror(wrong));
	}
	ok(good, try->name, why[0] ? why : NULL);
}

/* Outside the heap: the kernel refuses it, and nobody looks at it. */
static void bad_pointers(void)
{
	void *bad = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct msghdr holds = { .msg_iov = bad, .msg_iovlen = 1 };

#define BAD(name, call) ok((errno = 0, (call)) == -1 && errno == EFAULT, "a bad pointer: " name, NULL)
	BAD("read", pread(file, bad, 10, 0));
	BAD("write", write(file, bad, 10));
	BAD("stat", stat(bad, &(struct stat){ 0 }));
	BAD("open", open(bad, O_RDONLY));
	BAD("writev", writev(file, bad, 1));
	BAD("sendmsg", sendmsg(pair[0], bad, 0));
	BAD("sendmsg's list", sendmsg(pair[0], &holds, 0));
	BAD("recvmsg", recvmsg(pair[0], bad, MSG_DONTWAIT));
	BAD("execve", execve("/bin/sh", bad, environ));
	BAD("execve's name", execve(bad, (char *[]){ NULL }, environ));
	BAD("ppoll's mask", ppoll(NULL, 0, &(struct timespec){ 0 }, bad));
	BAD("getsockname", getsockname(pair[0], bad, &(socklen_t){ 20 }));
#undef BAD
	munmap(bad, PAGE);
}

/* Each of the table is found in the module first, and the C library has it. */
static void names(void)
{
	static const char *const all[] = {
#define CALL(type, name, ...) #name,
#define OPEN(name, ...) #name,
#define OWN(name) #name,
#include "calls.def"
	};
	Dl_info ours, one;
	unsigned missing = 0;

	dladdr((void *)(uintptr_t)hmm_bdwgc_install, &ours);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		void *found = dlsym(RTLD_DEFAULT, all[i]);

		if (found && dladdr(found, &one) && one.dli_fbase == ours.dli_fbase && dlsym(libc, all[i]) != found &&
		    dlsym(libc, all[i]))
			continue;
		printf("# %s\n", all[i]);
		missing++;
	}
	ok(!missing, "every name of the table is wrapped", NULL);
}

static void set_up(void)
{
	char *directory = strdup("/tmp/hmm-calls-XXXXXX");

	libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	plain = aligned_alloc(PAGE, ARENA);
	heap = GC_MALLOC_UNCOLLECTABLE(ARENA + PAGE);
	heap += -(uintptr_t)heap & (PAGE - 1);
	if (!libc || !mkdtemp(directory) || chdir(directory) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		exit(1);
	file = open("hmm-calls-file", O_RDWR | O_CREAT, 0600);
}

static void clean_up(void)
{
	char directory[PATH_MAX];

	unlink("hmm-calls-file");
	unlink("hmm-calls-other");
	unlink("hmm-calls-third");
	unlink("hmm-calls-socket");
	if (getcwd(directory, sizeof(directory)) && chdir("/") == 0)
		rmdir(directory);
}

int main(int argc, char **argv)
{
	bool is_thread = argc > 1 && strcmp(argv[1], "thread") == 0;
	struct hmm_space_options options = { .size = sizeof(options), .policy = "gc:scan=0.5:lru", .rescue = HMM_RESCUE_NEVER };
	struct hmm_bdwgc_options gc = { .size = sizeof(gc) };
	struct hmm_bdwgc_stats stats = { .size = sizeof(stats) };
	struct hmm_space *space = NULL;
	int r = hmm_space_create(FRAMES, &options, &space);

	gc.flags = is_thread ? HMM_BDWGC_THREAD_DELIVERY : HMM_BDWGC_INLINE_DELIVERY;
	r = r ? r : hmm_bdwgc_install(space, &gc);
	if (r) {
		printf("1..0 # SKIP userfaultfd by %s: %s\n", is_thread ? "thread" : "signal", strerror(-r));
		return 0;
	}
	GC_INIT();
	set_up();
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
		compare(&tries[i]);
	names();
	bad_pointers();
	ok(!hot, "the heap could be paged out before each call", NULL);
	ok(hmm_bdwgc_stats(&stats) == 0 && stats.inline_delivery == !is_thread && !stats.unheld_calls, "nothing could not be held", NULL);
	clean_up();
	printf("1..%u\n", number);
	return failed != 0;
}
