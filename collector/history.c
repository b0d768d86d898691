/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/history.h"

#include "collector/alerting.h"
#include "collector/detect.h"
#include "collector/enrich.h"
#include "collector/rules.h"
#include "collector/rules_store.h"
#include "collector/ruleset.h"
#include "collector/store_query.h"
#include "collector/when.h"
#include "proto/base/clock.h"
#include "proto/event.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

#define MINUTE_S 60
#define HOUR_S 3600
#define SINCE_DEFAULT "7d"
#define LIMIT_ALERTS 100000

/* An episode that was told at the time. */
struct known {
    UT_hash_handle hh;
    bool fires_again;
    struct buf payload;
    char fingerprint[37];
};

struct history {
    struct store *store;
    struct alerting *alerting;
    struct detect *detect;
    struct ruleset *set;
    struct known *known;
    int64_t from_s;
    bool as_json;
    FILE *out;
    unsigned fires, again, told, held_back;
};

static void history_fini(struct history *h)
{
    struct known *k, *next;

    HASH_ITER(hh, h->known, k, next)
    {
        HASH_DEL(h->known, k);
        buf_fini(&k->payload);
        free(k);
    }
    ruleset_free(&h->set);
    detect_free(&h->detect);
    alerting_free(&h->alerting);
    store_close(&h->store);
}

/* --- what was told --- */

/* What came first is not in the minutes: it says nothing of what would fire. */
static bool is_first_seen(struct slice packed)
{
    static const char end[] = ".first_seen";
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const char *rule;
    size_t len;

    if (event_unpack(EVENT_ALERT, packed, &message) < 0)
        return false;
    rule = ((const Lectr__V1__Alert *)message)->rule;
    len = rule ? strlen(rule) : 0;
    return len >= strlen(end) && strcmp(rule + len - strlen(end), end) == 0;
}

static int note_known(void *ctx, const struct store_alert *row)
{
    struct history *h = ctx;
    struct known *k;
    int r;

    if (row->status != ALERT_FIRING || is_first_seen(row->payload) ||
        strlen(row->fingerprint) >= sizeof(k->fingerprint))
        return 0;
    HASH_FIND_STR(h->known, row->fingerprint, k);
    if (k)
        return 0;
    k = calloc(1, sizeof(*k));
    if (!k)
        return -ENOMEM;
    memcpy(k->fingerprint, row->fingerprint, strlen(row->fingerprint) + 1);
    buf_init(&k->payload, EVENT_MAX_BYTES);
    HASH_ADD_STR(h->known, fingerprint, k);
    h->told++;
    r = buf_append(&k->payload, row->payload);
    return r;
}

/* --- telling --- */

static int print_json(const struct history *h, struct slice packed, bool fires, bool was_told,
                      const char *held_back_by)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    struct buf json;
    int r = event_unpack(EVENT_ALERT, packed, &message);

    if (r < 0)
        return r;
    buf_init(&json, SIZE_MAX);
    r = event_json(message, &json);
    if (r == 0)
        fprintf(h->out, "{\"fires\":%s,\"was_told\":%s,\"held_back\":%s,\"alert\":%.*s}\n",
                fires ? "true" : "false", was_told ? "true" : "false",
                held_back_by[0] ? "true" : "false", (int)json.len, (const char *)json.data);
    buf_fini(&json);
    return r;
}

static void print_text(const struct history *h, struct slice packed, const char *mark,
                       const char *held_back_by)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const Lectr__V1__Alert *m;
    char when[32];
    time_t at;
    struct tm tm;

    if (event_unpack(EVENT_ALERT, packed, &message) < 0)
        return;
    m = (const Lectr__V1__Alert *)message;
    at = (time_t)(m->detected_at_unix_nano / NSEC_PER_SEC);
    gmtime_r(&at, &tm);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
    fprintf(h->out, "%s %s  %-8s  %-18s  %s%s%s\n", mark, when, m->severity ? m->severity : "",
            m->rule ? m->rule : "", m->reason ? m->reason : "",
            held_back_by[0] ? "  held back by " : "", held_back_by);
}

static int print_alert(const struct history *h, struct slice packed, bool fires, bool was_told,
                       const char *held_back_by)
{
    if (h->as_json)
        return print_json(h, packed, fires, was_told, held_back_by);
    print_text(h, packed, fires ? was_told ? "=" : "+" : "-", held_back_by);
    return 0;
}

static int on_alert(void *ctx, const struct alert *told)
{
    struct history *h = ctx;
    struct alert a = *told;
    struct buf packed;
    struct known *k;
    int r = 0;

    if (a.status != ALERT_FIRING)
        return 0;
    if (!a.ruling)
        r = enrich_alert(h->store, &a);
    if (r < 0)
        return r;
    rules_mark_period(h->alerting, &a);
    HASH_FIND_STR(h->known, a.fingerprint, k);
    if (k)
        k->fires_again = true;
    h->fires++;
    h->again += k != NULL;
    h->held_back += a.silenced_by[0] != '\0';
    buf_init(&packed, EVENT_MAX_BYTES);
    r = alert_pack(&a, &packed);
    if (r == 0)
        r = print_alert(h, buf_slice(&packed), true, k != NULL, a.silenced_by);
    buf_fini(&packed);
    return r;
}

/* --- going through --- */

static int recall_hours(struct history *h, int64_t first_s)
{
    uint32_t hours = ruleset_history_h(h->set);
    int r = 0;

    for (int64_t at = first_s - hours * (int64_t)HOUR_S; at < first_s && r == 0; at += HOUR_S) {
        ruleset_recall_begin(h->set, at);
        r = store_each_cell(h->store, ROLLUP_HOUR, at, at + HOUR_S, ruleset_add, h->set);
        if (r == 0)
            r = ruleset_recall_end(h->set);
    }
    return r;
}

static int tell_minute(struct history *h, int64_t minute_s)
{
    const bool quiet = minute_s < h->from_s;
    int r = detect_begin(h->detect, minute_s);

    if (r == 0)
        r = store_each_cell(h->store, ROLLUP_MINUTE, minute_s, minute_s + MINUTE_S, detect_add,
                            h->detect);
    if (r == 0)
        r = detect_close(h->detect, quiet, on_alert, h);
    if (r < 0 || !ruleset_has_rules(h->set))
        return r;
    r = rules_tell_minute(h->store, h->set, minute_s);
    return r < 0 ? r : ruleset_close(h->set, quiet, on_alert, h);
}

static int go_through(struct history *h, int64_t first_s, int64_t last_s)
{
    int r = store_each_alert(h->store, h->from_s * (int64_t)NSEC_PER_SEC, false, LIMIT_ALERTS,
                             note_known, h);

    if (r == 0 && ruleset_has_rules(h->set))
        r = recall_hours(h, first_s / HOUR_S * HOUR_S);
    for (int64_t at = first_s; at <= last_s && r == 0; at += MINUTE_S)
        r = tell_minute(h, at);
    for (const struct known *k = h->known; k && r == 0; k = k->hh.next)
        if (!k->fires_again)
            r = print_alert(h, buf_slice(&k->payload), false, true, "");
    return r;
}

static int prepare(struct history *h, const struct config *config, const struct history_args *args)
{
    struct alerting_error error = {.text = ""};
    const char *path = args->rules ? args->rules : config_alerting_file(config);
    int r = alerting_load(path, &h->alerting, &error);

    if (r < 0) {
        fprintf(stderr, "%s\n", error.text[0] ? error.text : strerror(-r));
        return r;
    }
    r = store_open_reader(config_store_where(config), &h->store);
    if (r < 0)
        fprintf(stderr, "the store cannot be opened: %s\n", strerror(-r));
    if (r == 0)
        r = detect_new(&config->detect, &h->detect);
    return r < 0 ? r : ruleset_new(h->alerting, NULL, NULL, &h->set);
}

static void sum_up(const struct history *h, int64_t first_s, int64_t end_s)
{
    if (h->as_json)
        return;
    fprintf(h->out,
            "%u would fire: %u that were told (=), %u that were not (+); %u were told and "
            "would not fire (-).\n",
            h->fires, h->again, h->fires - h->again, h->told - h->again);
    if (h->held_back)
        fprintf(h->out, "%u of them a rule holds back.\n", h->held_back);
    if (first_s > h->from_s - 24 * HOUR_S)
        fprintf(h->out,
                "Minutes are kept from %lld h before the end of the time asked for, less than a "
                "day of learning before its beginning: what comes early is not judged.\n",
                (long long)((end_s - first_s) / HOUR_S));
}

/* What is older than what is kept is not there to be judged, whatever a row of a wrong clock says.
 */
static int find_span(struct history *h, int64_t kept_s, int64_t since_s, int64_t *ret_first_s,
                     int64_t *ret_last_s)
{
    int64_t first_s = 0, last_s = 0, end_s;
    int r = store_span(h->store, ROLLUP_MINUTE, &first_s, &last_s);

    if (r < 0 || !first_s)
        return r;
    end_s = last_s + MINUTE_S;
    if (first_s < end_s - kept_s)
        first_s = end_s - kept_s;
    h->from_s = end_s - since_s > first_s ? end_s - since_s : first_s;
    *ret_first_s = first_s;
    *ret_last_s = last_s;
    return 0;
}

int history_run(const struct config *config, const struct history_args *args, FILE *out)
{
    struct history h = {.out = out};
    int64_t since_s = 0, first_s = 0, last_s = 0;
    int r;

    h.as_json = args->format && strcmp(args->format, "json") == 0;
    if (when_duration(args->since ? args->since : SINCE_DEFAULT, &since_s) < 0 ||
        (args->format && !h.as_json && strcmp(args->format, "text") != 0)) {
        fprintf(stderr, "usage: lectr-collector replay-history [--since 30d] [--rules FILE] "
                        "[--format text|json]\n");
        return 2;
    }
    r = prepare(&h, config, args);
    if (r == 0)
        r = find_span(&h, config->retention.minutes_d * INT64_C(86400), since_s, &first_s, &last_s);
    if (r == 0 && first_s)
        r = go_through(&h, first_s, last_s);
    if (r == 0)
        sum_up(&h, first_s, last_s + MINUTE_S);
    else if (h.store)
        fprintf(stderr, "not read: %s %s\n", strerror(-r), store_error(h.store));
    history_fini(&h);
    return r == 0 ? 0 : 2;
}
