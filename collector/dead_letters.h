/* SPDX-License-Identifier: Apache-2.0 */
/* `lectr-collector dead-letters`: what receivers would not have, and another try. */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One line each, oldest first; as JSON one object each. -errno with the store's words in
 * ret_error. */
int dead_letters_list(const char *store, bool as_json, FILE *out, char *ret_error,
                      size_t error_bytes) LECTR_MUST_USE;
/* `which`: the number of one, the name of a receiver, NULL for all. */
int dead_letters_retry(const char *store, const char *which, uint64_t *ret_count, char *ret_error,
                       size_t error_bytes) LECTR_MUST_USE;
