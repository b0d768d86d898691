/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streaming key scanner. Reads JSON in pieces of any size and reports the
 * values at listed paths; everything else is stepped over without a copy. Any
 * split of the bytes gives the same reports. Constant memory: texts are cut at
 * JSON_TEXT_MAX, listed paths reach JSON_DEPTH_MAX levels deep, what is not
 * listed may nest without limit.
 *
 * Paths: "usage.total", "choices[].delta.content", "items[]" (every element).
 * Lenient: it proves neither numbers nor literals, only structure.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#define JSON_DEPTH_MAX 24
#define JSON_TEXT_MAX 256
#define JSON_KEY_MAX 64
#define JSON_PATH_MAX 96
#define JSON_NODES_MAX 512

enum json_how {
    JSON_KEEP,    /* report scalars with their text; containers when they begin */
    JSON_TEST,    /* the same without the text: strings tell only their length */
    JSON_SUBTREE, /* report every scalar below, with its path relative to here */
};

enum json_type {
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_OBJECT, /* begins */
    JSON_ARRAY,  /* begins */
};

struct json_value {
    uint16_t field; /* as given to json_paths_add */
    enum json_type type;
    struct slice text; /* unescaped string or number; borrowed, empty for JSON_TEST */
    uint64_t len;      /* whole length of the string, text may be cut */
    const char *path;  /* JSON_SUBTREE: below the listed path, "a.b[0].c" */
    const char *key;   /* last of the listed path, lives with the paths; NULL: an element */
    uint32_t index[2]; /* positions in the two outermost arrays on the way */
};

/* A set of paths; read-only once built, shared by any number of scanners. */
struct json_paths;
int json_paths_new(struct json_paths **ret_paths) LECTR_MUST_USE;
void json_paths_free(struct json_paths **paths);
/* -EINVAL for a malformed path, -ENOSPC beyond JSON_NODES_MAX. A path may be
 * added for several fields. */
int json_paths_add(struct json_paths *paths, const char *path, uint16_t field,
                   enum json_how how) LECTR_MUST_USE;

struct json_events {
    void *user;
    void (*on_value)(void *user, const struct json_value *v);
    /* A whole top-level value has gone by (NDJSON has many). */
    void (*on_document)(void *user);
};

struct json_frame {
    int16_t node;
    bool is_array;
    bool in_subtree;
    uint16_t path_len;
    uint32_t index;
};

struct json {
    const struct json_paths *paths;
    struct json_events events;
    bool split_root_array; /* the elements of a top-level array are documents */
    uint8_t state;
    uint8_t after_string; /* state once the string ends */
    bool keep_text;
    bool text_is_key;
    bool invalid;
    uint8_t hex_left;
    uint32_t unicode, high_surrogate;
    uint32_t depth; /* frames in use */
    uint64_t skip_depth;
    uint64_t text_total;
    uint16_t text_len;
    int16_t node; /* of the value about to be read; -1: not listed */
    bool in_subtree;
    uint16_t subtree_field;
    uint64_t documents;
    struct json_frame frames[JSON_DEPTH_MAX];
    uint8_t text[JSON_TEXT_MAX];
    char path[JSON_PATH_MAX];
};

/* `paths` must outlive the scanner. */
void json_init(struct json *j, const struct json_paths *paths, const struct json_events *events,
               bool split_root_array);
/* Wipes what was held. */
void json_fini(struct json *j);
/* Makes ready for the next document with the same paths and events. */
void json_reset(struct json *j);
void json_feed(struct json *j, struct slice bytes);
/* End of input: a number at top level ends here. */
void json_finish(struct json *j);
/* Nothing but whole documents so far, at least one, and no error. */
bool json_complete(const struct json *j);
