/* SPDX-License-Identifier: MIT */
/*
 * scale.c - limits and amounts of work that fit the machine
 */
#include "tests/scale.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/calibrate.h"

/* How many times slower this build is than a plain one, roughly and rather too much. */
#if defined(TEST_INSTRUMENTS_THREAD)
#define INSTRUMENTS 15
#elif defined(TEST_INSTRUMENTS)
#define INSTRUMENTS 4
#else
#define INSTRUMENTS 1
#endif

#define QUEUE_MOST 20.0
#define PATIENCE_MOST 86400.0

double test_scale(void)
{
	static double scale; /* asked first before there are threads: test_main() */
	const char *given = getenv("HMM_TEST_SCALE");
	struct calibration c;

	if (scale >= 1)
		return scale;
	if (given) {
		scale = strtod(given, NULL);
	} else {
		calibrate(&c);
		scale = calibration_scale(&c);
	}
	scale = scale < 1 ? 1 : scale < CALIBRATION_SCALE_MOST ? scale : CALIBRATION_SCALE_MOST;
	return scale;
}

/* Processes that want to run, for each processor; 1 at least. */
static double queue(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	double load[1], each;

	if (processors < 1 || getloadavg(load, 1) != 1)
		return 1;
	each = load[0] / (double)processors;
	return each < 1 ? 1 : each < QUEUE_MOST ? each : QUEUE_MOST;
}

unsigned test_patience(unsigned seconds)
{
	double limit = seconds * test_scale() * INSTRUMENTS * queue();

	return (unsigned)(limit < PATIENCE_MOST ? limit : PATIENCE_MOST) + 1;
}

bool test_all(void)
{
	const char *all = getenv("HMM_TEST_ALL");

	return all && *all && *all != '0';
}

uint64_t test_operations(const char *what, uint64_t n, uint64_t least)
{
	uint64_t fewer = (uint64_t)((double)n / test_scale() / INSTRUMENTS);

	if (test_all())
		return n;
	fewer = fewer > least ? fewer : least < n ? least : n;
	if (fewer != n) {
		printf("# %s: %" PRIu64 " of %" PRIu64 " (scale %.1f%s)\n", what, fewer, n, test_scale(),
		       INSTRUMENTS > 1 ? ", instrumented" : "");
		fflush(stdout);
	}
	return fewer;
}
