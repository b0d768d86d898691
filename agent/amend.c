/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/amend.h"

#include <stdio.h>
#include <string.h>

bool amend_awaits(const struct call *call)
{
    return call->pending && !call->late && call->outcome == CALL_OK && call->amend_id[0];
}

static bool same_owner(const struct amend_entry *e, const struct call *call)
{
    return strcmp(e->provider, call->provider) == 0 &&
           strcmp(e->key_fingerprint, call->key_fingerprint) == 0;
}

static struct amend_entry *find(struct amend *a, const struct call *call, const char *id)
{
    for (size_t i = 0; i < AMEND_MAX && id[0]; i++) {
        struct amend_entry *e = &a->entries[i];

        if ((strcmp(e->response_id, id) == 0 || strcmp(e->alias, id) == 0) && same_owner(e, call))
            return e;
    }
    return NULL;
}

void amend_note(struct amend *a, const struct call *call, const char *event_id)
{
    struct amend_entry *e = find(a, call, call->amend_id);

    if (!e) {
        e = &a->entries[a->next];
        a->next = (a->next + 1) % AMEND_MAX;
    }
    memset(e, 0, sizeof(*e));
    snprintf(e->provider, sizeof(e->provider), "%s", call->provider);
    snprintf(e->key_fingerprint, sizeof(e->key_fingerprint), "%s", call->key_fingerprint);
    snprintf(e->response_id, sizeof(e->response_id), "%s", call->amend_id);
    snprintf(e->event_id, sizeof(e->event_id), "%s", event_id);
}

static bool has_quantity(const struct call *call)
{
    for (uint32_t i = 0; i < call->usage_count; i++)
        if (call->usage[i].count.known)
            return true;
    return false;
}

bool amend_take(struct amend *a, const struct call *call, char ret_event_id[AMEND_ID_BYTES])
{
    struct amend_entry *e;

    /* A batch that has ended names the file with its results. */
    e = call->result_id[0] ? find(a, call, call->amend_id) : NULL;
    if (e)
        snprintf(e->alias, sizeof(e->alias), "%s", call->result_id);
    if (!call->late || call->pending || !has_quantity(call))
        return false;
    e = find(a, call, call->amend_id);
    if (!e)
        return false;
    memcpy(ret_event_id, e->event_id, sizeof(e->event_id));
    memset(e, 0, sizeof(*e));
    return true;
}
