/* SPDX-License-Identifier: MIT */
/*
 * load.c - policies from shared objects
 *
 * An object that was registered stays loaded: spaces may use it until the process ends.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <hurd-mm/policy.h>

#include "lib/policy/registry.h"

static _Thread_local char why[256];

static int explain(int error, const char **ret_why, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int explain(int error, const char **ret_why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	if (ret_why != NULL)
		*ret_why = why;
	return error;
}

static int register_module(const struct hmm_policy_ops *ops, const char *path, const char **ret_why)
{
	const struct hmm_policy_ops *origin = NULL;
	int r = hmm_policy_register(ops);

	switch (r) {
	case 0:
		return 0;
	case -EEXIST:
		if (hmm__policy_find(ops->name, strlen(ops->name), NULL, &origin) == 0 && origin == ops)
			return 0;
		return explain(r, ret_why, "%s: another policy has the name '%s'", path, ops->name);
	case -EINVAL:
		return explain(r, ret_why, "%s: not a policy of version %d: version, size, name or a required hook is wrong",
		               path, HMM_POLICY_VERSION);
	default:
		return explain(r, ret_why, "%s: %s", path, strerror(-r));
	}
}

int hmm_policy_load(const char *path, const char **ret_why)
{
	const struct hmm_policy_ops *ops;
	void *object;
	int r;

	if (path == NULL)
		return explain(-EINVAL, ret_why, "no path given");
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (object == NULL)
		return explain(-ENOENT, ret_why, "%s", dlerror());
	ops = dlsym(object, "hmm_policy_module");
	if (ops == NULL)
		r = explain(-ENOENT, ret_why, "%s: no symbol hmm_policy_module", path);
	else
		r = register_module(ops, path, ret_why);
	if (r != 0)
		dlclose(object);
	return r;
}
