/* SPDX-License-Identifier: MIT */
/*
 * sample.c - how far a sum over sampled pages may be off, told from the sums of random groups of them
 *
 * Pages are in the sample independently of each other, so the variance of an estimated total is (1 - rate) times the sum
 * of squares of the pages' shares; the spread of the groups' sums estimates that, their number included, for it is random
 * too.  2.04 is the 97.5% quantile of Student's distribution with 31 degrees of freedom.
 */
#include "sample.h"

#include <math.h>

double sample_error(const double *groups, double rate)
{
	double mean = 0, squares = 0;

	for (int i = 0; i < SAMPLE_GROUPS; i++)
		mean += groups[i] / SAMPLE_GROUPS;
	for (int i = 0; i < SAMPLE_GROUPS; i++)
		squares += (groups[i] - mean) * (groups[i] - mean);
	return 2.04 * sqrt((1 - rate) * squares * SAMPLE_GROUPS / (SAMPLE_GROUPS - 1));
}
