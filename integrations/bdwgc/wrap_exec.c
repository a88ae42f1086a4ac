/* SPDX-License-Identifier: MIT */
/*
 * wrap_exec.c - programs that are started with names, arguments and environment in the heap
 *
 * X1  Lists and strings are copied to the stack, up to TEXT_MOST bytes: after exec nobody could unpin them, in a child of
 *     vfork(2) for the parent's lifetime.  What is more is touched before each try.
 * X2  system() and popen() take the environment from where it is: its strings are pinned for as long as they run.
 */
#include "loans.h"

#include <alloca.h>
#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEXT_MOST ((size_t)64 << 10)
#define STRINGS_MOST ((size_t)4096)
#define TRIES 16u

typedef char *const *strings;

/* Strings up to the NULL; SIZE_MAX: they can't be read.  *bytes: of those that lie in the heap. */
static size_t measure(strings list, size_t *bytes)
{
	for (size_t n = 0;; n++) {
		char *string;

		if (!hmm__peek(&string, &list[n], sizeof(string)))
			return SIZE_MAX;
		if (!string)
			return n;
		if (hmm__is_lent(string, 1))
			*bytes += hmm__string_length(string);
	}
}

static void copy(char **to, strings from, size_t n, char **text)
{
	for (size_t i = 0; i < n; i++) {
		size_t length = hmm__is_lent(from[i], 1) ? hmm__string_length(from[i]) : 0;

		to[i] = length ? memcpy(*text, from[i], length) : from[i];
		*text += length;
	}
	to[n] = NULL;
}

static void touch(strings list)
{
	size_t bytes = 0;

	if (list)
		(void)measure(list, &bytes);
}

/* What is called in the end. */
struct start {
	int (*call)(const struct start *start, const char *path, strings argv, strings envp);
	int fd, flags;
	pid_t *pid;
	const posix_spawn_file_actions_t *actions;
	const posix_spawnattr_t *attr;
};

static int start_touched(const struct start *start, const char *path, strings argv, strings envp)
{
	int r = -1;

	for (unsigned i = 0; i < TRIES; i++) {
		touch(argv);
		touch(envp);
		r = start->call(start, path, argv, envp);
		if (r != EFAULT && (r != -1 || errno != EFAULT))
			break;
	}
	return r;
}

/* X1 */
static int start(const struct start *start, const char *path, strings argv, strings envp)
{
	size_t bytes = 0, nargv = 0, nenvp = 0;
	char **args, **envs, *text;
	LOANS(loans);

	if (!hmm__heap.is_inline)
		return start->call(start, path, argv, envp);
	path = hmm__lend_string(&loans, LENT(path), HMM__READ);
	nargv = argv ? measure(argv, &bytes) : 0;
	nenvp = envp ? measure(envp, &bytes) : 0;
	if (nargv == SIZE_MAX || nenvp == SIZE_MAX)
		return start->call(start, path, argv, envp); /* which says what is wrong */
	if (bytes > TEXT_MOST || nargv + nenvp > STRINGS_MOST)
		return start_touched(start, path, argv, envp);

	args = alloca((nargv + 1) * sizeof(*args));
	envs = alloca((nenvp + 1) * sizeof(*envs));
	text = alloca(bytes + 1);
	if (argv)
		copy(args, argv, nargv, &text);
	if (envp)
		copy(envs, envp, nenvp, &text);
	return start->call(start, path, argv ? args : NULL, envp ? envs : NULL);
}

NEXT(execve)

static int call_execve(const struct start *start, const char *path, strings argv, strings envp)
{
	(void)start;
	return REAL(execve)(path, argv, envp);
}

WRAPPER int execve(const char *path, strings argv, strings envp)
{
	return start(&(struct start){ .call = call_execve }, path, argv, envp);
}

WRAPPER int execv(const char *path, strings argv)
{
	return execve(path, argv, environ);
}

NEXT(execvpe)

static int call_execvpe(const struct start *start, const char *path, strings argv, strings envp)
{
	(void)start;
	return REAL(execvpe)(path, argv, envp);
}

WRAPPER int execvpe(const char *path, strings argv, strings envp)
{
	return start(&(struct start){ .call = call_execvpe }, path, argv, envp);
}

WRAPPER int execvp(const char *path, strings argv)
{
	return execvpe(path, argv, environ);
}

/* Arguments up to the NULL, counted and then copied to a list. */
#define ARGUMENTS(list) \
	va_list rest; \
	size_t n = 1; \
	va_start(rest, argument); \
	for (const char *next = argument; next; n++) \
		next = va_arg(rest, const char *); \
	va_end(rest); \
	char **list = alloca(n * sizeof(*list)); \
	va_start(rest, argument); \
	list[0] = (char *)(uintptr_t)argument; \
	for (size_t i = 1; i < n; i++) \
		list[i] = va_arg(rest, char *)

WRAPPER int execl(const char *path, const char *argument, ...)
{
	ARGUMENTS(list);
	va_end(rest);
	return execve(path, list, environ);
}

WRAPPER int execlp(const char *path, const char *argument, ...)
{
	ARGUMENTS(list);
	va_end(rest);
	return execvpe(path, list, environ);
}

WRAPPER int execle(const char *path, const char *argument, ...)
{
	strings envp;

	ARGUMENTS(list);
	envp = va_arg(rest, strings);
	va_end(rest);
	return execve(path, list, envp);
}

NEXT(fexecve)

static int call_fexecve(const struct start *start, const char *path, strings argv, strings envp)
{
	(void)path;
	return REAL(fexecve)(start->fd, argv, envp);
}

WRAPPER int fexecve(int fd, strings argv, strings envp)
{
	return start(&(struct start){ .call = call_fexecve, .fd = fd }, NULL, argv, envp);
}

#if __GLIBC_PREREQ(2, 34)
NEXT(execveat)

static int call_execveat(const struct start *start, const char *path, strings argv, strings envp)
{
	return REAL(execveat)(start->fd, path, argv, envp, start->flags);
}

WRAPPER int execveat(int fd, const char *path, strings argv, strings envp, int flags)
{
	return start(&(struct start){ .call = call_execveat, .fd = fd, .flags = flags }, path, argv, envp);
}
#endif

/*
 * posix_spawn() has all signals blocked, in the parent and in the child, which has its parent's memory: neither must come to
 * a page that is not resident, so what they look at by themselves is lent, too.
 */
#define SPAWN(name) \
	NEXT(name) \
	static int call_##name(const struct start *start, const char *path, strings argv, strings envp) \
	{ \
		return REAL(name)(start->pid, path, start->actions, start->attr, argv, envp); \
	} \
	WRAPPER int name(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions, \
	                 const posix_spawnattr_t *restrict attr, strings argv, strings envp) \
	{ \
		LOANS(loans); \
		struct start how = { .call = call_##name }; \
		how.pid = hmm__lend(&loans, LENT(pid), sizeof(*pid), HMM__WRITTEN, 0); \
		how.actions = hmm__lend(&loans, LENT(actions), sizeof(*actions), HMM__READ, 0); \
		how.attr = hmm__lend(&loans, LENT(attr), sizeof(*attr), HMM__READ, 0); \
		return start(&how, path, argv, envp); \
	}

SPAWN(posix_spawn)
SPAWN(posix_spawnp)

/* X2 */

struct environment {
	struct hmm__pin *pins;
	size_t n;
};

static void end_environment(struct environment *environment)
{
	while (environment->n)
		hmm__unpin(&environment->pins[--environment->n]);
}

static void pin_more(struct environment *environment, const void *from, size_t length)
{
	hmm__pin(&environment->pins[environment->n], from, length, false, false);
	environment->n += environment->pins[environment->n].length != 0;
}

/* Its strings in the heap, and the list. */
static size_t count_environment(void)
{
	size_t n = 0;

	for (strings e = environ; hmm__heap.is_inline && e && *e; e++)
		n += hmm__is_lent(*e, 1);
	return n + 1;
}

static void pin_environment(struct environment *environment, size_t most)
{
	size_t n = 0;

	for (strings e = environ; e && *e; e++, n++) {
		if (hmm__is_lent(*e, 1) && environment->n + 1 < most)
			pin_more(environment, *e, hmm__string_length(*e));
	}
	pin_more(environment, environ, (n + 1) * sizeof(*environ));
}

#define ENVIRONMENT() \
	size_t most = count_environment(); \
	struct hmm__pin *pins = alloca(most * sizeof(*pins)); \
	__attribute__((cleanup(end_environment))) struct environment environment = { pins, 0 }; \
	if (hmm__heap.is_inline) \
		pin_environment(&environment, most)

NEXT(system)

WRAPPER int system(const char *command)
{
	LOANS(loans);
	ENVIRONMENT();
	return REAL(system)(hmm__lend_string(&loans, LENT(command), HMM__READ));
}

NEXT(popen)

WRAPPER FILE *popen(const char *command, const char *mode)
{
	LOANS(loans);
	ENVIRONMENT();
	return REAL(popen)(hmm__lend_string(&loans, LENT(command), HMM__READ), mode);
}
