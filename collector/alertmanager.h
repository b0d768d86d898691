/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts as the body of Alertmanager's POST /api/v2/alerts. Pure.
 *
 * Labels are the identity and hold no numbers of the episode: alertname (the
 * kind of rule), org, severity, rule (its name in the file) and the scope. Numbers and links are
 * annotations.
 */
#pragma once

#include "collector/notice.h"

/* Appends a JSON array. An active alert ends by itself at `valid_until_ns`
 * unless it is sent again before. */
int alertmanager_format(const struct notice *notices, size_t count, uint64_t valid_until_ns,
                        struct buf *out) LECTR_MUST_USE;
