/* SPDX-License-Identifier: MIT */
/*
 * stack.h - LRU stack distances, exact, one request at a time
 *
 * The stack distance of a request is the number of different pages requested since the page's last request, itself
 * included: LRU of c frames hits exactly where it is at most c (R. L. Mattson et al., "Evaluation techniques for storage
 * hierarchies", IBM Systems Journal 9(2), 1970).
 *
 * Every request takes the next slot of compacted time and frees the page's slot before; the distance is the number of
 * slots in use from that one on (after B. T. Bennett, V. J. Kruskal, "LRU stack processing", IBM J. R&D 19(4), 1975).  Slots
 * are bits, counted by words of 64 in a Fenwick tree, which is therefore so small that it stays in the cache; the word being
 * filled is outside of the tree.  When slots run out those in use are moved together.
 *
 * D1  last[page] is the page's slot, or NO_SLOT; owner[slot] is valid where the slot's bit is set.
 * D2  tree counts the bits of all blocks below top's; open_count those of top's block.
 * Cost: O(log(pages / 64)) a request; 4 bytes a page, 4 1/5 bytes a slot, 2 to 4 slots a page.
 */
#ifndef HMM_SIM_STACK_H
#define HMM_SIM_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NO_SLOT UINT32_MAX
/* Into a caller that may be compiled for a processor that counts bits. */
#define STACK_INLINE inline __attribute__((always_inline))
#define BLOCK_SHIFT 6 /* a word of bits: larger blocks are slower */

struct stack {
	uint32_t *last;
	uint32_t *owner;
	uint64_t *bits;
	uint32_t *tree;       /* from 1 */
	uint32_t npages;      /* room in last */
	uint32_t nslots;      /* a multiple of a block */
	uint32_t top;         /* next slot */
	uint32_t live;        /* slots in use */
	uint32_t open_count;
	bool is_broken;       /* out of memory: distances mean nothing any more */
};

/* For pages below npages.  False: out of memory. */
bool stack_reserve(struct stack *stack, uint32_t npages);
void stack_free(struct stack *stack);
/* Move the slots in use together, into as many as are needed; top is below nslots afterwards, or is_broken set. */
void stack_compact(struct stack *stack);

static STACK_INLINE void stack_tree_add(struct stack *stack, uint32_t block, uint32_t count)
{
	uint32_t n = stack->nslots >> BLOCK_SHIFT;

	for (uint32_t i = block + 1; i <= n; i += i & -i)
		stack->tree[i] += count;
}

/* Bits in use below a block. */
static STACK_INLINE uint32_t stack_tree_below(const struct stack *stack, uint32_t block)
{
	uint32_t sum = 0;

	for (uint32_t i = block; i != 0; i &= i - 1)
		sum += stack->tree[i];
	return sum;
}

/* Slots in use up to this one, which is. */
static STACK_INLINE uint32_t stack_rank(const struct stack *stack, uint32_t slot)
{
	uint32_t block = slot >> BLOCK_SHIFT, below;

	below = block == stack->top >> BLOCK_SHIFT ? stack->live - stack->open_count : stack_tree_below(stack, block);
	return below + (uint32_t)__builtin_popcountll(stack->bits[block] << (63 - (slot & 63)));
}

/* The page leaves the stack, where it is. */
static STACK_INLINE void stack_remove(struct stack *stack, uint32_t page)
{
	uint32_t slot = stack->last[page], block = slot >> BLOCK_SHIFT;

	stack->bits[slot >> 6] &= ~(UINT64_C(1) << (slot & 63));
	if (block == stack->top >> BLOCK_SHIFT)
		stack->open_count--;
	else
		stack_tree_add(stack, block, UINT32_MAX);
	stack->live--;
	stack->last[page] = NO_SLOT;
}

static STACK_INLINE void stack_push(struct stack *stack, uint32_t page)
{
	uint32_t slot = stack->top;

	stack->bits[slot >> 6] |= UINT64_C(1) << (slot & 63);
	stack->owner[slot] = page;
	stack->last[page] = slot;
	stack->live++;
	stack->open_count++;
	stack->top++;
	if ((stack->top & ((1u << BLOCK_SHIFT) - 1)) != 0)
		return;
	stack_tree_add(stack, slot >> BLOCK_SHIFT, stack->open_count);
	stack->open_count = 0;
	if (stack->top == stack->nslots)
		stack_compact(stack);
}

/* A request.  Returns the distance, 0 if the page is not in the stack. */
static STACK_INLINE uint32_t stack_touch(struct stack *stack, uint32_t page)
{
	uint32_t slot = stack->last[page], distance = 0;

	if (slot != NO_SLOT) {
		if (slot + 1 == stack->top)
			return 1;
		distance = stack->live - stack_rank(stack, slot) + 1;
		stack_remove(stack, page);
	}
	stack_push(stack, page);
	return distance;
}

#endif
