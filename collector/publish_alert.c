/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/publish_alert.h"

#include "collector/cloudevent.h"
#include "proto/base/log.h"
#include "proto/event.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What is held is read and passed. */
#define PAGES_AT_ONCE 10

struct mark {
    int64_t row;
    bool is_given_up;
};

struct turn {
    struct publish_alert *p;
    struct bus *bus;
    uint64_t now_ns;
    struct mark marks[PUBLISH_ALERTS_AT_ONCE];
    unsigned marks_count;
    unsigned seen;
    int failure; /* of the bus */
};

void publish_alert_init(struct publish_alert *p, struct store *store)
{
    memset(p, 0, sizeof(*p));
    p->store = store;
}

bool publish_alert_is_done(const struct publish_alert *p)
{
    return p->is_all_seen && p->hold.count == 0 && p->halves_count == 0;
}

static int find_half(const struct publish_alert *p, int64_t row)
{
    for (unsigned i = 0; i < p->halves_count; i++)
        if (p->halves[i] == row)
            return (int)i;
    return -1;
}

static void drop_half(struct publish_alert *p, int64_t row)
{
    int at = find_half(p, row);

    if (at >= 0)
        p->halves[at] = p->halves[--p->halves_count];
}

/* --- a message --- */

/* HOLD_GO: the server has it. */
static enum hold_verdict send(struct turn *turn, const struct store_alert *alert,
                              const char *subject, const char *id, struct slice data)
{
    struct publish_alert *p = turn->p;
    enum hold_verdict verdict = hold_ask(&p->hold, subject, alert->row, turn->now_ns);
    int r;

    if (verdict != HOLD_GO)
        return verdict;
    r = bus_publish(turn->bus, subject, id, data);
    if (r == 0) {
        hold_taken(&p->hold, subject);
        return HOLD_GO;
    }
    turn->failure = r;
    verdict = hold_failed(&p->hold, subject, alert->row, turn->now_ns);
    if (verdict == HOLD_GIVE_UP && hold_given_up(&p->hold, subject) == 1)
        log_warn("alerts are given up", "subject=%s id=%s error=%s", subject, id,
                 bus_error(turn->bus));
    return verdict;
}

static enum hold_verdict send_message(struct turn *turn, const struct store_alert *alert)
{
    char subject[SUBJECT_BYTES];
    enum hold_verdict verdict;

    if (find_half(turn->p, alert->row) >= 0)
        return HOLD_GO;
    if (subject_alert(alert->org, alert->kind, subject) < 0) {
        log_warn("alert is given up", "id=%s error=it has no subject", alert->id);
        return HOLD_GIVE_UP;
    }
    verdict = send(turn, alert, subject, alert->id, alert->payload);
    if (verdict == HOLD_GO && turn->p->halves_count < PUBLISH_HALVES_MAX)
        turn->p->halves[turn->p->halves_count++] = alert->row;
    return verdict;
}

/* The same as JSON, under an id of its own: the server drops a second message of one id. What
 * cannot be read is in the way of nothing else. */
static enum hold_verdict send_cloudevent(struct turn *turn, const struct store_alert *alert)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    char subject[SUBJECT_BYTES], id[EVENT_UUID_BYTES + 16];
    enum hold_verdict verdict = HOLD_GO;
    struct buf json;
    int r = event_unpack(EVENT_ALERT, alert->payload, &message);

    if (r < 0)
        return r == -ENOMEM ? HOLD_FULL : HOLD_GO;
    snprintf(id, sizeof(id), "%s.cloudevent", alert->id);
    buf_init(&json, EVENT_MAX_BYTES);
    r = subject_cloudevent(alert->org, alert->kind, subject);
    if (r == 0)
        r = cloudevent_format((const Lectr__V1__Alert *)message, &json);
    if (r == 0)
        verdict = send(turn, alert, subject, id, buf_slice(&json));
    buf_fini(&json);
    /* Nowhere to remember that half of it is there. */
    if (r < 0 || (verdict != HOLD_GO && find_half(turn->p, alert->row) < 0)) {
        hold_skip(&turn->p->hold, subject, alert->row);
        return HOLD_GIVE_UP;
    }
    return verdict;
}

/* --- a turn --- */

static int send_alert(void *ctx, const struct store_alert *alert)
{
    struct turn *turn = ctx;
    enum hold_verdict verdict;

    if (turn->failure || turn->marks_count == PUBLISH_ALERTS_AT_ONCE)
        return -ECANCELED;
    verdict = send_message(turn, alert);
    if (verdict == HOLD_GO)
        verdict = send_cloudevent(turn, alert);
    if (verdict == HOLD_FULL)
        return -ECANCELED;
    turn->seen++;
    turn->p->seen_row = alert->row;
    if (verdict == HOLD_GO || verdict == HOLD_GIVE_UP)
        turn->marks[turn->marks_count++] = (struct mark){alert->row, verdict == HOLD_GIVE_UP};
    return 0;
}

/* What the store does not know is told again. */
static int keep_marks(struct publish_alert *p, const struct turn *turn)
{
    for (unsigned i = 0; i < turn->marks_count; i++) {
        const struct mark *m = &turn->marks[i];
        int r = m->is_given_up ? store_set_alert_given_up(p->store, m->row)
                               : store_set_alert_published(p->store, m->row);

        if (r < 0) {
            p->seen_row = m->row - 1;
            p->is_all_seen = false;
            return r;
        }
        drop_half(p, m->row);
        p->given_up += m->is_given_up;
    }
    return 0;
}

int publish_alert_turn(struct publish_alert *p, struct bus *bus, uint64_t now_ns)
{
    struct turn turn = {.p = p, .bus = bus, .now_ns = now_ns};
    int64_t next_row = hold_next(&p->hold, now_ns);
    int r = 0, kept;

    if (next_row && next_row <= p->seen_row)
        p->seen_row = next_row - 1;
    p->is_all_seen = false;
    for (int page = 0; page < PAGES_AT_ONCE && r == 0 && !turn.failure && !p->is_all_seen; page++) {
        turn.seen = 0;
        r = store_each_unpublished_alert(p->store, p->seen_row, PUBLISH_ALERTS_AT_ONCE, send_alert,
                                         &turn);
        p->is_all_seen = r == 0 && turn.seen < PUBLISH_ALERTS_AT_ONCE;
    }
    kept = keep_marks(p, &turn);
    if (r == 0 || r == -ECANCELED)
        r = kept;
    return r < 0 ? r : turn.failure;
}
