/* SPDX-License-Identifier: MIT */
/*
 * main.c - a key-value store in two files
 *
 *	btree FILE put KEY VALUE ...   one or more pairs, committed together
 *	btree FILE get KEY
 *	btree FILE remove KEY ...
 *	btree FILE scan [FROM [N]]
 *	btree FILE load N [SEED]       N random numbers; says every 1000 how many are committed
 *	btree FILE check N [SEED]      are the first N numbers of that seed there?
 *
 * FILE holds the pages, FILE.log the log.  Kill it whenever you like: the next one recovers.
 * BTREE_BUDGET: frames, 1024 if it is not set.  BTREE_POLICY: "db:s3fifo".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "tree.h"

#define MAX_PAGES (UINT64_C(1) << 20) /* 4 GiB; the file is sparse */
#define COMMIT_EVERY 1000u
#define CHECKPOINT_EVERY 50000u

struct program {
	struct hmm_space *space;
	struct hmm_store *store;
	struct btree *tree;
	int fd, log_fd;
};

static int open_files(struct program *p, const char *path)
{
	char *log_path;

	if (asprintf(&log_path, "%s.log", path) < 0)
		return -ENOMEM;
	p->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	p->log_fd = p->fd < 0 ? -1 : open(log_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	free(log_path);
	if (p->log_fd < 0 || ftruncate(p->fd, (off_t)(MAX_PAGES * PAGE_SIZE)) < 0)
		return -errno;
	return hmm_store_file(p->fd, 0, &p->store);
}

static int start(struct program *p, const char *path)
{
	const char *budget = getenv("BTREE_BUDGET"), *policy = getenv("BTREE_POLICY");
	struct hmm_space_options options = { .size = sizeof(options), .policy = policy ? policy : "db:s3fifo" };
	struct btree_options tree = { .max_pages = MAX_PAGES, .dirty_target = 50 };
	struct device device;
	int r = open_files(p, path);

	device = device_file(p->log_fd);
	if (r == 0)
		r = hmm_space_create(budget ? strtoull(budget, NULL, 0) : 1024, &options, &p->space);
	if (r == 0)
		r = btree_open(p->space, p->store, &device, &tree, &p->tree);
	return r;
}

static int stop(struct program *p)
{
	int r = p->tree ? btree_close(p->tree) : 0;

	hmm_space_destroy(p->space);
	hmm_store_put(p->store);
	return r;
}

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 0);
}

static int put_all(struct btree *t, char **words, int n)
{
	int r = 0;

	for (int i = 0; r == 0 && i + 1 < n; i += 2) {
		uint8_t value[VALUE_SIZE] = { 0 };

		strncpy((char *)value, words[i + 1], VALUE_SIZE - 1);
		r = btree_put(t, number(words[i]), value);
	}
	return r < 0 ? r : btree_commit(t, NULL);
}

static int remove_all(struct btree *t, char **words, int n)
{
	int r = 0;

	for (int i = 0; r == 0 && i < n; i++)
		r = btree_remove(t, number(words[i]));
	return r < 0 ? r : btree_commit(t, NULL);
}

static int print_one(struct btree *t, uint64_t key)
{
	uint8_t value[VALUE_SIZE];
	int r = btree_get(t, key, value);

	if (r == 0)
		printf("%s\n", (const char *)value);
	return r;
}

static int print_entry(void *arg, uint64_t key, const uint8_t value[VALUE_SIZE])
{
	uint64_t *left = arg;

	if (*left == 0)
		return 1;
	--*left;
	printf("%" PRIu64 " %.*s\n", key, (int)VALUE_SIZE, (const char *)value);
	return 0;
}

/* The i-th number of a seed: splitmix64. */
static uint64_t draw(uint64_t seed, uint64_t i)
{
	uint64_t x = seed + i * 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static int load(struct btree *t, uint64_t n, uint64_t seed)
{
	int r = 0;

	for (uint64_t i = 1; r == 0 && i <= n; i++) {
		uint8_t value[VALUE_SIZE] = { 0 };

		snprintf((char *)value, sizeof(value), "number %" PRIu64, i);
		r = btree_put(t, draw(seed, i), value);
		if (r == 0 && (i % COMMIT_EVERY == 0 || i == n)) {
			r = btree_commit(t, NULL);
			if (r == 0)
				printf("%" PRIu64 "\n", i);
			fflush(stdout);
		}
		if (r == 0 && i % CHECKPOINT_EVERY == 0)
			r = btree_checkpoint(t);
	}
	return r;
}

static int check(struct btree *t, uint64_t n, uint64_t seed)
{
	for (uint64_t i = 1; i <= n; i++) {
		char expected[VALUE_SIZE];
		uint8_t value[VALUE_SIZE];
		int r = btree_get(t, draw(seed, i), value);

		snprintf(expected, sizeof(expected), "number %" PRIu64, i);
		if (r < 0 || strcmp(expected, (const char *)value) != 0) {
			fprintf(stderr, "number %" PRIu64 " of seed %" PRIu64 " is missing or wrong\n", i, seed);
			return r < 0 ? r : -EBADMSG;
		}
	}
	printf("%" PRIu64 " are there, in %" PRIu64 " pages\n", n, btree_pages(t));
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: btree FILE put KEY VALUE ... | get KEY | remove KEY ... | scan [FROM [N]] |\n"
	                "                  load N [SEED] | check N [SEED]\n");
	return 2;
}

/* words: the command and its arguments, n of them.  1: that is no command. */
static int run(struct btree *t, char **words, int n)
{
	uint64_t left = n > 2 ? number(words[2]) : UINT64_MAX, seed = n > 2 ? number(words[2]) : 1;
	int r;

	if (strcmp(words[0], "put") == 0 && n >= 3 && n % 2 == 1)
		return put_all(t, words + 1, n - 1);
	if (strcmp(words[0], "remove") == 0 && n >= 2)
		return remove_all(t, words + 1, n - 1);
	if (strcmp(words[0], "get") == 0 && n == 2)
		return print_one(t, number(words[1]));
	if (strcmp(words[0], "load") == 0 && n >= 2)
		return load(t, number(words[1]), seed);
	if (strcmp(words[0], "check") == 0 && n >= 2)
		return check(t, number(words[1]), seed);
	if (strcmp(words[0], "scan") == 0) {
		r = btree_scan(t, n > 1 ? number(words[1]) : 0, 1, print_entry, &left);
		return r < 0 ? r : 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct program p = { .fd = -1, .log_fd = -1 };
	int r, stopped;

	if (argc < 3)
		return usage();
	r = start(&p, argv[1]);
	if (r == 0)
		r = run(p.tree, argv + 2, argc - 2);
	stopped = stop(&p);
	if (r > 0)
		return usage();
	if (r == 0)
		r = stopped;
	if (r < 0)
		fprintf(stderr, "btree: %s\n", strerror(-r));
	return r < 0;
}
