/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/publish.h"

#include "collector/cloudevent.h"
#include "collector/store_query.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/event.h"
#include "proto/subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_S 60
#define ALERTS_AT_ONCE 100
#define MINUTES_AT_ONCE 20
#define FLUSH_WAIT_MS 5000

static const char published_mark[] = "rollups_published_s";

struct publish {
    const struct config *config;
    struct store *store;
    int64_t published_s; /* roll-ups before this are published, 0 = none */
    int64_t late[PUBLISH_LATE_MAX];
    unsigned late_count;
    uint64_t pending;
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
    r = store_number_get(store, published_mark, &p->published_s);
    if (r == 0)
        *ret_publish = TAKE_PTR(p);
    publish_free(&p);
    return r;
}

void publish_free(struct publish **publish)
{
    free(*publish);
    *publish = NULL;
}

uint64_t publish_pending(const struct publish *p)
{
    return p->pending;
}

void publish_note_late(struct publish *p, int64_t time_s)
{
    int64_t minute_s = time_s - time_s % MINUTE_S;

    if (minute_s >= p->published_s)
        return;
    for (unsigned i = 0; i < p->late_count; i++)
        if (p->late[i] == minute_s)
            return;
    if (p->late_count < PUBLISH_LATE_MAX)
        p->late[p->late_count++] = minute_s;
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
    p->pending = turn.seen - turn.done_count;
    return sent < 0 ? sent : r;
}

static void set_text(char **field, const char *text)
{
    *field = (char *)(uintptr_t)text; /* packed only, never freed or written */
}

static int send_rollup(void *ctx, const struct store_revised_row *row)
{
    Lectr__V1__Rollup m = LECTR__V1__ROLLUP__INIT;
    char name[128], id[EVENT_UUID_BYTES], message_id[EVENT_UUID_BYTES + 32];
    char subject[SUBJECT_BYTES];
    uint8_t packed[4096];
    size_t bytes = 0;
    int r = subject_rollup(row->name.org, "1m", subject);

    snprintf(name, sizeof(name), "rollup 60 %lld %lld", (long long)row->bucket,
             (long long)row->series);
    event_uuid_named(slice_str(name), id);
    snprintf(message_id, sizeof(message_id), "%s-%lld", id, (long long)row->revision);
    set_text(&m.id, id);
    set_text(&m.org, row->name.org);
    set_text(&m.feature, row->name.feature);
    set_text(&m.provider, row->name.provider);
    set_text(&m.model, row->name.model);
    set_text(&m.workload, row->name.workload);
#define SET(field, value) (m.has_##field = true, m.field = (value))
    SET(bucket_start_unix_nano, (uint64_t)row->bucket * NSEC_PER_SEC);
    SET(window_seconds, MINUTE_S);
    SET(revision, (uint64_t)row->revision);
    SET(calls, row->sums.calls);
    SET(errors, row->sums.errors);
    SET(calls_tokens_unknown, row->sums.input_unknown);
    SET(calls_cost_unknown, row->sums.cost_unknown);
    /* Absent is unknown: a sum of nothing that is known is not zero. */
    if (row->sums.input_unknown < row->sums.calls) {
        SET(input_tokens, row->sums.input_total);
        SET(output_tokens, row->sums.output_total);
        SET(cached_input_tokens, row->sums.cached_input);
    }
    if (row->sums.cost_unknown < row->sums.calls) {
        SET(cost_low_nanousd, row->sums.cost_low_nanousd);
        SET(cost_expected_nanousd, row->sums.cost_expected_nanousd);
        SET(cost_high_nanousd, row->sums.cost_high_nanousd);
    }
#undef SET
    if (r == 0)
        r = event_pack(&m.base, packed, sizeof(packed), &bytes);
    return r < 0 ? r : bus_publish_async(ctx, subject, message_id, slice_of(packed, bytes));
}

static int publish_rollups(struct publish *p, struct bus *bus, int64_t closed_s)
{
    int64_t first = 0, last = 0, to_s = p->published_s;
    unsigned late = 0;
    int r = 0;

    if (closed_s == 0)
        return 0;
    if (to_s == 0) {
        r = store_span(p->store, ROLLUP_MINUTE, &first, &last);
        to_s = first ? first : closed_s;
    }
    if (to_s >= closed_s && p->late_count == 0)
        return r;
    for (; late < p->late_count && late < MINUTES_AT_ONCE && r == 0; late++)
        r = store_each_revised(p->store, p->late[late], send_rollup, bus);
    for (unsigned i = late; i < MINUTES_AT_ONCE && to_s < closed_s && r == 0; i++) {
        r = store_each_revised(p->store, to_s, send_rollup, bus);
        to_s += MINUTE_S;
    }
    if (r == 0)
        r = bus_flush(bus, FLUSH_WAIT_MS);
    if (r == 0)
        r = store_number_set(p->store, published_mark, to_s);
    if (r < 0)
        return r;
    p->published_s = to_s;
    p->late_count -= late;
    memmove(p->late, p->late + late, p->late_count * sizeof(p->late[0]));
    return 0;
}

void publish_turn(struct publish *p, struct bus *bus, int64_t closed_s)
{
    int r;

    if (!bus || !bus_is_connected(bus))
        return;
    r = publish_alerts(p, bus);
    if (r == 0 && p->config->nats.publish_rollups)
        r = publish_rollups(p, bus, closed_s);
    if (r < 0 && !p->is_failing)
        log_warn("not published, trying again", "error=%s bus=%s sqlite=%s", strerror(-r),
                 bus_error(bus), store_error(p->store));
    p->is_failing = r < 0;
}
