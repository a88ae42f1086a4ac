/* SPDX-License-Identifier: MIT */
/*
 * instance.c - a policy by itself, by the public table of its hooks
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/policy/policy.h"

static int size_of(struct instance *i)
{
	struct hmm_policy_sizes sizes = { .size = sizeof(sizes) };

	if (i->ops->sizes) {
		int r = i->ops->sizes(i->frames, i->params, &sizes);

		i->size = sizes.state;
		return r;
	}
	i->size = i->ops->state_size(i->frames);
	return 0;
}

int instance_start(const char *spec, uint32_t frames, struct instance *i)
{
	char name[64];
	size_t length = strcspn(spec, ":");
	int r;

	memset(i, 0, sizeof(*i));
	if (length >= sizeof(name))
		return -ENOENT;
	memcpy(name, spec, length);
	name[length] = '\0';
	i->ops = hmm_policy_lookup(name);
	i->params = spec[length] ? spec + length + 1 : "";
	i->frames = frames;
	if (!i->ops)
		return -ENOENT;
	r = size_of(i);
	if (r)
		return r;
	/* zeroed, aligned, and unpaged as far as this program is concerned */
	i->state = mmap(NULL, i->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (i->state == MAP_FAILED) {
		i->state = NULL;
		return -ENOMEM;
	}
	r = i->ops->start(i->state, frames, frames, i->params);
	if (r)
		instance_stop(i);
	return r;
}

void instance_stop(struct instance *i)
{
	if (!i->state)
		return;
	if (i->ops->stop)
		i->ops->stop(i->state);
	munmap(i->state, i->size);
	i->state = NULL;
}

void instance_miss(struct instance *i, uint64_t page, uint32_t cookie)
{
	if (i->ops->miss)
		i->ops->miss(i->state, page, cookie, HMM_ACCESS_READ);
}

void instance_inserted(struct instance *i, uint32_t frame, uint64_t page)
{
	struct hmm_placement placement = { .size = sizeof(placement), .region = 1, .access = HMM_ACCESS_READ };

	if (i->ops->placed)
		i->ops->placed(i->state, frame, page, &placement);
	else
		i->ops->inserted(i->state, frame, page, 1, HMM_ACCESS_READ);
}
