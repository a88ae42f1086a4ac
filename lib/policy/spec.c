/* SPDX-License-Identifier: MIT */
/*
 * spec.c - "name:parameters": is it right, and if not, what is wrong and what would exist
 *
 * The policy itself is the judge: an instance is made and thrown away.  Only where it refuses are names compared with
 * the list that its table carries, to say which one it was.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "lib/policy/registry.h"

#define TRIAL_FRAMES 1024 /* of the instance made to try */
#define INNER "POLICY"    /* the parameters are another policy's name */

struct text {
	char *at;
	size_t room; /* with the terminating zero */
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	if (text->room == 0)
		return;
	va_start(args, format);
	n = vsnprintf(text->at, text->room, format, args);
	va_end(args);
	n = n < 0 ? 0 : (int)HMM__MIN((size_t)n, text->room - 1);
	text->at += n;
	text->room -= (size_t)n;
}

static int width(size_t length)
{
	return (int)HMM__MIN(length, (size_t)1000);
}

static int unknown_name(struct text *text, const char *spec, size_t length)
{
	const char *name;

	if (length == 0)
		add(text, "no policy is named");
	else
		add(text, "there is no policy '%.*s'", width(length), spec);
	for (unsigned i = 0; (name = hmm_policy_name(i)) != NULL; i++)
		add(text, "%s%s", i == 0 ? "; there are " : ", ", name);
	return -ENOENT;
}

/* Make an instance of a policy with some parameters, and let it go. */
static int try_params(const struct hmm_policy_ops *ops, const char *params, size_t length)
{
	size_t size = strlen(ops->name) + 1 + length + 1;
	struct hmm__policy *policy = NULL;
	char *spec = hmm__alloc(size);
	int r;

	if (spec == NULL)
		return -ENOMEM;
	snprintf(spec, size, "%s:%s", ops->name, params); /* cut off behind `length` */
	r = hmm__policy_create(spec, TRIAL_FRAMES, TRIAL_FRAMES, false, NULL, NULL, &policy);
	hmm__policy_destroy(policy);
	hmm__free(spec, size);
	return r;
}

/* Does a list of "name=value" have that name, before its character `end`? */
static bool has_name(const char *list, const char *end, const char *name, size_t length)
{
	while (list < end) {
		if (strcspn(list, "=,:") == length && memcmp(list, name, length) == 0)
			return true;
		list += strcspn(list, ",:");
		list += list < end;
	}
	return false;
}

/* Say what is wrong with the first of the parameters up to `end` that is; false if each of them alone is right. */
static bool explain_parameter(struct text *text, const struct hmm_policy_ops *ops, const char *params, const char *end)
{
	const char *known_end = ops->params + strlen(ops->params);

	for (const char *at = params; at < end; at += at < end) {
		size_t length = HMM__MIN(strcspn(at, ","), (size_t)(end - at)), name = strcspn(at, "=,:");

		if (!has_name(ops->params, known_end, at, name))
			add(text, "%s has no parameter '%.*s'", ops->name, width(name), at);
		else if (name == length)
			add(text, "parameter '%.*s' of %s has no value", width(name), at, ops->name);
		else if (has_name(params, at, at, name))
			add(text, "parameter '%.*s' of %s is given twice", width(name), at, ops->name);
		else if (try_params(ops, at, length) == -EINVAL)
			add(text, "%s can't take '%.*s'", ops->name, width(length), at);
		else {
			at += length;
			continue;
		}
		return true;
	}
	return false;
}

/* Where the inner policy's name begins, in parameters of a policy that composes: [name=value,...:]POLICY[:...]. */
static const char *inner_spec(const char *params)
{
	size_t length = strcspn(params, ":");

	if (memchr(params, '=', length) == NULL)
		return params;
	return params[length] == ':' ? params + length + 1 : params + length;
}

static bool composes(const struct hmm_policy_ops *ops)
{
	size_t length = strlen(ops->params), inner = strlen(INNER);

	return length >= inner && strcmp(ops->params + length - inner, INNER) == 0;
}

static int wrong_params(struct text *text, const struct hmm_policy_ops *ops, const char *params)
{
	const char *end = params + strlen(params), *inner = end;

	if (ops->params == NULL || ops->params[0] == '\0') {
		add(text, "%s has no parameters%s: '%s'", ops->name, ops->params == NULL ? " that are told" : "", params);
		return -EINVAL;
	}
	if (composes(ops)) {
		inner = inner_spec(params);
		end = inner > params && inner[-1] == ':' ? inner - 1 : inner;
	}
	if (!explain_parameter(text, ops, params, end)) {
		if (*inner != '\0' && hmm_policy_check(inner, text->at, text->room) != 0)
			return -EINVAL;
		add(text, "%s can't take '%s'", ops->name, params);
	}
	add(text, "; its parameters and their defaults are %s", ops->params);
	return -EINVAL;
}

int hmm_policy_check(const char *spec, char *why, size_t size)
{
	struct text text = { why, why != NULL ? size : 0 };
	const struct hmm_policy_ops *ops;
	size_t length;
	int r;

	if (text.room > 0)
		why[0] = '\0';
	if (spec == NULL)
		spec = "";
	length = strcspn(spec, ":");
	r = hmm__policy_find(spec, length, &ops, NULL);
	if (r == -ENOENT)
		return unknown_name(&text, spec, length);
	if (r == 0) {
		const char *params = spec[length] == ':' ? spec + length + 1 : "";

		r = try_params(ops, params, strlen(params));
		if (r == -EINVAL)
			return wrong_params(&text, ops, params);
	}
	if (r != 0)
		add(&text, "%.*s: %s", width(length), spec, strerror(-r));
	return r;
}
