/* SPDX-License-Identifier: MIT */
/*
 * subject.c - one open implementation in its own process, driven from the parent
 *
 * S1  A subject dies with its parent (PR_SET_PDEATHSIG) and ignores the terminal's SIGINT: only the parent ends it.
 * S2  One that does not answer in time is killed and reported, so that a defect can't hang the benchmark.
 */
#include "bench/fault/subject.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_SECONDS 60

struct request {
	int close;
	unsigned stride;
	struct load load;
};

struct reply {
	int error;
	char why[TEXT_BYTES];
	struct identity identity;
	struct sample sample;
	uint64_t bad;
};

/* Returns the child's pid in the parent, 0 in the child; -errno. */
static pid_t fork_with_socket(int *ret_socket)
{
	pid_t parent = getpid(), pid;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int r = -errno;

		close(ends[0]);
		close(ends[1]);
		return r;
	}
	close(ends[pid == 0 ? 0 : 1]);
	*ret_socket = ends[pid == 0 ? 1 : 0];
	if (pid == 0) {
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

static int child_open(struct subject *subject, const struct streams *streams, struct workload *w,
                      struct reply *reply)
{
	void *base = NULL;
	int r = workload_init(w, &subject->setup, subject->impl, streams);

	if (r == 0)
		r = subject->impl->open(&subject->setup, &reply->identity, &w->context, &base, reply->why);
	w->base = base;
	if (r == 0 && subject->impl->thread_start)
		r = subject->impl->thread_start(w->context, 0);
	if (r == 0 && !subject->impl->filled)
		workload_fill(w);
	return r;
}

static int child_close(struct subject *subject, struct workload *w, unsigned stride, struct reply *reply)
{
	int r;

	reply->bad = workload_sweep(w, stride);
	r = subject->impl->close(w->context);
	if (r == 0 && subject->setup.kind == KIND_FILE)
		reply->bad += workload_sweep_file(w, subject->setup.fd);
	return r;
}

static void child(struct subject *subject, const struct streams *streams, int socket)
{
	static struct workload w;
	struct reply reply = { 0 };
	struct request request = { 0 };

	reply.error = child_open(subject, streams, &w, &reply);
	while (write(socket, &reply, sizeof(reply)) == sizeof(reply) && reply.error == 0 && !request.close) {
		if (read(socket, &request, sizeof(request)) != sizeof(request))
			break;
		memset(&reply, 0, sizeof(reply));
		if (request.close)
			reply.error = child_close(subject, &w, request.stride, &reply);
		else
			reply.error = workload_run(&w, &request.load, &reply.sample);
		if (reply.error)
			snprintf(reply.why, TEXT_BYTES, "%s: %s", request.close ? "close" : "run",
			         strerror(-reply.error));
	}
	_exit(0);
}

/* What became of it: for a message. */
static void reap(pid_t pid, char why[TEXT_BYTES])
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (why[0])
		return;
	if (WIFSIGNALED(status))
		snprintf(why, TEXT_BYTES, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(why, TEXT_BYTES, "ended with status %d", WEXITSTATUS(status));
}

/* Receive, or kill.  Returns 0, or -errno with the process gone and why set. */
static int receive(pid_t pid, int socket, void *answer, unsigned bytes, double seconds, char why[TEXT_BYTES])
{
	struct pollfd ready = { .fd = socket, .events = POLLIN };
	int n = poll(&ready, 1, (int)(seconds * 1000));

	if (n == 1 && read(socket, answer, bytes) == (ssize_t)bytes)
		return 0;
	if (n == 0)
		snprintf(why, TEXT_BYTES, "no answer within %.0f s: killed", seconds);
	else if (n < 0)
		snprintf(why, TEXT_BYTES, "interrupted");
	if (n != 1)
		kill(pid, SIGKILL);
	reap(pid, why);
	close(socket);
	return -EIO;
}

static int ask(struct subject *subject, struct reply *reply, double seconds)
{
	subject->why[0] = '\0';
	if (receive(subject->pid, subject->socket, reply, sizeof(*reply), seconds, subject->why) < 0) {
		subject->pid = 0;
		subject->failed = 1;
		return -EIO;
	}
	if (reply->error) {
		snprintf(subject->why, TEXT_BYTES, "%s", reply->why[0] ? reply->why : strerror(-reply->error));
		subject_kill(subject);
		/* Only what can't even be opened is missing here; later the same errors are defects. */
		if (!subject->identity.policy[0] && (reply->error == -ENOTSUP || reply->error == -EPERM))
			subject->skipped = 1;
		else
			subject->failed = 1;
		return -EIO;
	}
	return 0;
}

void subject_open(struct subject *subject, const struct streams *streams)
{
	struct reply reply;
	pid_t pid = fork_with_socket(&subject->socket);

	if (pid == 0)
		child(subject, streams, subject->socket);
	if (pid < 0) {
		snprintf(subject->why, TEXT_BYTES, "fork: %s", strerror((int)-pid));
		subject->failed = 1;
		return;
	}
	subject->pid = pid;
	if (ask(subject, &reply, PATIENCE_SECONDS) == 0)
		subject->identity = reply.identity;
}

int subject_run(struct subject *subject, const struct load *load, struct sample *ret_sample)
{
	struct request request = { .load = *load };
	struct reply reply;
	int r;

	if (!subject->pid)
		return -EIO;
	(void)!send(subject->socket, &request, sizeof(request), MSG_NOSIGNAL);
	r = ask(subject, &reply, load->seconds + load->warm + PATIENCE_SECONDS / 4);
	if (r == 0)
		*ret_sample = reply.sample;
	return r;
}

uint64_t subject_close(struct subject *subject, unsigned stride)
{
	struct request request = { .close = 1, .stride = stride };
	struct reply reply;

	if (!subject->pid)
		return 0;
	(void)!send(subject->socket, &request, sizeof(request), MSG_NOSIGNAL);
	if (ask(subject, &reply, PATIENCE_SECONDS) < 0)
		return 0;
	reap(subject->pid, (char[TEXT_BYTES]){ "" });
	close(subject->socket);
	subject->pid = 0;
	return reply.bad;
}

void subject_kill(struct subject *subject)
{
	if (!subject->pid)
		return;
	kill(subject->pid, SIGKILL);
	reap(subject->pid, (char[TEXT_BYTES]){ "" });
	close(subject->socket);
	subject->pid = 0;
}

int subject_once(void (*body)(void *arg, void *answer), void *arg, void *ret_answer, unsigned bytes,
                 char why[TEXT_BYTES])
{
	int socket, r;
	pid_t pid = fork_with_socket(&socket);

	why[0] = '\0';
	if (pid < 0)
		return pid;
	if (pid == 0) {
		body(arg, ret_answer);
		_exit(write(socket, ret_answer, bytes) == (ssize_t)bytes ? 0 : 1);
	}
	r = receive(pid, socket, ret_answer, bytes, PATIENCE_SECONDS, why);
	if (r == 0) {
		reap(pid, (char[TEXT_BYTES]){ "" });
		close(socket);
	}
	return r;
}
