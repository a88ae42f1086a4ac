/* SPDX-License-Identifier: MIT */
/*
 * paged-sort.h - what the files of paged-sort share
 *
 * paged-sort sorts a text with the C library's own qsort() while the text, the array and qsort's temporary lie in
 * memory that the program pages itself, in a fraction of the frames they would need.  Each policy runs in a process of
 * its own, so that the peak the kernel reports is that run's alone.
 *
 *   options.c what the user said
 *   corpus.c  the text: found, cut or replicated to a size, written to one file
 *   job.c     one run, in a fresh process: load, sort, write
 *   memory.c  where the run's memory comes from, and qsort's temporary with it
 *   watch.c   a thread that samples the process as the kernel sees it, and draws the bar
 *   spawn.c   start a run, start sort(1), compare their outputs
 *   report.c  table, verdict and picture
 */
#ifndef PAGED_SORT_H
#define PAGED_SORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hurd-mm/hurd-mm.h>

#define MIB (1024.0 * 1024.0)
#define MAX_RUNS 16

/* One line.  Most comparisons end within the key; the text is touched only where keys are equal. */
#define KEY_BYTES 20
struct record {
	uint64_t offset;
	uint32_t length; /* without the newline */
	unsigned char key[KEY_BYTES]; /* the line's first bytes, zeros after a shorter one */
};

/* What a run is told. */
struct job {
	const char *name;   /* a policy, with parameters if you like; "plain": ordinary memory, nothing paged */
	const char *dir;    /* input.txt is there, and everything made goes there */
	uint64_t bytes;     /* of text */
	uint64_t lines;
	uint64_t budget;    /* bytes */
	uint32_t delivery;  /* enum hmm_delivery */
	uint32_t direct;    /* enum hmm_direct, of the swap file */
};

/* What it tells when it has ended. */
struct result {
	double load_seconds, sort_seconds, write_seconds;
	uint64_t comparisons;
	uint64_t own;         /* bytes resident before the first page of data: program, libraries, buffers, stacks */
	uint64_t peak;        /* VmHWM, bytes: the kernel's own high-water mark */
	uint64_t peak_sample; /* the largest VmRSS that a sample saw */
	uint64_t samples;
	struct hmm_stats stats;
};

/* common */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void file_name(char *buffer, size_t size, const char *dir, const char *name, const char *suffix);
double now_seconds(void);

/* options.c */
struct options {
	uint64_t size, budget; /* bytes; 0: see --help */
	const char *policies[MAX_RUNS - 1];
	unsigned npolicies;
	uint32_t delivery, direct;
	bool plain, keep;
	const char *dir;
	char *inputs[MAX_RUNS + 1];
	unsigned ninputs;
};
void options_parse(int argc, char **argv, struct options *ret_options);

/* corpus.c */
struct corpus {
	uint64_t bytes, lines, files;
	unsigned rounds; /* 1: as found; n: the lines turned round by 0 .. n - 1 words */
	bool repeated;   /* even that was too little: lines come more than once */
};
/* Write lines to dir/input.txt until text and records together take `size` bytes (0: once everything there is). */
void corpus_make(const char *dir, char *const *paths, uint64_t size, struct corpus *ret_corpus);

/* job.c */
void job_run(const struct job *job, int result_fd);

/* memory.c */
struct memory {
	struct hmm_space *space; /* NULL: plain */
	const struct job *job;
	size_t piece;            /* the most to pin at once */
};
void memory_open(struct memory *memory, const struct job *job);
void *memory_get(struct memory *memory, size_t length, struct hmm_region **ret_region);
/* Let the kernel itself write to a range: resident and held until memory_release(). */
void memory_hold(struct hmm_region *region, void *address, size_t length);
void memory_release(struct hmm_region *region, void *address, size_t length);
void memory_qsort(struct memory *memory, void *base, size_t n, size_t size,
                  int (*compare)(const void *, const void *));
void memory_stats(struct memory *memory, struct hmm_stats *stats);

/* watch.c */
enum phase { PHASE_LOAD, PHASE_SORT, PHASE_WRITE, PHASE_END };
void watch_make_resident(void);
void watch_start(const struct job *job, struct memory *memory);
void watch_phase(enum phase phase, uint64_t total);
void watch_done(uint64_t done); /* of the phase's total; called often, from the thread that works */
void watch_stop(struct result *result);

/* spawn.c */
bool spawn_run(const struct job *job, struct result *ret_result);
double spawn_reference(const char *dir);
bool spawn_compare(const char *dir, const char *name);

/* report.c */
void report_header(void);
void report_row(const struct job *job, const struct result *result, bool same);
bool report_budget(const struct job *jobs, const struct result *results, unsigned n);
void report_plot(const struct job *jobs, const struct result *results, unsigned n);

#endif
