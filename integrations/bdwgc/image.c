/* SPDX-License-Identifier: MIT */
/*
 * image.c - where libgc and hurd-mm are in memory, and libgc's functions
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#include "heap.h"

#define LEAST_VERSION ((8u << 16) | (2u << 8))

struct image {
	uintptr_t from, to;
};

struct hmm__libgc hmm__libgc;
static struct image libgc, hurd, own;

struct search {
	uintptr_t code;
	struct image found;
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *search = arg;
	struct image image = { UINTPTR_MAX, 0 };

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, to = from + info->dlpi_phdr[i].p_memsz;

		if (info->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		image.from = from < image.from ? from : image.from;
		image.to = to > image.to ? to : image.to;
	}
	if (search->code < image.from || search->code >= image.to)
		return 0;
	search->found = image;
	return 1;
}

static struct image image_of(const void *code)
{
	struct search search = { .code = (uintptr_t)code };

	dl_iterate_phdr(look, &search);
	return search.found;
}

static bool is_in(const struct image *image, const void *code)
{
	return (uintptr_t)code >= image->from && (uintptr_t)code < image->to;
}

bool hmm__in_libgc(const void *code)
{
	return is_in(&libgc, code);
}

bool hmm__in_hurd(const void *code)
{
	return is_in(&hurd, code) || is_in(&own, code);
}

/* From libgc itself: some of its functions have a namesake of ours. */
static int find_functions(void *handle)
{
	const struct {
		void *where;
		const char *name;
	} wanted[] = {
		{ &hmm__libgc.get_version, "GC_get_version" },
		{ &hmm__libgc.get_heap_size, "GC_get_heap_size" },
		{ &hmm__libgc.get_find_leak, "GC_get_find_leak" },
		{ &hmm__libgc.is_heap_ptr, "GC_is_heap_ptr" },
		{ &hmm__libgc.base, "GC_base" },
		{ &hmm__libgc.get_kind_and_size, "GC_get_kind_and_size" },
		{ &hmm__libgc.set_min_bytes_allocd, "GC_set_min_bytes_allocd" },
		{ &hmm__libgc.set_free_space_divisor, "GC_set_free_space_divisor" },
		{ &hmm__libgc.set_dont_expand, "GC_set_dont_expand" },
		{ &hmm__libgc.set_on_collection_event, "GC_set_on_collection_event" },
		{ &hmm__libgc.get_on_collection_event, "GC_get_on_collection_event" },
		{ &hmm__libgc.get_bytes_since_gc, "GC_get_bytes_since_gc" },
		{ &hmm__libgc.gcollect, "GC_gcollect" },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		void *function = dlsym(handle, wanted[i].name);

		if (!function)
			return -ENOTSUP;
		memcpy(wanted[i].where, &function, sizeof(function));
	}
	return hmm__libgc.get_version() >= LEAST_VERSION ? 0 : -ENOTSUP;
}

int hmm__libgc_find(void)
{
	void *code = dlsym(RTLD_DEFAULT, "GC_gcollect"), *handle;
	Dl_info info;
	int r;

	if (!code || !dladdr(code, &info) || !info.dli_fname)
		return -ENOSYS;
	libgc = image_of(code);
	hurd = image_of((const void *)(uintptr_t)hmm_space_create);
	own = image_of((const void *)(uintptr_t)hmm__libgc_find);
	handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	if (!handle || libgc.from == own.from)
		return -ENOSYS;
	r = find_functions(handle);
	dlclose(handle);
	return r;
}
