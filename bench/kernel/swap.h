/* SPDX-License-Identifier: MIT */
/*
 * swap.h - the kernel's own swap, set up for the benchmark and taken down whatever happens
 *
 * A *keeper* process sets up a memory cgroup and a swap area, and waits until the benchmark closes its end of a
 * socket, or dies, by whatever signal.  Then it ends what lives in the cgroup, and undoes everything in turn.
 */
#ifndef BENCH_KERNEL_SWAP_H
#define BENCH_KERNEL_SWAP_H

#include <stdint.h>
#include <sys/types.h>

#include "bench/kernel/cgroup.h"

enum swap_medium { SWAP_ZRAM, SWAP_FILE };

struct kernel_swap {
	pid_t keeper;
	int socket;
	char cgroup[PATH_MAX];
	char store[32]; /* "zram-lz4", "swap-file" */
};

/* bytes: size of the swap area.  directory: where its file is made.  -errno, and why in words. */
int kernel_swap_start(struct kernel_swap *swap, enum swap_medium medium, uint64_t bytes, const char *directory,
                      char why[TEXT_BYTES]);
/* Returns when the machine is as it was. */
void kernel_swap_stop(struct kernel_swap *swap);

#endif
