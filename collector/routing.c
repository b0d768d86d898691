/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/routing.h"

#include "collector/notice.h"
#include "collector/store_deliver.h"
#include "proto/base/clock.h"
#include "proto/event.h"

#include <errno.h>
#include <string.h>

/* Copies: letters are written after the reading is over. */
struct batch {
    unsigned count;
    struct entry {
        struct store_alert alert;
        char *id, *fingerprint, *org, *kind;
        uint8_t *payload;
    } entries[ROUTING_AT_ONCE];
};

static int take_alert(void *ctx, const struct store_alert *alert)
{
    struct batch *b = ctx;
    struct entry *e = &b->entries[b->count++];

    e->alert = *alert;
    e->alert.id = e->id = strdup(alert->id);
    e->alert.fingerprint = e->fingerprint = strdup(alert->fingerprint);
    e->alert.org = e->org = strdup(alert->org);
    e->alert.kind = e->kind = strdup(alert->kind);
    e->payload = malloc(alert->payload.len + 1);
    if (!e->id || !e->fingerprint || !e->org || !e->kind || !e->payload)
        return -ENOMEM;
    if (alert->payload.len)
        memcpy(e->payload, alert->payload.data, alert->payload.len);
    e->alert.payload = slice_of(e->payload, alert->payload.len);
    return 0;
}

static void free_batch(struct batch *const *batch)
{
    for (unsigned i = 0; *batch && i < (*batch)->count; i++) {
        struct entry *e = &(*batch)->entries[i];

        free(e->id);
        free(e->fingerprint);
        free(e->org);
        free(e->kind);
        free(e->payload);
    }
    free(*batch);
}

static struct alerting_scope scope_of(const Lectr__V1__Alert *m)
{
    return (struct alerting_scope){
        .org = m->org,
        .feature = notice_label(m, "feature"),
        .provider = notice_label(m, "provider"),
        .model = notice_label(m, "model"),
        .severity = m->severity,
        .rule = m->rule,
        .name = m->rule_name,
    };
}

static int tell_end(struct store *s, const struct alerting *a, const struct store_alert *alert)
{
    int r = 0;

    for (unsigned i = 0; i < a->receivers_count && r == 0; i++) {
        const struct alerting_receiver *to = &a->receivers[i];
        bool is_told = false;

        r = store_is_told(s, to->name, alert->fingerprint, &is_told);
        if (r == 0 && is_told && to->send_resolved)
            r = store_add_letter(s, to->name, alert);
    }
    return r < 0 ? r : store_end_told(s, alert->fingerprint);
}

static int tell_one(struct store *s, const struct alerting_receiver *to,
                    const struct store_alert *alert)
{
    bool is_told = false;
    int r = store_is_told(s, to->name, alert->fingerprint, &is_told);

    /* Who was not told yet (it was silenced, or went elsewhere) hears of it with the update. */
    if (r == 0 &&
        (alert->status == LECTR__V1__ALERT__STATUS__STATUS_FIRING || !is_told || to->send_updates))
        r = store_add_letter(s, to->name, alert);
    return r < 0 ? r : store_set_told(s, to->name, alert->fingerprint, alert->row);
}

static int tell(struct store *s, const struct alerting *a, const struct store_alert *alert,
                const Lectr__V1__Alert *message)
{
    const struct alerting_scope scope = scope_of(message);
    uint64_t set;
    int r = 0;

    if (alert->status == LECTR__V1__ALERT__STATUS__STATUS_RESOLVED)
        return tell_end(s, a, alert);
    /* Silenced when it was found, or by the file as it is now. */
    if (notice_text(message->silenced_by)[0] ||
        alerting_silenced(a, &scope, alert->at_ns / (int64_t)NSEC_PER_SEC))
        return 0;
    set = alerting_route(a, &scope);
    for (unsigned i = 0; i < a->receivers_count && r == 0; i++)
        if (set & (UINT64_C(1) << i))
            r = tell_one(s, &a->receivers[i], alert);
    return r;
}

static int route(struct store *s, const struct alerting *a, const struct store_alert *alert)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    bool is_mine = false;
    int r = store_set_alert_routed(s, alert->row, &is_mine);

    if (r < 0 || !is_mine)
        return r;
    r = event_unpack(EVENT_ALERT, alert->payload, &message);
    if (r < 0) /* nobody could read it: it goes nowhere, and stays in the store */
        return r == -ENOMEM ? r : 0;
    return tell(s, a, alert, (const Lectr__V1__Alert *)message);
}

int routing_turn(struct store *s, const struct alerting *a, unsigned *ret_routed)
{
    __attribute__((cleanup(free_batch))) struct batch *b = calloc(1, sizeof(*b));
    int r = b ? store_each_unrouted_alert(s, ROUTING_AT_ONCE, take_alert, b) : -ENOMEM;

    if (r < 0)
        return r;
    *ret_routed = b->count;
    if (b->count == 0)
        return 0;
    r = store_begin(s);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < b->count && r == 0; i++)
        r = route(s, a, &b->entries[i].alert);
    if (r == 0)
        r = store_commit(s);
    if (r < 0)
        store_rollback(s);
    return r;
}
