/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watchdog.h"

#include "proto/base/clock.h"

#include <string.h>

#define BACKOFF_FIRST_NS (100 * NSEC_PER_MSEC)
#define BACKOFF_LAST_NS (5 * NSEC_PER_SEC)
#define HEALTHY_NS (10 * NSEC_PER_SEC)
#define READY_WITHIN_NS (30 * NSEC_PER_SEC)
#define PATIENCE_LEAST_NS (2 * NSEC_PER_SEC)
#define PATIENCE_BEATS 4

void watchdog_init(struct watchdog *w, uint64_t stale_ms)
{
    *w = (struct watchdog){.patience_ns = PATIENCE_BEATS * stale_ms * NSEC_PER_MSEC,
                           .backoff_ns = BACKOFF_FIRST_NS};
    if (w->patience_ns < PATIENCE_LEAST_NS)
        w->patience_ns = PATIENCE_LEAST_NS;
}

void watchdog_started(struct watchdog *w, uint64_t now_ns)
{
    w->running = true;
    w->ready = w->stopped = false;
    w->amiss_since_ns = 0;
    w->started_ns = now_ns;
}

void watchdog_ready(struct watchdog *w, uint64_t now_ns)
{
    w->ready = true;
    w->ready_ns = now_ns;
}

void watchdog_stopped(struct watchdog *w, bool stopped, uint64_t now_ns)
{
    w->stopped = stopped;
    w->amiss_since_ns = stopped ? now_ns : 0;
}

void watchdog_ended(struct watchdog *w, uint64_t now_ns)
{
    if (w->ready && now_ns - w->ready_ns >= HEALTHY_NS)
        w->backoff_ns = BACKOFF_FIRST_NS;
    w->running = w->ready = w->stopped = false;
    w->start_at_ns = now_ns + w->backoff_ns;
    w->backoff_ns *= 2;
    if (w->backoff_ns > BACKOFF_LAST_NS)
        w->backoff_ns = BACKOFF_LAST_NS;
}

enum watchdog_action watchdog_look(struct watchdog *w, uint64_t proxy_beat_ns, uint64_t stale_ns,
                                   uint64_t now_ns)
{
    bool we_slept = w->tick_ns && now_ns - w->tick_ns > stale_ns;
    bool silent = w->ready && now_ns > proxy_beat_ns && now_ns - proxy_beat_ns > stale_ns;

    w->tick_ns = now_ns;
    /* A proxy that drains is given its time, whatever it waits for. */
    if (w->draining)
        return WATCHDOG_NOTHING;
    if (!w->running)
        return now_ns >= w->start_at_ns ? WATCHDOG_START : WATCHDOG_NOTHING;
    if (!w->ready && now_ns - w->started_ns > READY_WITHIN_NS)
        return WATCHDOG_KILL;
    if (!w->stopped && !silent)
        w->amiss_since_ns = 0;
    else if (w->amiss_since_ns == 0 || we_slept)
        w->amiss_since_ns = now_ns;
    return w->amiss_since_ns && now_ns - w->amiss_since_ns > w->patience_ns ? WATCHDOG_KILL
                                                                            : WATCHDOG_NOTHING;
}

bool watchdog_sheds(const struct watchdog *w)
{
    return !w->running || !w->ready || w->stopped || w->draining;
}
