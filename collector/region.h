/* SPDX-License-Identifier: Apache-2.0 */
/* Where a provider serves a call, as far as the name of its host tells. Pure. */
#pragma once

#include <stddef.h>

/* "us-east-1", "eu", "europe-west4", "global"; "" for a name that does not tell, or NULL. */
void region_of_host(const char *host, char *ret_region, size_t size);
