/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins the attempts of a call whose SDK says which attempt it is, but gives
 * the call no id (x-stainless-retry-count). An attempt that failed is remembered
 * by who made it and what was asked: process, host, api, model, key, size of
 * the body. The next attempt with the same marks, one higher, soon after, is of
 * the same call; where two failed calls look alike, neither is joined. Pure; a
 * table of RETRIES_MAX, in which the newer takes a slot over.
 */
#pragma once

#include "agent/call.h"
#include "agent/caller.h"

#define RETRIES_MAX 1024 /* a power of two */
#define RETRIES_ID_MAX 40
/* From the end of an attempt to the start of the next: SDKs obey a
 * retry-after of up to a minute. */
#define RETRIES_WAIT_S 90

struct retry_slot {
    uint64_t marks;
    uint64_t end_ns; /* 0: empty */
    uint32_t attempt;
    bool ambiguous;
    char id[RETRIES_ID_MAX];
};

/* Zeroed: empty. About 72 KiB. */
struct retries {
    struct retry_slot slots[RETRIES_MAX];
};

/* Calls in the order in which they ended. `fresh` names this call if it proves
 * to be a first attempt that failed. False: nothing is known to be joined. */
bool retries_join(struct retries *r, const struct call *call, const struct caller *who,
                  const char *fresh, char ret_id[RETRIES_ID_MAX]);
