/* SPDX-License-Identifier: MIT */
/*
 * version.c - which library this is, and the unit that it counts in
 */
#include <unistd.h>

#include <hurd-mm/base.h>

#define TEXT(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *hmm_version(void)
{
	return VERSION_TEXT(HMM_VERSION_MAJOR, HMM_VERSION_MINOR, HMM_VERSION_PATCH);
}

size_t hmm_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}
