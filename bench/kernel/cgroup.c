/* SPDX-License-Identifier: MIT */
/*
 * cgroup.c - a memory cgroup of one's own, version 1 or 2
 */
#include "bench/kernel/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

int read_text(const char *path, char *text, unsigned bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, bytes - 1);
	if (n < 0) {
		r = -errno;
	} else {
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
	}
	close(fd);
	return r;
}

/* Where the memory controller is mounted; 1 or 2 is its version, 0: nowhere. */
static int find_controller(char path[PATH_MAX])
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct mntent *entry;
	int version = 0;

	while (mounts && !version && (entry = getmntent(mounts))) {
		char file[PATH_MAX + 32], text[256];

		if (strcmp(entry->mnt_type, "cgroup") == 0 && hasmntopt(entry, "memory"))
			version = 1;
		if (strcmp(entry->mnt_type, "cgroup2") == 0) {
			snprintf(file, sizeof(file), "%s/cgroup.subtree_control", entry->mnt_dir);
			if (read_text(file, text, sizeof(text)) == 0 && strstr(text, "memory"))
				version = 2;
		}
		if (version)
			snprintf(path, PATH_MAX, "%s", entry->mnt_dir);
	}
	if (mounts)
		endmntent(mounts);
	return version;
}

int cgroup_create(struct cgroup *cgroup, char why[TEXT_BYTES])
{
	char root[PATH_MAX - 64];
	int r;

	cgroup->path[0] = '\0';
	{
		char found[PATH_MAX];

		cgroup->version = find_controller(found);
		if (!cgroup->version || strlen(found) >= sizeof(root)) {
			snprintf(why, TEXT_BYTES, "no memory cgroup controller is mounted");
			return -ENOTSUP;
		}
		strcpy(root, found);
	}
	snprintf(cgroup->path, sizeof(cgroup->path), "%s/hurd-mm-bench-%d", root, (int)getpid());
	if (mkdir(cgroup->path, 0755) < 0) {
		r = -errno;
		snprintf(why, TEXT_BYTES, "memory cgroup: mkdir: %s", strerror(-r));
		cgroup->path[0] = '\0';
		return r;
	}
	return 0;
}

/* Returns how many processes were still there. */
static int end_processes(const char *path)
{
	char file[PATH_MAX + 32];
	FILE *list;
	int pid, n = 0;

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	list = fopen(file, "re");
	while (list && fscanf(list, "%d", &pid) == 1) {
		kill(pid, SIGKILL);
		n++;
	}
	if (list)
		fclose(list);
	return n;
}

void cgroup_destroy(struct cgroup *cgroup)
{
	struct timespec pause = { 0, 2000000 };

	if (!cgroup->path[0])
		return;
	/* A dying process stays in the list until its memory is gone. */
	for (int i = 0; i < 5000 && end_processes(cgroup->path); i++)
		nanosleep(&pause, NULL);
	for (int i = 0; i < 500 && rmdir(cgroup->path) < 0 && errno == EBUSY; i++)
		nanosleep(&pause, NULL);
	cgroup->path[0] = '\0';
}

int cgroup_enter(const char *path)
{
	char file[PATH_MAX + 32], pid[16];

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	return write_text(file, pid);
}

int cgroup_allow(const char *path, uint64_t bytes)
{
	char file[PATH_MAX + 32], text[32];
	int r;

	snprintf(file, sizeof(file), "%s/memory.current", path);
	r = read_text(file, text, sizeof(text));
	if (r == -ENOENT) {
		snprintf(file, sizeof(file), "%s/memory.usage_in_bytes", path);
		r = read_text(file, text, sizeof(text));
	}
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%llu", strtoull(text, NULL, 10) + (unsigned long long)bytes);
	snprintf(file, sizeof(file), "%s/memory.max", path);
	r = write_text(file, text);
	if (r == -ENOENT) {
		snprintf(file, sizeof(file), "%s/memory.limit_in_bytes", path);
		r = write_text(file, text);
	}
	return r;
}
