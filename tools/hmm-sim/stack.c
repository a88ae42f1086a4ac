/* SPDX-License-Identifier: MIT */
/*
 * stack.c - LRU stack distances: room, and moving slots together; see stack.h
 */
#include "stack.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_LEAST (1u << 15)

bool stack_reserve(struct stack *stack, uint32_t npages)
{
	uint32_t to = npages, *last;

	if (npages > stack->npages) {
		if (stack->npages != 0 && stack->npages < UINT32_MAX / 2 && to < stack->npages * 2)
			to = stack->npages * 2;
		last = realloc(stack->last, (size_t)to * sizeof(*last));
		if (last == NULL)
			return false;
		memset(last + stack->npages, 0xff, (size_t)(to - stack->npages) * sizeof(*last));
		stack->last = last;
		stack->npages = to;
	}
	if (stack->nslots == 0)
		stack_compact(stack);
	return !stack->is_broken;
}

void stack_free(struct stack *stack)
{
	free(stack->last);
	free(stack->owner);
	free(stack->bits);
	free(stack->tree);
	*stack = (struct stack){ .last = NULL };
}

/* Slots in use go to the beginning of owner, in their order. */
static void move_together(struct stack *stack)
{
	uint32_t n = 0;

	for (uint32_t word = 0; word < (stack->top + 63) >> 6; word++) {
		for (uint64_t bits = stack->bits[word]; bits != 0; bits &= bits - 1) {
			uint32_t page = stack->owner[word * 64 + (uint32_t)__builtin_ctzll(bits)];

			stack->owner[n] = page;
			stack->last[page] = n++;
		}
	}
}

static bool resize(struct stack *stack, uint32_t nslots)
{
	uint32_t *owner = realloc(stack->owner, (size_t)nslots * sizeof(*owner));
	uint64_t *bits;
	uint32_t *tree;

	if (owner == NULL)
		return false;
	stack->owner = owner;
	bits = realloc(stack->bits, nslots / 8);
	if (bits == NULL)
		return false;
	stack->bits = bits;
	tree = realloc(stack->tree, (((size_t)nslots >> BLOCK_SHIFT) + 1) * sizeof(*tree));
	if (tree == NULL)
		return false;
	stack->tree = tree;
	stack->nslots = nslots;
	return true;
}

void stack_compact(struct stack *stack)
{
	uint32_t n = stack->live, nslots = stack->nslots, blocks;

	if (stack->bits != NULL)
		move_together(stack);
	while (nslots < SLOTS_LEAST || nslots / 2 < n) {
		if (nslots >= UINT32_MAX / 2) {
			stack->is_broken = true; /* more than 2^30 pages: the trace's own limit comes first */
			break;
		}
		nslots = nslots != 0 ? nslots * 2 : SLOTS_LEAST;
	}
	if (nslots != stack->nslots && !resize(stack, nslots))
		stack->is_broken = true;
	if (stack->nslots == 0)
		return;
	if (stack->is_broken && n == stack->nslots)
		n = 0; /* so that there is a slot to write to */
	memset(stack->bits, 0, stack->nslots / 8);
	memset(stack->bits, 0xff, n / 64 * 8);
	if (n % 64 != 0)
		stack->bits[n / 64] = ~UINT64_C(0) >> (64 - n % 64);
	memset(stack->tree, 0, (((size_t)stack->nslots >> BLOCK_SHIFT) + 1) * sizeof(*stack->tree));
	stack->top = n;
	stack->live = n;
	blocks = n >> BLOCK_SHIFT;
	for (uint32_t block = 0; block < blocks; block++)
		stack_tree_add(stack, block, 1u << BLOCK_SHIFT);
	stack->open_count = n - (blocks << BLOCK_SHIFT);
}
