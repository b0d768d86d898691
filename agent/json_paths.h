/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the scanner: the listed paths as a tree of keys. */
#pragma once

#include "agent/json.h"

struct json_want {
    uint16_t field;
    uint8_t how;
    int16_t next; /* the same node's next want; -1: none */
};

struct json_node {
    char *key;
    uint16_t key_len;
    bool is_element; /* "[]" */
    bool keep_text;
    bool is_subtree;
    int16_t first_child, next, first_want;
};

struct json_paths {
    int16_t node_count, want_count;
    struct json_node nodes[JSON_NODES_MAX];
    struct json_want wants[JSON_NODES_MAX];
};

/* -1: not listed. `node` may be -1. */
int json_paths_child(const struct json_paths *p, int node, struct slice key);
int json_paths_element(const struct json_paths *p, int node);
