/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/enrich.h"
#include "collector/text.h"
#include "collector/watch_priv.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdlib.h>

/* What was found waits until the minute is judged: the store is locked for writing only
 * while it is written. */
static int hold(struct watch *w, const struct alert *a)
{
    struct held *h = calloc(1, sizeof(*h));
    int r;

    if (!h)
        return -ENOMEM;
    text_copy(h->id, sizeof(h->id), a->id);
    text_copy(h->fingerprint, sizeof(h->fingerprint), a->fingerprint);
    text_copy(h->org, sizeof(h->org), a->org);
    h->status = a->status;
    h->kind = alert_rule_kind(a->rule);
    h->at_ns = a->detected_s * (int64_t)NSEC_PER_SEC;
    buf_init(&h->packed, EVENT_MAX_BYTES);
    r = alert_pack(a, &h->packed);
    *w->held_end = h;
    w->held_end = &h->next;
    return r;
}

void watch_drop_held(struct watch *w)
{
    struct held *h, *next;

    for (h = w->held; h; h = next) {
        next = h->next;
        buf_fini(&h->packed);
        free(h);
    }
    w->held = NULL;
    w->held_end = &w->held;
}

int watch_store_held(struct watch *w)
{
    int r = 0;

    for (const struct held *h = w->held; h && r == 0; h = h->next)
        r = store_add_alert(w->store, &(struct store_alert){
                                          .id = h->id,
                                          .fingerprint = h->fingerprint,
                                          .status = h->status,
                                          .org = h->org,
                                          .kind = h->kind,
                                          .at_ns = h->at_ns,
                                          .payload = buf_slice(&h->packed),
                                      });
    return r;
}

int watch_on_alert(void *ctx, const struct alert *told)
{
    struct watch *w = ctx;
    struct alert a = *told;
    char reason[1024];
    int r = a.ruling ? 0 : enrich_alert(w->store, &a);

    if (r < 0)
        return r;
    rules_mark(w->rules, &a);
    alert_reason(&a, reason, sizeof(reason));
    log_info("alert", "rule=%s status=%d fingerprint=%s reason=%s", alert_rule_name(a.rule),
             a.status, a.fingerprint, reason);
    w->alerts++;
    return hold(w, &a);
}
