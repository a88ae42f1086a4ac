/* SPDX-License-Identifier: MIT */
/*
 * side.c - one of the processes of a side: its turns
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

void wrong(struct process *p, const char *what)
{
	snprintf(p->side->wrong, sizeof(p->side->wrong), "%s, in operation %u", what, p->side->next);
	_exit(1);
}

static void wait_turn(struct process *p)
{
	while (sem_wait(&p->side->turn[p->number]) && errno == EINTR)
		;
}

static void give_turn(struct process *p, unsigned to)
{
	pick_locks(p);
	sem_post(&p->side->turn[to]);
}

static void one(struct process *p)
{
	struct side *s = p->side;

	p->record = (struct record){ .hash = 1 };
	if (p->options->ours)
		memory_disturb();
	if (p->options->faults)
		memory_faults(true);
	s->records[s->next] = (struct record){ .result = DIED }; /* if it does not come back */
	operation(p);
	if (p->options->faults)
		memory_faults(false);
	s->records[s->next++] = p->record;
}

static unsigned successor(struct process *p)
{
	struct side *s = p->side;

	if (s->prefer >= 0 && s->next < s->noperations)
		return (unsigned)s->prefer / CONNECTIONS;
	return dice(p, 4) ? p->number : (p->number + 1) % PROCESSES;
}

void process_run(struct side *side, const struct options *options, unsigned number, uint64_t seed)
{
	struct process p = { .side = side, .options = options, .number = number };
	unsigned to;

	if (options->ours)
		memory_begin(options, seed ^ number, side);
	wait_turn(&p);
	while (side->next < side->noperations) {
		one(&p);
		to = successor(&p);
		if (to == number)
			pick_locks(&p);
		else {
			give_turn(&p, to);
			wait_turn(&p);
		}
	}
	for (unsigned i = 0; i < CONNECTIONS; i++)
		connection_close(&p, &p.connections[i]);
	give_turn(&p, (number + 1) % PROCESSES);
	if (sqlite3_shutdown() != SQLITE_OK || sqlite3_memory_used())
		wrong(&p, "memory of SQLite's is left");
	_exit(0);
}
