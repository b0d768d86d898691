/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/deliver_priv.h"

#include "collector/letter.h"
#include "collector/retry.h"
#include "collector/store_deliver.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static uint32_t random_u32(void)
{
    uint32_t value = 0;

    /* Only spreads retries: without it they come together. */
    return getrandom(&value, sizeof(value), 0) == sizeof(value) ? value : 0;
}

static const char *reason_of(const struct channel *c, const struct webhook_result *result,
                             char *ret_text, size_t size)
{
    bool may_quote = result->status == 0 || (c && letter_may_quote(c->to, result->text));

    if (result->status == 0)
        snprintf(ret_text, size, "%s", result->text);
    else
        snprintf(ret_text, size, "status %u%s%s", result->status,
                 may_quote && result->text[0] ? ": " : "", may_quote ? result->text : "");
    return ret_text;
}

static int bury(struct deliver *d, struct channel *c, const struct slot *slot, const char *reason)
{
    uint64_t dropped = 0;
    int r = store_put_letter(d->store, slot->letter, slot->attempts + 1, 0, true, reason);

    if (r == 0 && c)
        r = store_trim_dead(d->store, c->to->name, &dropped);
    if (r < 0 || !c)
        return r;
    c->stats.died++;
    c->stats.dropped += dropped;
    log_warn("letter is dead", "receiver=%s letter=%lld attempts=%u reason=%s", c->stats.name,
             (long long)slot->letter, slot->attempts + 1, reason);
    return 0;
}

static int settle_letter(struct deliver *d, struct channel *c, const struct slot *slot)
{
    uint32_t attempts = slot->attempts + 1;
    enum retry_verdict verdict = retry_judge(slot->result.status);
    char reason[2 * WEBHOOK_TEXT_BYTES];
    uint64_t wait_ms;
    int r;

    if (verdict == RETRY_DELIVERED) {
        r = store_end_letter(d->store, slot->letter);
        if (r == 0 && c)
            c->stats.delivered++;
        return r;
    }
    reason_of(c, &slot->result, reason, sizeof(reason));
    if (verdict == RETRY_NEVER || (c && attempts >= c->to->max_attempts))
        return bury(d, c, slot, reason);
    wait_ms = retry_wait_ms(attempts, slot->result.retry_after_s, random_u32());
    return store_put_letter(d->store, slot->letter, attempts, deliver_now_ms() + (int64_t)wait_ms,
                            false, reason);
}

static void settle_resend(struct channel *c, const struct slot *slot)
{
    uint64_t now_ns = clock_mono_ns();
    bool worked = retry_judge(slot->result.status) == RETRY_DELIVERED;

    c->is_resending = false;
    if (worked && slot->resent == RESEND_AT_ONCE) {
        c->resend_after = slot->last_row;
        return;
    }
    c->resend_after = 0;
    c->resend_ns = now_ns + (worked ? DELIVER_RESEND_S : RESEND_RETRY_S) * NSEC_PER_SEC;
}

/* Once when it begins and once when it ends. */
static void note_channel(struct channel *c, const struct slot *slot)
{
    bool fails = retry_judge(slot->result.status) != RETRY_DELIVERED;
    char reason[2 * WEBHOOK_TEXT_BYTES];

    if (fails)
        c->stats.failed_attempts++;
    if (fails && !c->is_failing)
        log_warn("receiver fails", "receiver=%s type=%s reason=%s", c->stats.name, c->stats.type,
                 reason_of(c, &slot->result, reason, sizeof(reason)));
    if (!fails && c->is_failing)
        log_info("receiver works again", "receiver=%s", c->stats.name);
    c->is_failing = fails;
    if (slot->result.retry_after_s)
        c->hold_until_ns = clock_mono_ns() + slot->result.retry_after_s * NSEC_PER_SEC;
}

void deliver_settle(struct deliver *d)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &d->slots[i];
        struct channel *c = slot->channel >= 0 ? &d->channels[slot->channel] : NULL;
        int r = 0;

        if (!slot->is_used || !slot->is_done)
            continue;
        if (!slot->is_resend)
            r = settle_letter(d, c, slot);
        else if (c)
            settle_resend(c, slot);
        deliver_note_store(d, r);
        if (r < 0)
            return;
        if (c) {
            note_channel(c, slot);
            c->letters -= !slot->is_resend;
        }
        memset(slot, 0, sizeof(*slot));
    }
}
