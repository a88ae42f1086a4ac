/* SPDX-License-Identifier: MIT */
/*
 * log.c - the write-ahead log: records, positions, and where recovery begins
 */
#include "log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define BUFFER_SIZE (1u << 18)
#define CONTROL_STRIDE 4096u /* the two are never in one sector */

static uint32_t control_checksum(const struct control *c)
{
	return (uint32_t)crc32(0, (const uint8_t *)c + sizeof(c->checksum), sizeof(*c) - sizeof(c->checksum));
}

static uint32_t record_checksum(const struct record *r)
{
	return (uint32_t)crc32(0, (const uint8_t *)&r->begin, r->length - (uint32_t)offsetof(struct record, begin));
}

int log_open(struct log *log, const struct device *device)
{
	struct control two[2];
	int r = 0;

	memset(log, 0, sizeof(*log));
	log->device = *device;
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		r = device->read(device->ctx, i * CONTROL_STRIDE, &two[i], sizeof(two[i]));
		if (r == 0 && two[i].sequence > log->control.sequence && two[i].checksum == control_checksum(&two[i]))
			log->control = two[i];
	}
	if (r < 0)
		return r;
	log->buffer = malloc(BUFFER_SIZE);
	if (!log->buffer)
		return -ENOMEM;
	pthread_mutex_init(&log->lock, NULL);
	pthread_mutex_init(&log->io, NULL);
	return log->control.sequence == 0;
}

void log_close(struct log *log)
{
	free(log->buffer);
	pthread_mutex_destroy(&log->lock);
	pthread_mutex_destroy(&log->io);
}

static int write_piece(struct log *log, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t at = from % BUFFER_SIZE, n = BUFFER_SIZE - at < to - from ? BUFFER_SIZE - at : to - from;
		int r = log->device.write(log->device.ctx, from, log->buffer + at, n);

		if (r < 0)
			return r;
		from += n;
	}
	return 0;
}

/* Bytes between durable and end stay where they are in the buffer: no lock is needed while they are written. */
int log_flush(struct log *log, uint64_t position)
{
	uint64_t end;
	int r = 0;

	if (atomic_load(&log->durable) >= position)
		return 0;
	pthread_mutex_lock(&log->io);
	if (atomic_load(&log->durable) < position) {
		pthread_mutex_lock(&log->lock);
		end = log->end;
		pthread_mutex_unlock(&log->lock);
		r = atomic_load(&log->error);
		if (r == 0)
			r = write_piece(log, atomic_load(&log->durable), end);
		if (r == 0)
			r = log->device.sync(log->device.ctx);
		if (r == 0)
			atomic_store(&log->durable, end);
		else
			atomic_store(&log->error, r);
	}
	pthread_mutex_unlock(&log->io);
	return r;
}

int log_reserve(struct log *log)
{
	uint64_t used;

	pthread_mutex_lock(&log->lock);
	used = log->end - atomic_load(&log->durable);
	pthread_mutex_unlock(&log->lock);
	if (atomic_load(&log->error))
		return atomic_load(&log->error);
	return used + RECORD_MOST <= BUFFER_SIZE ? 0 : log_flush(log, UINT64_MAX);
}

uint64_t log_append(struct log *log, struct record *record, uint32_t length)
{
	uint64_t end, at, first;

	pthread_mutex_lock(&log->lock);
	record->length = length;
	record->begin = log->end;
	record->epoch = log->epoch;
	record->checksum = record_checksum(record);
	at = log->end % BUFFER_SIZE;
	first = BUFFER_SIZE - at < length ? BUFFER_SIZE - at : length;
	memcpy(log->buffer + at, record, first);
	memcpy(log->buffer, (const uint8_t *)record + first, length - first);
	end = log->end += length;
	pthread_mutex_unlock(&log->lock);
	return end;
}

int log_read(struct log *log, uint64_t begin, struct record *record)
{
	int r = log->device.read(log->device.ctx, begin, record, sizeof(*record));

	if (r < 0)
		return r;
	if (record->length < sizeof(*record) || record->length > RECORD_MOST || record->begin != begin ||
	    record->epoch != log->control.epoch)
		return 0;
	r = log->device.read(log->device.ctx, begin + sizeof(*record), record + 1, record->length - sizeof(*record));
	if (r < 0)
		return r;
	return record_checksum(record) == record->checksum;
}

int log_start(struct log *log, uint64_t end)
{
	/* What was read is there, but a crash may still take it back. */
	int r = log->device.sync(log->device.ctx);

	log->end = end;
	log->epoch = log->control.epoch + 1;
	atomic_store(&log->durable, end);
	return r;
}

int log_control(struct log *log, const struct control *control)
{
	struct control c = *control;
	uint64_t before = log->control.redo;
	int r;

	c.sequence = log->control.sequence + 1;
	c.epoch = log->epoch;
	c.checksum = control_checksum(&c);
	r = log->device.write(log->device.ctx, c.sequence % 2 * CONTROL_STRIDE, &c, sizeof(c));
	if (r == 0)
		r = log->device.sync(log->device.ctx);
	if (r < 0)
		return r;
	log->control = c;
	if (before < LOG_BEGIN)
		before = LOG_BEGIN;
	if (c.redo > before)
		log->device.forget(log->device.ctx, before, c.redo - before);
	return 0;
}
