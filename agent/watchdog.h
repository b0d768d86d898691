/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to start, shed and end the proxy. Pure: told what happens and what time
 * it is, it says what to do.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct watchdog {
    uint64_t patience_ns; /* a proxy may be stopped or silent this long */
    bool running, ready, stopped, draining;
    uint64_t started_ns, ready_ns;
    uint64_t amiss_since_ns; /* 0: nothing is */
    uint64_t start_at_ns;
    uint64_t backoff_ns;
    uint64_t tick_ns; /* the last look; a long pause was our own */
};

enum watchdog_action { WATCHDOG_NOTHING, WATCHDOG_START, WATCHDOG_KILL };

void watchdog_init(struct watchdog *w, uint64_t stale_ms);
void watchdog_started(struct watchdog *w, uint64_t now_ns);
void watchdog_ready(struct watchdog *w, uint64_t now_ns);
void watchdog_stopped(struct watchdog *w, bool stopped, uint64_t now_ns);
/* It ended, or could not be started. */
void watchdog_ended(struct watchdog *w, uint64_t now_ns);
/* `proxy_beat_ns` is its last heartbeat. */
enum watchdog_action watchdog_look(struct watchdog *w, uint64_t proxy_beat_ns, uint64_t stale_ns,
                                   uint64_t now_ns);
/* Should connections be left alone? */
bool watchdog_sheds(const struct watchdog *w);
