/* SPDX-License-Identifier: Apache-2.0 */
/* `lectr-agent ca`: makes the name-constrained authority, replaces and shows it. */
#pragma once

#include "proto/base/cleanup.h"

struct cert_authority;
struct provider_set;

/* argv[0] is "ca". Returns the process's exit code. */
int ca_main(int argc, char **argv);

/* Host patterns of the profiles that the authority may not sign for: their number,
 * and up to `max` of them, which live as long as the set. */
int ca_hosts_outside(const struct cert_authority *ca, const struct provider_set *set,
                     const char **ret_patterns, unsigned max, unsigned *ret_count) LECTR_MUST_USE;
