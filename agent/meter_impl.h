/* SPDX-License-Identifier: Apache-2.0 */
/* The meter as its own files see it: meter.c, meter_h1.c, meter_h2.c,
 * meter_session.c. */
#pragma once

#include "agent/meter.h"
#include "agent/realtime.h"
#include "agent/reply.h"

/* How the connection's bytes are read. May be exchanged for another one while
 * the connection lasts (an upgrade); every call that it began it ends. */
struct meter_wire {
    void (*request)(struct meter *m, struct slice bytes);
    void (*response)(struct meter *m, struct slice bytes);
    /* Ends what is open. */
    void (*close)(struct meter *m, enum meter_end end);
    /* Nothing more can be followed: ends what is open as unmeterable. */
    void (*give_up)(struct meter *m);
    void (*free)(struct meter *m);
};

struct meter {
    struct meter_env env;
    const struct provider *provider;
    const struct meter_wire *wire;
    struct meter_h1 *h1;
    struct meter_h2 *h2;
    enum meter_state state;
    bool closed;
    uint64_t now_ns;
    uint32_t open;
    uint32_t sessions;
    struct meter_counts counts;
    uint64_t pieces;  /* fed so far, in both directions */
    struct ask *fed;  /* those with bytes in the last one */
    uint64_t took_ns; /* for the piece that is being fed */
    struct call call;
    char host[256];
};

/* meter.c */
/* A request's head is complete: a call begins. */
void meter_call_begin(struct meter *m, const struct ask *ask, struct slice method);
/* … and ends. `reply` is the answer's, NULL when there was none. */
void meter_call_end(struct meter *m, const struct ask *ask, const struct reply *reply,
                    enum call_outcome outcome);
/* A call with what ask and answer say; m's scratch. */
struct call *meter_call_fill(struct meter *m, const struct ask *ask, const struct reply *reply);
/* Of an answer that came to its end. */
enum call_outcome meter_outcome(const struct reply *reply);
/* Of one that did not; `reply` may be NULL. */
enum call_outcome meter_end_outcome(const struct reply *reply, enum meter_end end);
/* Ends the metering: nothing that comes is read. */
void meter_give_up(struct meter *m, enum meter_state state);
/* The piece that is being fed has bytes of this call. */
void meter_ask_fed(struct meter *m, struct ask *ask);
/* Wipes. */
void meter_ask_free(struct meter *m, struct ask **ask);

/* meter_h1.c, meter_h2.c */
int meter_h1_new(struct meter *m) LECTR_MUST_USE;
int meter_h2_new(struct meter *m) LECTR_MUST_USE;

/* meter_session.c */
struct meter_session;
/* What follows the answer's head is a realtime session; `ask` and `reply` are
 * borrowed until it ends. -ENOENT when it is none, or none that can be read. */
int meter_session_begin(struct meter *m, struct ask *ask, const struct reply *reply,
                        struct meter_session **ret_session) LECTR_MUST_USE;
/* 0; 1 when it is over; -errno when it cannot be followed: then the caller ends it. */
int meter_session_feed(struct meter_session *s, bool client, struct slice bytes) LECTR_MUST_USE;
/* Tells its turns and its own call. `cut` is the outcome of what has not ended. */
void meter_session_end(struct meter_session **session, enum call_outcome cut);
/* Tells nothing. */
void meter_session_free(struct meter_session **session);
