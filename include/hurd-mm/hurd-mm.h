/* SPDX-License-Identifier: MIT */
/*
 * hurd-mm.h - everything a program needs that pages its own memory
 */
#ifndef HURD_MM_H
#define HURD_MM_H

#include <hurd-mm/backend.h>
#include <hurd-mm/base.h>
#include <hurd-mm/cache.h>
#include <hurd-mm/hints.h>
#include <hurd-mm/policy.h>
#include <hurd-mm/region.h>
#include <hurd-mm/space.h>
#include <hurd-mm/store.h>

#endif
