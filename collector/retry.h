/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer means for a letter, and when it is tried again. Pure. */
#pragma once

#include <stdint.h>

enum retry_verdict {
    RETRY_DELIVERED,
    RETRY_LATER,
    RETRY_NEVER, /* the receiver will not have it: redirects, and mistakes of ours */
};

#define RETRY_FIRST_MS 1000
#define RETRY_MOST_MS (300 * 1000)

/* `status` 0: there was no answer. */
enum retry_verdict retry_judge(unsigned status);
/* After `attempts` failed ones, the last included: doubling, spread over the upper
 * half, never less than the receiver asked for. */
uint64_t retry_wait_ms(uint32_t attempts, uint32_t retry_after_s, uint32_t random);
