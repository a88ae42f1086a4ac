/* SPDX-License-Identifier: MIT */
/*
 * settings.c - settings of the machine, changed for a test and put back
 *
 * The keeper leads a session of its own and ignores the signals of a terminal; the only way to make it undo its work is
 * the end of the socket.  It is made with all that the test has by then, so before threads and spaces.
 */
#include "tests/kernelswap/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT 256

static int write_value(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* What is to be written to have it again: of a choice, "always [madvise] never", the one in brackets. */
static int read_value(const char *path, char value[TEXT])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *open_bracket;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, value, TEXT - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	value[n] = '\0';
	value[strcspn(value, "\n")] = '\0';
	open_bracket = strchr(value, '[');
	if (open_bracket) {
		memmove(value, open_bracket + 1, strlen(open_bracket));
		value[strcspn(value, "]")] = '\0';
	}
	return 0;
}

static int change(const struct setting *list, char before[SETTINGS_MOST][TEXT], unsigned *n)
{
	int r = 0;

	for (*n = 0; !r && list[*n].path && *n < SETTINGS_MOST; *n += !r) {
		r = read_value(list[*n].path, before[*n]);
		if (!r)
			r = write_value(list[*n].path, list[*n].value);
	}
	return r;
}

static void keep(int socket, const struct setting *list)
{
	static char before[SETTINGS_MOST][TEXT];
	int lock = open(list[0].path, O_RDONLY | O_CLOEXEC), r = lock < 0 ? -errno : 0;
	unsigned n = 0;
	char byte;

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	while (!r && flock(lock, LOCK_EX) < 0)
		r = errno == EINTR ? 0 : -errno;
	if (!r)
		r = change(list, before, &n);
	if (write(socket, &r, sizeof(r)) == sizeof(r) && !r) {
		while (read(socket, &byte, 1) < 0 && errno == EINTR)
			;
	}
	while (n--)
		write_value(list[n].path, before[n]);
	_exit(0);
}

int settings_change(struct settings *settings, const struct setting *list)
{
	int ends[2], r = -EIO;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	settings->keeper = fork();
	if (!settings->keeper) {
		close(ends[0]);
		keep(ends[1], list);
	}
	close(ends[1]);
	settings->socket = ends[0];
	if (settings->keeper < 0) {
		close(ends[0]);
		return -EAGAIN;
	}
	if (read(settings->socket, &r, sizeof(r)) != sizeof(r))
		r = -EIO;
	if (r)
		settings_restore(settings);
	return r;
}

void settings_restore(struct settings *settings)
{
	close(settings->socket);
	while (waitpid(settings->keeper, NULL, 0) < 0 && errno == EINTR)
		;
}
