/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign bytes into fixed, NUL-terminated, valid UTF-8 strings. */
#pragma once

#include "proto/base/slice.h"

/* Copies what fits; control characters and bytes that are no UTF-8 become '?'.
 * A character is never cut in two. */
void text_copy(char *ret_text, size_t size, struct slice s);

/* Case-folding test of a "*suffix", "prefix*" or exact pattern. */
bool text_match(const char *pattern, struct slice s);
