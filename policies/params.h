/* SPDX-License-Identifier: MIT */
/*
 * params.h - a policy's parameters: "name=value,name=value" into numbers
 *
 * Values are decimal, with or without a fraction, never with an exponent or a sign; no locale is asked.  A name may
 * stand once.  What is not given keeps the value that the caller put there before.
 */
#ifndef POLICIES_PARAMS_H
#define POLICIES_PARAMS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct param {
	const char *name;
	double *value;      /* in: the default */
	double least, most; /* allowed, both included */
	bool is_whole;
};

#define PARAMS_MOST 32 /* names of one policy */

/* The number that text begins with; returns the first character behind it, NULL if there is none. */
static inline const char *params_number(const char *text, double *value)
{
	const char *start = text;
	double number = 0, digit = 1;

	for (; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + (*text - '0');
	if (text == start)
		return NULL;
	if (*text == '.') {
		/* One division at the end: 0.1 becomes the same double as in a C program. */
		for (start = ++text; *text >= '0' && *text <= '9'; text++) {
			if (digit >= 1e15)
				continue;
			number = number * 10 + (*text - '0');
			digit *= 10;
		}
		if (text == start)
			return NULL;
	}
	*value = number / digit;
	return text;
}

static inline const struct param *params_find(const struct param *params, size_t n, const char *name, size_t length)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(params[i].name) == length && memcmp(params[i].name, name, length) == 0)
			return &params[i];
	}
	return NULL;
}

/* Returns 0, or -EINVAL: a name is unknown or stands twice, a value is no number or out of its bounds. */
static inline int params_parse(const char *text, const struct param *params, size_t n)
{
	unsigned seen = 0;

	while (*text != '\0') {
		size_t length = strcspn(text, "=,");
		const struct param *param = params_find(params, n, text, length);
		double value;

		if (param == NULL || text[length] != '=' || (seen & 1u << (param - params)) != 0)
			return -EINVAL;
		seen |= 1u << (param - params);
		text = params_number(text + length + 1, &value);
		if (text == NULL || (*text != '\0' && *text != ',') || (*text == ',' && text[1] == '\0'))
			return -EINVAL;
		if (value < param->least || value > param->most ||
		    (param->is_whole && value != (double)(unsigned long long)value))
			return -EINVAL;
		*param->value = value;
		text += *text == ',';
	}
	return 0;
}

#endif
