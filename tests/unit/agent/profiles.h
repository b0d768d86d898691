/* SPDX-License-Identifier: Apache-2.0 */
/* The shipped profiles, for a group's setup and teardown. */
#pragma once

#include "agent/provider.h"

static struct provider_set *set;

static inline int load(void **state)
{
    struct provider_error error;

    (void)state;
    return provider_set_load("agent/providers", &set, &error);
}

static inline int unload(void **state)
{
    (void)state;
    provider_set_free(&set);
    return 0;
}
