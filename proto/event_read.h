/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by event*.c only. */
#pragma once

#include "proto/event.h"

/* Empties it: one block that would have held the last message. -ENOMEM. */
int event_arena_reset(struct event_arena *arena) LECTR_MUST_USE;
/* Bytes of the arena, aligned for anything; NULL without memory. */
void *event_arena_take(struct event_arena *arena, size_t size);

/* A message of plain form: what protobuf_c_message_unpack() makes of it, strings checked for
 * UTF-8, unknown fields left out. It does what is common and no more: -EAGAIN for whatever is
 * unusual, wrong things included, which protobuf-c is to judge. -ENOMEM. */
int event_read(struct event_arena *arena, const ProtobufCMessageDescriptor *descriptor,
               struct slice bytes, ProtobufCMessage **ret_message) LECTR_MUST_USE;
