/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes, requests, deliveries, acks. */
#include "collector/bus_priv.h"

#include "proto/base/clock.h"
#include "proto/subject.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPIRES_MS 20000
/* A request without an answer was lost. */
#define ANSWER_MS (EXPIRES_MS + 5000)
#define REQUEST_BYTES_MIN (1024 * 1024)
/* No server takes a larger message than 64 MiB. */
#define REQUEST_BYTES_MAX (UINT64_C(1) << 27)
/* Nobody is asked again at once who has just said no. */
#define REFUSED_MS UINT64_C(100)
/* Nor is a stream made anew while it is being deleted: nats-server 2.9 may then make a consumer
 * that takes requests and delivers nothing. */
#define DELETED_MS UINT64_C(500)
/* After so long without a message it is looked whether there are none. */
#define SILENCE_MS UINT64_C(30000)

static int open_inbox(struct bus *b)
{
    natsInbox *inbox = NULL;
    char subject[80];
    natsStatus s;

    if (b->inbox)
        return 0;
    s = natsInbox_Create(&inbox);
    if (s != NATS_OK)
        return bus_fail(b, "inbox", s);
    snprintf(b->inbox_prefix, sizeof(b->inbox_prefix), "%s.", inbox);
    natsInbox_Destroy(inbox);
    snprintf(subject, sizeof(subject), "%s>", b->inbox_prefix);
    s = natsConnection_SubscribeSync(&b->inbox, b->connection, subject);
    /* What was asked for is bounded; the library would drop messages at a limit of its own. */
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(b->inbox, -1, -1);
    return s == NATS_OK ? 0 : bus_fail(b, "inbox", s);
}

/* What it has sent already of a lane that was not attached is sent again. */
static void attach_shared(struct bus *b, unsigned lane, struct bus_position taken)
{
    struct reader *r = &b->reader;

    b->parts[lane] = (struct part){.is_wanted = true, .taken = taken};
    r->is_wanted = true;
    b->marks_until = bus_larger(b->marks_until, taken.seq);
    if (taken.seq > b->stream_last)
        bus_forget_from(b, taken.seq);
    if (taken.seq >= b->seen.seq)
        return;
    r->is_ready = false;
    b->seen = taken;
}

int bus_attach(struct bus *b, unsigned lane, struct bus_position taken)
{
    struct reader *r = &b->reader;
    int ret = open_inbox(b);

    if (ret == 0 && (!b->is_shared || !b->stream_created))
        ret = bus_look(b);
    if (ret < 0)
        return ret;
    if (!r->is_wanted)
        r->bytes_max = REQUEST_BYTES_MIN;
    if (b->is_shared) {
        attach_shared(b, lane, taken);
        return 0;
    }
    r->is_ready = false;
    ret = bus_ready_consumer(b);
    r->is_wanted |= ret == 0;
    return ret;
}

void bus_detach(struct bus *b, unsigned lane)
{
    bool is_wanted = false;

    b->parts[lane] = (struct part){0};
    for (unsigned i = 0; i < BUS_LANES; i++)
        is_wanted |= b->parts[i].is_wanted;
    /* Another one may have it meanwhile: what this one acked says nothing when it comes back. */
    if (!is_wanted)
        b->reader = (struct reader){.is_made = b->reader.is_made, .current = b->reader.current};
}

uint64_t bus_seen_seq(const struct bus *b)
{
    return b->seen.seq;
}

uint64_t bus_seen_ns(const struct bus *b)
{
    return (uint64_t)b->seen.time_ns;
}

/* A lane that was attached later may be ahead. */
struct bus_position bus_position(const struct bus *b, unsigned lane)
{
    const struct bus_position *taken = &b->parts[lane].taken;

    return taken->seq > b->seen.seq ? *taken : b->seen;
}

void bus_get_state(const struct bus *b, struct bus_state *ret_state)
{
    *ret_state = b->state;
}

/* Out of step, as it is after a reconnect. */
static int repair(struct bus *b)
{
    unsigned reconnects = atomic_load(&b->reconnects);
    struct reader *r = &b->reader;
    int ret = 0;

    if (reconnects != b->reconnects_seen)
        r->is_ready = false;
    if (!r->is_wanted || r->is_ready || clock_mono_ns() < r->mend_from_ns)
        return 0;
    ret = bus_look(b);
    if (ret == 0)
        ret = bus_ready_consumer(b);
    if (ret == 0)
        b->reconnects_seen = reconnects;
    return ret;
}

/* --- requests --- */

static void end_request(struct reader *r, unsigned index)
{
    r->requests_count--;
    for (unsigned i = index; i < r->requests_count; i++)
        r->requests[i] = r->requests[i + 1];
}

static int send_request(struct bus *b, uint32_t count)
{
    struct reader *r = &b->reader;
    char name[CONSUMER_BYTES], subject[CONSUMER_BYTES + 192], reply[128], body[160];
    natsStatus s;
    int len;

    b->request_ids++;
    bus_consumer_name(b, r->current, name);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", b->stream, name);
    snprintf(reply, sizeof(reply), "%s%u", b->inbox_prefix, b->request_ids);
    len = snprintf(body, sizeof(body), "{\"batch\":%u,\"expires\":%llu,\"max_bytes\":%llu}", count,
                   EXPIRES_MS * 1000000ull, (unsigned long long)r->bytes_max);
    s = natsConnection_PublishRequest(b->connection, subject, reply, body, len);
    if (s != NATS_OK)
        return bus_fail(b, "request", s);
    r->requests[r->requests_count++] = (struct request){
        .id = b->request_ids,
        .asked = count,
        .left = count,
        .deadline_ns = clock_mono_ns() + (uint64_t)ANSWER_MS * NSEC_PER_MSEC,
    };
    return 0;
}

/* Each request is answered, if only by its end; one to a consumer that is not there any more is
 * not: somebody deleted it, or the server did, for nothing was asked of it for too long. */
static void note_unanswered(struct reader *r, uint64_t now_ns)
{
    while (r->requests_count && r->requests[0].deadline_ns < now_ns) {
        end_request(r, 0);
        if (r->heard_ns + (uint64_t)ANSWER_MS * NSEC_PER_MSEC < now_ns)
            r->is_ready = false;
    }
}

/* Fills up what the server may send. */
static int ask(struct bus *b)
{
    struct reader *r = &b->reader;
    uint64_t now_ns = clock_mono_ns();
    int ret = 0;

    if (r->is_ready)
        note_unanswered(r, now_ns);
    if (!r->is_wanted || !r->is_ready || now_ns < r->quiet_until_ns)
        return 0;
    r->bytes_max = bus_larger(r->bytes_max, BUS_AHEAD_BYTES / REQUESTS_MAX);
    while (r->requests_count < REQUESTS_MAX && ret == 0)
        ret = send_request(b, BUS_AHEAD_MAX / REQUESTS_MAX);
    return ret;
}

/* The server says the same of a request whose bytes were used up. */
static bool is_too_large(const struct request *request, natsMsg *msg)
{
    const char *left = NULL;

    return natsMsgHeader_Get(msg, "Nats-Pending-Messages", &left) != NATS_OK ||
           strtoul(left, NULL, 10) >= request->asked;
}

/* Why a request was over before it had brought all. */
static void note_end(struct reader *r, const struct request *request, natsMsg *msg)
{
    const char *status = "", *text = "";

    if (natsMsgHeader_Get(msg, "Status", &status) != NATS_OK || strcmp(status, "408") == 0)
        return;
    if (natsMsgHeader_Get(msg, "Description", &text) != NATS_OK)
        text = "";
    if (strcmp(status, "503") == 0 || strstr(text, "Deleted")) {
        r->is_ready = false;
        r->mend_from_ns = clock_mono_ns() + DELETED_MS * NSEC_PER_MSEC;
        return;
    }
    if (strstr(text, "MaxBytes") && !is_too_large(request, msg))
        return;
    /* One message may be larger than all that was asked for. */
    if (strstr(text, "MaxBytes") && r->bytes_max < REQUEST_BYTES_MAX)
        r->bytes_max *= 2;
    else
        r->quiet_until_ns = clock_mono_ns() + REFUSED_MS * NSEC_PER_MSEC;
}

/* "<inbox>.<request>": a word of the server about a request, mostly that it is over. */
static void on_status(struct bus *b, natsMsg *msg)
{
    const char *subject = natsMsg_GetSubject(msg), *text = NULL;
    struct reader *r = &b->reader;
    struct request ended;
    unsigned id;

    if (strncmp(subject, b->inbox_prefix, strlen(b->inbox_prefix)) != 0 ||
        sscanf(subject + strlen(b->inbox_prefix), "%u", &id) != 1)
        return;
    for (unsigned i = 0; i < r->requests_count; i++) {
        if (r->requests[i].id != id)
            continue;
        r->heard_ns = clock_mono_ns();
        if (natsMsgHeader_Get(msg, "Status", &text) == NATS_OK && strcmp(text, "100") == 0)
            return;
        ended = r->requests[i];
        end_request(r, i);
        note_end(r, &ended, msg);
        return;
    }
}

/* --- deliveries --- */

static bool is_of_reader(const struct bus *b, struct slice consumer)
{
    const struct reader *r = &b->reader;
    const size_t at = strlen(b->durable);

    return consumer.len == at + 2 && memcmp(consumer.data, b->durable, at) == 0 &&
           consumer.data[at] == '-' && consumer.data[at + 1] == "ab"[r->current] && r->is_wanted &&
           r->is_ready;
}

static void count_down(struct reader *r)
{
    if (r->requests_count && --r->requests[0].left == 0)
        end_request(r, 0);
}

/* Whether it is the next delivery; else it is of no use to anybody. */
static bool is_due(struct bus *b, natsMsg *msg, struct bus_ref *ret_ref)
{
    const char *reply = natsMsg_GetReply(msg);
    struct reader *r = &b->reader;

    if (!reply || bus_ref_parse(reply, ret_ref) < 0) {
        on_status(b, msg);
        return false;
    }
    if (!is_of_reader(b, ret_ref->consumer))
        return false;
    if (ret_ref->delivery_seq != r->next_delivery) {
        r->is_ready = false;
        r->is_torn = true;
        return false;
    }
    return true;
}

/* Is it for this process to take, and in which lane? */
static bool is_wanted(const struct bus *b, natsMsg *msg, uint64_t stream_seq, unsigned *ret_lane)
{
    const struct part *p;
    int lane;

    if (!b->is_shared) {
        *ret_lane = 0;
        return true;
    }
    lane = subject_lane(natsMsg_GetSubject(msg));
    if (lane < 0)
        return false;
    p = &b->parts[lane];
    *ret_lane = (unsigned)lane;
    return p->is_wanted && stream_seq > p->taken.seq;
}

/* Is a message that was taken as the last one of its lane still the one that it was? */
static bool is_same_stream(const struct bus *b, const struct bus_ref *ref)
{
    for (unsigned i = 0; i < BUS_LANES && ref->stream_seq <= b->marks_until; i++) {
        const struct bus_position *taken = &b->parts[i].taken;

        if (b->parts[i].is_wanted && taken->seq == ref->stream_seq && taken->time_ns &&
            taken->time_ns != (int64_t)ref->time_ns)
            return false;
    }
    return true;
}

/* A message that there is no memory for is missed by the next one, and comes again. */
static int take(struct bus *b, natsMsg *msg)
{
    struct bus_message message = {0};
    struct bus_ref ref;
    int r = 0;

    if (!is_due(b, msg, &ref))
        return 0;
    if (!is_same_stream(b, &ref)) {
        bus_forget_from(b, ref.stream_seq);
        return 0;
    }
    message.stream_seq = ref.stream_seq;
    if (is_wanted(b, msg, ref.stream_seq, &message.lane))
        r = batch_add(&b->batch, msg, &message);
    if (r < 0)
        return r;
    b->reader.next_delivery++;
    b->reader.heard_ns = b->reader.delivered_ns = clock_mono_ns();
    b->seen = (struct bus_position){ref.stream_seq, (int64_t)ref.time_ns};
    b->state.pending = ref.pending;
    count_down(&b->reader);
    return 0;
}

/* All that is there already. */
static int drain(struct bus *b, int max)
{
    natsStatus s = NATS_OK;
    int r = 0;

    while (b->batch.count < max && b->batch.bytes < BUS_BATCH_BYTES && r == 0) {
        natsMsg *msg = NULL;

        s = natsSubscription_NextMsg(&msg, b->inbox, 0);
        if (s == NATS_TIMEOUT)
            return 0;
        if (s != NATS_OK)
            return bus_fail(b, "fetch", s);
        r = take(b, msg);
        natsMsg_Destroy(msg);
    }
    return r;
}

static void linger(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&t, NULL);
}

static int receive(struct bus *b, int max, uint32_t wait_ms)
{
    natsMsg *msg = NULL;
    natsStatus s = natsSubscription_NextMsg(&msg, b->inbox, wait_ms);
    int r;

    if (s == NATS_TIMEOUT)
        return 0;
    if (s != NATS_OK)
        return bus_fail(b, "fetch", s);
    r = take(b, msg);
    natsMsg_Destroy(msg);
    return r < 0 ? r : drain(b, max);
}

/* A consumer that delivers nothing of what the stream has is made anew. */
static int look_into_silence(struct bus *b)
{
    struct reader *r = &b->reader;
    uint64_t now_ns = clock_mono_ns();
    int ret;

    if (!r->is_wanted || !r->is_ready || now_ns < r->delivered_ns + SILENCE_MS * NSEC_PER_MSEC)
        return 0;
    r->delivered_ns = now_ns;
    ret = bus_look(b);
    if (ret < 0)
        return ret;
    /* Of another subject, maybe: then it is made anew for nothing. */
    if (b->stream_last > b->seen.seq) {
        r->is_ready = false;
        r->is_torn = true;
        return 0;
    }
    b->state.pending = 0;
    return 0;
}

int bus_fetch(struct bus *b, int max, uint32_t wait_ms, struct bus_batch **ret_batch)
{
    int r = b->inbox ? 0 : open_inbox(b);

    bus_batch_free(b);
    if (r == 0 && !bus_is_connected(b))
        r = bus_fail(b, "fetch", NATS_CONNECTION_DISCONNECTED);
    if (r == 0)
        r = repair(b);
    if (r == 0)
        r = ask(b);
    if (r == 0)
        r = receive(b, max, wait_ms);
    if (r == 0 && b->batch.count == 0)
        r = bus_tell_denied(b, "fetch");
    if (r == 0 && b->batch.count == 0)
        r = look_into_silence(b);
    /* What came before a failure is in order all the same. */
    if (r < 0 && b->batch.count == 0)
        return r;
    *ret_batch = &b->batch;
    return 0;
}

static bool is_in_step(const struct bus *b)
{
    return (!b->reader.is_wanted || b->reader.is_ready) && bus_is_connected(b) &&
           atomic_load(&b->reconnects) == b->reconnects_seen;
}

void bus_fetch_more(struct bus *b, int max, uint32_t linger_ms)
{
    const int before = b->batch.count;
    int r;

    if (!is_in_step(b) || ask(b) < 0)
        return;
    r = drain(b, before + max);
    if (r < 0 || b->batch.count > before || linger_ms == 0)
        return;
    linger(linger_ms);
    r = drain(b, before + max);
    (void)r; /* whatever failed fails again, or comes again */
}

void bus_ack(struct bus *b, const struct bus_batch *batch, unsigned lane)
{
    const struct bus_message *last = batch->count ? &batch->messages[batch->count - 1] : NULL;

    if (b->is_shared) {
        b->parts[lane].taken = bus_position(b, lane);
        return;
    }
    if (!last)
        return;
    b->reader.acked_seq = bus_larger(b->reader.acked_seq, last->stream_seq);
    natsConnection_PublishString(b->connection, last->reply, "+ACK");
}

void bus_give_back(struct bus *b, unsigned lane)
{
    (void)lane; /* they come in one order */
    b->reader.is_ready = false;
    b->reader.is_torn = true;
}

void bus_batch_free(struct bus *b)
{
    batch_reset(&b->batch);
}

/* Nobody would go on with it. */
static void leave(struct bus *b)
{
    char name[CONSUMER_BYTES];
    natsStatus s;

    if (!b->is_shared || !b->reader.is_made || !bus_is_connected(b))
        return;
    bus_consumer_name(b, b->reader.current, name);
    s = bus_drop_consumer(b, name);
    (void)s; /* it goes by itself */
}

void bus_pull_close(struct bus *b)
{
    leave(b);
    batch_fini(&b->batch);
    natsSubscription_Destroy(b->inbox);
    b->inbox = NULL;
}
