/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The series that are judged, at four levels: a model (org, feature, provider, model),
 * above it its feature and its provider, above those the organisation.
 *
 * A node with one child is its child: it keeps nothing of its own until a second one
 * comes, and then goes on from a copy. Pure; nodes are visited in the order in which
 * they were made.
 */
#pragma once

#include "collector/detect_stats.h"
#include "collector/store_query.h"

#include <uthash.h>

struct episode;

struct node {
    UT_hash_handle hh;
    struct node *parents[2];  /* a model's feature and provider; of those the organisation */
    struct node *children[2]; /* an organisation's features and providers; their models */
    struct node *next[2];     /* among the children of parents[i] */
    uint32_t children_count[2];
    uint32_t asked; /* stamp of `answer`, see detect_explain.h */
    struct node *answer;
    struct stats *stats;         /* NULL: those of its only child */
    struct stats_minute *minute; /* that is being told; NULL: nothing yet */
    struct episode *episodes;
    int64_t born_s, seen_s; /* minutes: of its making, of the last call */
    bool is_synthetic;      /* the last calls were */
    uint8_t level;          /* enum alert_level */
    uint16_t names[4];      /* places of org, feature, provider, model in key */
    char key[];
};

struct tree {
    struct node *nodes;
    uint32_t leaves, leaves_max;
};

enum node_name { NODE_ORG, NODE_FEATURE, NODE_PROVIDER, NODE_MODEL };

static inline const char *node_name(const struct node *n, enum node_name which)
{
    return n->key + n->names[which];
}

void tree_fini(struct tree *t);
/* The model's node, made when it is new, with those above it. -ENOSPC: leaves_max are
 * there. */
int tree_leaf(struct tree *t, const struct store_series_name *name, int64_t minute_s,
              struct node **ret_leaf) LECTR_MUST_USE;
/* A node of any level; names beyond it are not looked at. NULL: there is none. */
struct node *tree_find(const struct tree *t, enum alert_level level,
                       const struct store_series_name *name);
/* A node as it was saved: its parents must be there, it gets no stats. */
int tree_restore(struct tree *t, enum alert_level level, const struct store_series_name *name,
                 struct node **ret_node) LECTR_MUST_USE;
/* A call of the minute that is being told, at the leaf and above it. */
int node_add(struct node *leaf, const struct rollup_cell *cell) LECTR_MUST_USE;
void node_forget_minute(struct node *n);
/* Whose stats are a node's: its own, or those of its only child. */
struct node *node_source(struct node *n);
/* The child of `parent` after `child`; `child` NULL: the first of this dimension. */
struct node *node_next(const struct node *parent, unsigned dimension, const struct node *child);
/* Is `n` below `above`, or the same? */
bool node_is_below(const struct node *n, const struct node *above);
/* Deletes leaves without a call since `before_s` (young ones: since `young_before_s`)
 * and what is then empty above; those with episodes stay. */
void tree_drop_gone(struct tree *t, int64_t before_s, int64_t young_before_s);
