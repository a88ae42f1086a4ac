/* SPDX-License-Identifier: MIT */
/*
 * log.h - the write-ahead log: records, positions, and where recovery begins
 *
 * A position is a number of bytes from the begin of the log's device, which is never reused: what a checkpoint has made
 * superfluous is given back to the file system instead.  A record's position is that of its end, so "durable up to the
 * position" says that all of it is there.
 *
 *   0      control block, two of them, written in turn
 *   8192   records
 *
 * L1  A record is valid if it lies where it says, has the epoch of the control block, and its checksum is right.  The log
 *     ends before the first that is not.
 * L2  Each opening has an epoch of its own, durable before it appends: so what an earlier one left behind the end, from writes
 *     that were torn or not in order, is never taken for a record of this one.
 * L3  log_reserve() is where appending can fail.  log_append() of what was reserved cannot, so a page that has been changed
 *     has its record.
 */
#ifndef BTREE_LOG_H
#define BTREE_LOG_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* Where the log lives.  Each returns 0 or -errno; reads past the end find zeros. */
struct device {
	void *ctx;
	int (*read)(void *ctx, uint64_t offset, void *data, size_t length);
	int (*write)(void *ctx, uint64_t offset, const void *data, size_t length);
	int (*sync)(void *ctx);                                       /* what was written is durable */
	void (*forget)(void *ctx, uint64_t offset, uint64_t length); /* contents are not needed any more */
};

#define LOG_BEGIN 8192u
#define RECORD_MOST 16384u /* bytes: three images and a put */

enum item_kind {
	ITEM_IMAGE = 1,  /* all of the page that is in use */
	ITEM_PUT = 2,    /* an entry */
	ITEM_REMOVE = 3  /* a key */
};

/* One change of one page; its bytes follow, up to a multiple of 8. */
struct item {
	uint32_t page;
	uint16_t kind;   /* enum item_kind */
	uint16_t length; /* of the bytes */
};

/* Changes that happen all or not at all.  Items follow. */
struct record {
	uint32_t length;   /* with this head */
	uint32_t checksum; /* CRC-32 of all that follows it */
	uint64_t begin;    /* where it lies */
	uint64_t op;       /* operations of the tree's user that are done with it */
	uint32_t epoch;
	uint32_t npages;   /* of the tree, with it */
};

struct control {
	uint32_t checksum; /* CRC-32 of all that follows it */
	uint32_t epoch;
	uint64_t sequence; /* of control blocks; the larger one of two valid ones counts */
	uint64_t redo;     /* pages in the store have all changes up to here: recovery begins here */
	uint64_t op;       /* as in a record, up to redo */
	uint32_t npages;
	uint32_t reserved;
};

struct log {
	struct device device;
	pthread_mutex_t lock;      /* end, buffer */
	pthread_mutex_t io;        /* one flush at a time; outer */
	uint64_t end;              /* of the last record */
	_Atomic uint64_t durable;  /* bytes before it are */
	_Atomic int error;         /* a flush failed: nothing is durable any more from there on */
	struct control control;    /* the last one written; one checkpoint at a time */
	uint32_t epoch;            /* of this opening */
	uint8_t *buffer;           /* bytes from durable to end, at their position modulo its size */
};

/* Read the control block.  0; 1: there is none, the log is new; -errno. */
int log_open(struct log *log, const struct device *device);
void log_close(struct log *log);

/* Room for a record of RECORD_MOST bytes, for the next append of this thread; appends are the caller's to keep apart. */
int log_reserve(struct log *log);
/* Fills in length, begin, epoch and checksum; returns the position. */
uint64_t log_append(struct log *log, struct record *record, uint32_t length);
/* Make the log durable up to a position. */
int log_flush(struct log *log, uint64_t position);

/* While recovering: the record at `begin`, RECORD_MOST bytes of room.  1; 0: the log ends here; -errno. */
int log_read(struct log *log, uint64_t begin, struct record *record);
/* Recovery is done: append from here on, in an epoch of one's own, after a control block of that was written. */
int log_start(struct log *log, uint64_t end);
/* Make a control block durable, of this epoch, and give back what lies before its redo. */
int log_control(struct log *log, const struct control *control);

#endif
