/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plaintext of one connection -> calls. Pure: no sockets, no clock, no globals,
 * no logging. The tap is fed copies of what is forwarded; whatever it makes of
 * them, forwarding goes on. Any split of the bytes gives the same calls.
 *
 * Limits: state is constant whatever the bodies' size: METER_STATE_MAX_BYTES per
 * connection. What comes on top counts against the body_budget that all
 * connections share: the window of a br or zstd body while it passes, at most
 * BODY_WINDOW_MAX_BYTES; METER_STREAM_MAX_BYTES for every HTTP/2 stream, most of
 * it only while it is answered; and larger header tables than the usual 4 KiB,
 * where the peers agree on them (agent/http2.h).
 * Realtime sessions (agent/realtime.h) are read on after their upgrade, at most
 * METER_SESSIONS_MAX of a connection, each with REALTIME_STATE_MAX_BYTES and
 * what its inflaters hold on top; further ones are opaque as other upgrades are.
 * What bodies may unpack to is limited too, see agent/body.h: beyond that what
 * they say stays unknown, the call is told all the same. Up to METER_PIPELINE_MAX
 * requests of HTTP/1.1 may await their answers, up to METER_STREAMS_MAX of
 * HTTP/2; those beyond are told as unmeterable, and after as many of them the
 * connection is read no more. Every buffer that held content
 * is wiped before it is reused or freed.
 */
#pragma once

#include "agent/call.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#define METER_PIPELINE_MAX 64
#define METER_STREAMS_MAX 2048
#define METER_SESSIONS_MAX 8
#define METER_STREAM_MAX_BYTES (48 * 1024)
#define METER_STATE_MAX_BYTES (256 * 1024)

struct meter;
struct provider_set; /* agent/provider.h: the profiles */
struct price_table;  /* agent/price.h */
struct body_budget;  /* agent/body.h */
struct estimator;    /* agent/estimate.h; may be NULL */

/* What can be said of a request when its head is complete. Borrowed for the
 * callback. No header values, no query. */
struct request_head {
    struct slice method;
    struct slice host;
    const char *provider;
    const char *operation;
};

/* Callbacks run inside meter_request/response/close. */
struct meter_env {
    const struct provider_set *providers;
    const struct price_table *prices;
    struct estimator *estimator;
    const uint8_t *fingerprint_key; /* 32 bytes, for key_fingerprint */
    struct body_budget *budget;     /* shared by all meters, outlives them; NULL: unlimited */
    void *user;
    /* A call began (its request head is complete). */
    void (*on_begin)(void *user, const struct request_head *head);
    /* A call ended. Exactly one for every on_begin. */
    void (*on_call)(void *user, const struct call *call);
};

enum meter_protocol {
    METER_HTTP1,
    METER_HTTP2,
};

enum meter_state {
    METER_READING,
    METER_NOT_HTTP, /* what passed is not the protocol: nothing more will be metered */
    METER_UPGRADED, /* 101 or CONNECT, and no realtime session: the rest is opaque */
};

struct meter_counts {
    uint32_t grpc;      /* streams of gRPC: passed on, no calls */
    uint32_t untracked; /* streams beyond METER_STREAMS_MAX */
};

enum meter_end {
    METER_END_CLEAN,    /* both sides closed in order */
    METER_END_CLIENT,   /* the application closed or reset first */
    METER_END_UPSTREAM, /* the provider closed or reset first */
    METER_END_NETWORK,  /* no upstream connection could be had */
};

/* `host` is the SNI (lower case); copied. */
int meter_new(const struct meter_env *env, enum meter_protocol protocol, struct slice host,
              struct meter **ret_meter) LECTR_MUST_USE;
void meter_free(struct meter **meter);

void meter_request(struct meter *m, struct slice bytes, uint64_t now_mono_ns);
void meter_response(struct meter *m, struct slice bytes, uint64_t now_mono_ns);
/* How long the agent held bytes up, from reading them until they were passed on:
 * for every call that has some among them. After meter_request() for those that
 * it was fed, before meter_response() for those that it will be fed. */
void meter_request_took(struct meter *m, uint64_t ns);
void meter_response_took(struct meter *m, uint64_t ns);
/* Ends every call still open with the outcome that fits. A close-delimited
 * answer ended by METER_END_UPSTREAM is complete. Idempotent. */
void meter_close(struct meter *m, enum meter_end end, uint64_t now_mono_ns);

enum meter_state meter_state(const struct meter *m);
const struct meter_counts *meter_counts(const struct meter *m);
/* Calls begun and not ended. */
uint32_t meter_calls_open(const struct meter *m);
