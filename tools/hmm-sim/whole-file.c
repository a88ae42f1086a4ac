/* SPDX-License-Identifier: MIT */
/*
 * whole-file.c - a scratch file in the same directory, renamed at the end
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "whole-file.h"

static int complain(const struct whole_file *file, int error)
{
	fprintf(stderr, "hmm-sim: can't write %s: %s\n", file->path, strerror(error));
	return 1;
}

static int forget(struct whole_file *file)
{
	unlink(file->scratch);
	free(file->scratch);
	file->scratch = NULL;
	return 1;
}

int whole_file_create(struct whole_file *file, const char *path)
{
	mode_t mask = umask(0);
	int fd;

	umask(mask);
	*file = (struct whole_file){ .path = path };
	if (asprintf(&file->scratch, "%s.XXXXXX", path) < 0) {
		file->scratch = NULL;
		return complain(file, ENOMEM);
	}
	fd = mkostemp(file->scratch, O_CLOEXEC);
	if (fd >= 0) {
		/* mkostemp() makes it private; it shall be readable for whom the user's other files are. */
		if (fchmod(fd, 0666 & ~mask) == 0 && (file->out = fdopen(fd, "w")) != NULL)
			return 0;
		complain(file, errno);
		close(fd);
		return forget(file);
	}
	complain(file, errno);
	free(file->scratch);
	return 1;
}

int whole_file_commit(struct whole_file *file)
{
	int failed = ferror(file->out) ? EIO : 0;

	if (fclose(file->out) != 0 && !failed)
		failed = errno;
	if (!failed && rename(file->scratch, file->path) != 0)
		failed = errno;
	if (failed) {
		complain(file, failed);
		return forget(file);
	}
	free(file->scratch);
	return 0;
}

int whole_file_discard(struct whole_file *file)
{
	fclose(file->out);
	return forget(file);
}
