/* SPDX-License-Identifier: MIT */
/*
 * whole-file.h - write a file so that either all of it is there under its name, or what was there before
 */
#ifndef HMM_SIM_WHOLE_FILE_H
#define HMM_SIM_WHOLE_FILE_H

#include <stdio.h>

struct whole_file {
	const char *path; /* borrowed */
	char *scratch;    /* beside it, while it is written */
	FILE *out;
};

/* All three return 0, or 1 after they told on stderr what failed. */
int whole_file_create(struct whole_file *file, const char *path);
int whole_file_commit(struct whole_file *file);  /* it takes its name; on failure it is gone */
int whole_file_discard(struct whole_file *file); /* nothing happened; always 1 */

#endif
