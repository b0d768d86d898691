/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An alert as CloudEvents 1.0 JSON (structured mode): for lectr.v1.cloudevent
 * and for plain webhooks. Pure. Every member is always there; what is not known
 * is null.
 */
#pragma once

#include "collector/notice.h"

#define CLOUDEVENT_CONTENT_TYPE "application/cloudevents+json; charset=utf-8"
/* Names what proto/alert.md says of `data`. */
#define CLOUDEVENT_SCHEMA "urn:lectr:anomaly:v1"

/* The `data` object alone; the caller releases it. NULL: no memory. */
json_t *cloudevent_data(const Lectr__V1__Alert *a);
/* Appends the event. Its source and id name the transition, its subject the episode. */
int cloudevent_format(const Lectr__V1__Alert *a, struct buf *out) LECTR_MUST_USE;
