/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts -> lectr.v1.alert.<org>.<kind>, and as JSON to lectr.v1.cloudevent.<org>.<kind>;
 * of one subject in the order in which they came.
 *
 * What cannot be published is in nobody's way: see hold.h. What is given up is
 * marked in the store and counted. Which messages the server has of an alert
 * whose CloudEvent waits is remembered here only: after a crash it is told again,
 * with the same id.
 */
#pragma once

#include "collector/bus.h"
#include "collector/hold.h"
#include "collector/store.h"
#include "proto/base/cleanup.h"

#define PUBLISH_ALERTS_AT_ONCE 100
/* Alerts that the server has and whose CloudEvent waits; of more the CloudEvent is given up. */
#define PUBLISH_HALVES_MAX 256

struct publish_alert {
    struct store *store;
    struct hold hold;
    int64_t halves[PUBLISH_HALVES_MAX]; /* rows */
    unsigned halves_count;
    int64_t seen_row; /* up to here all are told or held */
    bool is_all_seen; /* nothing lay beyond when it was read last */
    uint64_t given_up;
};

void publish_alert_init(struct publish_alert *p, struct store *store);
/* A bounded step, with one message that is not taken at the most. -errno: the store's, or why
 * a message was not taken. */
int publish_alert_turn(struct publish_alert *p, struct bus *bus, uint64_t now_ns) LECTR_MUST_USE;
/* Nothing waits, as of the last turn. */
bool publish_alert_is_done(const struct publish_alert *p);
