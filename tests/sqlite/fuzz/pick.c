/* SPDX-License-Identifier: MIT */
/*
 * pick.c - what may be done now with the same result for caches of any size
 *
 * With a rollback journal a connection that writes a file may take its exclusive lock at any moment, when its cache
 * spills; so others leave the file alone until it has finished, and nobody begins to write while others read.  With a
 * write-ahead log that does not matter, but for what wants the file for itself.
 */
#include "fuzz.h"

bool pick_file_allowed(struct process *p, struct connection *c, unsigned file, enum lock lock)
{
	struct side *s = p->side;
	unsigned self = (unsigned)(c - p->connections);

	if (s->wal[file] && lock != ALONE)
		return true;
	for (unsigned q = 0; q < PROCESSES; q++) {
		for (unsigned d = 0; d < CONNECTIONS; d++) {
			uint8_t other = s->locks[q][d][file];

			if ((q == p->number && d == self) || other < (lock == READS ? WRITES : READS))
				continue;
			s->prefer = (int)(q * CONNECTIONS + d);
			return false;
		}
	}
	return true;
}

bool pick_allowed(struct process *p, struct connection *c, enum lock lock)
{
	for (unsigned f = 0; f < FILES; f++) {
		if (c->files[f] && !pick_file_allowed(p, c, f, lock))
			return false;
	}
	return true;
}

static uint8_t lock_of(struct connection *c, unsigned file)
{
	char name[8];
	int state;

	sqlite3_snprintf(sizeof(name), name, "f%u", file);
	if (!c->db || !c->files[file])
		return NOTHING;
	state = sqlite3_txn_state(c->db, c->own == (int)file ? "main" : name);
	return state == SQLITE_TXN_WRITE ? WRITES : state == SQLITE_TXN_READ ? READS : NOTHING;
}

void pick_locks(struct process *p)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		for (unsigned f = 0; f < FILES; f++)
			p->side->locks[p->number][i][f] = lock_of(&p->connections[i], f);
		/* the file that a backup writes is not to be looked at */
		if (p->connections[i].backup && p->connections[i].own >= 0)
			p->side->locks[p->number][i][p->connections[i].own] = WRITES;
	}
}

const char *pick_schema(struct process *p, struct connection *c, int *ret_file)
{
	static const char *const names[] = { "f0", "f1", "f2", "f3" };
	static const char *const others[] = { "temp", "m", "e" };
	unsigned f = dice(p, FILES);

	*ret_file = -1;
	if (dice(p, 7) == 0)
		return others[dice(p, 3)];
	for (unsigned i = 0; i < FILES; i++, f = (f + 1) % FILES) {
		if (!c->files[f])
			continue;
		*ret_file = (int)f;
		return c->own == (int)f ? "main" : names[f];
	}
	return "main";
}
