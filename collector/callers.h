/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected over HTTP. Whoever sends a request byte by byte, never reads
 * the answer or is merely there holds a place; for everyone that comes beyond the most
 * that are wanted the one that has been waited for longest is hung up on, so that a
 * probe or a scrape is heard. Thread-safe.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct callers;
struct caller;

/* So many times the most that are wanted may be there, most of them on their way out. */
#define CALLERS_LEAVING 4

int callers_new(unsigned most, struct callers **ret_callers) LECTR_MUST_USE;
/* Nobody may be there any more. */
void callers_free(struct callers **callers);

/* NULL when no place is left: more came than places. `fd` is shut down when its turn to go comes.
 */
struct caller *callers_come(struct callers *c, int fd, uint64_t now_ns);
void callers_go(struct callers *c, struct caller *caller);
/* While an answer is made, in the second after that, and while what was sent is unread, nobody is
 * waited for; after that, from `now_ns` on. NULL-safe. */
void callers_begin(struct callers *c, struct caller *caller);
void callers_end(struct callers *c, struct caller *caller, uint64_t now_ns);
/* How many were hung up on. */
uint64_t callers_hung_up(struct callers *c);
