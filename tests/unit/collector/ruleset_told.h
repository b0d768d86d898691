/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a ruleset made-up minutes and hears its alerts. Static: a test includes it once. */
#pragma once

#include "collector/ruleset.h"
#include "collector/ruling.h"
#include "proto/event.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START_S INT64_C(1774828800) /* 2026-03-30, a Monday, 00:00 UTC */
#define TOLD_MAX 200

/* --- what was told --- */

struct told_alert {
    enum alert_status status;
    enum alert_rule rule;
    int64_t at_s;
    double observed;
    char severity[12], fingerprint[37], feature[96], model[160];
    char reason[600];
    int64_t from_s, to_s; /* its window */
    uint64_t samples, baseline_samples;
    double baseline;
    uint64_t values;                 /* of a first_seen rule */
    Lectr__V1__Alert__BurnRate burn; /* without its pointers */
    Lectr__V1__Alert__Budget budget;
};

static struct told_alert heard[TOLD_MAX];
static unsigned heard_count;

static inline int hear(void *ctx, const struct alert *a)
{
    struct told_alert *t = &heard[heard_count];
    struct buf packed;
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    const Lectr__V1__Alert *m;

    (void)ctx;
    assert_true(heard_count < TOLD_MAX);
    buf_init(&packed, EVENT_MAX_BYTES);
    assert_int_equal(alert_pack(a, &packed), 0);
    assert_int_equal(event_unpack(EVENT_ALERT, buf_slice(&packed), &message), 0);
    buf_fini(&packed);
    m = (const Lectr__V1__Alert *)message;
    assert_true(isfinite(m->observed) && isfinite(m->baseline));
    assert_true(m->window_start_unix_nano < m->window_end_unix_nano);
    assert_true(m->starts_at_unix_nano <= m->detected_at_unix_nano);
    *t = (struct told_alert){
        .status = a->status, .rule = a->rule, .at_s = a->detected_s, .observed = a->observed};
    t->from_s = a->window_start_s;
    t->to_s = a->window_end_s;
    t->samples = a->samples;
    t->baseline = a->baseline;
    t->baseline_samples = a->baseline_samples;
    t->values = a->ruling->values ? a->ruling->values->total : 0;
    if (m->burn_rate)
        t->burn = *m->burn_rate;
    if (m->budget)
        t->budget = *m->budget;
    snprintf(t->severity, sizeof(t->severity), "%s", m->severity);
    snprintf(t->fingerprint, sizeof(t->fingerprint), "%s", m->fingerprint);
    snprintf(t->feature, sizeof(t->feature), "%s", a->feature);
    snprintf(t->model, sizeof(t->model), "%s", a->model);
    snprintf(t->reason, sizeof(t->reason), "%s", m->reason);
    heard_count++;
    return 0;
}

static inline unsigned count_heard(enum alert_rule rule, enum alert_status status)
{
    unsigned count = 0;

    for (unsigned i = 0; i < heard_count; i++)
        count += heard[i].rule == rule && heard[i].status == status;
    return count;
}

/* --- traffic --- */

struct traffic {
    const char *feature, *provider, *model;
    uint64_t calls, errors, client_aborts, retries, unknown;
    int64_t nanousd;
    uint64_t slow; /* calls of 9 s; the others take 1 s */
};

static inline void tell_cell(struct ruleset *set, const struct traffic *t, unsigned times)
{
    struct store_series_name name = {.org = "acme",
                                     .feature = t->feature ? t->feature : "chat",
                                     .provider = t->provider ? t->provider : "openai",
                                     .model = t->model ? t->model : "gpt-4o",
                                     .workload = "w"};
    struct rollup_cell cell = {.sums = {.calls = t->calls * times,
                                        .errors = (t->errors + t->client_aborts) * times,
                                        .retries = t->retries * times,
                                        .cost_unknown = t->unknown * times,
                                        .cost_low_nanousd = t->nanousd * times,
                                        .cost_expected_nanousd = t->nanousd * times,
                                        .cost_high_nanousd = t->nanousd * times}};

    if (t->errors)
        assert_int_equal(tally_add(&cell.error_types, "server_error", t->errors * times), 0);
    if (t->client_aborts)
        assert_int_equal(tally_add(&cell.error_types, "client_abort", t->client_aborts * times), 0);
    for (uint64_t i = 0; i < t->calls * times && t->slow; i++)
        assert_int_equal(sketch_add(&cell.latency, i < t->slow * times ? 9000000 : 1000000), 0);
    assert_int_equal(ruleset_add(set, &name, &cell), 0);
    tally_fini(&cell.error_types);
    sketch_fini(&cell.latency);
}

static inline void run(struct ruleset *set, int from_min, int to_min, const struct traffic *t)
{
    for (int i = from_min; i < to_min; i++) {
        assert_int_equal(ruleset_begin(set, START_S + i * 60), 0);
        tell_cell(set, t, 1);
        assert_int_equal(ruleset_close(set, false, hear, NULL), 0);
    }
}

static struct alerting *file;

static inline struct ruleset *begin(const char *text)
{
    struct alerting_error error = {.text = ""};
    struct ruleset *set = NULL;

    heard_count = 0;
    alerting_free(&file);
    if (alerting_parse("rules.yaml", slice_str(text), &file, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(ruleset_new(file, NULL, NULL, &set), 0);
    return set;
}

static inline void assert_says(unsigned which, const char *what)
{
    if (!strstr(heard[which].reason, what))
        fail_msg("\"%s\" does not say \"%s\"", heard[which].reason, what);
}
