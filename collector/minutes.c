/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/minutes.h"

#include "proto/base/clock.h"

#define MINUTE_S 60
/* Events younger than this when they come are live traffic, not a replay. */
#define LIVE_NS (15 * 60 * NSEC_PER_SEC)

static int64_t floor_minute(uint64_t ns)
{
    int64_t s = (int64_t)(ns / NSEC_PER_SEC);

    return s - s % MINUTE_S;
}

static bool is_recent(const struct minutes *m, uint64_t wall_ns)
{
    return !m->event_clock && wall_ns - m->watermark_ns < LIVE_NS;
}

void minutes_resume(struct minutes *m, int64_t closed_s, uint64_t watermark_ns, uint64_t wall_ns)
{
    m->closed_s = closed_s;
    m->watermark_ns = !m->event_clock && watermark_ns > wall_ns ? wall_ns : watermark_ns;
    m->is_live = is_recent(m, wall_ns);
    m->last_wall_ns = wall_ns;
}

bool minutes_note(struct minutes *m, uint64_t end_ns, uint64_t wall_ns)
{
    /* One node's clock that is ahead must not close minutes for everybody. */
    uint64_t seen_ns = !m->event_clock && end_ns > wall_ns ? wall_ns : end_ns;

    m->last_wall_ns = wall_ns;
    if (seen_ns > m->watermark_ns) {
        m->watermark_ns = seen_ns;
        m->is_live = is_recent(m, wall_ns);
    }
    return floor_minute(end_ns) < m->closed_s;
}

int64_t minutes_due(const struct minutes *m, uint64_t wall_ns)
{
    uint64_t now_ns = m->watermark_ns;

    if (now_ns == 0)
        return 0;
    if (m->is_live && wall_ns > now_ns && wall_ns > m->last_wall_ns + m->idle_ns)
        now_ns = wall_ns;
    return now_ns > m->lateness_ns ? floor_minute(now_ns - m->lateness_ns) : 0;
}

uint64_t minutes_now_ns(const struct minutes *m, uint64_t wall_ns)
{
    return m->is_live && wall_ns > m->watermark_ns ? wall_ns : m->watermark_ns;
}
