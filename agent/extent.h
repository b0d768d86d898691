/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much there is of each kind of content in a JSON body, as it passes: the
 * sizes from which tokens are estimated. Numbers only; besides the key or the
 * short value being read nothing is held, and that is wiped. Any split of the
 * bytes gives the same numbers; constant memory.
 *
 * It needs no profile: the names under which generated text and prompts stand
 * are the same few in every wire format. Media are recognised, never counted as
 * text: by their keys and types, and any string of EXTENT_MEDIA_BYTES or more
 * that reads like base64.
 */
#pragma once

#include "agent/tally.h"

#define EXTENT_DEPTH_MAX 64
#define EXTENT_WORD_MAX 40
#define EXTENT_MEDIA_BYTES 256

enum extent_kind {
    EXTENT_TEXT,
    EXTENT_REASONING, /* answers */
    EXTENT_ARGUMENTS, /* of tool calls, their names included; answers */
    EXTENT_SCHEMA,    /* tools and formats; requests */
    EXTENT_KINDS,
};

struct extent {
    uint64_t bytes[EXTENT_KINDS];
    uint64_t milliunits[EXTENT_KINDS];
    uint32_t deltas[EXTENT_KINDS]; /* documents that carried some of it */
    uint32_t tool_names;           /* answers: tool calls that began */
    uint32_t messages;             /* requests */
    bool media;     /* requests: an image, sound or file stands in it or is referred to */
    bool elsewhere; /* requests: what the model reads stands partly on the server */
    bool hosted;    /* requests: the provider may feed the model with results of its own tools */
    bool torn;      /* the body ended inside, or was no JSON */
};

enum extent_mode {
    EXTENT_REQUEST,
    EXTENT_ANSWER, /* one document */
    EXTENT_STREAM, /* a document an event: those that repeat what came are left out */
};

struct extent_scan {
    struct extent *total; /* borrowed */
    enum extent_mode mode;
    struct extent event; /* of the document being read */
    struct tally tally[EXTENT_KINDS], string;
    uint32_t depth, base;      /* base 1: inside a top-level array */
    uint64_t objects;          /* a bit a level */
    uint32_t skip_at, kind_at; /* depth where a left-out or typed subtree began; 0: none */
    uint32_t unicode;
    uint8_t state, hex_left;
    uint8_t key, top_key; /* what the table says of them */
    uint8_t kind;         /* of the string being read; EXTENT_KINDS: not counted */
    uint8_t delta_kind;   /* where the event's "delta" belongs */
    bool want_key, is_key, binary, repeats, names_only, thought;
    uint8_t word_len;
    char word[EXTENT_WORD_MAX];
};

/* `total` is added to and must outlive the scan. */
void extent_init(struct extent_scan *s, enum extent_mode mode, struct extent *total);
void extent_feed(struct extent_scan *s, struct slice bytes);
/* An event ended: what it left unfinished is forgotten. */
void extent_reset(struct extent_scan *s);
/* End of the body; wipes. */
void extent_finish(struct extent_scan *s);
