/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded exchanges, as estimate_eval works on them. */
#pragma once

#include <jansson.h>

#include "agent/provider.h"
#include "proto/base/buf.h"

#define ITEMS_MAX 8192
#define REPOS_MAX 64

struct options {
    const char *profiles, *truth, *learn, *folder;
    unsigned cuts, seed;
    bool check;
};

struct item {
    char id[96], provider[32], api[48], model[96], host[128];
    int repo;
    bool stream, usable, plain;
    struct buf up, head, body;
    double input, output, hidden; /* truth; negative: not said */
    uint64_t bytes;               /* of visible output */
    double request_bytes;
    json_t *tokens; /* [[bytes, tokens], …] */
};

struct bench {
    struct options o;
    struct provider_set *open, *blind;
    struct item items[ITEMS_MAX];
    unsigned count;
    char *repos[REPOS_MAX];
    int repo_count;
    json_t *truth;
};

/* Says why and exits. */
void eval_die(const char *what);
/* Adds the exchanges below `folder` to b->items. */
void eval_load(struct bench *b, const char *folder);
