/* SPDX-License-Identifier: MIT */
/*
 * calibration.c - say how dear page tables are here, for people; and the scale, for scripts
 *
 *	calibration            a sentence, then the line "scale N.N"
 *	calibration --scale    only the number
 */
#include <stdio.h>
#include <string.h>

#include "tests/calibrate.h"

static void print_cost(const char *what, uint64_t ns)
{
	if (ns)
		printf(", %s %.1f us", what, (double)ns / 1000);
	else
		printf(", %s not allowed", what);
}

int main(int argc, char **argv)
{
	struct calibration c;
	double scale;

	calibrate(&c);
	scale = calibration_scale(&c);
	if (argc > 1 && strcmp(argv[1], "--scale") == 0)
		return printf("%.1f\n", scale) < 0;
	if (argc > 1) {
		fprintf(stderr, "usage: calibration [--scale]\n");
		return 2;
	}
	printf("a page fault takes %.1f us", (double)c.fault / 1000);
	print_cost("a signal", c.signal);
	print_cost("a copy of a page", c.copy);
	print_cost("a userfaultfd round", c.round);
	printf("\nscale %.1f\n", scale);
	return 0;
}
