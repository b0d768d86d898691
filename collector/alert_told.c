/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/alert.h"
#include "collector/text.h"
#include "proto/base/clock.h"
#include "proto/event.h"

#include <errno.h>
#include <string.h>

static int find_rule(const char *name, enum alert_rule *ret_rule)
{
    for (int rule = 0; name && rule < ALERT_RULE__COUNT; rule++)
        if (strcmp(name, alert_rule_name((enum alert_rule)rule)) == 0) {
            *ret_rule = (enum alert_rule)rule;
            return 0;
        }
    return -ENOENT;
}

static void read_scope(const Lectr__V1__Alert *m, struct alert *a)
{
    text_copy(a->org, sizeof(a->org), m->org);
    for (size_t i = 0; i < m->n_labels; i++) {
        const Lectr__V1__Alert__Label *l = m->labels[i];

        if (!l->name)
            continue;
        if (strcmp(l->name, "feature") == 0)
            text_copy(a->feature, sizeof(a->feature), l->value);
        else if (strcmp(l->name, "provider") == 0)
            text_copy(a->provider, sizeof(a->provider), l->value);
        else if (strcmp(l->name, "model") == 0)
            text_copy(a->model, sizeof(a->model), l->value);
    }
    for (int level = 0; m->level && level < ALERT_LEVEL__COUNT; level++)
        if (strcmp(m->level, alert_level_name((enum alert_level)level)) == 0)
            a->level = (enum alert_level)level;
}

int alert_read_told(struct slice packed, struct alert *ret_alert)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    struct alert a = {.method = "", .confidence = "provisional", .unusual = -1};
    const Lectr__V1__Alert *m;
    int r = event_unpack(EVENT_ALERT, packed, &message);

    if (r < 0)
        return r;
    m = (const Lectr__V1__Alert *)message;
    r = find_rule(m->rule, &a.rule);
    if (r < 0)
        return r;
    read_scope(m, &a);
    a.status = (enum alert_status)m->status;
    text_copy(a.fingerprint, sizeof(a.fingerprint), m->fingerprint);
    a.window_start_s = (int64_t)(m->window_start_unix_nano / NSEC_PER_SEC);
    a.window_end_s = (int64_t)(m->window_end_unix_nano / NSEC_PER_SEC);
    a.starts_s = (int64_t)(m->starts_at_unix_nano / NSEC_PER_SEC);
    a.detected_s = (int64_t)(m->detected_at_unix_nano / NSEC_PER_SEC);
    a.observed = m->observed;
    a.baseline = m->baseline;
    a.samples = m->samples;
    a.synthetic = m->synthetic;
    a.has_impact = m->has_impact_excess_usd;
    a.impact_usd = m->impact_excess_usd;
    a.impact_from_s = a.window_start_s;
    *ret_alert = a;
    return 0;
}
