/* SPDX-License-Identifier: MIT */
/*
 * files.h - a tree's two files, whose writes look after the log rule, and may be what a process is killed at
 */
#ifndef HMM_TESTS_CRASH_FILES_H
#define HMM_TESTS_CRASH_FILES_H

#include "tests/integration/crash/load.h"

#define DATA_PAGES 2048u

/* In memory that all processes share. */
struct files {
	struct ledger ledger;
	int fd, log_fd;
	_Atomic uint64_t log_written; /* bytes */
	_Atomic uint64_t log_durable;
	_Atomic int64_t until_kill;   /* so many steps of writing until this process kills itself; 0: not */
};

/* A store for one process; checks and counts in the ledger. */
int files_store(struct files *files, struct hmm_store **ret_store);
struct device files_device(struct files *files);

#endif
