/* SPDX-License-Identifier: Apache-2.0 */
/* Control's place in the exchange: asked before the first upstream byte of a request. */
#pragma once

#include "agent/caller.h"
#include "agent/meter.h"

enum policy_decision {
    POLICY_ALLOW,
    POLICY_DENY,
};

/* ALLOW until Control is built. */
enum policy_decision policy_decide(const struct caller *caller, const struct request_head *head);
