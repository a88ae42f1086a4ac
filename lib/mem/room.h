/* SPDX-License-Identifier: MIT */
/*
 * room.h - how much memory the system could still give to this process
 */
#ifndef HMM_MEM_ROOM_H
#define HMM_MEM_ROOM_H

#include <stdint.h>

struct hmm__room {
	uint64_t system; /* bytes: MemAvailable */
	uint64_t group;  /* bytes: what the tightest memory cgroup above the process leaves; UINT64_MAX: none limits it */
};

/*
 * Returns 0; -ENOENT or -EACCES and the like (a file of /proc or of a cgroup that can't be read); -ENODATA (the kernel
 * does not tell MemAvailable); -EBADMSG (a file holds no number where one is due); -ENOMEM; -ENAMETOOLONG.  Not for
 * signal handlers.
 */
int hmm__room_read(struct hmm__room *ret_room);

/* Tests let the files begin with another path: "" is the real system. */
extern const char *hmm__room_root;

#endif
