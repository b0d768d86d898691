/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As bytes: "LRS1", the number of rules, then each rule: name, digest, next minute,
 * groups; each group: four names, minute seen, synthetic, episodes, state. Numbers are
 * big-endian, episodes and states the bytes they have in memory; what changes those
 * changes the digest.
 */
#include "collector/ruleset_priv.h"

#include <errno.h>
#include <string.h>

#define MAGIC "LRS1"
#define RULES_MAX ALERTING_RULES_MAX

static int put_u32(struct buf *b, uint32_t v)
{
    uint8_t bytes[4];

    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(v >> (24 - 8 * i));
    return buf_append(b, slice_of(bytes, sizeof(bytes)));
}

static int put_u64(struct buf *b, uint64_t v)
{
    int r = put_u32(b, (uint32_t)(v >> 32));

    return r < 0 ? r : put_u32(b, (uint32_t)v);
}

static int put_text(struct buf *b, const char *text)
{
    int r = put_u32(b, (uint32_t)strlen(text));

    return r < 0 ? r : buf_append_str(b, text);
}

static int put_group(const struct rule_state *rs, const struct group *g, struct buf *b)
{
    const char *const names[] = {g->org, g->feature, g->provider, g->model};
    int r = 0;

    for (int i = 0; i < 4 && r == 0; i++)
        r = put_text(b, names[i]);
    if (r == 0)
        r = put_u64(b, (uint64_t)g->seen_s);
    if (r == 0)
        r = put_u32(b, g->is_synthetic);
    if (r == 0)
        r = buf_append(b, slice_of(g->episodes, sizeof(g->episodes)));
    return r < 0 ? r : buf_append(b, slice_of(g->state, rs->state_bytes));
}

static int put_rule(const struct rule_state *rs, struct buf *b)
{
    int r = put_text(b, rs->rule->name);

    if (r == 0)
        r = put_u64(b, rs->digest);
    if (r == 0)
        r = put_u64(b, (uint64_t)rs->next_s);
    if (r == 0)
        r = put_u32(b, (uint32_t)rs->state_bytes);
    if (r == 0)
        r = put_u32(b, HASH_COUNT(rs->groups));
    for (const struct group *g = rs->groups; g && r == 0; g = g->hh.next)
        r = put_group(rs, g, b);
    return r;
}

static bool is_news(const struct rule_state *rs)
{
    return rs->rule->kind == ALERTING_FIRST_SEEN;
}

static int save(const struct ruleset *set, bool news_only, struct buf *out)
{
    uint32_t count = 0;
    int r = buf_append_str(out, MAGIC);

    for (unsigned i = 0; i < set->rules_count; i++)
        count += !news_only || is_news(&set->rules[i]);
    if (r == 0)
        r = put_u32(out, count);
    for (unsigned i = 0; i < set->rules_count && r == 0; i++)
        if (!news_only || is_news(&set->rules[i]))
            r = put_rule(&set->rules[i], out);
    return r;
}

int ruleset_save(const struct ruleset *set, struct buf *out)
{
    return save(set, false, out);
}

int ruleset_save_news(const struct ruleset *set, struct buf *out)
{
    return save(set, true, out);
}

static int take_text(struct cursor *c, char *ret_text, size_t size)
{
    uint32_t len = cursor_be32(c);
    struct slice text;

    if (len >= size)
        return -EBADMSG;
    text = cursor_take(c, len);
    if (c->failed || (len && memchr(text.data, 0, len)))
        return -EBADMSG;
    if (len)
        memcpy(ret_text, text.data, len);
    ret_text[len] = '\0';
    return 0;
}

static bool is_text(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

static bool is_list(const struct novel *n)
{
    for (uint32_t i = 0; i < n->values.count && i < RULING_VALUES_MAX; i++)
        if (!is_text(n->values.list[i], RULING_VALUE_BYTES))
            return false;
    return n->values.count <= RULING_VALUES_MAX;
}

static int fill_group(const struct rule_state *rs, struct group *g, struct slice episodes,
                      struct slice state)
{
    memcpy(g->episodes, episodes.data, sizeof(g->episodes));
    memcpy(g->state, state.data, state.len);
    for (unsigned i = 0; i < EPISODE__COUNT; i++)
        if (!is_text(g->episodes[i].fingerprint, sizeof(g->episodes[i].fingerprint)))
            return -EBADMSG;
    return rs->rule->kind != ALERTING_FIRST_SEEN || is_list(g->state) ? 0 : -EBADMSG;
}

/* `rs` NULL: nobody wants it. */
static int take_group(struct ruleset *set, struct rule_state *rs, size_t state_bytes,
                      struct cursor *c)
{
    char names[4][KEY_BYTES_MAX / 4];
    struct slice episodes, state;
    struct group *g = NULL;
    uint64_t seen_s;
    bool is_synthetic;
    int r = 0;

    for (int i = 0; i < 4 && r == 0; i++)
        r = take_text(c, names[i], sizeof(names[i]));
    if (r < 0)
        return r;
    seen_s = cursor_be64(c);
    is_synthetic = cursor_be32(c);
    episodes = cursor_take(c, sizeof(g->episodes));
    state = cursor_take(c, state_bytes);
    if (c->failed)
        return -EBADMSG;
    if (!rs)
        return 0;
    r = ruleset_group(set, rs, names[0], names[1], names[2], names[3], &g);
    if (r < 0)
        return r == -ENOSPC ? 0 : r;
    g->seen_s = (int64_t)(seen_s & INT64_MAX);
    g->is_synthetic = is_synthetic;
    return fill_group(rs, g, episodes, state);
}

static struct rule_state *find_rule(struct ruleset *set, const char *name, uint64_t digest,
                                    size_t state_bytes)
{
    for (unsigned i = 0; i < set->rules_count; i++) {
        struct rule_state *rs = &set->rules[i];

        if (rs->digest == digest && rs->state_bytes == state_bytes && !rs->groups &&
            strcmp(rs->rule->name, name) == 0)
            return rs;
    }
    return NULL;
}

static int take_rule(struct ruleset *set, struct cursor *c)
{
    char name[1100];
    struct rule_state *rs;
    uint64_t digest, next_s;
    uint32_t state_bytes, groups;
    int r = take_text(c, name, sizeof(name));

    if (r < 0)
        return r;
    digest = cursor_be64(c);
    next_s = cursor_be64(c);
    state_bytes = cursor_be32(c);
    groups = cursor_be32(c);
    if (c->failed || groups > RULESET_GROUPS_MAX || next_s > INT64_MAX)
        return -EBADMSG;
    rs = find_rule(set, name, digest, state_bytes);
    for (uint32_t i = 0; i < groups && r == 0; i++)
        r = take_group(set, rs, state_bytes, c);
    if (r == 0 && rs)
        rs->next_s = (int64_t)next_s;
    return r;
}

int ruleset_load(struct ruleset *set, struct slice saved)
{
    struct cursor c = cursor_of(saved);
    struct slice magic = cursor_take(&c, strlen(MAGIC));
    uint32_t rules;
    int r = 0;

    if (c.failed || memcmp(magic.data, MAGIC, magic.len) != 0)
        return -EBADMSG;
    rules = cursor_be32(&c);
    if (c.failed || rules > RULES_MAX)
        return -EBADMSG;
    for (uint32_t i = 0; i < rules && r == 0; i++)
        r = take_rule(set, &c);
    return r == 0 && c.rest.len ? -EBADMSG : r;
}
