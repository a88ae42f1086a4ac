/* SPDX-License-Identifier: MIT */
/*
 * local_back.c - one end for a page of which a part was moved
 *
 * A large page of which a part was moved has its contents at two places, and nobody can hold it so.  So HMM_MAP_BACK goes on until
 * all that a slot has of it is at its address, whatever stands in the way:
 *
 * R1  Messages that nobody has read (-EAGAIN): the program is unmapping something.  Who ought to read them may be waiting for
 *     this very page (`gone` of the heart), or be this thread, a pager.  So they are read here: an accessor is let try again
 *     and traps once more; what happened to a range is noted, for the thread that reads messages (hmm__local_catch_up).
 * R2  A page that can't be moved (pinned meanwhile; the application changed its mapping) is copied, and dropped where it was.
 * R3  -ENOENT: the application has unmapped the range.  Then there is nobody to give the contents to.
 * R4  The slot is empty afterwards, in any case.
 */
#include "lib/mem/local.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>

#include "lib/base/util.h"
#include "lib/mem/tasks.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define OTHERS_TURN 64u  /* tries for which reading messages is left to who does it otherwise */
#define PIN_PATIENCE 100 /* yields while direct I/O that has just ended lets go of its pages */

/* --- R1 --- */

/* Before each read: the number may be another file's by now, which must not be read from (wait_for_message). */
bool hmm__local_message_waits(struct hmm__local *local)
{
	struct pollfd fd = { .fd = hmm__fd_number(local->uffd), .events = HMM__MESSAGE_EVENTS };

	return hmm__sys_poll(&fd, 1, 0) == 1 && fd.revents == POLLIN;
}

enum note { NOTE_FREE, NOTE_TAKEN, NOTE_WRITTEN };

/* Who has a note counts as one that has messages in hand, until it is dealt with (local_moved.c, V3). */
static struct hmm__local_note *take_note(struct hmm__local *local)
{
	for (unsigned i = 0; i < HMM__NOTES; i++) {
		uint32_t free = NOTE_FREE;

		if (!atomic_compare_exchange_strong(&local->notes[i].state, &free, NOTE_TAKEN))
			continue;
		atomic_fetch_add(&local->readers, 1);
		if (local->config.delivery == HMM_DELIVERY_INLINE)
			atomic_fetch_add(&hmm__local_events, 1);
		return &local->notes[i];
	}
	return NULL;
}

static void free_note(struct hmm__local *local, struct hmm__local_note *note)
{
	if (local->config.delivery == HMM_DELIVERY_INLINE)
		atomic_fetch_sub(&hmm__local_events, 1);
	atomic_fetch_sub(&local->readers, 1);
	atomic_store(&note->state, NOTE_FREE);
}

static void read_message(struct hmm__local *local, struct hmm__local_note *note)
{
	struct uffd_msg *msg = &note->message;
	uintptr_t page = hmm_page_size();

	if (!hmm__local_message_waits(local) || hmm__sys_uffd_read(local->uffd, msg, sizeof(*msg)) < (ssize_t)sizeof(*msg)) {
		free_note(local, note);
		sched_yield();
	} else if (msg->event == UFFD_EVENT_PAGEFAULT) {
		hmm__local_wake(local, (void *)((uintptr_t)msg->arg.pagefault.address & ~(page - 1)), page);
		free_note(local, note);
	} else {
		atomic_store(&note->state, NOTE_WRITTEN);
		atomic_fetch_add(&local->noted, 1);
	}
}

static void make_way(struct hmm__local *local, unsigned tries)
{
	bool mine = hmm__is_library_thread() || tries >= OTHERS_TURN;
	struct hmm__local_note *note = mine ? take_note(local) : NULL;

	if (note)
		read_message(local, note);
	else
		sched_yield();
}

void hmm__local_catch_up(struct hmm__local *local)
{
	for (unsigned i = 0; i < HMM__NOTES && HMM__UNLIKELY(atomic_load(&local->noted)); i++) {
		struct hmm__local_note *note = &local->notes[i];
		uint32_t written = NOTE_WRITTEN;

		if (!atomic_compare_exchange_strong(&note->state, &written, NOTE_TAKEN))
			continue;
		atomic_fetch_sub(&local->noted, 1);
		hmm__local_handle(local, &note->message);
		free_note(local, note);
	}
}

static void forget(struct hmm__local *local, const struct uffd_msg *msg)
{
	if (msg->event == UFFD_EVENT_UNMAP)
		hmm__local_forget(local, (void *)(uintptr_t)msg->arg.remove.start,
		                  (size_t)(msg->arg.remove.end - msg->arg.remove.start));
	else if (msg->event == UFFD_EVENT_REMAP)
		hmm__local_forget(local, (void *)(uintptr_t)msg->arg.remap.from, (size_t)msg->arg.remap.len);
}

/* In a child there is nobody who could be told: its ranges are not there, all the same.  (Readers are counted anew.) */
void hmm__local_notes_forked(struct hmm__local *local)
{
	for (unsigned i = 0; i < HMM__NOTES; i++) {
		if (atomic_load(&local->notes[i].state) == NOTE_WRITTEN)
			forget(local, &local->notes[i].message);
		atomic_store(&local->notes[i].state, NOTE_FREE);
	}
	atomic_store(&local->noted, 0);
}

/* --- R2 --- */

static void drop(void *address, size_t length)
{
	while (hmm__sys_madvise_drop(address, length))
		sched_yield(); /* the kernel has no memory to split a mapping: others need it for a moment */
}

/* One page of the kernel's, from src to where nothing is; then nothing is at src. */
static int carry(struct hmm__local *local, char *dst, char *src, uint64_t mode, size_t *ret_done)
{
	size_t page = hmm_page_size();
	int r = hmm__sys_uffd_copy(local->uffd, dst, src, page, mode, ret_done);

	if (*ret_done)
		drop(src, page);
	return r;
}

/* The page is there, and its place is; only, it can't be moved just now. */
static bool immovable(int error)
{
	return error == -EBUSY || error == -EINVAL || error == -ENOMEM;
}

/* Something that is over in a moment. */
static bool passes(int error)
{
	return error == -EAGAIN || error == -ENOMEM || error == -EINTR || error == -EBUSY || error == -EFAULT;
}

int hmm__local_map_back(struct hmm__local *local, struct hmm_map *m)
{
	uint64_t mode = m->flags & HMM_MAP_WAKE ? 0 : UFFDIO_MOVE_MODE_DONTWAKE;
	int r = 0;

	for (unsigned tries = 0; m->done < m->length; tries++) {
		char *dst = (char *)m->address + m->done, *src = (char *)m->slot + m->done;
		size_t done = 0;

		r = hmm__local_move(local, dst, src, m->length - m->done, mode, HMM__FROM_WINDOW, PIN_PATIENCE, &done);
		if (!done && immovable(r))
			r = carry(local, dst, src, m->flags & HMM_MAP_WAKE ? 0 : UFFDIO_COPY_MODE_DONTWAKE, &done);
		m->done += done;
		tries = done ? 0 : tries;
		if (r && !done && !passes(r))
			break;
		if (r && !done)
			make_way(local, tries);
	}
	if (m->done == m->length)
		return 0;
	drop((char *)m->slot + m->done, m->length - m->done);
	return r == -EEXIST ? r : -ENOENT;
}
