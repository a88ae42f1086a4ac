/* SPDX-License-Identifier: MIT */
/* unpaged.c - a program without libgc, for the preloaded module to leave alone */
#include <stdio.h>

int main(void)
{
	puts("unpaged");
	return 0;
}
