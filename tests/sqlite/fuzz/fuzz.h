/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - random SQL in SQLite with its own page cache and with ours: the same answers
 *
 * A seed is run twice, by two sides: one with SQLite's page cache, one with a space's.  A side is two processes that take
 * turns, with several connections each, to files of the side's own.  All that they do is drawn from one generator, which
 * the processes of a side share, so both sides do the same as long as they get the same answers.  Each operation leaves a
 * record: result code and a hash of rows and messages.
 *
 * What depends on the size of a page cache would differ without a fault, so it is not done: a cache that spills changed
 * pages takes the file's exclusive lock earlier, so with a rollback journal nobody uses a file that another connection
 * writes (pick.c).  Numbers of frames in a write-ahead log are not compared.
 */
#ifndef HMM_TESTS_SQLITE_FUZZ_H
#define HMM_TESTS_SQLITE_FUZZ_H

#include <semaphore.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define PROCESSES 2u
#define CONNECTIONS 3u
#define CURSORS 3u
#define FILES 4u
#define OPERATIONS_MOST 4096u
#define COPIES_MOST 3u  /* files that VACUUM INTO makes */
#define DIED 77         /* exit status of a process that was told to end in the middle: another takes its place */

enum lock { NOTHING, READS, WRITES, ALONE };

struct record {
	int32_t result;
	uint32_t operation;
	uint64_t hash;
};

/* Between the processes of a side. */
struct side {
	sem_t turn[PROCESSES];
	uint64_t random;
	unsigned noperations, next;
	int prefer;             /* process * CONNECTIONS + connection that is in the way of others; -1: none */
	bool wal[FILES];        /* it surely has a write-ahead log */
	uint8_t locks[PROCESSES][CONNECTIONS][FILES]; /* enum lock */
	bool killable[PROCESSES]; /* never had a journal in memory */
	unsigned ncopies;
	uint64_t regions;       /* accesses to memory of regions in the same space */
	uint64_t resizes;
	uint64_t failures;      /* operations that failed for want of memory */
	char wrong[256];        /* what a process itself found wrong */
	struct record records[OPERATIONS_MOST];
};

struct options {
	bool ours;              /* the side */
	bool faults;            /* allocations fail; no other side */
	bool verbose;
};

struct connection {
	sqlite3 *db;            /* NULL: closed */
	int own;                /* file that is main; -1: in memory */
	bool files[FILES];      /* attached, or main */
	sqlite3_stmt *cursors[CURSORS];
	sqlite3_backup *backup; /* into this connection's main */
	int source;             /* connection it is from */
};

struct process {
	struct side *side;
	const struct options *options;
	unsigned number;
	struct connection connections[CONNECTIONS];
	struct record record;   /* of this operation */
	int die;                /* after so many calls of fz(); 0: no */
};

/* main.c */
uint64_t mix(uint64_t *state);

/* side.c: a process of a side, from beginning to end; does not return */
void process_run(struct side *side, const struct options *options, unsigned number, uint64_t seed) __attribute__((noreturn));
void wrong(struct process *p, const char *what) __attribute__((noreturn));

static inline uint32_t dice(struct process *p, uint32_t n)
{
	return (uint32_t)(mix(&p->side->random) >> 20) % n;
}

/* memory.c: our side's space: installed, resized, shared with a region; allocations that fail */
void memory_begin(const struct options *options, uint64_t seed, struct side *side);
void memory_disturb(void);       /* now and then: another budget, accesses to the region */
void memory_faults(bool on);     /* allocations may fail from now on */

/* sql.c */
int sql_open(struct process *p, struct connection *c, const char *name);
void sql_run(struct process *p, struct connection *c, const char *format, ...) __attribute__((format(printf, 3, 4)));
int sql_step(struct process *p, sqlite3_stmt *statement, unsigned rows); /* so many, at most; hashed */
void sql_note(struct process *p, struct connection *c, int result);
void sql_fold(struct process *p, const void *data, size_t n);
/* Rows that are not what they were made of: -1: could not be asked. */
int64_t sql_bad_rows(sqlite3 *db, const char *schema, const char *table);
bool sql_same(const char *file, const char *other, char *ret_why, size_t n); /* other: NULL: only looked at */

/* pick.c: may this be done by both sides alike?  Else whoever is in the way is preferred from now on. */
bool pick_allowed(struct process *p, struct connection *c, enum lock lock);
bool pick_file_allowed(struct process *p, struct connection *c, unsigned file, enum lock lock);
void pick_locks(struct process *p);   /* after an operation */
const char *pick_schema(struct process *p, struct connection *c, int *ret_file);

/* handles.c: what stays open between operations */
void cursor_open(struct process *p, struct connection *c);
void cursor_step(struct process *p, struct connection *c);
void cursor_close(struct process *p, struct connection *c);
void backup_begin(struct process *p, struct connection *c);
void backup_step(struct process *p, struct connection *c);
void backup_end(struct process *p, struct connection *c);
void blob_read(struct process *p, struct connection *c);
void connection_open(struct process *p, struct connection *c);
void connection_close(struct process *p, struct connection *c);

/* operations.c: draw one and do it */
void operation(struct process *p);

#endif
