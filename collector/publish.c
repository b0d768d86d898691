/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/publish.h"

#include "collector/cloudevent.h"
#include "collector/publish_rollup.h"
#include "proto/base/log.h"
#include "proto/event.h"
#include "proto/subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ALERTS_AT_ONCE 100

struct publish {
    const struct config *config;
    struct store *store;
    struct publish_rollup *rollups;
    uint64_t pending;
    bool all_told; /* in this turn */
    bool is_failing;
};

int publish_new(const struct config *config, struct store *store, struct publish **ret_publish)
{
    struct publish *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return -ENOMEM;
    p->config = config;
    p->store = store;
    r = publish_rollup_new(store, &p->rollups);
    if (r == 0)
        *ret_publish = TAKE_PTR(p);
    publish_free(&p);
    return r;
}

void publish_free(struct publish **publish)
{
    if (!*publish)
        return;
    publish_rollup_free(&(*publish)->rollups);
    free(*publish);
    *publish = NULL;
}

uint64_t publish_pending(const struct publish *p)
{
    return p->pending;
}

void publish_get_rollup_stats(const struct publish *p, struct publish_rollup_stats *ret_stats)
{
    publish_rollup_get_stats(p->rollups, ret_stats);
}

struct alert_turn {
    struct bus *bus;
    int64_t done[ALERTS_AT_ONCE];
    unsigned done_count;
    unsigned seen;
};

/* The same as JSON, under an id of its own: the server drops a second message of one id. */
static int send_cloudevent(struct bus *bus, const struct store_alert *alert)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    char subject[SUBJECT_BYTES], id[EVENT_UUID_BYTES + 16];
    struct buf json;
    int r = event_unpack(EVENT_ALERT, alert->payload, &message);

    if (r < 0) /* what cannot be read is in the way of nothing else */
        return r == -ENOMEM ? r : 0;
    snprintf(id, sizeof(id), "%s.cloudevent", alert->id);
    buf_init(&json, EVENT_MAX_BYTES);
    r = subject_cloudevent(alert->org, alert->kind, subject);
    if (r == 0)
        r = cloudevent_format((const Lectr__V1__Alert *)message, &json);
    if (r == 0)
        r = bus_publish(bus, subject, id, buf_slice(&json));
    buf_fini(&json);
    return r;
}

static int send_alert(void *ctx, const struct store_alert *alert)
{
    struct alert_turn *turn = ctx;
    char subject[SUBJECT_BYTES];
    int r = subject_alert(alert->org, alert->kind, subject);

    turn->seen++;
    if (r == 0)
        r = bus_publish(turn->bus, subject, alert->id, alert->payload);
    if (r == 0)
        r = send_cloudevent(turn->bus, alert);
    if (r == 0)
        turn->done[turn->done_count++] = alert->row;
    return r;
}

static int publish_alerts(struct publish *p, struct bus *bus)
{
    struct alert_turn turn = {.bus = bus};
    int sent = store_each_unpublished_alert(p->store, ALERTS_AT_ONCE, send_alert, &turn);
    int r = 0;

    for (unsigned i = 0; i < turn.done_count && r == 0; i++)
        r = store_set_alert_published(p->store, turn.done[i]);
    p->all_told = sent == 0 && r == 0 && turn.seen < ALERTS_AT_ONCE;
    return sent < 0 ? sent : r;
}

/* Most turns leave none, and need not ask. What cannot be counted now is counted next time. */
static void count_pending(struct publish *p)
{
    uint64_t pending = 0;

    if (p->all_told || store_count_unpublished_alerts(p->store, &pending) == 0)
        p->pending = pending;
    p->all_told = false;
}

void publish_turn(struct publish *p, struct bus *bus, int64_t closed_s)
{
    int r;

    if (!bus || !bus_is_connected(bus)) {
        count_pending(p);
        return;
    }
    r = publish_alerts(p, bus);
    count_pending(p);
    if (r == 0)
        r = publish_rollup_turn(p->rollups, p->config->nats.publish_rollups ? bus : NULL, closed_s);
    if (r < 0 && !p->is_failing)
        log_warn("not published, trying again", "error=%s bus=%s database=%s", strerror(-r),
                 bus_error(bus), store_error(p->store));
    p->is_failing = r < 0;
}

unsigned publish_take_late(struct publish *p, int64_t *ret_from_s)
{
    return publish_rollup_take_late(p->rollups, ret_from_s);
}
