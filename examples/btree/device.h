/* SPDX-License-Identifier: MIT */
/*
 * device.h - a log in a file
 */
#ifndef BTREE_DEVICE_H
#define BTREE_DEVICE_H

#include "log.h"

/* fd: borrowed; open for reading and writing. */
struct device device_file(int fd);

#endif
