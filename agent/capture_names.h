/* SPDX-License-Identifier: Apache-2.0 */
/* What the profiles say, into the kernel's maps: names and ports of providers. */
#pragma once

#include "agent/capture.h"

struct capture_names_maps {
    int names_fd, providers_fd, clear_ports_fd;
};

/* Says in `ret_error` what failed, and returns `r`. */
__attribute__((format(printf, 3, 4))) int capture_fail(struct capture_error *ret_error, int r,
                                                       const char *fmt, ...);

/* Writes what the profiles name and takes out what they do not (any more). With
 * more than CAPTURE_NAMES_MAX names or LECTR_CLEAR_PORTS_MAX ports: -E2BIG. */
int capture_names_put(const struct capture_names_maps *maps, const struct provider_set *providers,
                      struct capture_error *ret_error) LECTR_MUST_USE;
