/* SPDX-License-Identifier: MIT */
/*
 * corpus.c - one file of text lines, from whatever text there is
 *
 * Files that hold a zero byte are not text and are left out; links are not followed.  If the text found is too short
 * for the size asked for, it is gone through again with every line turned round by one word more: "a b c", "b c a",
 * "c a b", as in a permuted index.  A line is left out of a round for which it has too few words, so that no line is a
 * mere repetition, until that too is exhausted.
 */
#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "paged-sort.h"

struct builder {
	FILE *out;
	uint64_t limit; /* bytes of text and records, 0: none */
	struct corpus made;
};

static bool full(const struct builder *builder)
{
	return builder->limit && builder->made.bytes + builder->made.lines * sizeof(struct record) >= builder->limit;
}

/* A line that begins at `turn`, and ends with what stands before that. */
static void put(struct builder *builder, const char *line, size_t length, size_t turn)
{
	size_t head = turn;

	while (head && (line[head - 1] == ' ' || line[head - 1] == '\t'))
		head--;
	fwrite(line + turn, 1, length - turn, builder->out);
	if (head) {
		putc(' ', builder->out);
		fwrite(line, 1, head, builder->out);
	}
	putc('\n', builder->out);
	builder->made.bytes += length - turn + head + (head != 0) + 1;
	builder->made.lines++;
}

/* The offset of the nth word (from 0) of a line, or length if it has no more than n. */
static size_t nth_word(const char *line, size_t length, unsigned n)
{
	size_t i = 0;

	for (;;) {
		while (i < length && (line[i] == ' ' || line[i] == '\t'))
			i++;
		if (i == length || n-- == 0)
			return i;
		while (i < length && line[i] != ' ' && line[i] != '\t')
			i++;
	}
}

static void add_file(struct builder *builder, const char *path)
{
	char head[8192], *line = NULL;
	size_t room = 0;
	ssize_t length;
	FILE *file = fopen(path, "re");

	if (!file)
		return; /* not for us to read: there is enough else */
	length = (ssize_t)fread(head, 1, sizeof(head), file);
	if (length > 0 && !memchr(head, 0, (size_t)length)) {
		builder->made.files++;
		rewind(file);
		while (!full(builder) && (length = getline(&line, &room, file)) > 0 && !memchr(line, 0, (size_t)length))
			put(builder, line, (size_t)length - (line[length - 1] == '\n'), 0);
	}
	free(line);
	fclose(file);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void add_trees(struct builder *builder, char *const *paths)
{
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
	FTSENT *entry;

	if (!tree)
		die("cannot read the input: %s", strerror(errno));
	while (!full(builder) && (entry = fts_read(tree)))
		if (entry->fts_info == FTS_F)
			add_file(builder, entry->fts_path);
	fts_close(tree);
}

/* Go through what was found (the first `bytes` of the file made) once more, turned by `round` words. */
static void add_round(struct builder *builder, const char *name, uint64_t bytes, unsigned round)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	uint64_t done = 0;
	FILE *file;

	if (fflush(builder->out) || !(file = fopen(name, "re")))
		die("cannot write %s: %s", name, strerror(errno));
	while (done < bytes && !full(builder) && (length = getline(&line, &room, file)) > 0) {
		size_t turn = nth_word(line, (size_t)length - 1, round);

		done += (uint64_t)length;
		if (turn < (size_t)length - 1 || round == 0)
			put(builder, line, (size_t)length - 1, round ? turn : 0);
	}
	free(line);
	fclose(file);
}

void corpus_make(const char *dir, char *const *paths, uint64_t size, struct corpus *ret_corpus)
{
	char name[4096];
	struct builder builder = { .limit = size };
	uint64_t found, before;
	unsigned round = 0;

	file_name(name, sizeof(name), dir, "input", ".txt");
	builder.out = fopen(name, "we");
	if (!builder.out)
		die("cannot write %s: %s", name, strerror(errno));
	add_trees(&builder, paths);
	found = builder.made.bytes;
	if (!found)
		die("no text found in %s%s; name a file or a directory with --input", paths[0], paths[1] ? " ..." : "");
	while (size && !full(&builder)) {
		before = builder.made.lines;
		add_round(&builder, name, found, ++round);
		if (!full(&builder) && builder.made.lines == before) {
			builder.made.repeated = true;
			round = (unsigned)-1; /* the next round is number 0, the text as found */
		}
		if (!builder.made.repeated)
			builder.made.rounds = round;
	}
	builder.made.rounds++;
	if (fclose(builder.out))
		die("cannot write %s: %s", name, strerror(errno));
	*ret_corpus = builder.made;
}
