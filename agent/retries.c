/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/retries.h"

#include "proto/base/clock.h"

#include <stdio.h>
#include <string.h>

/* FNV-1a: who makes two calls alike on purpose joins but its own. */
static uint64_t mix(uint64_t h, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL;
    return h;
}

static uint64_t mix_text(uint64_t h, const char *text)
{
    return mix(h, text, strlen(text) + 1);
}

static uint64_t marks_of(const struct call *c, const struct caller *who)
{
    uint64_t h = 0xcbf29ce484222325ULL;

    h = mix(h, &who->cgroup_id, sizeof(who->cgroup_id));
    h = mix(h, &who->netns_cookie, sizeof(who->netns_cookie));
    h = mix(h, &who->pid, sizeof(who->pid));
    h = mix_text(h, c->server_address);
    h = mix_text(h, c->api);
    h = mix_text(h, c->model_requested);
    h = mix_text(h, c->key_fingerprint);
    return mix(h, &c->request_body_bytes, sizeof(c->request_body_bytes));
}

static bool is_of(const struct retry_slot *s, uint64_t marks, const struct call *c)
{
    return s->end_ns != 0 && s->marks == marks &&
           c->start_mono_ns <= s->end_ns + RETRIES_WAIT_S * NSEC_PER_SEC;
}

static void remember(struct retry_slot *s, uint64_t marks, const struct call *c, const char *id)
{
    s->marks = marks;
    s->end_ns = c->end_mono_ns;
    s->attempt = c->attempt;
    s->ambiguous = false;
    snprintf(s->id, sizeof(s->id), "%s", id);
}

bool retries_join(struct retries *r, const struct call *c, const struct caller *who,
                  const char *fresh, char ret_id[RETRIES_ID_MAX])
{
    bool failed = c->outcome != CALL_OK;
    uint64_t marks = marks_of(c, who);
    struct retry_slot *s = &r->slots[(marks ^ marks >> 32) % RETRIES_MAX];
    bool known = is_of(s, marks, c);
    bool next = known && c->attempt == s->attempt + 1 && c->start_mono_ns >= s->end_ns;

    if (!c->attempt_counted)
        return false;
    if (next && !s->ambiguous) {
        memcpy(ret_id, s->id, RETRIES_ID_MAX);
        if (failed)
            remember(s, marks, c, ret_id);
        else
            s->end_ns = 0;
        return true;
    }
    if (!failed)
        return false;
    if (known) { /* which of the two a later attempt belongs to cannot be told */
        s->ambiguous = true;
        s->attempt = c->attempt > s->attempt ? c->attempt : s->attempt;
        s->end_ns = c->end_mono_ns;
        return false;
    }
    remember(s, marks, c, fresh);
    memcpy(ret_id, s->id, RETRIES_ID_MAX);
    return true;
}
