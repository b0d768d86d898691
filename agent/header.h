/* SPDX-License-Identifier: Apache-2.0 */
/* Small readings of header values. */
#pragma once

#include "agent/call.h"
#include "proto/base/slice.h"

/* Is `name` one of the list (any case)? */
static inline bool header_in(char *const *list, unsigned count, struct slice name)
{
    for (unsigned i = 0; i < count; i++)
        if (slice_eq_nocase(slice_str(list[i]), name))
            return true;
    return false;
}

/* Leading decimal digits, as long as they fit; unknown when there are none. */
static inline struct opt_u64 header_number(struct slice s)
{
    struct opt_u64 n = {0};

    for (size_t i = 0; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
        if (n.value > (UINT64_MAX - 9) / 10)
            return (struct opt_u64){0};
        n.value = n.value * 10 + (s.data[i] - '0');
        n.known = true;
    }
    return n;
}
