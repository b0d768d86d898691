/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/detect/fleet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct config_detect fleet_settings = {
    .windows_s = {60, 300, 900, 3600},
    .windows_count = 4,
    .history_h = 24,
    .target_weeks = 100,
    .ratio_min = 1.3,
    .resolve_after_min = 5,
};

void fleet_init(struct fleet *f, unsigned features, double per_min, uint64_t seed,
                const struct fleet_event *events, unsigned count)
{
    static struct traffic_class class = {
        .noise_low = .1,
        .noise_high = .2,
        .cv_low = 1,
        .cv_high = 1.5,
        .daily = .2,
        .weekend = 1,
    };

    memset(f, 0, sizeof(*f));
    f->features = features;
    class.per_min = per_min;
    for (unsigned i = 0; i < 2 * features; i++) {
        struct traffic *t = &f->traffic[i];

        traffic_init(t, &class, seed * 1000 + i);
        for (unsigned k = 0; k < count; k++) {
            const struct fleet_event *e = &events[k];

            if ((e->feature == FLEET_EVERY || e->feature == (int)i / 2) &&
                (e->provider == FLEET_EVERY || e->provider == (int)i % 2))
                t->events[t->events_count++] = (struct traffic_event){
                    e->kind, e->from_min, e->from_min + e->minutes, e->factor};
        }
    }
}

void fleet_fini(struct fleet *f)
{
    sketch_fini(&f->cell.latency);
}

static void fill_cell(struct rollup_cell *cell, const struct traffic_minute *m, unsigned part)
{
    uint32_t calls = part ? m->calls / 3 : m->calls - m->calls / 3;
    double share = m->calls ? (double)calls / m->calls : 0;

    sketch_reset(&cell->latency);
    for (uint32_t k = part; k < m->latencies; k += part ? 3 : 1)
        if (part || k % 3 != 1)
            if (sketch_add(&cell->latency, m->latencies_us[k]) < 0)
                abort();
    cell->sums = (struct rollup_sums){
        .calls = calls,
        .errors = part ? m->errors / 3 : m->errors - m->errors / 3,
        .cost_expected_nanousd = llround(m->cost_usd * share * 1e9),
        .cost_squares = m->cost_squares * share,
        .input_total = (uint64_t)llround(m->tokens * share),
    };
}

void fleet_next(struct fleet *f, int64_t minute_s,
                int (*each)(void *ctx, const struct store_series_name *name,
                            const struct rollup_cell *cell),
                void *ctx)
{
    static const char *const workloads[2] = {"api", "worker"};

    for (unsigned i = 0; i < 2 * f->features; i++) {
        struct traffic_minute m;
        char feature[16];

        snprintf(feature, sizeof(feature), "f%02u", i / 2);
        traffic_next(&f->traffic[i], &m);
        for (unsigned part = 0; part < 2; part++) {
            const struct store_series_name name = {"acme", feature, i % 2 ? "openai" : "anthropic",
                                                   i % 2 ? "gpt" : "claude", workloads[part]};

            fill_cell(&f->cell, &m, part);
            f->cell.seconds = 60;
            f->cell.bucket = minute_s;
            f->cell.series = 1 + 2 * i + part;
            if (f->cell.sums.calls && each(ctx, &name, &f->cell) < 0)
                abort();
        }
    }
}
