/* SPDX-License-Identifier: MIT */
/*
 * swap.c - set up the kernel's swap on zram or on a file, and take it down
 *
 * K1  Every step that succeeded is noted in `area` before the next is tried, and undo() takes back what is noted, in
 *     the opposite order: an error half-way leaves nothing.
 * K2  The keeper leads a session of its own and ignores the signals of a terminal; the only way to make it undo is
 *     the end of the socket, which the death of the benchmark brings about too.
 */
#include "bench/kernel/swap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ZRAM_CONTROL "/sys/class/zram-control"

extern char **environ;

struct area {
	int module_loaded; /* by us */
	int zram;          /* number of the device, -1: none */
	int file;          /* path is a file of ours */
	int on;            /* swapon was done */
	char path[PATH_MAX];
	struct cgroup cgroup;
};

struct answer {
	int error;
	char why[TEXT_BYTES];
	char cgroup[PATH_MAX];
	char store[32];
};

/* Run a program quietly; 0 if it ended with 0, else -errno. */
static int run(const char *const argv[])
{
	posix_spawn_file_actions_t actions;
	int status, r;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return -r;
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* The fastest of the compressors that zram offers: the comparison is with the kernel at its best. */
static void choose_compressor(int zram, char store[32])
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/zram%d/comp_algorithm", zram);
	if (write_text(path, "lz4") == 0) {
		strcpy(store, "zram-lz4");
	} else {
		char text[128] = "", *name = NULL;

		if (read_text(path, text, sizeof(text)) == 0 && (name = strchr(text, '[')))
			name[strcspn(name, "]")] = '\0';
		snprintf(store, 32, "zram-%.20s", name ? name + 1 : "default");
	}
}

static int make_zram(struct area *area, uint64_t bytes, struct answer *answer)
{
	char path[64], text[32];
	int r;

	if (access(ZRAM_CONTROL, F_OK) < 0) {
		const char *argv[] = { "modprobe", "zram", "num_devices=0", NULL };

		area->module_loaded = run(argv) == 0;
	}
	r = read_text(ZRAM_CONTROL "/hot_add", text, sizeof(text));
	if (r < 0) {
		snprintf(answer->why, TEXT_BYTES, "zram: hot_add: %s", strerror(-r));
		return r;
	}
	area->zram = atoi(text);
	snprintf(area->path, sizeof(area->path), "/dev/zram%d", area->zram);
	choose_compressor(area->zram, answer->store);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", area->zram);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	r = write_text(path, text);
	if (r < 0)
		snprintf(answer->why, TEXT_BYTES, "zram: disksize: %s", strerror(-r));
	return r;
}

static int make_file(struct area *area, uint64_t bytes, const char *directory, struct answer *answer)
{
	int fd, r = 0;

	strcpy(answer->store, "swap-file");
	snprintf(area->path, sizeof(area->path), "%s/hurd-mm-bench-swap-%d", directory, (int)getpid());
	fd = open(area->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0) {
		area->file = 1;
		if (fallocate(fd, 0, 0, (off_t)bytes) < 0)
			r = -errno;
		close(fd);
	} else {
		r = -errno;
	}
	if (r < 0)
		snprintf(answer->why, TEXT_BYTES, "swap file in %s: %s", directory, strerror(-r));
	return r;
}

static int enable(struct area *area, struct answer *answer)
{
	const char *argv[] = { "mkswap", area->path, NULL };
	int r = run(argv);

	if (r < 0) {
		snprintf(answer->why, TEXT_BYTES, "mkswap: %s", strerror(-r));
		return r;
	}
	/* The highest priority: should the machine have swap already, it is not what we measure. */
	if (swapon(area->path, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK) < 0) {
		r = -errno;
		snprintf(answer->why, TEXT_BYTES, "swapon: %s", strerror(-r));
		return r;
	}
	area->on = 1;
	return 0;
}

static void remove_zram(int zram)
{
	struct timespec pause = { 0, 2000000 };
	char path[64], text[16];

	snprintf(path, sizeof(path), "/sys/block/zram%d/reset", zram);
	snprintf(text, sizeof(text), "%d", zram);
	/* Somebody may look at the new device (udev, blkid): busy for a moment. */
	for (int i = 0; i < 500; i++) {
		write_text(path, "1");
		if (write_text(ZRAM_CONTROL "/hot_remove", text) == 0)
			return;
		nanosleep(&pause, NULL);
	}
}

static void undo(struct area *area)
{
	cgroup_destroy(&area->cgroup);
	if (area->on)
		swapoff(area->path);
	if (area->zram >= 0)
		remove_zram(area->zram);
	if (area->file)
		unlink(area->path);
	if (area->module_loaded) {
		const char *argv[] = { "modprobe", "-r", "zram", NULL };

		run(argv);
	}
}

static int set_up(struct area *area, enum swap_medium medium, uint64_t bytes, const char *directory,
                  struct answer *answer)
{
	int r;

	if (geteuid() != 0) {
		snprintf(answer->why, TEXT_BYTES, "swap needs root");
		return -EPERM;
	}
	r = cgroup_create(&area->cgroup, answer->why);
	if (r < 0)
		return r;
	strcpy(answer->cgroup, area->cgroup.path);
	r = medium == SWAP_ZRAM ? make_zram(area, bytes, answer) : make_file(area, bytes, directory, answer);
	return r < 0 ? r : enable(area, answer);
}

static void keep(int socket, enum swap_medium medium, uint64_t bytes, const char *directory)
{
	static struct area area = { .zram = -1 };
	static struct answer answer;
	const char *path = getenv("PATH");
	char longer[PATH_MAX], byte;

	/* mkswap and modprobe are where an unprivileged user's PATH does not lead. */
	snprintf(longer, sizeof(longer), "%s:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
	setenv("PATH", longer, 1);
	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	answer.error = set_up(&area, medium, bytes, directory, &answer);
	if (answer.error < 0)
		undo(&area);
	if (write(socket, &answer, sizeof(answer)) < 0 && answer.error == 0)
		answer.error = -errno, undo(&area);
	if (answer.error == 0) {
		while (read(socket, &byte, 1) < 0 && errno == EINTR)
			;
		undo(&area);
	}
	_exit(0);
}

int kernel_swap_start(struct kernel_swap *swap, enum swap_medium medium, uint64_t bytes, const char *directory,
                      char why[TEXT_BYTES])
{
	static struct answer answer;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	swap->keeper = fork();
	if (swap->keeper == 0) {
		close(ends[0]);
		keep(ends[1], medium, bytes, directory);
	}
	close(ends[1]);
	swap->socket = ends[0];
	if (swap->keeper < 0) {
		close(ends[0]);
		return -errno;
	}
	memset(&answer, 0, sizeof(answer));
	if (read(swap->socket, &answer, sizeof(answer)) != sizeof(answer)) {
		answer.error = -EIO;
		snprintf(answer.why, TEXT_BYTES, "the keeper of the swap did not answer");
	}
	if (answer.error < 0) {
		snprintf(why, TEXT_BYTES, "%s", answer.why);
		kernel_swap_stop(swap);
		return answer.error;
	}
	strcpy(swap->cgroup, answer.cgroup);
	strcpy(swap->store, answer.store);
	return 0;
}

void kernel_swap_stop(struct kernel_swap *swap)
{
	close(swap->socket);
	while (waitpid(swap->keeper, NULL, 0) < 0 && errno == EINTR)
		;
}
