/* SPDX-License-Identifier: Apache-2.0 */
/* An alert as the body of an incoming webhook of Slack's shape (Slack, Mattermost,
 * Rocket.Chat and others that take it). Pure. */
#pragma once

#include "collector/notice.h"

int slack_format(const struct notice *n, struct buf *out) LECTR_MUST_USE;
