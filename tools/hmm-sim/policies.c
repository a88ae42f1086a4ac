/* SPDX-License-Identifier: MIT */
/*
 * policies.c - policies by the names that the user gives
 *
 * A list is divided by commas, and so are parameters: a piece with '=' and no ':' before it belongs to the policy before.  A
 * piece with '/', or ending in .so, is a module to load.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

#define OPT_SUMMARY "farthest next use goes first; looks into the future, the simulator only"

void policies_list(FILE *out)
{
	const char *name;

	for (unsigned i = 0; (name = hmm_policy_name(i)) != NULL; i++)
		fprintf(out, "  %-18s %s\n", name, hmm_policy_lookup(name)->summary);
	fprintf(out, "  %-18s %s\n", "opt", OPT_SUMMARY);
}

static int add(struct options *options, const char *text, const struct hmm_policy_ops *ops)
{
	struct policy_spec *longer = realloc(options->policies, (options->npolicies + 1) * sizeof(*longer));
	const char *colon = strchr(text, ':');

	if (longer == NULL)
		return -1;
	options->policies = longer;
	longer[options->npolicies++] = (struct policy_spec){ text, colon != NULL ? colon + 1 : "", ops };
	return 0;
}

static int unknown(const char *name, size_t length, struct failure *failure)
{
	size_t at;
	const char *known;

	at = (size_t)snprintf(failure->text, sizeof(failure->text), "no policy is called '%.*s'; there are:", (int)length, name);
	for (unsigned i = 0; (known = hmm_policy_name(i)) != NULL && at < sizeof(failure->text); i++)
		at += (size_t)snprintf(failure->text + at, sizeof(failure->text) - at, " %s", known);
	if (at < sizeof(failure->text))
		snprintf(failure->text + at, sizeof(failure->text) - at, " opt");
	return -1;
}

static bool is_module(const char *name, size_t length)
{
	return memchr(name, '/', length) != NULL || (length > 3 && memcmp(name + length - 3, ".so", 3) == 0);
}

/* The library keeps a module's table to itself; its name is read from the object, which stays loaded. */
static int load_module(const char *path, const struct hmm_policy_ops **ret, struct failure *failure)
{
	const struct hmm_policy_ops *module;
	const char *why = "";
	void *object;

	if (hmm_policy_load(path, &why) != 0) {
		snprintf(failure->text, sizeof(failure->text), "%s", why);
		return -1;
	}
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	module = object != NULL ? dlsym(object, "hmm_policy_module") : NULL;
	*ret = module != NULL ? hmm_policy_lookup(module->name) : NULL;
	if (*ret != NULL)
		return 0;
	snprintf(failure->text, sizeof(failure->text), "%s: was loaded, but is not found", path);
	return -1;
}

static int add_piece(struct options *options, char *piece, struct failure *failure)
{
	size_t length = strcspn(piece, ":");
	const struct hmm_policy_ops *ops = NULL;
	char *name = strndup(piece, length), *text = piece;
	int r = 0;

	if (name == NULL)
		return -1;
	if (is_module(name, length)) {
		r = load_module(name, &ops, failure);
		if (r == 0 && asprintf(&text, "%s%s", ops->name, piece + length) < 0)
			r = -1;
	} else if (strcmp(piece, "opt") != 0) {
		ops = hmm_policy_lookup(name);
		if (ops == NULL && strcmp(name, "opt") == 0) {
			snprintf(failure->text, sizeof(failure->text), "policy 'opt' has no parameters");
			r = -1;
		} else if (ops == NULL) {
			r = unknown(name, length, failure);
		}
	}
	free(name);
	return r == 0 ? add(options, text, ops) : -1;
}

static int add_all(struct options *options)
{
	const char *name;
	int r = 0;

	for (unsigned i = 0; r == 0 && (name = hmm_policy_name(i)) != NULL; i++)
		r = add(options, name, hmm_policy_lookup(name));
	options->run.skips_refused = true;
	return r == 0 ? add(options, "opt", NULL) : r;
}

/* Where the next policy begins, or the end. */
static const char *piece_end(const char *at)
{
	for (;;) {
		const char *next;

		at += strcspn(at, ",");
		if (*at == '\0')
			return at;
		next = at + 1;
		next += strcspn(next, ",:=");
		if (*next != '=')
			return at;
		at++;
	}
}

int policies_parse(const char *list, struct options *options, struct failure *failure)
{
	while (*list != '\0') {
		const char *end = piece_end(list);
		char *piece = strndup(list, (size_t)(end - list)); /* kept: results name it */
		int r;

		snprintf(failure->text, sizeof(failure->text), "out of memory");
		if (piece == NULL)
			return -1;
		if (strcmp(piece, "all") == 0) {
			free(piece);
			r = add_all(options);
		} else {
			r = add_piece(options, piece, failure);
		}
		if (r != 0)
			return -1;
		list = *end == ',' ? end + 1 : end;
	}
	return 0;
}
