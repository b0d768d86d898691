/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/notice.c collector/cloudevent.c collector/alertmanager.c collector/slack.c
 * LINK: collector/pagerduty.c collector/text.c */
/* Target: what receivers are sent. Whatever an alert of the store says, each format is
 * JSON that a strict reader takes, or is refused. */
#include "collector/alertmanager.h"
#include "collector/cloudevent.h"
#include "collector/pagerduty.h"
#include "collector/slack.h"
#include "proto/event.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int r, struct buf *b)
{
    json_t *root;

    if (r == 0) {
        root = json_loadb((const char *)b->data, b->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                          NULL);
        assert(root);
        json_decref(root);
    }
    buf_reset(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    struct notice n = {.generator_url = "https://a.example", .runbook_url = "https://b.example"};
    struct buf b;

    if (event_unpack(EVENT_ALERT, slice_of(data, size), &message) < 0)
        return 0;
    n.alert = (const Lectr__V1__Alert *)message;
    buf_init(&b, 1 << 22);
    check(cloudevent_format(n.alert, &b), &b);
    check(alertmanager_format(&n, 1, 1, &b), &b);
    check(slack_format(&n, &b), &b);
    check(pagerduty_format(&n, "key", &b), &b);
    buf_fini(&b);
    return 0;
}
