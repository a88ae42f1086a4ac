/* SPDX-License-Identifier: MIT */
/*
 * room.c - how much memory the system could still give: MemAvailable, and the limits of the memory cgroups
 *
 * A process is in one cgroup of the memory controller, either of version 2 or of a version 1 hierarchy; every group
 * from there up to the mount's root may have a limit, and the tightest counts.  What a group uses includes the page
 * cache it filled; the part of it that was used once (inactive_file) goes without paging, so it counts as room.
 *
 * G1  A file that is not there is no limit: the root group has none, nor has a controller that is not enabled.  A file
 *     that is there and can't be read is an error, for the answer would be wrong.
 * G2  The path in /proc/self/cgroup counts from the hierarchy's root, a mount may show only a part of it: the mount's
 *     own root is taken off.  A group that the mount does not show has the mount's root as the nearest one visible.
 */
#include "lib/mem/room.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

const char *hmm__room_root = "";

/* Version 1 writes "no limit" as the largest number of bytes that is whole pages and has a sign. */
#define UNLIMITED ((uint64_t)INT64_MAX - 0xffff)

/* How the two versions call what we ask for. */
struct dialect {
	const char *limits[2]; /* the lower counts */
	const char *usage;
	const char *once;      /* in memory.stat: page cache that was used once */
};

static const struct dialect dialects[2] = {
	{ { "memory.limit_in_bytes", "memory.limit_in_bytes" }, "memory.usage_in_bytes", "total_inactive_file " },
	{ { "memory.max", "memory.high" }, "memory.current", "inactive_file " },
};

/* One look at the system: off the stack, which may be a small one. */
struct look {
	const struct dialect *dialect;
	bool v2;

	/* the file being read, line by line; the rest of a line that is too long is left out */
	int fd;
	int error;
	size_t at, end;
	char chunk[1024];
	char line[4096];

	char name[PATH_MAX];  /* of the file, with the root's before it */
	char path[PATH_MAX];  /* of the process's group, in its hierarchy */
	char group[PATH_MAX]; /* directory of the group looked at; its mount point is the first `mount` bytes */
	size_t mount;
};

/* --- files --- */

static int open_file(struct look *l, const char *directory, const char *file)
{
	l->error = 0;
	l->at = l->end = 0;
	if (snprintf(l->name, PATH_MAX, "%s%s/%s", hmm__room_root, directory, file) >= PATH_MAX)
		return -ENAMETOOLONG;
	l->fd = hmm__sys_open(l->name, O_RDONLY, 0);
	return l->fd < 0 ? l->fd : 0;
}

static int close_file(struct look *l)
{
	hmm__sys_close(l->fd);
	return l->error;
}

static bool fill(struct look *l)
{
	ssize_t n;

	do
		n = hmm__sys_read(hmm__fd_number(l->fd), l->chunk, sizeof(l->chunk));
	while (n == -EINTR);
	if (n < 0)
		l->error = (int)n;
	l->at = 0;
	l->end = n > 0 ? (size_t)n : 0;
	return n > 0;
}

/* The next line, without its end; NULL after the last one, and after an error. */
static char *next_line(struct look *l)
{
	size_t n = 0;
	bool any = false;

	while (l->at < l->end || fill(l)) {
		char c = l->chunk[l->at++];

		any = true;
		if (c == '\n')
			break;
		if (n < sizeof(l->line) - 1)
			l->line[n++] = c;
	}
	l->line[n] = 0;
	return any && !l->error ? l->line : NULL;
}

/* A decimal number with nothing or a unit behind it; or, for a limit, "max". */
static int number(const char *text, uint64_t *ret_value)
{
	char *end;

	text += strspn(text, " \t");
	if (!strcmp(text, "max")) {
		*ret_value = UINT64_MAX;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -EBADMSG;
	errno = 0;
	*ret_value = strtoull(text, &end, 10);
	return errno || (*end && *end != ' ') ? -EBADMSG : 0;
}

/* The number behind `key` at the beginning of a line.  -ENODATA: there is no such line. */
static int find_number(struct look *l, const char *directory, const char *file, const char *key, uint64_t *ret_value)
{
	size_t length = strlen(key);
	int found = -ENODATA, error = open_file(l, directory, file);

	if (error)
		return error;
	while (found == -ENODATA && next_line(l)) {
		if (!strncmp(l->line, key, length))
			found = number(l->line + length, ret_value);
	}
	error = close_file(l);
	return error ? error : found;
}

/* --- one group --- */

/* Like find_number(); a file that is not there leaves the value as it is (G1). */
static int group_number(struct look *l, const char *file, const char *key, uint64_t *value)
{
	int r = find_number(l, l->group, file, key, value);

	return r == -ENOENT || r == -ENODATA ? 0 : r;
}

/* What one group leaves. */
static int group_room(struct look *l, uint64_t *room)
{
	uint64_t limits[2] = { UINT64_MAX, UINT64_MAX }, limit, usage = 0, once = 0;
	int r = group_number(l, l->dialect->limits[0], "", &limits[0]);

	r = r ? r : group_number(l, l->dialect->limits[1], "", &limits[1]);
	limit = HMM__MIN(limits[0], limits[1]);
	if (r || limit >= UNLIMITED)
		return r;
	r = group_number(l, l->dialect->usage, "", &usage);
	r = r ? r : group_number(l, "memory.stat", l->dialect->once, &once);
	if (r)
		return r;
	usage -= HMM__MIN(once, usage);
	*room = HMM__MIN(*room, limit > usage ? limit - usage : 0);
	return 0;
}

/* --- which group --- */

/* Is `word` one of the comma-separated words of `list`? */
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (; list; list = strchr(list, ',')) {
		list += *list == ',';
		if (!strncmp(list, word, n) && (!list[n] || list[n] == ','))
			return true;
	}
	return false;
}

/* mountinfo writes blanks and backslashes as three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' &&
		    text[3] >= '0' && text[3] <= '7') {
			*to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

/* The process's path in the hierarchy: version 2's has number 0 and no controllers.  -ENODATA: it is in none. */
static int find_path(struct look *l)
{
	int found = -ENODATA, error = open_file(l, "/proc/self", "cgroup");

	if (error)
		return error;
	while (found == -ENODATA && next_line(l)) {
		char *controllers = strchr(l->line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = 0;
		if (l->v2 ? !strcmp(l->line, "0:") : has_word(controllers + 1, "memory"))
			found = snprintf(l->path, PATH_MAX, "%s", path) < PATH_MAX ? 0 : -ENAMETOOLONG;
	}
	error = close_file(l);
	return error ? error : found;
}

/* number parent device ROOT MOUNTPOINT options [tags] - TYPE source SUPEROPTIONS */
static bool is_mount(struct look *l, char **ret_root, char **ret_point)
{
	const char *type = l->v2 ? " - cgroup2 " : " - cgroup ";
	char *found = strstr(l->line, type), *rest = NULL, *fields[5];

	if (!found || (!l->v2 && !has_word(strrchr(l->line, ' ') + 1, "memory")))
		return false;
	for (unsigned i = 0; i < HMM__ARRAY_SIZE(fields); i++) {
		fields[i] = strtok_r(i ? NULL : l->line, " ", &rest);
		if (!fields[i])
			return false;
	}
	*ret_root = fields[3];
	*ret_point = fields[4];
	unescape(*ret_root);
	unescape(*ret_point);
	return true;
}

/* The part of path below root (G2). */
static const char *below(const char *path, const char *root)
{
	size_t n = strcmp(root, "/") ? strlen(root) : 0;
	bool inside = !strncmp(path, root, n) && (!path[n] || path[n] == '/');

	return inside && strncmp(path, "/..", 3) && path[n + (path[n] == '/')] ? path + n : "";
}

/* Where the hierarchy is mounted, with the process's group in it.  -ENODATA: nowhere. */
static int find_mount(struct look *l)
{
	int found = -ENODATA, error = open_file(l, "/proc/self", "mountinfo");
	char *root, *point;

	if (error)
		return error;
	while (found == -ENODATA && next_line(l)) {
		if (!is_mount(l, &root, &point))
			continue;
		l->mount = strlen(point);
		found = snprintf(l->group, PATH_MAX, "%s%s", point, below(l->path, root)) < PATH_MAX ? 0 : -ENAMETOOLONG;
	}
	error = close_file(l);
	return error ? error : found;
}

/* What the groups of one hierarchy leave, from the process's up. */
static int hierarchy_room(struct look *l, bool v2, uint64_t *room)
{
	int r;

	l->v2 = v2;
	l->dialect = &dialects[v2];
	r = find_path(l);
	r = r ? r : find_mount(l);
	if (r)
		return r == -ENODATA ? 0 : r;
	for (;;) {
		char *slash = strrchr(l->group + l->mount, '/');

		r = group_room(l, room);
		if (r || !slash)
			return r;
		*slash = 0;
	}
}

int hmm__room_read(struct hmm__room *ret_room)
{
	struct hmm__room room = { .group = UINT64_MAX };
	struct look *l = hmm__alloc(sizeof(*l));
	int saved = errno, r;

	if (!l)
		return -ENOMEM;
	r = find_number(l, "/proc", "meminfo", "MemAvailable:", &room.system);
	if (!r && room.system > UINT64_MAX / 1024)
		r = -EBADMSG;
	room.system *= 1024; /* the file has kilobytes */
	for (unsigned v2 = 0; v2 < 2 && !r; v2++)
		r = hierarchy_room(l, v2, &room.group);
	errno = saved;
	hmm__free(l, sizeof(*l));
	if (!r)
		*ret_room = room;
	return r;
}
