/* SPDX-License-Identifier: MIT */
/*
 * cgroup.h - a memory cgroup of one's own, version 1 or 2
 */
#ifndef BENCH_KERNEL_CGROUP_H
#define BENCH_KERNEL_CGROUP_H

#include <limits.h>
#include <stdint.h>

#include "bench/kernel/text.h"

struct cgroup {
	char path[PATH_MAX]; /* "" if there is none */
	int version;
};

/* Make a new one below the root of the memory controller.  -errno, and why in words. */
int cgroup_create(struct cgroup *cgroup, char why[TEXT_BYTES]);
/* End all processes in it, and remove it. */
void cgroup_destroy(struct cgroup *cgroup);

/* By directory: move the calling process in; allow it `bytes` more than it uses now. */
int cgroup_enter(const char *path);
int cgroup_allow(const char *path, uint64_t bytes);

/* Write text to a file of the kernel's.  -errno. */
int write_text(const char *path, const char *text);
/* Its first line, without the end; -errno. */
int read_text(const char *path, char *text, unsigned bytes);

#endif
