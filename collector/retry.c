/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/retry.h"

#include <stddef.h>

enum retry_verdict retry_judge(unsigned status)
{
    /* Not the letter's fault but the moment's: timeout, too early, too many. */
    static const unsigned passing[] = {0, 408, 425, 429};

    if (status >= 200 && status < 300)
        return RETRY_DELIVERED;
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        if (status == passing[i])
            return RETRY_LATER;
    return status >= 500 ? RETRY_LATER : RETRY_NEVER;
}

uint64_t retry_wait_ms(uint32_t attempts, uint32_t retry_after_s, uint32_t random)
{
    uint64_t wait_ms = RETRY_FIRST_MS, least_ms = retry_after_s * UINT64_C(1000);

    for (uint32_t i = 1; i < attempts && wait_ms < RETRY_MOST_MS; i++)
        wait_ms *= 2;
    if (wait_ms > RETRY_MOST_MS)
        wait_ms = RETRY_MOST_MS;
    wait_ms = wait_ms / 2 + random % (wait_ms / 2 + 1);
    /* Who was told to wait does not come back all at the same time either. */
    return wait_ms > least_ms ? wait_ms : least_ms + random % RETRY_FIRST_MS;
}
