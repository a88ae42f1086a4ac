/* SPDX-License-Identifier: MIT */
/*
 * registry.h - what the registry tells the rest of the layer
 */
#ifndef HMM_POLICY_REGISTRY_H
#define HMM_POLICY_REGISTRY_H

#include <stddef.h>

#include <hurd-mm/policy.h>

#define HMM__POLICY_NAME_MAX 63 /* characters */

/*
 * By the first `length` characters of name: the registry's table, and the one it was made from (either may be NULL).
 * Returns 0; -ENOENT; -ENOMEM (it may be one of the library's own that could not be registered).
 */
int hmm__policy_find(const char *name, size_t length, const struct hmm_policy_ops **ret_ops,
                     const struct hmm_policy_ops **ret_origin);

#endif
