/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/policy.h"

enum policy_decision policy_decide(const struct caller *caller, const struct request_head *head)
{
    (void)caller;
    (void)head;
    return POLICY_ALLOW;
}
