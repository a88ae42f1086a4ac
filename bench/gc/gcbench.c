/* SPDX-License-Identifier: MIT */
/*
 * gcbench.c - the workload known as GCBench, on libgc; nothing in it knows of hurd-mm
 *
 * Written from its description (J. Ellis and P. Kovac, H. Boehm): binary trees of a thousand shapes are made and dropped
 * while one long-lived tree and one long-lived array of numbers stay.  First a tree larger than all others stretches the
 * heap; then, for each depth from 4 on, as many trees as make up the same number of nodes, from the root down and from
 * the leaves up.  Several threads do the last part at the same time, each its own trees.
 *
 * Every tree is counted before it is dropped, and what is long-lived is looked at again at the end: the sum that is printed
 * depends on the arguments only.  Exit status 1 if a count is wrong.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define GC_THREADS
#include <gc/gc.h>

#define MIN_DEPTH 4
#define THREADS_MOST 16

struct node {
	struct node *left, *right;
	int32_t depth, number;
};

static int longest = 16; /* depth of the long-lived tree, and of the largest of the others */
static int array_length = 500000;
static int rounds = 1;

static _Atomic uint64_t sum, wrong;

static uint64_t tree_size(int depth)
{
	return (UINT64_C(1) << (depth + 1)) - 1;
}

static struct node *new_node(struct node *left, struct node *right, int depth)
{
	struct node *node = GC_MALLOC(sizeof(*node));

	if (!node) {
		fprintf(stderr, "gcbench: no memory\n");
		exit(1);
	}
	node->left = left;
	node->right = right;
	node->depth = depth;
	node->number = depth * 7 + 1;
	return node;
}

/* From the root down. */
static void populate(int depth, struct node *node)
{
	if (depth <= 0)
		return;
	node->left = new_node(NULL, NULL, depth - 1);
	node->right = new_node(NULL, NULL, depth - 1);
	populate(depth - 1, node->left);
	populate(depth - 1, node->right);
}

/* From the leaves up. */
static struct node *make_tree(int depth)
{
	if (depth <= 0)
		return new_node(NULL, NULL, 0);

	struct node *left = make_tree(depth - 1), *right = make_tree(depth - 1);

	return new_node(left, right, depth);
}

static uint64_t count(const struct node *node, uint64_t *numbers)
{
	if (!node)
		return 0;
	*numbers += (uint64_t)node->number + (uint64_t)node->depth;
	return 1 + count(node->left, numbers) + count(node->right, numbers);
}

static void check_tree(const struct node *tree, int depth)
{
	uint64_t numbers = 0;

	if (count(tree, &numbers) != tree_size(depth))
		wrong++;
	sum += numbers;
}

static void make_trees(int depth)
{
	uint64_t n = tree_size(longest + 2) / tree_size(depth) / 2;

	for (uint64_t i = 0; i < n; i++) {
		struct node *tree = new_node(NULL, NULL, depth);

		populate(depth, tree);
		check_tree(tree, depth);
		check_tree(make_tree(depth), depth);
	}
}

static void *work(void *unused)
{
	for (int round = 0; round < rounds; round++) {
		for (int depth = MIN_DEPTH; depth <= longest; depth += 2)
			make_trees(depth);
	}
	return unused;
}

static void work_in(int nthreads)
{
	pthread_t threads[THREADS_MOST];

	for (int i = 1; i < nthreads; i++) {
		if (pthread_create(&threads[i], NULL, work, NULL)) {
			fprintf(stderr, "gcbench: no thread\n");
			exit(1);
		}
	}
	work(NULL);
	for (int i = 1; i < nthreads; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	int nthreads = argc > 2 ? atoi(argv[2]) : 1;
	struct node *kept;
	double *array, total = 0;

	longest = argc > 1 ? atoi(argv[1]) : longest;
	rounds = argc > 3 ? atoi(argv[3]) : rounds;
	if (longest < MIN_DEPTH || longest > 24 || nthreads < 1 || nthreads > THREADS_MOST || rounds < 1) {
		fprintf(stderr, "Usage: gcbench [DEPTH [THREADS [ROUNDS]]]\n");
		return 2;
	}
	array_length = (int)(tree_size(longest) * 4);
	GC_INIT();
	GC_allow_register_threads();
	check_tree(make_tree(longest + 2), longest + 2);
	kept = new_node(NULL, NULL, longest);
	populate(longest, kept);
	array = GC_MALLOC_ATOMIC((size_t)array_length * sizeof(*array));
	for (int i = 0; array && i < array_length; i++)
		array[i] = i % 1000;
	work_in(nthreads);
	check_tree(kept, longest);
	for (int i = 0; array && i < array_length; i++)
		total += array[i];
	printf("sum %llu %.0f\n", (unsigned long long)sum, total);
	fprintf(stderr, "gcbench: heap %zu\n", GC_get_heap_size());
	fprintf(stderr, "gcbench: collections %lu\n", (unsigned long)GC_get_gc_no());
	return wrong || !array;
}
