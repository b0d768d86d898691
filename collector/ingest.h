/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a message -> validated record. Pure: no clock, no store. */
#pragma once

#include "collector/record.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"
#include "proto/event.h"

/* `arena`: memory that is used again from call to call.
 * -EBADMSG with a static reason when the message cannot be used, -ENOMEM; the
 * record is then undefined. Subjects that are not the collector's give RECORD_OTHER.
 * The organisation of the subject (where permissions are given) must be that
 * of the message. */
int ingest_decode(struct event_arena *arena, const char *subject_text, struct slice data,
                  struct record *ret_record, const char **ret_reason) LECTR_MUST_USE;
