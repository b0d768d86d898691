/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/slack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Limits of the receiving side, in characters; bytes are never fewer. */
#define HEADER_BYTES 150
#define FIELD_BYTES 2000
#define SECTION_BYTES 3000

/* In its texts only these have a meaning; names cannot make links or mentions then. */
static const char *escape_of(char c)
{
    return c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : NULL;
}

/* At most `max` bytes, entities counted; neither they nor characters are cut. */
static json_t *escaped(const char *text, size_t max)
{
    struct buf b;
    json_t *result = NULL;
    int r = 0;

    buf_init(&b, SECTION_BYTES);
    for (size_t len; *text && r == 0; text += len) {
        const char *as = escape_of(*text);

        for (len = 1; ((uint8_t)text[len] & 0xc0) == 0x80; len++)
            ;
        if (b.len + (as ? strlen(as) : len) > max)
            break;
        r = as ? buf_append_str(&b, as) : buf_append(&b, slice_of((const uint8_t *)text, len));
    }
    if (r == 0)
        result = json_stringn(b.len ? (const char *)b.data : "", b.len);
    buf_fini(&b);
    return result;
}

static json_t *plain(json_t *text)
{
    return json_pack("{s:s, s:o}", "type", "plain_text", "text", text);
}

/* Verbatim: what looks like an address, a channel or a mention stays what it is. */
static json_t *markup(json_t *text)
{
    return json_pack("{s:s, s:o, s:b}", "type", "mrkdwn", "text", text, "verbatim", 1);
}

static json_t *field(const char *name, const char *value)
{
    char text[FIELD_BYTES];

    snprintf(text, sizeof(text), "*%s*\n%s", name, value);
    return markup(escaped(text, FIELD_BYTES));
}

static json_t *fields_of(const Lectr__V1__Alert *a)
{
    char observed[128], expected[128], range[300], times[64];

    notice_value(a->has_observed, a->observed, a->unit, observed, sizeof(observed));
    notice_value(a->has_baseline, a->baseline, a->unit, expected, sizeof(expected));
    notice_value(a->has_deviation_ratio, a->deviation_ratio, "x", times, sizeof(times));
    snprintf(range, sizeof(range), "%s", expected);
    if (a->has_baseline_lower && a->has_baseline_upper)
        snprintf(range, sizeof(range), "%s (%.6g to %.6g)", expected, a->baseline_lower,
                 a->baseline_upper);
    return json_pack("[o, o, o, o]", field("Observed", observed), field("Expected", range),
                     field("Deviation", times), field("Severity", notice_text(a->severity)));
}

static int add_links(json_t *blocks, const struct notice *n)
{
    char runbook[2048];
    const struct {
        const char *name, *url;
    } links[] = {{"Open", notice_text(n->generator_url)}, {"Runbook", runbook}};
    CLEAN_JSON json_t *elements = json_array();
    int r = elements ? 0 : -ENOMEM;

    notice_runbook(n, runbook, sizeof(runbook));
    for (size_t i = 0; i < 2 && r == 0; i++)
        if (links[i].url[0])
            r = json_array_append_new(elements, json_pack("{s:s, s:o, s:s}", "type", "button",
                                                          "text", plain(json_string(links[i].name)),
                                                          "url", links[i].url));
    if (r == 0 && json_array_size(elements) > 0)
        r = json_array_append_new(blocks,
                                  json_pack("{s:s, s:O}", "type", "actions", "elements", elements));
    return r == 0 ? 0 : -ENOMEM;
}

int slack_format(const struct notice *n, struct buf *out)
{
    const Lectr__V1__Alert *a = n->alert;
    char title[NOTICE_TITLE_BYTES], header[NOTICE_TITLE_BYTES + 16];
    CLEAN_JSON json_t *blocks = NULL, *root = NULL;

    notice_title(a, title);
    snprintf(header, sizeof(header), "[%s] %s", notice_status(a), title);
    header[notice_clip(header, HEADER_BYTES)] = '\0';
    blocks = json_pack(
        "[{s:s, s:o}, {s:s, s:o}, {s:s, s:o}]", "type", "header", "text",
        plain(json_string(header)), "type", "section", "fields", fields_of(a), "type", "section",
        "text", markup(escaped(notice_text(a->reason)[0] ? a->reason : title, SECTION_BYTES)));
    if (!blocks || add_links(blocks, n) < 0)
        return -ENOMEM;
    root = json_pack("{s:o, s:O}", "text", escaped(header, SECTION_BYTES), "blocks", blocks);
    return root ? notice_dump(root, out) : -ENOMEM;
}
