/* SPDX-License-Identifier: MIT */
/*
 * extra.h - measurements that are no workload: resident memory, a huge region, metadata
 *
 * Each is the body of subject_once(): it runs in a process of its own, and its answer begins with an error.
 */
#ifndef BENCH_FAULT_EXTRA_H
#define BENCH_FAULT_EXTRA_H

#include <stdint.h>

#include "bench/fault/impl.h"

struct extra_arg {
	unsigned delivery; /* enum hmm_delivery */
	const char *policy;
	const char *directory;
	unsigned engine;
	int quick;
};

struct extra_resident {
	int error;
	uint64_t bad;
	uint64_t bytes;
	double hurd_ns, plain_ns; /* per access */
};
void extra_resident(void *arg, void *answer);

struct extra_tebibyte {
	int error;
	uint64_t bad;
	double map_ms;
	uint64_t touched[2];
	double touch_ms[2], destroy_ms[2];
};
void extra_tebibyte(void *arg, void *answer);

struct extra_metadata {
	int error;
	uint64_t bad;
	double bytes_per_page;     /* of address space in use */
	double bytes_per_frame;
	uint64_t untouched_bytes;  /* what mapping 1 TiB adds before any page is touched */
	uint64_t fixed_bytes;      /* what is left: neither per page nor per frame */
};
void extra_metadata(void *arg, void *answer);

#endif
