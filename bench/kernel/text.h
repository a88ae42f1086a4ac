/* SPDX-License-Identifier: MIT */
/*
 * text.h - room for a reason in words
 */
#ifndef BENCH_KERNEL_TEXT_H
#define BENCH_KERNEL_TEXT_H

#define TEXT_BYTES 160

#endif
