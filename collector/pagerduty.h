/* SPDX-License-Identifier: Apache-2.0 */
/* An alert as an event of PagerDuty's Events API v2 (and of what takes its shape):
 * one incident for each episode. Pure. */
#pragma once

#include "collector/notice.h"

#define PAGERDUTY_URL "https://events.pagerduty.com/v2/enqueue"

/* `routing_key`: the integration's key, a secret. */
int pagerduty_format(const struct notice *n, const char *routing_key,
                     struct buf *out) LECTR_MUST_USE;
