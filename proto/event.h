/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of lectr.v1 on the wire and as JSON. Pure: no sockets, no logging;
 * only event_uuid7() reads a random source. A message is passed as its
 * ProtobufCMessage base (`&call.base`).
 */
#pragma once

#include "proto/base/buf.h"
#include "proto/lectr.pb-c.h"

/* Bound of one packed message; anything larger is refused on both sides. */
#define EVENT_MAX_BYTES (64 * 1024)
/* 36 characters and NUL. */
#define EVENT_UUID_BYTES 37
/* part is 0..EVENT_PARTS-1 */
#define EVENT_PARTS 64

enum event_type {
    EVENT_CALL,
    EVENT_GAP,
    EVENT_COVERAGE,
    EVENT_ALERT,
    EVENT_ROLLUP,
    EVENT_CLOUDEVENT, /* an alert as JSON: has a subject, but no message of its own */
    EVENT__COUNT,
};

/* "call", "gap", … as in the subject. */
const char *event_type_name(enum event_type type);

/* Packs into `out`. Bytes that are not UTF-8 inside strings are packed as '?',
 * so that every reader can decode the result. -EMSGSIZE when longer than `cap`
 * or EVENT_MAX_BYTES; -ENOMEM. */
int event_pack(const ProtobufCMessage *message, uint8_t *out, size_t cap,
               size_t *ret_bytes) LECTR_MUST_USE;

/* Decodes and validates. Unknown fields and enum values are accepted.
 * -EMSGSIZE too long; -EBADMSG not this message, or a type without one; -EINVAL without a usable
 * identity (Call, Gap, Coverage: id, agent_instance, part, seq, end time not
 * before the start; Alert, Rollup: id); -EILSEQ a string is not UTF-8.
 * The caller frees with event_free(). */
int event_unpack(enum event_type type, struct slice bytes,
                 ProtobufCMessage **ret_message) LECTR_MUST_USE;
void event_free(ProtobufCMessage **message);

/* Memory for messages that are decoded one after the other; zeroed is empty. Grows to what the
 * largest message took, which is bounded by EVENT_MAX_BYTES. */
struct event_arena {
    uint8_t *block;
    size_t size, used;
    void *more;        /* blocks beyond it, of the last message */
    size_t more_bytes; /* their sizes together */
};
/* As event_unpack(), but the message lives in the arena until the next call: it is not freed. */
int event_unpack_in(struct event_arena *arena, enum event_type type, struct slice bytes,
                    ProtobufCMessage **ret_message) LECTR_MUST_USE;
void event_arena_fini(struct event_arena *arena);
#define CLEAN_EVENT_ARENA __attribute__((cleanup(event_arena_fini)))

static inline void event_cleanup_free(ProtobufCMessage **message)
{
    event_free(message);
}
#define CLEAN_EVENT __attribute__((cleanup(event_cleanup_free)))

/* Appends the message as one line of proto3 JSON without the newline: field
 * names in snake_case, enums by name (a value without one as a number), 64-bit
 * integers as strings, absent fields and empty lists omitted. Any message of
 * lectr.proto. -ENOSPC, -ENOMEM: `out` may hold a part. */
int event_json(const ProtobufCMessage *message, struct buf *out) LECTR_MUST_USE;

/* UUIDv7 (RFC 9562) of the given Unix time; ordered to about 250 ns. -errno of getrandom. */
int event_uuid7(uint64_t wall_ns, char ret_id[EVENT_UUID_BYTES]) LECTR_MUST_USE;
/* The same name gives the same UUID (version 8), in any process: for events
 * that may be told twice. Not a cryptographic hash. */
void event_uuid_named(struct slice name, char ret_id[EVENT_UUID_BYTES]);
/* Lower case, dashes in place; any version. */
bool event_is_uuid(const char *s);

/* Which of the EVENT_PARTS an agent instance belongs to. */
uint32_t event_part(const char *agent_instance);
