/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/pagerduty.h"

#include "collector/cloudevent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEDUP_BYTES 255
#define SUMMARY_BYTES 1024

static const char *severity_of(const Lectr__V1__Alert *a)
{
    static const char *const known[] = {"critical", "error", "warning", "info"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(notice_text(a->severity), known[i]) == 0)
            return known[i];
    return "error";
}

/* What the alert is about, the narrowest name first. */
static const char *source_of(const Lectr__V1__Alert *a)
{
    static const char *const names[] = {"feature", "model", "provider"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (notice_label(a, names[i])[0])
            return notice_label(a, names[i]);
    return notice_text(a->org)[0] ? a->org : "lectr";
}

static json_t *make_payload(const Lectr__V1__Alert *a)
{
    CLEAN_JSON json_t *payload = json_object();
    char title[NOTICE_TITLE_BYTES];
    int r = payload ? 0 : -ENOMEM;

    notice_title(a, title);
    if (r == 0)
        r = notice_set_clipped(payload, "summary", notice_text(a->reason)[0] ? a->reason : title,
                               SUMMARY_BYTES);
    if (r == 0)
        r = notice_set_text(payload, "source", source_of(a));
    if (r == 0)
        r = notice_set_text(payload, "severity", severity_of(a));
    if (r == 0 && a->has_starts_at_unix_nano)
        r = notice_set_time(payload, "timestamp", true, a->starts_at_unix_nano);
    if (r == 0)
        r = notice_set_text(payload, "component", notice_label(a, "provider"));
    if (r == 0)
        r = notice_set_text(payload, "group", notice_text(a->org));
    if (r == 0)
        r = notice_set_text(payload, "class", notice_text(a->rule));
    if (r == 0)
        r = notice_set(payload, "custom_details", cloudevent_data(a));
    return r == 0 ? json_incref(payload) : NULL;
}

static int add_links(json_t *event, const struct notice *n)
{
    char runbook[2048];
    int r = 0;

    notice_runbook(n, runbook, sizeof(runbook));
    if (notice_text(n->generator_url)[0])
        r = notice_set_text(event, "client_url", n->generator_url);
    if (r == 0 && runbook[0])
        r = notice_set(event, "links",
                       json_pack("[{s:s, s:s}]", "href", runbook, "text", "Runbook"));
    return r;
}

int pagerduty_format(const struct notice *n, const char *routing_key, struct buf *out)
{
    const Lectr__V1__Alert *a = n->alert;
    bool is_over = a->status == LECTR__V1__ALERT__STATUS__STATUS_RESOLVED;
    CLEAN_JSON json_t *event = json_object();
    int r = event ? notice_set_text(event, "routing_key", routing_key) : -ENOMEM;

    if (r == 0)
        r = notice_set_text(event, "event_action", is_over ? "resolve" : "trigger");
    if (r == 0)
        r = notice_set_clipped(event, "dedup_key", notice_text(a->fingerprint), DEDUP_BYTES);
    if (r == 0 && !is_over)
        r = notice_set_text(event, "client", "Lectr");
    if (r == 0 && !is_over)
        r = add_links(event, n);
    if (r == 0 && !is_over)
        r = notice_set(event, "payload", make_payload(a));
    return r < 0 ? r : notice_dump(event, out);
}
