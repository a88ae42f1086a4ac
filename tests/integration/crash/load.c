/* SPDX-License-Identifier: MIT */
/*
 * load.c - what is done to the tree, and what must be in it afterwards
 */
#include "tests/integration/crash/load.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define KEY_FACTOR UINT64_C(0x9e3779b97f4a7c15) /* odd: keys are spread, and known by their number */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t load_random(uint64_t *state)
{
	return mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

struct op {
	uint32_t key;
	bool removes;
};

static struct op op_of(const struct ledger *ledger, uint64_t generation, uint64_t nth)
{
	uint64_t x = mix(ledger->seed ^ mix(generation << 32 | nth));

	/* A quarter of the keys gets half of the operations; one in eight removes. */
	return (struct op){
		.key = (uint32_t)(x >> 8) % (x & 1 ? KEYS / 4 : KEYS),
		.removes = (x >> 1 & 7) == 0,
	};
}

/* Contents say which key and operation they are of, and can't be made up of two. */
static void value_of(uint32_t key, uint64_t name, uint8_t value[VALUE_SIZE])
{
	uint64_t words[VALUE_SIZE / 8] = { key, name };

	for (unsigned i = 2; i < VALUE_SIZE / 8; i++)
		words[i] = mix(name * 8 + i + (uint64_t)key);
	memcpy(value, words, VALUE_SIZE);
}

static struct turn current(const struct ledger *ledger)
{
	return ledger->turns[atomic_load(&ledger->turn)];
}

/* Doing it again, after having been killed in the middle, gives the same. */
static void model_advance(struct ledger *ledger, uint64_t ops)
{
	struct turn now = current(ledger);
	unsigned next = 1 - atomic_load(&ledger->turn);

	for (uint64_t nth = 1; nth <= ops - now.base; nth++) {
		struct op op = op_of(ledger, now.generation, nth);

		ledger->last[op.key] = op.removes ? 0 : now.generation << 32 | nth;
	}
	ledger->turns[next] = (struct turn){ .generation = now.generation + 1, .base = ops };
	atomic_store(&ledger->turn, next);
	atomic_store(&ledger->begun, ops);
	atomic_store(&ledger->committed, ops);
}

struct comparison {
	const struct ledger *ledger; /* NULL: any contents of the key will do */
	uint64_t found, wrong, previous;
	const _Atomic bool *stop;
};

static uint32_t key_number(uint64_t key)
{
	uint64_t inverse = KEY_FACTOR;

	for (unsigned i = 0; i < 5; i++)
		inverse *= 2 - KEY_FACTOR * inverse; /* Newton, modulo 2^64 */
	return key * inverse < KEYS ? (uint32_t)(key * inverse) : KEYS;
}

static int compare(void *arg, uint64_t key, const uint8_t value[VALUE_SIZE])
{
	struct comparison *c = arg;
	uint8_t expected[VALUE_SIZE];
	uint32_t number = key_number(key);
	uint64_t name;

	memcpy(&name, value + 8, sizeof(name));
	if (c->ledger && number < KEYS && c->ledger->last[number] != name)
		c->wrong++;
	value_of(number, name, expected);
	c->wrong += number >= KEYS || memcmp(value, expected, VALUE_SIZE) != 0 || (c->found && key <= c->previous);
	c->previous = key;
	c->found++;
	return c->stop && atomic_load(c->stop);
}

int ledger_check(struct ledger *ledger, struct btree *t)
{
	struct comparison c = { .ledger = ledger };
	uint64_t ops = btree_ops(t), expected = 0;
	int r;

	if (ops < atomic_load(&ledger->committed) || ops > atomic_load(&ledger->begun) || ops < current(ledger).base) {
		fprintf(stderr, "recovered %" PRIu64 " operations, committed were %" PRIu64 ", begun %" PRIu64 "\n", ops,
		        atomic_load(&ledger->committed), atomic_load(&ledger->begun));
		return -EBADMSG;
	}
	model_advance(ledger, ops);
	for (uint32_t key = 0; key < KEYS; key++)
		expected += ledger->last[key] != 0;
	r = btree_scan(t, 0, 1, compare, &c);
	if (r == 0 && (c.wrong || c.found != expected)) {
		fprintf(stderr, "after %" PRIu64 " operations: %" PRIu64 " entries of %" PRIu64 ", %" PRIu64 " wrong\n",
		        ops, c.found, expected, c.wrong);
		r = -EBADMSG;
	}
	return r;
}

static int operate(struct ledger *ledger, struct btree *t, uint64_t generation, uint64_t nth)
{
	struct op op = op_of(ledger, generation, nth);
	uint64_t key = op.key * KEY_FACTOR;
	uint8_t value[VALUE_SIZE];

	atomic_fetch_add(&ledger->begun, 1);
	if (op.removes)
		return btree_remove(t, key);
	value_of(op.key, generation << 32 | nth, value);
	return btree_put(t, key, value);
}

static int write_keys(struct ledger *ledger, struct btree *t, uint64_t most)
{
	uint64_t generation = current(ledger).generation, random = ledger->seed ^ generation, committed;
	int r = 0;

	for (uint64_t nth = 1; r == 0 && nth <= most; nth++) {
		r = operate(ledger, t, generation, nth);
		if (r == 0 && load_random(&random) % 32 == 0) {
			r = btree_commit(t, &committed);
			if (r == 0)
				atomic_store(&ledger->committed, committed);
		}
	}
	return r;
}

struct other {
	struct ledger *ledger;
	struct btree *t;
	_Atomic bool stop;
	int r;
	pthread_t id;
};

static void *scan_keys(void *arg)
{
	struct other *o = arg;
	struct comparison c = { .stop = &o->stop };
	uint64_t random = ~o->ledger->seed ^ current(o->ledger).generation;

	while (o->r == 0 && !atomic_load(&o->stop)) {
		uint8_t value[VALUE_SIZE];
		uint64_t key = load_random(&random) % KEYS * KEY_FACTOR;
		int r;

		c.found = 0;
		r = load_random(&random) % 64 ? btree_get(o->t, key, value) : btree_scan(o->t, key, 2, compare, &c);
		o->r = r == -ENOENT || r > 0 ? 0 : r;
		if (c.wrong)
			o->r = -EBADMSG;
	}
	return NULL;
}

static void *make_checkpoints(void *arg)
{
	struct other *o = arg;
	uint64_t random = o->ledger->seed + current(o->ledger).generation;

	while (o->r == 0 && !atomic_load(&o->stop)) {
		uint64_t then = btree_ops(o->t) + load_random(&random) % 512;

		while (btree_ops(o->t) < then && !atomic_load(&o->stop))
			sched_yield();
		o->r = btree_checkpoint(o->t);
	}
	return NULL;
}

int load_run(struct ledger *ledger, struct btree *t, uint64_t most)
{
	struct other scanner = { .ledger = ledger, .t = t }, checkpointer = { .ledger = ledger, .t = t };
	int r = -pthread_create(&scanner.id, NULL, scan_keys, &scanner);

	if (r == 0) {
		r = -pthread_create(&checkpointer.id, NULL, make_checkpoints, &checkpointer);
		if (r == 0) {
			r = write_keys(ledger, t, most);
			atomic_store(&checkpointer.stop, true);
			pthread_join(checkpointer.id, NULL);
		}
		atomic_store(&scanner.stop, true);
		pthread_join(scanner.id, NULL);
	}
	return r ? r : scanner.r ? scanner.r : checkpointer.r;
}
