/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that were answered "later": queued responses, runs, batches. When the answer that
 * completes one is seen, its usage counts there, once, and names the call that it amends. An
 * answer that completes none that is remembered repeats what another has told, or what was told
 * before this process began: its usage is not counted. Pure.
 *
 * Remembers AMEND_MAX calls (under 160 KiB), by provider, key fingerprint and the provider's id;
 * the oldest is forgotten first.
 */
#pragma once

#include "agent/call.h"

#include <stddef.h>

#define AMEND_MAX 512
#define AMEND_ID_BYTES 37 /* of an event, with its NUL */

struct amend_entry {
    char provider[32];
    char key_fingerprint[20];
    char response_id[160];
    char event_id[AMEND_ID_BYTES];
    char alias[64]; /* another of the provider's names for the result; empty: none */
};

struct amend {
    size_t next;
    struct amend_entry entries[AMEND_MAX];
};

/* Whether `call` ended without its usage, which a later answer will have. */
bool amend_awaits(const struct call *call);
/* Remembers it under the event's id. */
void amend_note(struct amend *a, const struct call *call, const char *event_id);
/* The id of the event that `call` completes, and forgets it; false when there is none, or `call`
 * does not complete anything. */
bool amend_take(struct amend *a, const struct call *call, char ret_event_id[AMEND_ID_BYTES]);
