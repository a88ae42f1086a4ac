/* SPDX-License-Identifier: MIT */
/*
 * main.c - hmm-sim: policies over traces
 *
 * Nothing is printed before every trace has been read to its end and simulated, so a damaged one leaves no half of a result.
 */
#include <stdio.h>

#include "options.h"

/* Both live as long as the program: what they point to is never freed, and never lost. */
static struct options options;
static struct results results;

static int print(void)
{
	if (options.advises)
		return advise_write(stdout, options.run.sizes.budget, options.output == OUTPUT_JSON, &results);
	switch (options.output) {
	case OUTPUT_JSON:
		return results_write_json(stdout, &results);
	case OUTPUT_CSV:
		return results_write_csv(stdout, &results);
	default:
		return results_write_table(stdout, &results);
	}
}

int main(int argc, char **argv)
{
	struct failure failure = { .status = STATUS_FAILED };

	options_parse(argc, argv, &options);
	for (size_t i = 0; i < options.ntraces; i++) {
		if (run_trace(options.traces[i], &options.run, &results, &failure) != 0) {
			fprintf(stderr, "hmm-sim: %s\n", failure.text);
			return failure.status;
		}
	}
	if (options.plot != NULL && results_plot(options.plot, options.log_x, &results) != 0)
		return STATUS_FAILED;
	if (options.html != NULL && results_html(options.html, &results) != 0)
		return STATUS_FAILED;
	if (print() != 0 || fflush(stdout) != 0) {
		perror("hmm-sim: standard output");
		return STATUS_FAILED;
	}
	return 0;
}
