/* SPDX-License-Identifier: MIT */
/*
 * progress.c - a bar on stderr, if that is a terminal; redrawn at most ten times a second
 *
 * Any thread may call; who finds another one drawing leaves it to that one.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

#define WIDTH 40

static pthread_mutex_t drawing = PTHREAD_MUTEX_INITIALIZER;
static int is_terminal = -1;
static char title[64];
static double drawn_at; /* seconds; 0: nothing stands there */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void progress_begin(const char *what)
{
	if (is_terminal < 0)
		is_terminal = isatty(STDERR_FILENO);
	snprintf(title, sizeof(title), "%s", what);
}

void progress_show(double share)
{
	static const char bar[WIDTH + 1] = "########################################";
	double time;
	int n;

	if (is_terminal <= 0 || pthread_mutex_trylock(&drawing) != 0)
		return;
	time = now();
	if (time - drawn_at >= 0.1) {
		share = share < 0 ? 0 : share > 1 ? 1 : share;
		n = (int)(share * WIDTH);
		fprintf(stderr, "\r%-24.24s [%.*s%*s] %3d%%", title, n, bar, WIDTH - n, "", (int)(share * 100));
		fflush(stderr);
		drawn_at = time;
	}
	pthread_mutex_unlock(&drawing);
}

void progress_end(void)
{
	if (drawn_at > 0)
		fprintf(stderr, "\r%*s\r", WIDTH + 34, "");
	drawn_at = 0;
}
