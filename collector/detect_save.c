/* SPDX-License-Identifier: Apache-2.0 */
/* The state as chunks of records, each with its kind and length before it. */
#include "collector/detect_priv.h"

#include <errno.h>
#include <string.h>

#define VERSION 3u

enum record_type { SAVED_HEADER, SAVED_NODE, SAVED_EPISODE, SAVED_CONTEXTS, SAVED__COUNT };

struct record_head {
    uint32_t type, bytes;
};

struct saved_header {
    uint32_t version, alert_bytes, node_bytes;
    uint32_t resolve_after_min;
    struct baseline_settings settings;
    int64_t minute_s;
    uint64_t nodes, episodes;
};

/* Before a node's four names and its stats. */
struct saved_node {
    int64_t born_s, seen_s;
    uint8_t level;
    bool is_synthetic, has_stats;
};

/* Before the four names of its node. */
struct saved_episode {
    struct alert last; /* without its pointers */
    int64_t ended_s, told_s;
    double told_ratio, peak, usual, settled, settling;
    uint32_t calm_minutes, rule, level;
    uint8_t method, season, confidence; /* places in `texts` */
    bool is_active, was_told;
};

/* What the alert's pointers may point to. */
static const char *const texts[] = {
    "",
    "binomial vs bad hour of the last day",
    "hour_of_week+local",
    "hour_of_day+local",
    "none",
    "daily",
    "weekly",
    "warming",
    "provisional",
    "calibrated",
};

static uint8_t text_place(const char *text)
{
    for (size_t i = 1; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (text && strcmp(texts[i], text) == 0)
            return (uint8_t)i;
    return 0;
}

static const char *text_at(uint8_t place)
{
    return place && place < sizeof(texts) / sizeof(texts[0]) ? texts[place] : NULL;
}

/* --- saving --- */

static int begin_record(struct buf *out, enum record_type type, size_t *ret_at)
{
    const struct record_head head = {.type = type};

    *ret_at = out->len;
    return buf_append(out, slice_of(&head, sizeof(head)));
}

static void end_record(struct buf *out, size_t at)
{
    struct record_head head;

    memcpy(&head, out->data + at, sizeof(head));
    head.bytes = (uint32_t)(out->len - at - sizeof(head));
    memcpy(out->data + at, &head, sizeof(head));
}

static struct slice names_of(const struct node *n)
{
    size_t end = n->names[3] + strlen(n->key + n->names[3]) + 1;

    return slice_of(n->key + n->names[0], end - n->names[0]);
}

static void fill_header(const struct detect *d, struct saved_header *h)
{
    memset(h, 0, sizeof(*h));
    h->version = VERSION;
    h->alert_bytes = sizeof(struct alert);
    h->node_bytes = sizeof(struct saved_node);
    h->resolve_after_min = d->resolve_after_min;
    h->settings = d->settings;
    h->minute_s = d->last_minute_s;
    h->nodes = HASH_COUNT(d->tree.nodes);
    h->episodes = d->episodes_count;
}

static int save_header(const struct detect *d, struct buf *out)
{
    struct saved_header h;
    size_t at;
    int r = begin_record(out, SAVED_HEADER, &at);

    fill_header(d, &h);
    if (r == 0)
        r = buf_append(out, slice_of(&h, sizeof(h)));
    if (r == 0)
        end_record(out, at);
    return r;
}

static int save_node(const struct node *n, struct buf *out)
{
    struct saved_node fixed;
    size_t at;
    int r = begin_record(out, SAVED_NODE, &at);

    memset(&fixed, 0, sizeof(fixed));
    fixed.born_s = n->born_s;
    fixed.seen_s = n->seen_s;
    fixed.level = n->level;
    fixed.is_synthetic = n->is_synthetic;
    fixed.has_stats = n->stats != NULL;
    if (r == 0)
        r = buf_append(out, slice_of(&fixed, sizeof(fixed)));
    if (r == 0)
        r = buf_append(out, names_of(n));
    if (r == 0 && n->stats)
        r = stats_save(n->stats, out);
    if (r == 0)
        end_record(out, at);
    return r;
}

static int save_episode(const struct episode *e, struct buf *out)
{
    struct saved_episode fixed;
    size_t at;
    int r = begin_record(out, SAVED_EPISODE, &at);

    memset(&fixed, 0, sizeof(fixed));
    fixed.last = e->last;
    fixed.method = text_place(e->last.method);
    fixed.season = text_place(e->last.season);
    fixed.confidence = text_place(e->last.confidence);
    fixed.last.method = fixed.last.season = fixed.last.confidence = NULL;
    fixed.ended_s = e->ended_s;
    fixed.told_s = e->told_s;
    fixed.told_ratio = e->told_ratio;
    fixed.peak = e->peak;
    fixed.usual = e->usual;
    fixed.settled = e->settled;
    fixed.settling = e->settling;
    fixed.calm_minutes = e->calm_minutes;
    fixed.rule = e->rule;
    fixed.level = e->node->level;
    fixed.is_active = e->is_active;
    fixed.was_told = e->was_told;
    if (r == 0)
        r = buf_append(out, slice_of(&fixed, sizeof(fixed)));
    if (r == 0)
        r = buf_append(out, names_of(e->node));
    if (r == 0)
        end_record(out, at);
    return r;
}

static int save_contexts(const struct detect *d, struct buf *out)
{
    size_t at;
    int r = begin_record(out, SAVED_CONTEXTS, &at);

    if (r == 0)
        r = context_save(d->context, out);
    if (r == 0)
        end_record(out, at);
    return r;
}

void detect_save_begin(struct detect *d)
{
    d->saving = (struct saving){.node = d->tree.nodes};
}

/* The next record; false: there is none. */
static bool save_next(struct detect *d, struct buf *out, int *ret_error)
{
    struct saving *s = &d->saving;

    if (!s->has_header) {
        s->has_header = true;
        *ret_error = save_header(d, out);
    } else if (s->node) {
        *ret_error = save_node(s->node, out);
        s->node = s->node->hh.next;
    } else if (s->episode < d->episodes_count) {
        *ret_error = save_episode(d->episodes[s->episode++], out);
    } else if (!s->has_contexts) {
        s->has_contexts = true;
        *ret_error = save_contexts(d, out);
    } else {
        return false;
    }
    return true;
}

int detect_save_some(struct detect *d, size_t chunk_bytes, struct buf *out, bool *ret_done)
{
    int r = 0;

    *ret_done = false;
    while (r == 0 && out->len < chunk_bytes)
        if (!save_next(d, out, &r)) {
            *ret_done = true;
            break;
        }
    return r;
}

/* --- loading --- */

static int load_header(struct detect *d, struct slice bytes)
{
    struct saved_header h, own;

    if (bytes.len != sizeof(h) || d->loading.has_header)
        return -EPROTO;
    memcpy(&h, bytes.data, sizeof(h));
    fill_header(d, &own);
    own.minute_s = h.minute_s;
    own.nodes = h.nodes;
    own.episodes = h.episodes;
    if (memcmp(&h, &own, sizeof(h)) != 0)
        return -EPROTO;
    d->loading = (struct loading){
        .has_header = true, .nodes = h.nodes, .episodes = h.episodes, .minute_s = h.minute_s};
    return 0;
}

/* Four texts, each with its NUL. */
static int take_names(struct cursor *c, struct store_series_name *ret_name)
{
    const char *names[4];

    for (int i = 0; i < 4; i++) {
        const uint8_t *end = c->rest.len ? memchr(c->rest.data, 0, c->rest.len) : NULL;

        if (!end)
            return -EPROTO;
        names[i] = (const char *)cursor_take(c, (size_t)(end - c->rest.data) + 1).data;
    }
    *ret_name = (struct store_series_name){
        .org = names[0], .feature = names[1], .provider = names[2], .model = names[3]};
    return 0;
}

static int load_node(struct detect *d, struct slice bytes)
{
    struct cursor c = cursor_of(bytes);
    struct slice fixed = cursor_take(&c, sizeof(struct saved_node));
    struct store_series_name name;
    struct saved_node s;
    struct node *n;
    int r;

    if (c.failed || d->loading.nodes == 0)
        return -EPROTO;
    memcpy(&s, fixed.data, sizeof(s));
    r = s.level < ALERT_LEVEL__COUNT ? take_names(&c, &name) : -EPROTO;
    if (r == 0)
        r = tree_restore(&d->tree, (enum alert_level)s.level, &name, &n);
    if (r < 0)
        return r == -EBADMSG ? -EPROTO : r;
    n->born_s = s.born_s;
    n->seen_s = s.seen_s;
    n->is_synthetic = s.is_synthetic;
    d->loading.nodes--;
    return s.has_stats ? stats_load(&c.rest, &n->stats) : 0;
}

static int load_episode(struct detect *d, struct slice bytes)
{
    struct cursor c = cursor_of(bytes);
    struct slice fixed = cursor_take(&c, sizeof(struct saved_episode));
    struct store_series_name name;
    struct saved_episode s;
    struct episode *e;
    struct node *n;
    int r;

    if (c.failed || d->loading.episodes == 0)
        return -EPROTO;
    memcpy(&s, fixed.data, sizeof(s));
    r = take_names(&c, &name);
    if (r < 0)
        return r;
    n = s.level < ALERT_LEVEL__COUNT ? tree_find(&d->tree, (enum alert_level)s.level, &name) : NULL;
    if (!n || s.rule >= DETECT_RULE_COUNT)
        return -EPROTO;
    r = episode_adopt(d, n, (enum alert_rule)s.rule, &e);
    if (r < 0)
        return r;
    e->last = s.last;
    e->last.method = text_at(s.method);
    e->last.season = text_at(s.season);
    e->last.confidence = text_at(s.confidence);
    e->ended_s = s.ended_s;
    e->told_s = s.told_s;
    e->told_ratio = s.told_ratio;
    e->peak = s.peak;
    e->usual = s.usual;
    e->settled = s.settled;
    e->settling = s.settling;
    e->calm_minutes = s.calm_minutes;
    e->is_active = s.is_active;
    e->was_told = s.was_told;
    d->loading.episodes--;
    return 0;
}

static int load_contexts(struct detect *d, struct slice bytes)
{
    d->loading.has_contexts = true;
    return context_load(d->context, bytes);
}

int detect_load(struct detect *d, struct slice chunk)
{
    static int (*const loaders[SAVED__COUNT])(struct detect *, struct slice) = {
        [SAVED_HEADER] = load_header,
        [SAVED_NODE] = load_node,
        [SAVED_EPISODE] = load_episode,
        [SAVED_CONTEXTS] = load_contexts,
    };
    struct cursor c = cursor_of(chunk);

    while (c.rest.len) {
        struct slice fixed = cursor_take(&c, sizeof(struct record_head)), bytes;
        struct record_head head;
        int r;

        if (c.failed)
            return -EPROTO;
        memcpy(&head, fixed.data, sizeof(head));
        bytes = cursor_take(&c, head.bytes);
        if (c.failed || head.type >= SAVED__COUNT ||
            d->loading.has_header == (head.type == SAVED_HEADER))
            return -EPROTO;
        r = loaders[head.type](d, bytes);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Every node has stats, or one child that has. */
static bool is_whole(const struct detect *d)
{
    for (struct node *n = d->tree.nodes; n; n = n->hh.next)
        if (!node_source(n))
            return false;
    return true;
}

int detect_load_end(struct detect *d)
{
    const struct loading *l = &d->loading;

    if (!l->has_header || !l->has_contexts || l->nodes || l->episodes || !is_whole(d))
        return -EPROTO;
    d->last_minute_s = l->minute_s;
    return 0;
}
