/* SPDX-License-Identifier: MIT */
/*
 * turns.c - jobs in processes of their own, which work lap by lap in turns
 *
 * Two runs one after the other differ by more than two page caches do: the machine is another one a second later.  Laps of
 * milliseconds in turns meet the same machine, and only one process works at a time.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

/* A job's ends of its pipes; over them go a byte for each turn, and the result. */
struct ends {
	int go, told;
};
enum { NEXT = 'n', READY = 'r' };

/* The process of a job, as its parent knows it. */
struct child {
	pid_t pid;
	int go, told;
	bool done;
};

static bool read_all(int fd, void *data, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t more = read(fd, (char *)data + done, n - done);

		if (more <= 0)
			return false;
		done += (size_t)more;
	}
	return true;
}

static bool write_all(int fd, const void *data, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t more = write(fd, (const char *)data + done, n - done);

		if (more <= 0)
			return false;
		done += (size_t)more;
	}
	return true;
}

void turns_pass(const struct ends *ends)
{
	char c = NEXT;

	if (!write_all(ends->told, &c, 1) || !read_all(ends->go, &c, 1))
		_exit(1);
}

_Noreturn static void live(const struct job *job, const struct ends *ends)
{
	static struct result r;
	char c;

	if (!read_all(ends->go, &c, 1))
		_exit(1);
	run_here(job, ends, &r);
	c = READY;
	_exit(!write_all(ends->told, &c, 1) || !write_all(ends->told, &r, sizeof(r)));
}

static int begin_child(const struct job *job, struct child *child)
{
	int go[2], told[2];

	if (pipe(go))
		return -errno;
	if (pipe(told)) {
		close(go[0]);
		close(go[1]);
		return -EMFILE;
	}
	fflush(NULL);
	*child = (struct child){ .pid = fork(), .go = go[1], .told = told[0] };
	if (!child->pid) {
		close(child->go);
		close(child->told);
		live(job, &(struct ends){ .go = go[0], .told = told[1] });
	}
	close(go[0]);
	close(told[1]);
	if (child->pid < 0) {
		close(child->go);
		close(child->told);
		return -EAGAIN;
	}
	return 0;
}

/* Let it work until its next lap, or its end. */
static void give_turn(struct child *child, struct result *r)
{
	char c = NEXT;
	bool told = write_all(child->go, &c, 1) && read_all(child->told, &c, 1);

	child->done = !told || c == READY;
	if (!told || (child->done && !read_all(child->told, r, sizeof(*r))))
		*r = (struct result){ .error = -ECHILD };
}

/* A child that waits for its turn ends when this end of its pipe is closed; later children have a copy of it. */
static bool end_child(struct child *child)
{
	int status = 1;

	close(child->go);
	close(child->told);
	return waitpid(child->pid, &status, 0) == child->pid && !status;
}

/* In the other direction each time: who comes after whom matters to the processor's caches. */
static void take_turns(struct child *children, unsigned n, struct result *ret_results)
{
	unsigned left = n;

	for (unsigned turn = 0; left; turn++) {
		for (unsigned k = 0; k < n; k++) {
			unsigned i = turn % 2 ? n - 1 - k : k;

			if (children[i].done)
				continue;
			give_turn(&children[i], &ret_results[i]);
			left -= children[i].done;
		}
	}
}

int run_jobs(const struct job *jobs, unsigned n, struct result *ret_results)
{
	struct child children[JOBS_MAX];
	void (*before)(int);
	unsigned begun = 0;
	int r = n > JOBS_MAX ? -EINVAL : 0;

	before = signal(SIGPIPE, SIG_IGN);
	while (!r && begun < n) {
		r = begin_child(&jobs[begun], &children[begun]);
		begun += !r;
	}
	if (!r)
		take_turns(children, n, ret_results);
	while (begun--) {
		if (!end_child(&children[begun]))
			ret_results[begun].error = -ECHILD;
	}
	signal(SIGPIPE, before);
	return r;
}

int run_job(const struct job *job, struct result *ret_result)
{
	return run_jobs(job, 1, ret_result);
}
