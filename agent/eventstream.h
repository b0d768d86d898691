/* SPDX-License-Identifier: Apache-2.0 */
/*
 * application/vnd.amazon.eventstream in pieces of any size: length, headers,
 * payload and two CRC-32, both checked. Payloads are handed on as they come,
 * never collected; of a "chunk" event that is the JSON within its base64
 * member "bytes". Constant memory; a message beyond EVENTSTREAM_MESSAGE_MAX or
 * with a wrong sum breaks the stream: nothing after it is believed.
 */
#pragma once

#include "proto/base/slice.h"

#define EVENTSTREAM_NAME_MAX 64
#define EVENTSTREAM_MESSAGE_MAX (24u * 1024 * 1024)

struct eventstream_events {
    void *user;
    /* A piece of the current message's payload. */
    void (*on_data)(void *user, struct slice piece);
    /* The message ends and its sum is right. `name` is its event or exception type, cut at
     * EVENTSTREAM_NAME_MAX, "" without. */
    void (*on_message)(void *user, const char *name, bool is_error);
};

/* Finds the string "bytes" of an object and decodes it. */
struct eventstream_unwrap {
    uint8_t state;
    uint8_t key_len;
    uint8_t bits_have;
    bool ours; /* the value that follows, or passes, is that of "bytes" */
    uint32_t bits;
    uint32_t depth;
    char key[8];
};

struct eventstream {
    struct eventstream_events events;
    uint8_t state;
    bool broken;
    bool is_error, wrapped;
    uint8_t have; /* bytes of the fixed field that is being read */
    uint8_t header_state, header_name_len;
    uint32_t left; /* bytes of the current part */
    uint32_t header_left;
    uint32_t payload_len;
    uint32_t sum; /* CRC-32 so far */
    uint8_t fixed[12];
    char header_name[16];
    char header_value[EVENTSTREAM_NAME_MAX];
    char name[EVENTSTREAM_NAME_MAX];
    struct eventstream_unwrap unwrap;
};

void eventstream_init(struct eventstream *e, const struct eventstream_events *events);
/* Wipes. */
void eventstream_fini(struct eventstream *e);
void eventstream_feed(struct eventstream *e, struct slice bytes);
/* The bytes so far are whole messages, and none was wrong. */
bool eventstream_whole(const struct eventstream *e);
