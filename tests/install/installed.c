/* SPDX-License-Identifier: MIT */
/*
 * installed.c - a program that has nothing but the installed library; compiles as C and as C++
 *
 * Prints the version it runs with and exits 0 if that is the one it was compiled with and a space over the mock backend
 * works.
 */
#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>
#include <stdio.h>
#include <string.h>

static int write_and_read(struct hmm_region *region)
{
	const char text[] = "paged by the program itself";
	char *base = (char *)hmm_region_base(region), back[sizeof(text)];
	size_t page = hmm_page_size();
	unsigned wrong = 0;

	/* Every page is written before any is read again, and there are more than frames. */
	for (size_t at = 0; at < hmm_region_length(region); at += page)
		wrong += hmm_mock_write(region, base + at, text, sizeof(text)) != 0;
	for (size_t at = 0; at < hmm_region_length(region); at += page) {
		memset(back, 0, sizeof(back));
		wrong += hmm_mock_read(region, base + at, back, sizeof(back)) != 0;
		wrong += memcmp(back, text, sizeof(text)) != 0;
	}
	return wrong ? -1 : 0;
}

int main(void)
{
	struct hmm_space_options options;
	struct hmm_region *region;
	struct hmm_space *space;
	char compiled[32];
	int r;

	snprintf(compiled, sizeof(compiled), "%d.%d.%d", HMM_VERSION_MAJOR, HMM_VERSION_MINOR, HMM_VERSION_PATCH);
	printf("hurd-mm %s\n", hmm_version());
	if (strcmp(compiled, hmm_version()) != 0)
		return 2;
	memset(&options, 0, sizeof(options));
	options.size = sizeof(options);
	options.backend = hmm_backend_mock();
	r = hmm_space_create(64, &options, &space);
	if (r) {
		fprintf(stderr, "hmm_space_create: %s\n", strerror(-r));
		return 3;
	}
	r = hmm_region_map(space, NULL, 0, 256 * hmm_page_size(), NULL, &region);
	if (r) {
		fprintf(stderr, "hmm_region_map: %s\n", strerror(-r));
		return 4;
	}
	if (hmm_region_length(region) != 256 * hmm_page_size() || write_and_read(region) || hmm_region_unmap(region))
		return 5;
	hmm_space_destroy(space);
	return 0;
}
