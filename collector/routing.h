/* SPDX-License-Identifier: Apache-2.0 */
/* Alerts of the store become letters, by the routes. No network, no clock. */
#pragma once

#include "collector/alerting.h"
#include "collector/store.h"

#define ROUTING_AT_ONCE 32

/* A bounded number of alerts in one transaction: letters, episodes told, marks. The end of an
 * episode goes to whoever was told that it began, whatever the routes and silences say by then. */
int routing_turn(struct store *s, const struct alerting *a, unsigned *ret_routed) LECTR_MUST_USE;
