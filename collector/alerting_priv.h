/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by alerting_*.c only. */
#pragma once

#include "collector/alerting.h"
#include "collector/places.h"

/* What the schema cannot say: fills in defaults and refuses what makes no sense.
 * -EINVAL with ret_error filled, -ENOMEM. */
int alerting_settle(struct alerting *a, const char *name, const struct places *places,
                    struct alerting_error *ret_error) LECTR_MUST_USE;
