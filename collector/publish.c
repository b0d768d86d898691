/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/publish.h"

#include "collector/publish_alert.h"
#include "collector/publish_rollup.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct publish {
    const struct config *config;
    struct store *store;
    struct publish_alert alerts;
    struct publish_rollup *rollups;
    uint64_t pending;
    uint64_t taken; /* messages of alerts, as the roll-ups know it */
    bool is_held;
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
    publish_alert_init(&p->alerts, store);
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

uint64_t publish_given_up(const struct publish *p)
{
    return p->alerts.given_up;
}

/* Most turns leave none, and need not ask. What cannot be counted now is counted next time. */
static void count_pending(struct publish *p, bool is_done)
{
    uint64_t pending = 0;

    if (is_done || store_count_unpublished_alerts(p->store, &pending) == 0)
        p->pending = pending;
}

static int tell_rollups(struct publish *p, struct bus *bus, int64_t closed_s, uint64_t now_ns)
{
    struct publish_rollup_stats before = {0}, after = {0};
    int r;

    publish_rollup_get_stats(p->rollups, &before);
    if (p->alerts.hold.taken > p->taken)
        publish_rollup_note_taken(p->rollups);
    r = publish_rollup_turn(p->rollups, p->config->nats.publish_rollups ? bus : NULL, closed_s,
                            now_ns);
    publish_rollup_get_stats(p->rollups, &after);
    if (after.told > before.told)
        hold_note_taken(&p->alerts.hold);
    p->taken = p->alerts.hold.taken;
    p->is_held = p->alerts.hold.count > 0 || after.subjects_held > 0;
    return r;
}

void publish_turn(struct publish *p, struct bus *bus, int64_t closed_s, uint64_t now_ns)
{
    int r, rollups;

    if (!bus || !bus_is_connected(bus)) {
        count_pending(p, false);
        return;
    }
    r = publish_alert_turn(&p->alerts, bus, now_ns);
    count_pending(p, r == 0 && publish_alert_is_done(&p->alerts));
    rollups = tell_rollups(p, bus, closed_s, now_ns);
    r = r < 0 ? r : rollups;
    if (r < 0 && !p->is_failing)
        log_warn("not published, trying again", "error=%s bus=%s database=%s", strerror(-r),
                 bus_error(bus), store_error(p->store));
    /* What is held goes on to fail, in turns that try it. */
    p->is_failing = r < 0 || p->is_held;
}

unsigned publish_take_late(struct publish *p, int64_t *ret_from_s)
{
    return publish_rollup_take_late(p->rollups, ret_from_s);
}
