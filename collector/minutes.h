/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When is a minute over? Event time decides; the wall clock helps out only when
 * events stop while they are recent. Pure: the wall clock is handed in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct minutes {
    bool event_clock;      /* the wall clock is not looked at */
    uint64_t lateness_ns;  /* a minute closes this long after its end */
    uint64_t idle_ns;      /* without events for this long the wall clock closes */
    uint64_t watermark_ns; /* latest end time, 0 = none */
    uint64_t last_wall_ns; /* when an event came last */
    bool is_live;          /* the last ones were recent when they came */
    int64_t closed_s;      /* minutes before this are closed, 0 = none */
};

/* Goes on where another process ended. */
void minutes_resume(struct minutes *m, int64_t closed_s, uint64_t watermark_ns, uint64_t wall_ns);
/* Takes note of an event; true when its minute was closed already. */
bool minutes_note(struct minutes *m, uint64_t end_ns, uint64_t wall_ns);
/* Minutes up to here may be closed; at or before closed_s: none. */
int64_t minutes_due(const struct minutes *m, uint64_t wall_ns);
/* The event time that is taken for now; 0 when nothing is known. */
uint64_t minutes_now_ns(const struct minutes *m, uint64_t wall_ns);
