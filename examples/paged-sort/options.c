/* SPDX-License-Identifier: MIT */
/*
 * options.c - what the user said, and what he need not say
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "paged-sort.h"

#define DEFAULT_SIZE ((uint64_t)512 << 20)
#define QUICK_SIZE ((uint64_t)64 << 20)

static void usage(void)
{
	printf("usage: paged-sort [options]\n"
	       "Sort a text with qsort() in memory that the program pages itself, and check the result against sort(1).\n\n"
	       "  --size SIZE        text and array together, for example 2G; text is cut or replicated to it\n"
	       "                     (default 512M; with --input: as large as it is)\n"
	       "  --budget SIZE      memory to do it in (default: an eighth of the data)\n"
	       "  --policies LIST    fifo,clock,lru (the default), or others; each may carry parameters\n"
	       "  --delivery KIND    inline (the default) or thread: who resolves a fault\n"
	       "  --direct           swap past the kernel's page cache, with O_DIRECT: what the disk can do\n"
	       "  --input PATH       sort this file, or the text files below this directory; may be given again\n"
	       "  --no-plain         leave out the run in ordinary memory\n"
	       "  --dir DIR          where everything is written (default paged-sort.out)\n"
	       "  --keep             keep the texts, sorted and unsorted\n"
	       "  --quick            64M: some seconds in all\n"
	       "  --list             list the policies\n"
	       "  --probe KIND       can this delivery be had here?  Says what is missing, if not\n");
}

static uint64_t parse_size(const char *text)
{
	static const char units[] = "KMGT";
	char *end;
	double value = strtod(text, &end);
	const char *unit = *end ? strchr(units, *end) : NULL;

	if (unit)
		end++;
	if (end == text || value <= 0 || (*end && strcmp(end, "iB") != 0))
		die("not a size: %s (say for example 64M or 1.5G)", text);
	for (int i = unit ? (int)(unit - units) : -1; i >= 0; i--)
		value *= 1024;
	return (uint64_t)value;
}

static uint32_t parse_delivery(const char *text)
{
	if (strcmp(text, "inline") == 0)
		return HMM_DELIVERY_INLINE;
	if (strcmp(text, "thread") == 0)
		return HMM_DELIVERY_THREAD;
	die("a delivery is inline or thread, not %s", text);
}

static void probe(uint32_t delivery)
{
	struct hmm_probe found = { .size = sizeof(found) };
	int error = hmm_probe(&found);
	const char *missing = delivery == HMM_DELIVERY_INLINE ? found.inline_missing : found.thread_missing;

	if (error || missing)
		die("%s delivery can't be had here: %s", delivery == HMM_DELIVERY_INLINE ? "inline" : "thread",
		    error ? strerror(-error) : missing);
}

static void parse_policies(char *list, struct options *o)
{
	o->npolicies = 0;
	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		char plain[64];

		snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(name, ":"), name);
		if (!hmm_policy_lookup(plain) || strpbrk(name, "/'"))
			die("there is no policy %s; --list shows those there are", name);
		if (o->npolicies == sizeof(o->policies) / sizeof(o->policies[0]))
			die("more than %u policies", o->npolicies);
		o->policies[o->npolicies++] = name;
	}
}

static void list_policies(void)
{
	const char *name;

	for (unsigned i = 0; (name = hmm_policy_name(i)); i++)
		printf("%-12s %s\n", name, hmm_policy_lookup(name)->summary);
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "size", 1, NULL, 's' }, { "budget", 1, NULL, 'b' }, { "policies", 1, NULL, 'p' },
		{ "delivery", 1, NULL, 'd' }, { "direct", 0, NULL, 'D' }, { "input", 1, NULL, 'i' },
		{ "no-plain", 0, NULL, 'n' }, { "dir", 1, NULL, 'o' }, { "keep", 0, NULL, 'k' },
		{ "quick", 0, NULL, 'q' }, { "list", 0, NULL, 'l' }, { "probe", 1, NULL, 'P' }, { "help", 0, NULL, 'h' }, { 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (c) {
		case 's': o->size = parse_size(optarg); break;
		case 'b': o->budget = parse_size(optarg); break;
		case 'p': parse_policies(optarg, o); break;
		case 'D': o->direct = HMM_DIRECT_ALWAYS; break;
		case 'n': o->plain = false; break;
		case 'o': o->dir = optarg; break;
		case 'k': o->keep = true; break;
		case 'q': o->size = QUICK_SIZE; break;
		case 'h': usage(); exit(0);
		case 'd': o->delivery = parse_delivery(optarg); break;
		case 'l': list_policies(); exit(0);
		case 'P': probe(parse_delivery(optarg)); exit(0);
		case 'i':
			if (o->ninputs == MAX_RUNS)
				die("more than %d inputs", MAX_RUNS);
			o->inputs[o->ninputs++] = optarg;
			break;
		default: exit(2);
		}
	}
	if (optind < argc)
		die("%s is no option; --input names a file or a directory", argv[optind]);
}

static void default_inputs(struct options *o)
{
	static const char *const places[] = { "/usr/share/doc", "/usr/include", "/var/lib/dpkg/info", "/usr/share/perl" };

	if (o->ninputs)
		return;
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], R_OK | X_OK) == 0)
			o->inputs[o->ninputs++] = (char *)places[i];
	if (!o->ninputs)
		die("no text in the usual places; name a file or a directory with --input");
	if (!o->size)
		o->size = DEFAULT_SIZE;
}

void options_parse(int argc, char **argv, struct options *ret_options)
{
	*ret_options = (struct options){ .policies = { "fifo", "clock", "lru" }, .npolicies = 3,
		                         .delivery = HMM_DELIVERY_INLINE, .direct = HMM_DIRECT_NEVER, .plain = true,
		                         .dir = "paged-sort.out" };
	parse(argc, argv, ret_options);
	probe(ret_options->delivery);
	default_inputs(ret_options);
	if (strchr(ret_options->dir, '\''))
		die("gnuplot can't do with a ' in the name of the directory: %s", ret_options->dir);
}
