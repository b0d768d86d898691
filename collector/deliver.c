/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/deliver_priv.h"

#include "collector/letter.h"
#include "collector/routing.h"
#include "collector/store_deliver.h"
#include "collector/text.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <string.h>

#define TURN_MS 500

int64_t deliver_now_ms(void)
{
    return (int64_t)(clock_wall_ns() / NSEC_PER_MSEC);
}

/* --- the file of receivers --- */

static int find_channel(const struct channel *channels, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(channels[i].to->name, name) == 0)
            return (int)i;
    return -1;
}

/* Receivers that stay keep their counters and what they asked for. */
static void set_channels(struct deliver *d, struct alerting *alerting)
{
    struct channel old[DELIVER_RECEIVERS_MAX];
    unsigned old_count = d->count;

    memcpy(old, d->channels, sizeof(old));
    memset(d->channels, 0, sizeof(d->channels));
    d->count = alerting->receivers_count;
    for (unsigned i = 0; i < d->count; i++) {
        struct channel *c = &d->channels[i];
        int before = find_channel(old, old_count, alerting->receivers[i].name);

        if (before >= 0)
            *c = old[before];
        c->to = &alerting->receivers[i];
        text_copy(c->stats.name, sizeof(c->stats.name), c->to->name);
        c->stats.type = letter_type_name(c->to->type);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (d->slots[i].is_used && d->slots[i].channel >= 0)
            d->slots[i].channel =
                find_channel(d->channels, d->count, old[d->slots[i].channel].to->name);
    alerting_free(&d->alerting);
    d->alerting = alerting;
}

static int reload(struct deliver *d)
{
    struct alerting_error error = {.text = ""};
    struct alerting *alerting = NULL;
    const bool is_absent = d->may_be_absent && access(d->path, F_OK) < 0;
    int r = alerting_load(is_absent ? NULL : d->path, &alerting, &error);

    if (r < 0) {
        log_error("receivers not read", "error=%s", error.text[0] ? error.text : strerror(-r));
        return r;
    }
    d->may_be_absent = is_absent;
    set_channels(d, alerting);
    return 0;
}

/* --- the thread --- */

void deliver_note_store(struct deliver *d, int error)
{
    if (error < 0) {
        d->store_errors++;
        if (!d->store_failing)
            log_warn("letters not kept, trying again", "error=%s store=%s", strerror(-error),
                     store_error(d->store));
    }
    d->store_failing = error < 0;
}

static void on_done(void *ctx, uint64_t tag, const struct webhook_result *result)
{
    struct deliver *d = ctx;

    d->slots[tag].result = *result;
    d->slots[tag].is_done = true;
}

struct counting {
    struct deliver *d;
    char *gone; /* a receiver with letters that is not in the file */
};

static int take_count(void *ctx, const struct store_letter_count *count)
{
    struct counting *counting = ctx;
    struct deliver *d = counting->d;
    int at = find_channel(d->channels, d->count, count->receiver);

    if (at >= 0) {
        d->channels[at].stats.pending = count->pending;
        d->channels[at].stats.dead = count->dead;
        d->channels[at].stats.oldest_alert_ns = count->oldest_alert_ns;
    } else if (count->pending > 0 && !counting->gone) {
        counting->gone = strdup(count->receiver);
    }
    return 0;
}

static int count_letters(struct deliver *d)
{
    struct counting counting = {.d = d};
    int r;

    for (unsigned i = 0; i < d->count; i++) {
        d->channels[i].stats.pending = d->channels[i].stats.dead = 0;
        d->channels[i].stats.oldest_alert_ns = 0;
    }
    r = store_each_letter_count(d->store, take_count, &counting);
    if (r == 0 && counting.gone)
        r = store_bury_letters(d->store, counting.gone, "the receiver is not in the file any more");
    free(counting.gone);
    return r;
}

static int work(struct deliver *d)
{
    unsigned routed = 0;
    int r = routing_turn(d->store, d->alerting, &routed);

    if (r == 0)
        r = count_letters(d);
    for (unsigned i = 0; i < d->count && r == 0; i++) {
        r = deliver_send_due(d, &d->channels[i]);
        if (r == 0)
            r = deliver_resend(d, &d->channels[i]);
    }
    return r;
}

static void share_stats(struct deliver *d)
{
    pthread_mutex_lock(&d->lock);
    d->shared.is_active = atomic_load(&d->is_active);
    d->shared.store_errors = d->store_errors;
    d->shared.count = d->count;
    for (unsigned i = 0; i < d->count; i++)
        d->shared.receivers[i] = d->channels[i].stats;
    pthread_mutex_unlock(&d->lock);
}

static void *run(void *arg)
{
    struct deliver *d = arg;

    while (!atomic_load(&d->stop)) {
        if (atomic_exchange(&d->must_reload, false) && reload(d) == 0)
            log_info("receivers read again", "receivers=%u", d->count);
        deliver_settle(d);
        if (atomic_load(&d->is_active))
            deliver_note_store(d, work(d));
        share_stats(d);
        webhook_turn(d->webhook, TURN_MS, on_done, d);
    }
    return NULL;
}

static void release(struct deliver **deliver)
{
    struct deliver *d = *deliver;

    if (!d)
        return;
    webhook_free(&d->webhook);
    alerting_free(&d->alerting);
    store_close(&d->store);
    pthread_mutex_destroy(&d->lock);
    free(d->path);
    free(d);
    *deliver = NULL;
}

int deliver_start(const struct deliver_settings *settings, struct deliver **ret_deliver)
{
    struct deliver *d = calloc(1, sizeof(*d));
    int r = 0;

    if (!d)
        return -ENOMEM;
    pthread_mutex_init(&d->lock, NULL);
    d->may_be_absent = settings->may_be_absent;
    d->path = strdup(settings->alerting);
    if (!d->path)
        r = -ENOMEM;
    if (r == 0)
        r = reload(d);
    if (r == 0)
        r = webhook_new(SLOTS, &d->webhook);
    if (r == 0) {
        r = store_open(settings->store, &d->store);
        if (r < 0)
            log_error("store cannot be opened for letters", "error=%s", strerror(-r));
    }
    if (r == 0)
        share_stats(d);
    if (r == 0)
        r = -pthread_create(&d->thread, NULL, run, d);
    if (r == 0)
        *ret_deliver = TAKE_PTR(d);
    release(&d);
    return r;
}

void deliver_stop(struct deliver **deliver)
{
    if (!*deliver)
        return;
    atomic_store(&(*deliver)->stop, true);
    webhook_wake((*deliver)->webhook);
    pthread_join((*deliver)->thread, NULL);
    release(deliver);
}

void deliver_set_active(struct deliver *d, bool is_active)
{
    /* The file may have changed while nobody followed it here. */
    if (!atomic_exchange(&d->is_active, is_active) && is_active)
        deliver_reload(d);
}

void deliver_reload(struct deliver *d)
{
    atomic_store(&d->must_reload, true);
    webhook_wake(d->webhook);
}

void deliver_get_stats(struct deliver *d, struct deliver_stats *ret_stats)
{
    pthread_mutex_lock(&d->lock);
    *ret_stats = d->shared;
    pthread_mutex_unlock(&d->lock);
}
