/* SPDX-License-Identifier: MIT */
/*
 * main.c - hmm-sim: policies over traces
 *
 * Nothing is printed before every trace has been read to its end and simulated, so a damaged one leaves no half of a result.
 */
#include <stdlib.h>

#include "options.h"

static int print(const struct options *options, const struct results *results)
{
	if (options->advises)
		return advise_write(stdout, options->run.sizes.budget, options->output == OUTPUT_JSON, results);
	switch (options->output) {
	case OUTPUT_JSON:
		return results_write_json(stdout, results);
	case OUTPUT_CSV:
		return results_write_csv(stdout, results);
	default:
		return results_write_table(stdout, results);
	}
}

int main(int argc, char **argv)
{
	struct results results = { NULL, 0 };
	struct failure failure = { .status = STATUS_FAILED };
	struct options options;

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
	if (print(&options, &results) != 0 || fflush(stdout) != 0) {
		perror("hmm-sim: standard output");
		return STATUS_FAILED;
	}
	free(results.at);
	return 0;
}
