/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/deliver_priv.h"

#include "collector/hash.h"
#include "collector/letter.h"
#include "collector/store_deliver.h"
#include "collector/text.h"
#include "proto/base/clock.h"
#include "proto/event.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct slot *take_slot(struct deliver *d, const struct channel *c)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (!d->slots[i].is_used) {
            d->slots[i].is_used = true;
            d->slots[i].channel = (int)(c - d->channels);
            return &d->slots[i];
        }
    return NULL; /* cannot be: there are as many as channels may have */
}

/* What cannot be posted counts as an attempt that failed. */
static void post(struct deliver *d, const struct channel *c, struct slot *slot,
                 const struct notice *notices, size_t count)
{
    CLEAN_LETTER struct letter letter;
    struct webhook_post post;
    int r = letter_write(c->to, notices, count, clock_wall_ns(), &letter);

    if (r < 0) {
        text_copy(slot->result.text, sizeof(slot->result.text), letter.error);
        slot->is_done = true;
        return;
    }
    post = letter_post(&letter, c->to);
    r = webhook_start(d->webhook, &post, (uint64_t)(slot - d->slots));
    if (r < 0) {
        text_copy(slot->result.text, sizeof(slot->result.text), strerror(-r));
        slot->is_done = true;
    }
}

static struct notice notice_of(const struct deliver *d, const ProtobufCMessage *message)
{
    return (struct notice){
        .alert = (const Lectr__V1__Alert *)message,
        .generator_url = d->alerting->external_url,
        .runbook_url = d->alerting->runbook_url,
    };
}

struct sending {
    struct deliver *d;
    struct channel *c;
    /* Letters to be ended without being sent: the reading must be over first. */
    int64_t outdated[LETTERS_AT_ONCE];
    unsigned outdated_count;
};

static bool is_under_way(const struct deliver *d, int64_t letter)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (d->slots[i].is_used && !d->slots[i].is_resend && d->slots[i].letter == letter)
            return true;
    return false;
}

static unsigned hash_of(const char *fingerprint)
{
    return hash_bytes(fingerprint, strlen(fingerprint));
}

/* That it goes on is told again just now, on another connection: the end could arrive first, and
 * the receiver would take it for begun anew. */
static bool is_told_again(const struct channel *c, const struct store_letter *l)
{
    if (!c->is_resending || l->status != LECTR__V1__ALERT__STATUS__STATUS_RESOLVED)
        return false;
    for (unsigned i = 0; i < c->resent_count; i++)
        if (c->resent[i] == hash_of(l->fingerprint))
            return true;
    return false;
}

static int send_letter(void *ctx, const struct store_letter *l)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    struct sending *s = ctx;
    struct notice notice;
    struct slot *slot;
    int r;

    if (s->c->letters == LETTERS_AT_ONCE || is_under_way(s->d, l->id) || is_told_again(s->c, l))
        return 0;
    if (l->is_outdated && s->c->to->send_resolved && letter_is_state(s->c->to->type)) {
        if (s->outdated_count < LETTERS_AT_ONCE)
            s->outdated[s->outdated_count++] = l->id;
        return 0;
    }
    slot = take_slot(s->d, s->c);
    if (!slot)
        return 0;
    slot->letter = l->id;
    slot->attempts = l->attempts;
    s->c->letters++;
    r = event_unpack(EVENT_ALERT, l->payload, &message);
    if (r < 0) {
        snprintf(slot->result.text, sizeof(slot->result.text), "the alert cannot be read");
        slot->is_done = true;
        return 0;
    }
    notice = notice_of(s->d, message);
    post(s->d, s->c, slot, &notice, 1);
    return 0;
}

int deliver_send_due(struct deliver *d, struct channel *c)
{
    struct sending sending = {.d = d, .c = c};
    int r;

    if (c->stats.pending == 0 || c->letters == LETTERS_AT_ONCE ||
        clock_mono_ns() < c->hold_until_ns)
        return 0;
    /* Those that are under way are among them, and those that wait for what is told again. */
    r = store_each_due_letter(d->store, c->to->name, deliver_now_ms(),
                              2 * LETTERS_AT_ONCE + (c->is_resending ? c->resent_count : 0),
                              send_letter, &sending);
    for (unsigned i = 0; i < sending.outdated_count && r == 0; i++)
        r = store_end_letter(d->store, sending.outdated[i]);
    return r;
}

struct resending {
    struct notice notices[RESEND_AT_ONCE];
    ProtobufCMessage *messages[RESEND_AT_ONCE];
    unsigned count, seen;
    int64_t last_row;
    const struct deliver *d;
    struct channel *c;
};

static int take_active(void *ctx, const struct store_alert *alert)
{
    struct resending *s = ctx;

    s->c->resent[s->seen++] = hash_of(alert->fingerprint);
    s->c->resent_count = s->seen;
    s->last_row = alert->row;
    if (event_unpack(EVENT_ALERT, alert->payload, &s->messages[s->count]) < 0)
        return 0;
    s->notices[s->count] = notice_of(s->d, s->messages[s->count]);
    s->count++;
    return 0;
}

int deliver_resend(struct deliver *d, struct channel *c)
{
    struct resending *s;
    struct slot *slot;
    int r;

    if (c->to->type != ALERTING_ALERTMANAGER || c->is_resending || clock_mono_ns() < c->resend_ns ||
        clock_mono_ns() < c->hold_until_ns)
        return 0;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->d = d;
    s->c = c;
    r = store_each_told(d->store, c->to->name, c->resend_after, RESEND_AT_ONCE, take_active, s);
    slot = r == 0 && s->count > 0 ? take_slot(d, c) : NULL;
    if (slot) {
        slot->is_resend = true;
        slot->resent = s->seen;
        slot->last_row = s->last_row;
        c->is_resending = true;
        post(d, c, slot, s->notices, s->count);
    } else if (r == 0) {
        c->resend_after = 0;
        c->resend_ns = clock_mono_ns() + DELIVER_RESEND_S * NSEC_PER_SEC;
    }
    for (unsigned i = 0; i < s->count; i++)
        event_free(&s->messages[i]);
    free(s);
    return r;
}
