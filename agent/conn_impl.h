/* SPDX-License-Identifier: Apache-2.0 */
/* The connection as its own files see it: conn.c, conn_open.c, conn_pump.c,
 * conn_splice.c, conn_event.c. */
#pragma once

#include "agent/amend.h"
#include "agent/body.h"
#include "agent/call.h"
#include "agent/clear.h"
#include "agent/conn.h"
#include "agent/event.h"
#include "agent/hello.h"
#include "agent/inflight.h"
#include "agent/loop.h"
#include "agent/meter.h"
#include "agent/refuse.h"
#include "agent/retries.h"
#include "agent/splice.h"
#include "agent/tls.h"
#include "agent/upstream.h"
#include "proto/base/clock.h"

/* Read from one side in a turn before the other is served: several records. */
#define IO_BYTES 65536
#define IO_ROUNDS_PER_TURN 8
#define HELD_EVENTS_MAX 8          /* a connection */
#define HELD_EVENTS_TOTAL_MAX 2048 /* of all */
/* What decoding may hold, and give between two ticks: read at 100 MB/s, the
 * slowest seen, it takes half the time after which a heartbeat is stale. */
#define BODIES_MEMORY_BYTES (256u * 1024 * 1024)
#define BODIES_OUTPUT_BYTES_PER_TICK (24u * 1024 * 1024)
#define CALLER_WAIT_NS (1 * NSEC_PER_SEC)
#define ORIGIN_WAIT_NS (500 * NSEC_PER_MSEC)
#define HANDSHAKE_NS (20 * NSEC_PER_SEC)
/* A client that ends so soon after the handshake without a byte has refused us. */
#define REFUSAL_NS (1 * NSEC_PER_SEC)

enum conn_stage {
    CONN_ORIGIN,       /* its origin record hides behind one that is being written */
    CONN_OPENING,      /* peeking and connecting */
    CONN_UPSTREAM_TLS, /* handshake with the provider */
    CONN_CLIENT_TLS,   /* handshake with the client */
    CONN_PUMP,
    CONN_SPLICE,
    CONN_GONE, /* over; waits for the helper to say whose it was */
};

enum conn_plan {
    PLAN_UNKNOWN, /* the hello is not complete */
    PLAN_SPLICE,
    PLAN_TLS,
    PLAN_CLEAR, /* HTTP without TLS */
};

struct side {
    int fd;
    struct loop_poll *poll;
    struct tls_leg tls;
    bool read_wants_write;
};

enum flow_end {
    FLOW_OPEN,
    FLOW_NOTIFIED, /* close_notify came; the FIN did not yet */
    FLOW_ENDED,    /* FIN came */
    FLOW_BROKEN,   /* RST, or TLS gave up: the other side gets what is there, then RST */
};

/* One direction of the pump. */
struct flow {
    uint8_t *held; /* read, not taken by the other side yet; NULL when there is nothing */
    uint32_t held_from, held_to;
    enum flow_end end;
    bool told_notify, told_end;
    bool blocked; /* the sink takes nothing now */
};

/* Which of the addresses that the client was given is tried. */
enum opening_address {
    ADDRESS_ORIGINAL,
    ADDRESS_OTHER,
    ADDRESS_ORIGINAL_AGAIN,
};

/* What is needed only until the first application byte. */
struct opening {
    struct hello hello; /* in clear: only sni, as "host:port" */
    bool http2_clear;
    uint64_t connect_start_ns, tls_start_ns, client_tls_start_ns, settled_ns;
    int short_wakes;
    int lowat; /* SO_RCVLOWAT as set; 0: untouched */
    enum opening_address address;
    bool original_silent;
    bool probing; /* asked again after a refusal */
};

struct held_event {
    struct held_event *next;
    struct call call;
    struct event_context ctx;
};

struct conn {
    struct conns *owner;
    struct conn *prev, *next; /* in `young` or `settled` */
    uint64_t id;
    enum conn_stage stage;
    enum conn_plan plan;
    bool by_port;         /* only its port says that it is a provider's */
    bool young;           /* in the list that ticks look at */
    uint64_t deadline_ns; /* of the stage; 0: none */
    uint64_t accepted_ns;
    uint64_t netns_cookie;
    struct lectr_origin origin;
    struct side client, upstream;
    bool upstream_connected;
    struct upstream_wait wait;
    struct opening *opening;

    /* pump */
    struct flow request, response;
    struct meter *meter;
    bool metering, client_spoke, client_broke;
    uint8_t first_end; /* enum meter_end + 1 of the side that ended first; 0: none */
    uint32_t response_reads;
    struct loop_task again;

    /* splice */
    struct splice_flow up, down;

    /* accounting */
    enum verdict verdict;
    bool verdict_told, caller_known;
    const char *provider; /* static in the provider set; "" unknown */
    struct inflight_slot *slot;
    struct caller *own_caller; /* only when there is no slot */
    uint32_t calls_begun, calls_ended;
    struct opt_u64 connect_us, tls_us, client_tls_us;
    struct held_event *held_events;
    uint32_t held_events_count;
};

struct conn_list {
    struct conn *first;
};

/* Which provider an address was last seen to serve. */
struct address_hint {
    uint64_t netns_cookie;
    uint8_t daddr[16];
    const char *provider;
};

#define HINTS_MAX 256

struct conns {
    struct conn_env env;
    struct pipes *pipes;
    struct conn_list young, settled;
    uint64_t serial;
    struct conn *by_index[CONNS_MAX];
    uint32_t free_index[CONNS_MAX];
    uint32_t free_count;
    struct conns_stats stats;
    struct retries retries;
    struct body_budget bodies; /* of all meters */
    int64_t wall_minus_mono_ns;
    struct address_hint hints[HINTS_MAX];
    struct call call; /* scratch */
    struct amend amend;
    struct event_record record;
    uint8_t io[IO_BYTES];
};

static inline struct caller *conn_caller(struct conn *c)
{
    return c->slot ? &c->slot->caller : c->own_caller;
}

static inline bool conn_speaks_http2(const struct conn *c)
{
    return strcmp(c->upstream.tls.alpn, "h2") == 0;
}

static inline uint64_t conn_wall_ns(const struct conns *cs, uint64_t mono_ns)
{
    return (uint64_t)((int64_t)mono_ns + cs->wall_minus_mono_ns);
}

/* conn.c */
void conn_dispatch(struct conn *c, struct side *side, unsigned events);
void conn_close_side(struct side *side);
void conn_destroy(struct conn *c);
/* Ends both sides with RST. */
void conn_reset(struct conn *c);
void conn_set_deadline(struct conn *c, uint64_t deadline_ns);
/* Whether a client that sends no more still listens is only known by asking:
 * once its end is gone for good, a keep-alive probe is answered with RST. */
void conn_watch_half_closed(const struct side *side);
void conn_watch(struct conn *c, struct side *side, unsigned events);

/* conn_open.c */
void conn_open(struct conn *c);
void conn_opening_event(struct conn *c, struct side *side, unsigned events);
void conn_upstream_tls_event(struct conn *c);
void conn_client_tls_event(struct conn *c);
void conn_opening_timeout(struct conn *c);
void conn_opening_done(struct conn *c);
/* The client ended without an application byte: whether that was a refusal. */
void conn_note_silence(struct conn *c);

/* conn_pump.c */
void conn_pump_start(struct conn *c);
void conn_pump_event(struct conn *c, struct side *side, unsigned events);
/* A reset waits until the client has what was sent before. */
void conn_pump_tick(struct conn *c);
void conn_pump_fini(struct conn *c);

/* conn_splice.c */
void conn_splice_start(struct conn *c);
void conn_splice_event(struct conn *c, struct side *side, unsigned events);
void conn_splice_resume(struct conn *c);

/* conn_event.c */
/* `provider` is a static string. */
void conn_set_provider(struct conn *c, const char *provider);
/* At the first request byte: a connection that is only kept ready needs no meter.
 * On failure the connection is passed on unmetered, with its verdict. */
void conn_meter_open(struct conn *c);
/* Looks at the meter's state after it was fed. */
void conn_meter_check(struct conn *c);
void conn_meter_end(struct conn *c, enum meter_end end, uint64_t now_ns);
/* The first verdict counts. */
void conn_decide(struct conn *c, enum verdict v);
/* Tells the verdict and the held events if the caller is known or `give_up`. */
void conn_tell(struct conn *c, bool give_up);
