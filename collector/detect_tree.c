/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/detect_tree.h"

#include "collector/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES 512
#define YOUNG_S 86400

struct key {
    char bytes[KEY_BYTES];
    size_t length;
    uint16_t names[4];
};

/* The names as the store has them; those beyond the level are empty. */
static void make_key(enum alert_level level, const struct store_series_name *name,
                     struct key *ret_key)
{
    const bool has_feature = level == ALERT_LEVEL_MODEL || level == ALERT_LEVEL_FEATURE;
    const bool has_provider = level == ALERT_LEVEL_MODEL || level == ALERT_LEVEL_PROVIDER;
    const char *const texts[4] = {name->org, has_feature ? name->feature : "",
                                  has_provider ? name->provider : "",
                                  level == ALERT_LEVEL_MODEL ? name->model : ""};
    static const size_t most[4] = {64, 96, 64, 160};
    size_t at = 0;

    ret_key->bytes[at++] = (char)('0' + level);
    for (int i = 0; i < 4; i++) {
        ret_key->names[i] = (uint16_t)at;
        text_copy(ret_key->bytes + at, most[i], texts[i]);
        at += strlen(ret_key->bytes + at) + 1;
    }
    ret_key->length = at;
}

static struct node *find_key(const struct tree *t, const struct key *key)
{
    struct node *n;

    HASH_FIND(hh, t->nodes, key->bytes, key->length, n);
    return n;
}

struct node *tree_find(const struct tree *t, enum alert_level level,
                       const struct store_series_name *name)
{
    struct key key;

    make_key(level, name, &key);
    return find_key(t, &key);
}

void node_forget_minute(struct node *n)
{
    if (!n->minute)
        return;
    sketch_fini(&n->minute->latency);
    free(n->minute);
    n->minute = NULL;
}

static void node_free(struct node *n)
{
    node_forget_minute(n);
    stats_free(&n->stats);
    free(n);
}

void tree_fini(struct tree *t)
{
    struct node *n, *next;

    HASH_ITER(hh, t->nodes, n, next)
    {
        HASH_DEL(t->nodes, n);
        node_free(n);
    }
    t->leaves = 0;
}

/* --- links --- */

/* In which list of its parent's children a node is, and by which of its links. */
static unsigned dimension_of(const struct node *n)
{
    return n->level == ALERT_LEVEL_PROVIDER ? 1 : 0;
}

static void link_to(struct node *n, unsigned which, struct node *parent)
{
    const unsigned dimension = dimension_of(n);

    n->parents[which] = parent;
    n->next[which] = parent->children[dimension];
    parent->children[dimension] = n;
    parent->children_count[dimension]++;
}

static void unlink_from(struct node *n, unsigned which)
{
    struct node *parent = n->parents[which];
    struct node **place = &parent->children[dimension_of(n)];

    while (*place != n)
        place = &(*place)->next[which];
    *place = n->next[which];
    parent->children_count[dimension_of(n)]--;
}

struct node *node_next(const struct node *parent, unsigned dimension, const struct node *child)
{
    if (!child)
        return parent->children[dimension];
    return child->next[parent->level == ALERT_LEVEL_PROVIDER ? 1 : 0];
}

bool node_is_below(const struct node *n, const struct node *above)
{
    for (; n; n = n->parents[0])
        if (n == above || n->parents[1] == above)
            return true;
    return false;
}

struct node *node_source(struct node *n)
{
    while (n && !n->stats)
        n = n->children_count[0] == 1 ? n->children[0] : n->children[1];
    return n;
}

/* --- making --- */

static struct node *make_node(struct tree *t, enum alert_level level, const struct key *key)
{
    struct node *n = calloc(1, sizeof(*n) + key->length);

    if (!n)
        return NULL;
    n->level = (uint8_t)level;
    memcpy(n->names, key->names, sizeof(n->names));
    memcpy(n->key, key->bytes, key->length);
    HASH_ADD_KEYPTR(hh, t->nodes, n->key, key->length, n);
    t->leaves += level == ALERT_LEVEL_MODEL;
    return n;
}

static void unmake_node(struct tree *t, struct node *n)
{
    for (unsigned i = 0; i < 2; i++)
        if (n->parents[i])
            unlink_from(n, i);
    HASH_DEL(t->nodes, n);
    t->leaves -= n->level == ALERT_LEVEL_MODEL;
    node_free(n);
}

int tree_restore(struct tree *t, enum alert_level level, const struct store_series_name *name,
                 struct node **ret_node)
{
    static const enum alert_level parents[ALERT_LEVEL__COUNT][2] = {
        [ALERT_LEVEL_MODEL] = {ALERT_LEVEL_FEATURE, ALERT_LEVEL_PROVIDER},
        [ALERT_LEVEL_FEATURE] = {ALERT_LEVEL_ORG, ALERT_LEVEL__COUNT},
        [ALERT_LEVEL_PROVIDER] = {ALERT_LEVEL_ORG, ALERT_LEVEL__COUNT},
        [ALERT_LEVEL_ORG] = {ALERT_LEVEL__COUNT, ALERT_LEVEL__COUNT},
    };
    struct node *above[2] = {NULL, NULL}, *n;
    struct key key;

    make_key(level, name, &key);
    for (int i = 0; i < 2; i++)
        if (parents[level][i] < ALERT_LEVEL__COUNT) {
            above[i] = tree_find(t, parents[level][i], name);
            if (!above[i])
                return -EBADMSG;
        }
    if (find_key(t, &key))
        return -EBADMSG;
    n = make_node(t, level, &key);
    if (!n)
        return -ENOMEM;
    for (unsigned i = 0; i < 2; i++)
        if (above[i])
            link_to(n, i, above[i]);
    *ret_node = n;
    return 0;
}

static int node_of(struct tree *t, enum alert_level level, const struct store_series_name *name,
                   int64_t minute_s, struct node **ret_node)
{
    struct node *n = tree_find(t, level, name);
    int r = 0;

    if (!n)
        r = tree_restore(t, level, name, &n);
    if (r < 0)
        return r;
    if (n->born_s == 0)
        n->born_s = n->seen_s = minute_s;
    *ret_node = n;
    return 0;
}

static int copy_minute(const struct node *from, struct node *to)
{
    if (!from->minute)
        return 0;
    to->minute = calloc(1, sizeof(*to->minute));
    if (!to->minute)
        return -ENOMEM;
    to->minute->sums = from->minute->sums;
    return sketch_merge(&to->minute->latency, &from->minute->latency);
}

/* Until now it was `from`, which it is no longer alone. */
static int go_apart(struct node *n, const struct node *from)
{
    int r = stats_copy(from->stats, &n->stats);

    n->is_synthetic = from->is_synthetic;
    return r < 0 ? r : copy_minute(from, n);
}

/* Will another child make it more than its only one? */
static bool has_one_child(const struct node *n)
{
    return n->level == ALERT_LEVEL_ORG ? n->children_count[0] == 1 || n->children_count[1] == 1
                                       : n->children_count[0] == 1;
}

static bool needs_stats(const struct node *n)
{
    return !n->stats && !has_one_child(n);
}

struct lineage {
    struct node *nodes[3]; /* organisation, feature, provider */
    struct node *sources[3];
};

static int make_lineage(struct tree *t, const struct store_series_name *name, int64_t minute_s,
                        struct lineage *ret_lineage)
{
    static const enum alert_level levels[3] = {ALERT_LEVEL_ORG, ALERT_LEVEL_FEATURE,
                                               ALERT_LEVEL_PROVIDER};
    struct node *org = tree_find(t, ALERT_LEVEL_ORG, name);
    int r = 0;

    /* Before the new ones are linked. */
    ret_lineage->sources[0] = org ? node_source(org) : NULL;
    for (int i = 0; i < 3 && r == 0; i++) {
        r = node_of(t, levels[i], name, minute_s, &ret_lineage->nodes[i]);
        if (r == 0 && i > 0)
            ret_lineage->sources[i] =
                ret_lineage->nodes[i]->children[0] ? node_source(ret_lineage->nodes[i]) : NULL;
    }
    return r;
}

int tree_leaf(struct tree *t, const struct store_series_name *name, int64_t minute_s,
              struct node **ret_leaf)
{
    struct node *leaf = tree_find(t, ALERT_LEVEL_MODEL, name);
    struct stats *stats = NULL;
    struct lineage l;
    int r;

    if (leaf) {
        *ret_leaf = leaf;
        return 0;
    }
    if (t->leaves >= t->leaves_max)
        return -ENOSPC;
    r = stats_new(&stats);
    if (r == 0)
        r = make_lineage(t, name, minute_s, &l);
    if (r == 0)
        r = node_of(t, ALERT_LEVEL_MODEL, name, minute_s, &leaf);
    if (r == 0)
        leaf->stats = TAKE_PTR(stats);
    for (int i = 0; i < 3 && r == 0; i++)
        if (needs_stats(l.nodes[i]) && l.sources[i])
            r = go_apart(l.nodes[i], l.sources[i]);
    stats_free(&stats);
    if (r == 0)
        *ret_leaf = leaf;
    return r;
}

/* --- the minute --- */

static int add_to(struct node *n, const struct rollup_cell *cell)
{
    if (!n->stats)
        return 0;
    if (!n->minute)
        n->minute = calloc(1, sizeof(*n->minute));
    if (!n->minute)
        return -ENOMEM;
    rollup_sums_add(&n->minute->sums, &cell->sums);
    return sketch_merge(&n->minute->latency, &cell->latency);
}

int node_add(struct node *leaf, const struct rollup_cell *cell)
{
    struct node *const lineage[] = {leaf, leaf->parents[0], leaf->parents[1],
                                    leaf->parents[0]->parents[0]};
    int r = 0;

    for (int i = 0; i < 4 && r == 0; i++)
        r = add_to(lineage[i], cell);
    return r;
}

/* --- what is gone --- */

static bool is_gone(const struct node *n, int64_t before_s, int64_t young_before_s)
{
    if (n->level != ALERT_LEVEL_MODEL || n->episodes)
        return false;
    return n->seen_s < (n->seen_s < n->born_s + YOUNG_S ? young_before_s : before_s);
}

static bool is_empty(const struct node *n)
{
    return n->level != ALERT_LEVEL_MODEL && !n->episodes && !n->children_count[0] &&
           !n->children_count[1];
}

void tree_drop_gone(struct tree *t, int64_t before_s, int64_t young_before_s)
{
    struct node *n, *next;

    HASH_ITER(hh, t->nodes, n, next)
    {
        struct node *above[] = {n->parents[0], n->parents[1],
                                n->parents[0] ? n->parents[0]->parents[0] : NULL};

        if (!is_gone(n, before_s, young_before_s))
            continue;
        unmake_node(t, n);
        /* Those above were made before and are behind the visit. */
        for (int i = 0; i < 3; i++)
            if (above[i] && is_empty(above[i]))
                unmake_node(t, above[i]);
    }
}
