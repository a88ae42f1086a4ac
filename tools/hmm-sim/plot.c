/* SPDX-License-Identifier: MIT */
/*
 * plot.c - a picture of the curves, drawn by gnuplot
 *
 * gnuplot reads a script from a file without a name and writes the picture to a file of ours, so that no name of a file has to
 * be quoted, and a gnuplot that ends early can't hurt.  One trace: one panel, the key beside it.  Several: a panel each, and
 * the key in a cell of its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "curves.h"
#include "results.h"
#include "whole-file.h"

#define PANEL_WIDTH 460
#define PANEL_HEIGHT 340
#define FEW_POINTS 40 /* so many are marked one by one */

extern char **environ;

/* The colours of the page; after the last one the dash changes. */
static const char *const colours[] = { "#1f77b4", "#e8710a", "#2ca02c", "#d62728", "#9467bd",
	                               "#8c564b", "#e377c2", "#7f7f7f", "#a8a800", "#17a2b8" };
#define N_COLOURS (sizeof(colours) / sizeof(colours[0]))

/* What all panels share: the names of the curves, as the key shows them, in the order of their first appearance. */
struct key {
	const struct result **at;
	size_t n;
};

/* A curve's place in the key: its colour and dash. */
static size_t key_index(const struct key *key, const struct result *row)
{
	size_t i = 0;

	while (i < key->n && (key->at[i]->mode != row->mode || strcmp(key->at[i]->policy, row->policy) != 0))
		i++;
	return i;
}

static int key_fill(struct key *key, const struct results *results)
{
	key->at = calloc(results->n, sizeof(*key->at));
	if (!key->at)
		return -ENOMEM;
	for (size_t i = 0; i < results->n; i++)
		if (key_index(key, &results->at[i]) == key->n)
			key->at[key->n++] = &results->at[i];
	return 0;
}

/* 'TEXT', as gnuplot quotes. */
static void write_quoted(FILE *script, const char *text)
{
	putc('\'', script);
	for (; *text != '\0'; text++)
		if (*text == '\'')
			fputs("''", script);
		else if ((unsigned char)*text >= ' ')
			putc(*text, script);
	putc('\'', script);
}

static bool has_mode_twins(const struct key *key, const struct result *row)
{
	for (size_t i = 0; i < key->n; i++)
		if (key->at[i]->mode != row->mode && strcmp(key->at[i]->policy, row->policy) == 0)
			return true;
	return false;
}

/* The name of a curve, with the error if it is a sample; most: over all its points in this picture. */
static void write_title(FILE *script, const struct key *key, const struct result *row, double most)
{
	char title[512];
	int n = snprintf(title, sizeof(title), "%s", row->policy);

	if (has_mode_twins(key, row) && (size_t)n < sizeof(title))
		n += snprintf(title + n, sizeof(title) - (size_t)n, " (%s)", sim_mode_name(row->mode));
	if (row->mode == SIM_SHARDS && (size_t)n < sizeof(title))
		snprintf(title + n, sizeof(title) - (size_t)n, " +-%.2g", most);
	write_quoted(script, title);
}

static void write_look(FILE *script, size_t index)
{
	fprintf(script, " lw 2 dt %zu lc rgb '%s' title ", index / N_COLOURS % 5 + 1, colours[index % N_COLOURS]);
}

static double most_error(const struct results *results, const struct result *like)
{
	double most = 0;

	for (size_t i = 0; i < results->n; i++)
		if (results->at[i].mode == like->mode && strcmp(results->at[i].policy, like->policy) == 0 &&
		    results->at[i].error > most)
			most = results->at[i].error;
	return most;
}

/* $curve0, $curve1, ...: the points of each curve of a panel. */
static void write_points(FILE *script, struct span trace)
{
	size_t c = 0;

	for (size_t from = 0; from < trace.n; c++) {
		struct span curve = span_curve(trace, from);

		fprintf(script, "$curve%zu << EOD\n", c);
		for (size_t i = 0; i < curve.n; i++)
			fprintf(script, "%" PRIu64 " %.8g\n", curve.at[i].frames, result_miss_ratio(&curve.at[i]));
		fprintf(script, "EOD\n");
		from += curve.n;
	}
}

static void write_panel(FILE *script, const struct results *results, struct span trace, const struct key *key, bool titles)
{
	size_t c = 0;

	write_points(script, trace);
	fprintf(script, "set title ");
	write_quoted(script, trace.at->trace);
	for (size_t from = 0; from < trace.n; c++) {
		struct span curve = span_curve(trace, from);

		fprintf(script, "%s $curve%zu with %s", c == 0 ? "\nplot" : ",", c,
		        curve.n <= FEW_POINTS ? "linespoints pt 7 ps 0.4" : "lines");
		write_look(script, key_index(key, curve.at));
		if (titles)
			write_title(script, key, curve.at, most_error(results, curve.at));
		else
			fprintf(script, "''");
		from += curve.n;
	}
	fprintf(script, "\n");
}

/* The cell of a picture with several panels that tells which curve is which. */
static void write_key(FILE *script, const struct results *results, const struct key *key)
{
	fprintf(script, "unset logscale\nunset border\nunset tics\nunset xlabel\nunset ylabel\nunset title\n"
	                "set key inside center center vertical Left reverse maxrows 12 samplen 3\nset xrange [0:1]\nset yrange [0:1]\n");
	for (size_t i = 0; i < key->n; i++) {
		fprintf(script, "%s NaN with lines", i == 0 ? "plot" : ",");
		write_look(script, i);
		write_title(script, key, key->at[i], most_error(results, key->at[i]));
	}
	fprintf(script, "\n");
}

static size_t count_traces(const struct results *results)
{
	size_t n = 0;

	for (size_t from = 0; from < results->n; from += span_trace(results, from).n)
		n++;
	return n;
}

static void write_script(FILE *script, bool svg, bool log_x, const struct results *results, const struct key *key)
{
	size_t panels = count_traces(results), cells = panels > 1 ? panels + 1 : 1;
	size_t columns = cells > 4 ? 3 : cells > 1 ? 2 : 1, rows = (cells + columns - 1) / columns;
	size_t width = panels > 1 ? columns * PANEL_WIDTH : 2 * PANEL_WIDTH, height = panels > 1 ? rows * PANEL_HEIGHT : 600;

	fprintf(script, "set terminal %s size %zu,%zu noenhanced font 'sans,11' background rgb 'white'\n",
	        svg ? "svg" : "pngcairo", width, height);
	fprintf(script,
	        "set encoding utf8\nset grid lt 1 lw 0.5 lc rgb '#dddddd'\nset border 3\nset tics nomirror\n"
	        "set xlabel 'frames'\nset ylabel 'miss ratio'\nset yrange [0:*<1]\nset format x '%%.0s%%c'\n"
	        "%s\n%s",
	        panels > 1 ? "unset key" : "set key outside right top Left reverse",
	        log_x ? "set logscale x 10\nset xrange [*:*]\n" : "set xrange [0:*]\nset xtics rotate by -40 left\n");
	if (panels > 1)
		fprintf(script, "set multiplot layout %zu,%zu\n", rows, columns);
	for (size_t from = 0; from < results->n;) {
		struct span trace = span_trace(results, from);

		write_panel(script, results, trace, key, panels == 1);
		from += trace.n;
	}
	if (panels > 1) {
		write_key(script, results, key);
		fprintf(script, "unset multiplot\n");
	}
}

/* Run gnuplot from `script` to `picture`.  Returns 0, or 1 after it told what failed. */
static int run_gnuplot(FILE *script, FILE *picture)
{
	char *argv[] = { (char *)"gnuplot", (char *)"-", NULL };
	posix_spawn_file_actions_t actions;
	int error, status;
	pid_t child;

	error = posix_spawn_file_actions_init(&actions);
	if (!error) {
		error = posix_spawn_file_actions_adddup2(&actions, fileno(script), STDIN_FILENO);
		if (!error)
			error = posix_spawn_file_actions_adddup2(&actions, fileno(picture), STDOUT_FILENO);
		if (!error)
			error = posix_spawnp(&child, argv[0], &actions, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	if (error) {
		fprintf(stderr, "hmm-sim: --plot: can't run gnuplot: %s%s\n", strerror(error),
		        error == ENOENT ? " (Debian package gnuplot-nox)" : "");
		return 1;
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "hmm-sim: --plot: gnuplot failed\n");
	return 1;
}

static int draw(const char *path, FILE *script)
{
	struct whole_file file;

	if (whole_file_create(&file, path))
		return 1;
	if (run_gnuplot(script, file.out))
		return whole_file_discard(&file);
	return whole_file_commit(&file);
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

int results_plot(const char *path, bool log_x, const struct results *results)
{
	bool svg = ends_with(path, ".svg");
	struct key key = { 0 };
	FILE *script;
	int failed = 1;

	if (!svg && !ends_with(path, ".png")) {
		fprintf(stderr, "hmm-sim: --plot %s: the name must end with .svg or .png\n", path);
		return 1;
	}
	if (results->n == 0) {
		fprintf(stderr, "hmm-sim: --plot: there is nothing to draw\n");
		return 1;
	}
	script = tmpfile();
	if (!script || key_fill(&key, results) != 0) {
		fprintf(stderr, "hmm-sim: --plot: %s\n", strerror(errno));
	} else {
		write_script(script, svg, log_x, results, &key);
		if (fflush(script) != 0 || ferror(script) || fseek(script, 0, SEEK_SET) != 0)
			fprintf(stderr, "hmm-sim: --plot: can't write the script: %s\n", strerror(errno));
		else
			failed = draw(path, script);
	}
	if (script)
		fclose(script);
	free(key.at);
	return failed;
}
