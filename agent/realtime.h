/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A realtime session -> calls. Both directions of a WebSocket, after the
 * upgrade, read through the `session` of the operation's family: one call for
 * every answer (a turn), and what is to be said of the upgrade itself. Pure.
 *
 * A turn begins when the client asks for an answer, or when the provider
 * begins one unasked (it heard the speaker stop). Its latency is counted from
 * the last message that made the provider answer: the ask, or a trigger; where
 * none was seen, only the stream's own times are known. It ends with the
 * provider's end mark, or with the session. Every turn told by on_begin is told
 * by on_call exactly once. Of each usage the last whole one of a turn counts.
 *
 * Limits: REALTIME_TURNS_MAX turns are open at a time, for a further one the
 * oldest ends as not meterable (what it costs is still told when its end
 * passes, as a call of its own); messages are scanned as they pass, never kept.
 */
#pragma once

#include "agent/call.h"
#include "agent/profile.h"
#include "agent/ws.h"

#define REALTIME_TURNS_MAX 3
#define REALTIME_STATE_MAX_BYTES (128 * 1024) /* beside the two inflaters, 48 KiB each */

struct realtime;

struct realtime_env {
    void *user;
    void (*on_begin)(void *user, const char *operation);
    /* A call with all that is the session's own; the callee's, filled here. */
    struct call *(*blank)(void *user);
    void (*on_call)(void *user, const struct call *call);
};

enum realtime_end {
    REALTIME_END_CLIENT,
    REALTIME_END_PROVIDER,
    REALTIME_END_UNREADABLE, /* what passes cannot be followed any more */
};

/* `family` has a session; it and `budget` outlive this. `model` is what the
 * upgrade asked for, or empty. */
int realtime_new(const struct realtime_env *env, const struct profile_family *family,
                 const struct ws_deflate *client, const struct ws_deflate *server,
                 struct body_budget *budget, const char *model,
                 struct realtime **ret_realtime) LECTR_MUST_USE;
/* Wipes. */
void realtime_free(struct realtime **realtime);

/* 0, or -errno when the bytes cannot be followed: then the caller closes it as
 * REALTIME_END_UNREADABLE. */
int realtime_client(struct realtime *rt, struct slice bytes, uint64_t now_ns) LECTR_MUST_USE;
int realtime_server(struct realtime *rt, struct slice bytes, uint64_t now_ns) LECTR_MUST_USE;
/* Both sides have said close. */
bool realtime_over(const struct realtime *rt);
/* Ends every turn. `end` says who went first where no close frame did. Idempotent. */
void realtime_close(struct realtime *rt, enum realtime_end end, uint64_t now_ns);
/* After realtime_close: what is known of the session into its own call. */
void realtime_fill(const struct realtime *rt, struct call *call);
