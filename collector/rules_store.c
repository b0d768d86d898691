/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/rules_store.h"

#include "collector/store_query.h"
#include "collector/store_rules.h"
#include "collector/text.h"
#include "proto/base/clock.h"
#include "proto/event.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_S 60
#define UNPRICED_MAX 1000
#define NEWS_MAX 1000
/* How long an episode that somebody says was planned may go on. */
#define PLANNED_S (24 * 3600)

int rules_tell_minute(struct store *store, struct ruleset *set, int64_t minute_s)
{
    int64_t end_s = minute_s + MINUTE_S;
    int r = ruleset_begin(set, minute_s);

    if (r < 0 || !ruleset_has_rules(set))
        return r;
    r = store_each_cell(store, ROLLUP_MINUTE, minute_s, end_s, ruleset_add, set);
    if (r == 0)
        r = store_each_coverage(store, ROLLUP_MINUTE, minute_s, end_s, ruleset_add_coverage, set);
    return r < 0 ? r
                 : store_each_unpriced(store, minute_s, end_s, UNPRICED_MAX, ruleset_add_unpriced,
                                       set);
}

/* --- values never seen before --- */

struct news {
    struct ruleset *set;
    struct store_seen *list; /* org and value are owned */
    unsigned count;
};

static void news_fini(struct news *n)
{
    for (unsigned i = 0; i < n->count; i++) {
        free((void *)(uintptr_t)n->list[i].org);
        free((void *)(uintptr_t)n->list[i].value);
    }
    free(n->list);
}

static int take_news(void *ctx, const struct store_seen *seen)
{
    struct news *n = ctx;
    struct ruleset_new_value value = {
        .org = seen->org,
        .dimension = (enum alerting_dimension)seen->dimension,
        .value = seen->value,
        .feature = seen->feature,
        .provider = seen->provider,
        .model = seen->model,
        .age_s = seen->first_s - seen->dimension_first_s,
    };
    struct store_seen *copy = &n->list[n->count];

    *copy = (struct store_seen){
        .org = strdup(seen->org), .dimension = seen->dimension, .value = strdup(seen->value)};
    n->count++;
    return copy->org && copy->value ? ruleset_add_new_value(n->set, &value) : -ENOMEM;
}

int rules_tell_news(struct store *store, struct ruleset *set, int64_t minute_s, unsigned *ret_count)
{
    struct news news = {.set = set, .list = calloc(NEWS_MAX, sizeof(*news.list))};
    int r = news.list ? 0 : -ENOMEM;

    if (r == 0)
        r = store_each_untold(store, minute_s + MINUTE_S, NEWS_MAX, take_news, &news);
    for (unsigned i = 0; i < news.count && r == 0; i++)
        r = store_set_seen_told(store, &news.list[i]);
    if (r == 0)
        *ret_count = news.count;
    news_fini(&news);
    return r;
}

/* --- transitions that nobody's minute brings --- */

/* A copy of what the store tells, for statements to be run after the reading. */
struct kept {
    char fingerprint[EVENT_UUID_BYTES], org[64], kind[32];
    struct buf payload;
};

struct kept_list {
    struct ruleset *set;
    const struct silences *silences;
    int64_t now_s;
    bool has_silenced;
    struct kept *list;
    unsigned count, capacity;
};

static void kept_fini(struct kept_list *l)
{
    for (unsigned i = 0; i < l->count; i++)
        buf_fini(&l->list[i].payload);
    free(l->list);
    l->list = NULL;
    l->count = l->capacity = 0;
}

static int keep(struct kept_list *l, const struct store_alert *row)
{
    struct kept *k;

    if (l->count == l->capacity) {
        unsigned capacity = l->capacity ? 2 * l->capacity : 16;
        struct kept *grown = realloc(l->list, capacity * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        l->list = grown;
        l->capacity = capacity;
    }
    k = &l->list[l->count];
    text_copy(k->fingerprint, sizeof(k->fingerprint), row->fingerprint);
    text_copy(k->org, sizeof(k->org), row->org);
    text_copy(k->kind, sizeof(k->kind), row->kind);
    buf_init(&k->payload, EVENT_MAX_BYTES);
    l->count++;
    return buf_append(&k->payload, row->payload);
}

static int store_transition(struct store *store, const struct kept *k, const char *id, int status,
                            int64_t at_s, struct slice payload)
{
    return store_add_alert(store, &(struct store_alert){.id = id,
                                                        .fingerprint = k->fingerprint,
                                                        .status = status,
                                                        .org = k->org,
                                                        .kind = k->kind,
                                                        .at_ns = at_s * (int64_t)NSEC_PER_SEC,
                                                        .payload = payload});
}

static int end_one(struct store *store, const struct kept *k, int64_t at_s)
{
    struct buf packed;
    char id[EVENT_UUID_BYTES];
    int r;

    buf_init(&packed, EVENT_MAX_BYTES);
    r = alert_pack_resolved(buf_slice(&k->payload), at_s,
                            "Its rule was changed or is no more, or late data explained it.",
                            &packed, id);
    if (r == 0)
        r = store_transition(store, k, id, ALERT_RESOLVED, at_s, buf_slice(&packed));
    buf_fini(&packed);
    return r;
}

static int tell_again(struct store *store, const struct kept *k, int64_t at_s, const char *feedback)
{
    struct buf packed;
    char id[EVENT_UUID_BYTES];
    int status = 0, r;

    buf_init(&packed, EVENT_MAX_BYTES);
    r = alert_pack_again(buf_slice(&k->payload), at_s, feedback, &packed, id, &status);
    if (r == 0)
        r = store_transition(store, k, id, status, at_s, buf_slice(&packed));
    buf_fini(&packed);
    return r;
}

static int keep_unknown(void *ctx, const struct store_alert *row)
{
    struct kept_list *l = ctx;

    if (!alert_is_of_file(row->payload))
        return 0;
    if (ruleset_has_episode(l->set, row->fingerprint)) {
        ruleset_set_told(l->set, row->fingerprint);
        return 0;
    }
    return keep(l, row);
}

static int write_all(struct store *store, const struct kept_list *l, bool ends)
{
    int r = 0;

    for (unsigned i = 0; i < l->count && r == 0; i++)
        r = ends ? end_one(store, &l->list[i], l->now_s)
                 : tell_again(store, &l->list[i], l->now_s, "");
    return r;
}

/* All or none of them. Looked at twice: nobody is held up when there is nothing to write, and what
 * a person says meanwhile is not written over. */
static int rewrite_active(struct store *store, struct kept_list *l,
                          int (*each)(void *ctx, const struct store_alert *row), bool ends)
{
    int r = store_each_active(store, each, l);

    if (r < 0 || l->count == 0)
        return r;
    kept_fini(l);
    r = store_begin(store);
    if (r == 0)
        r = store_lock_alerts(store);
    if (r == 0)
        r = store_each_active(store, each, l);
    if (r == 0)
        r = write_all(store, l, ends);
    if (r == 0)
        r = store_commit(store);
    if (r < 0)
        store_rollback(store);
    return r;
}

int rules_reconcile(struct store *store, struct ruleset *set, int64_t closed_s)
{
    struct kept_list l = {.set = set, .now_s = closed_s};
    int r = rewrite_active(store, &l, keep_unknown, true);

    kept_fini(&l);
    if (r == 0)
        ruleset_drop_untold(set);
    return r;
}

static const char *label_of(const Lectr__V1__Alert *m, const char *name)
{
    for (size_t i = 0; i < m->n_labels; i++)
        if (m->labels[i]->name && strcmp(m->labels[i]->name, name) == 0)
            return m->labels[i]->value;
    return "";
}

static struct alerting_scope scope_of(const Lectr__V1__Alert *m)
{
    return (struct alerting_scope){
        .org = m->org,
        .feature = label_of(m, "feature"),
        .provider = label_of(m, "provider"),
        .model = label_of(m, "model"),
        .severity = m->severity,
        .rule = m->rule,
        .name = m->rule_name,
    };
}

static int keep_unsilenced(void *ctx, const struct store_alert *row)
{
    struct kept_list *l = ctx;
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const Lectr__V1__Alert *m;
    struct alerting_scope scope;
    bool is_planned;

    if (event_unpack(EVENT_ALERT, row->payload, &message) < 0)
        return 0;
    m = (const Lectr__V1__Alert *)(const void *)message;
    /* One that a rule holds back has no end of its own. */
    if (!m->silenced_by || strncmp(m->silenced_by, "rule:", 5) == 0)
        return 0;
    l->has_silenced = true;
    scope = scope_of(m);
    return silences_find(l->silences, &scope, l->now_s, &is_planned) ? 0 : keep(l, row);
}

int rules_end_silences(struct store *store, const struct silences *silences, int64_t now_s,
                       bool *ret_has_silenced)
{
    struct kept_list l = {.silences = silences, .now_s = now_s};
    int r = rewrite_active(store, &l, keep_unsilenced, false);

    if (r == 0)
        *ret_has_silenced = l.has_silenced;
    kept_fini(&l);
    return r;
}

/* --- feedback --- */

static int keep_episode(void *ctx, const struct store_alert *row)
{
    return keep(ctx, row);
}

/* What was planned is not learned; the rest of it is not told to anybody either. Taken back, it
 * is as if nobody had said so. */
static int plan_episode(struct store *store, const struct kept *k, int64_t now_s, bool is_planned)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const Lectr__V1__Alert *m;
    struct store_silence silence = {.is_planned = true, .severity = "", .rule = ""};
    char id[EVENT_UUID_BYTES + 1];
    int r = event_unpack(EVENT_ALERT, buf_slice(&k->payload), &message);

    if (r < 0)
        return r;
    m = (const Lectr__V1__Alert *)(const void *)message;
    snprintf(id, sizeof(id), "p%.36s", k->fingerprint);
    silence.id = id;
    silence.org = m->org ? m->org : "";
    silence.feature = label_of(m, "feature");
    silence.provider = label_of(m, "provider");
    silence.model = label_of(m, "model");
    silence.from_s = (int64_t)(m->starts_at_unix_nano / NSEC_PER_SEC);
    silence.until_s = m->has_ends_at_unix_nano ? (int64_t)(m->ends_at_unix_nano / NSEC_PER_SEC)
                                               : now_s + PLANNED_S;
    silence.comment = "feedback: planned";
    if (is_planned)
        return store_add_silence(store, &silence);
    r = store_end_silence(store, id, silence.from_s);
    return r == -ENOENT ? 0 : r;
}

int rules_tell_feedback(struct store *store, const char *fingerprint, const char *verdict,
                        int64_t now_s)
{
    struct kept_list found = {0};
    bool is_planned = strcmp(verdict, "planned") == 0;
    char before[16] = "";
    int r = store_lock_alerts(store);

    if (r == 0)
        r = store_last_alert(store, fingerprint, keep_episode, &found);
    if (r == 0)
        r = found.count ? store_get_feedback(store, fingerprint, before, sizeof(before)) : -ENOENT;
    if (r == 0)
        r = tell_again(store, &found.list[0], now_s, verdict);
    if (r == 0 && is_planned != (strcmp(before, "planned") == 0))
        r = plan_episode(store, &found.list[0], now_s, is_planned);
    kept_fini(&found);
    return r;
}
