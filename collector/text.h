/* SPDX-License-Identifier: Apache-2.0 */
/* Text that came from elsewhere, made safe to print, to store and to put in JSON. */
#pragma once

#include <stddef.h>

/* Copies at most size - 1 bytes of valid UTF-8, never half a character; control
 * characters and bytes that are no UTF-8 become '?'. NULL copies as "". */
void text_copy(char *to, size_t size, const char *from);
/* The same of a URL, or several divided by commas, without user and password. */
void text_copy_url(char *to, size_t size, const char *url);
