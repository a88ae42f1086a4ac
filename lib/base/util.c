/* SPDX-License-Identifier: MIT */
/*
 * util.c - structures that grow: options in, statistics out
 */
#include "lib/base/util.h"

#include <errno.h>
#include <string.h>

bool hmm__all_zero(const void *data, size_t n)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

/* Both kinds of structure begin with a size_t: what their owner takes them to be long. */
static size_t struct_size(const void *structure)
{
	size_t size;

	memcpy(&size, structure, sizeof(size));
	return size;
}

int hmm__options_read(void *known, size_t known_size, const void *opts)
{
	size_t size;

	memset(known, 0, known_size);
	if (!opts)
		return 0;
	size = struct_size(opts);
	if (size < sizeof(size))
		return -EINVAL;
	if (size > known_size && !hmm__all_zero((const unsigned char *)opts + known_size, size - known_size))
		return -E2BIG;
	memcpy(known, opts, HMM__MIN(size, known_size));
	return 0;
}

int hmm__stats_write(void *caller, const void *known, size_t known_size)
{
	size_t size = struct_size(caller), both = HMM__MIN(size, known_size);

	if (size < sizeof(size))
		return -EINVAL;
	memcpy((char *)caller + sizeof(size), (const char *)known + sizeof(size), both - sizeof(size));
	memset((char *)caller + both, 0, size - both);
	return 0;
}
