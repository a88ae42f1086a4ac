/* SPDX-License-Identifier: MIT */
/*
 * settings.h - settings of the machine, changed for a test and put back whatever becomes of it
 *
 * A *keeper* process changes them and waits until the test closes its end of a socket, or dies, by whatever signal.  One
 * keeper at a time for all tests of the machine: the first file is locked, so that nobody takes what another has set for
 * what was there before.
 */
#ifndef TESTS_KERNELSWAP_SETTINGS_H
#define TESTS_KERNELSWAP_SETTINGS_H

#include <sys/types.h>

#define SETTINGS_MOST 8

struct setting {
	const char *path;
	const char *value;
};

struct settings {
	pid_t keeper;
	int socket;
};

/* -errno: nothing is changed.  The list ends with a path of NULL. */
int settings_change(struct settings *settings, const struct setting *list);
/* Returns when all is as it was. */
void settings_restore(struct settings *settings);

#endif
