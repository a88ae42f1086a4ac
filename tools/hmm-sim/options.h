/* SPDX-License-Identifier: MIT */
/*
 * options.h - the command line
 */
#ifndef HMM_SIM_OPTIONS_H
#define HMM_SIM_OPTIONS_H

#include "run.h"

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_CSV };

struct options {
	struct run_options run;
	struct policy_spec *policies;
	size_t npolicies;
	char **traces;
	size_t ntraces;
	enum output output;
	const char *plot, *html;
	bool log_x;
	bool advises;
};

/* Ends the program where the command line is wrong (status 1), or asks for help or a list. */
void options_parse(int argc, char **argv, struct options *options);

/* policies.c: "lru,s3fifo:small=0.1,ghost=0.9,./mine.so" or "all".  0, or -1 with *failure filled in. */
int policies_parse(const char *list, struct options *options, struct failure *failure);
void policies_list(FILE *out);

#endif
