/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes: consumers, requests, deliveries, acks. */
#include "collector/bus_priv.h"

#include "proto/base/clock.h"
#include "proto/subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Nothing waits for it: what is not acked comes again when a consumer is made anew. */
#define ACK_WAIT_NS (INT64_C(600) * 1000000000)
#define ACKS_PENDING_MAX (4 * BUS_AHEAD_MAX)
#define EXPIRES_MS 20000
/* A request without an answer was lost. */
#define ANSWER_MS (EXPIRES_MS + 5000)
#define REQUEST_BYTES_MIN (1024 * 1024)
#define REQUEST_BYTES_MAX (UINT64_C(1) << 30)
/* Of a batch's content. */
#define BLOCK_BYTES ((size_t)1024 * 1024)
/* Nobody is asked again at once who has just said no. */
#define REFUSED_MS UINT64_C(100)

static void consumer_name(const struct bus *b, unsigned lane, unsigned which,
                          char ret_name[CONSUMER_BYTES])
{
    const char *const ends[] = {"a", "b"};

    if (b->is_per_part)
        snprintf(ret_name, CONSUMER_BYTES, "%s-%u-%s", b->durable, lane, ends[which]);
    else
        snprintf(ret_name, CONSUMER_BYTES, "%s-%s", b->durable, ends[which]);
}

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

/* A stream that was deleted and made again counts from 1. */
static int notice_stream(struct bus *b)
{
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus s;
    int r = bus_ensure_stream(b);

    if (r < 0)
        return r;
    s = js_GetStreamInfo(&info, b->js, b->stream, NULL, &code);
    if (s != NATS_OK)
        return bus_fail(b, "stream", s);
    if (info->Created != b->stream_created)
        for (unsigned i = 0; i < BUS_LANES; i++)
            b->lanes[i].acked_seq = 0;
    b->stream_created = info->Created;
    jsStreamInfo_Destroy(info);
    return 0;
}

/* --- consumers --- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What the server knows of a consumer. */
struct known {
    bool exists, is_ours; /* made as make_consumer() makes it */
    bool is_idle;         /* nobody waits, nothing is under way */
    uint64_t acked_seq, delivered;
};

/* Until its first ack, a consumer that was made to begin somewhere says that nothing was acked:
 * what came before its beginning was. */
static uint64_t floor_of(const jsConsumerInfo *info)
{
    uint64_t begin = info->Config->OptStartSeq;

    return larger(info->AckFloor.Stream, begin ? begin - 1 : 0);
}

static natsStatus look_up(struct bus *b, const char *name, struct known *ret_known)
{
    jsConsumerInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus s = js_GetConsumerInfo(&info, b->js, b->stream, name, NULL, &code);

    *ret_known = (struct known){0};
    if (s == NATS_NOT_FOUND)
        return NATS_OK;
    if (s != NATS_OK)
        return s;
    *ret_known = (struct known){
        .exists = true,
        .is_ours = info->Config->AckPolicy == js_AckAll,
        .is_idle = info->NumAckPending == 0 && info->NumWaiting == 0,
        .acked_seq = floor_of(info),
        .delivered = info->Delivered.Consumer,
    };
    jsConsumerInfo_Destroy(info);
    return NATS_OK;
}

static natsStatus drop_consumer(struct bus *b, const char *name)
{
    jsErrCode code = 0;
    natsStatus s = js_DeleteConsumer(b->js, b->stream, name, NULL, &code);

    return s == NATS_NOT_FOUND ? NATS_OK : s;
}

static natsStatus make_consumer(struct bus *b, unsigned lane, const char *name, uint64_t floor)
{
    char filter[sizeof(SUBJECT_PART_FORMAT) + 10];
    jsConsumerConfig config;
    jsErrCode code = 0;
    natsStatus s = jsConsumerConfig_Init(&config);

    if (s != NATS_OK)
        return s;
    snprintf(filter, sizeof(filter), b->is_per_part ? SUBJECT_PART_FORMAT : SUBJECT_ALL, lane);
    config.Durable = name;
    config.FilterSubject = filter;
    config.AckPolicy = js_AckAll;
    config.AckWait = ACK_WAIT_NS;
    config.MaxAckPending = ACKS_PENDING_MAX;
    config.DeliverPolicy = floor ? js_DeliverByStartSequence : js_DeliverAll;
    config.OptStartSeq = floor ? floor + 1 : 0;
    return js_AddConsumer(NULL, b->js, b->stream, &config, NULL, &code);
}

/* A consumer has one of two names. The next one is made before the last one is deleted, so that
 * one of them always knows what was acked, whenever this process dies; and what was on its way
 * from the last one is told by its name. Versions before the lanes had the name without an end. */
static natsStatus take_over(struct bus *b, unsigned index)
{
    struct lane *l = &b->lanes[index];
    char names[3][CONSUMER_BYTES];
    struct known known[3] = {0};
    const unsigned names_count = b->is_per_part ? 2 : 3;
    uint64_t floor = l->acked_seq;
    natsStatus s = NATS_OK;
    unsigned next;

    consumer_name(b, index, 0, names[0]);
    consumer_name(b, index, 1, names[1]);
    snprintf(names[2], sizeof(names[2]), "%s", b->durable);
    for (unsigned i = 0; i < names_count && s == NATS_OK; i++) {
        s = look_up(b, names[i], &known[i]);
        floor = larger(floor, known[i].acked_seq);
    }
    if (s != NATS_OK)
        return s;
    l->current = known[1].exists && (!known[0].exists || known[1].acked_seq > known[0].acked_seq);
    if (!l->is_torn && known[0].exists != known[1].exists && !known[2].exists &&
        known[l->current].is_ours && known[l->current].is_idle) {
        l->next_delivery = known[l->current].delivered + 1;
        return NATS_OK;
    }
    next = known[l->current].exists ? 1 - l->current : l->current;
    if (known[next].exists)
        s = drop_consumer(b, names[next]);
    if (s == NATS_OK)
        s = make_consumer(b, index, names[next], floor);
    for (unsigned i = 0; i < names_count && s == NATS_OK; i++)
        if (i != next && known[i].exists)
            s = drop_consumer(b, names[i]);
    l->current = next;
    l->next_delivery = 1;
    return s;
}

static int ready_lane(struct bus *b, unsigned index)
{
    struct lane *l = &b->lanes[index];
    natsStatus s;

    l->requests_count = 0;
    s = take_over(b, index);
    if (s != NATS_OK)
        return bus_fail(b, "consumer", s);
    l->is_ready = true;
    l->is_torn = false;
    return 0;
}

int bus_attach(struct bus *b, unsigned lane)
{
    struct lane *l = &b->lanes[lane];
    int r = open_inbox(b);

    if (r == 0)
        r = notice_stream(b);
    if (r < 0)
        return r;
    l->bytes_max = REQUEST_BYTES_MIN;
    l->is_ready = false;
    r = ready_lane(b, lane);
    if (r == 0 && !l->is_wanted) {
        l->is_wanted = true;
        b->lanes_wanted++;
    }
    return r;
}

void bus_detach(struct bus *b, unsigned lane)
{
    struct lane *l = &b->lanes[lane];

    if (l->is_wanted)
        b->lanes_wanted--;
    /* Another one may have it meanwhile: what this one acked says nothing when it comes back. */
    *l = (struct lane){0};
}

/* Lanes that fell out of step, all of them after a reconnect. */
static int repair(struct bus *b)
{
    unsigned reconnects = atomic_load(&b->reconnects);
    int r = 0;

    if (reconnects != b->reconnects_seen) {
        r = notice_stream(b);
        if (r < 0)
            return r;
        b->reconnects_seen = reconnects;
        for (unsigned i = 0; i < BUS_LANES; i++)
            b->lanes[i].is_ready = false;
    }
    for (unsigned i = 0; i < BUS_LANES && r == 0; i++)
        if (b->lanes[i].is_wanted && !b->lanes[i].is_ready)
            r = ready_lane(b, i);
    return r;
}

/* --- requests --- */

static void end_request(struct lane *l, unsigned index)
{
    l->requests_count--;
    for (unsigned i = index; i < l->requests_count; i++)
        l->requests[i] = l->requests[i + 1];
}

static int send_request(struct bus *b, unsigned lane, uint32_t count)
{
    struct lane *l = &b->lanes[lane];
    char name[CONSUMER_BYTES], subject[CONSUMER_BYTES + 192], reply[128], body[160];
    natsStatus s;
    int len;

    b->request_ids++;
    consumer_name(b, lane, l->current, name);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", b->stream, name);
    snprintf(reply, sizeof(reply), "%s%u.%u", b->inbox_prefix, lane, b->request_ids);
    len = snprintf(body, sizeof(body), "{\"batch\":%u,\"expires\":%llu,\"max_bytes\":%llu}", count,
                   EXPIRES_MS * 1000000ull, (unsigned long long)l->bytes_max);
    s = natsConnection_PublishRequest(b->connection, subject, reply, body, len);
    if (s != NATS_OK)
        return bus_fail(b, "request", s);
    l->requests[l->requests_count++] = (struct request){
        .id = b->request_ids,
        .left = count,
        .deadline_ns = clock_mono_ns() + (uint64_t)ANSWER_MS * NSEC_PER_MSEC,
    };
    return 0;
}

/* Fills up what the server may send. */
static int ask(struct bus *b)
{
    const uint32_t lanes = b->lanes_wanted ? b->lanes_wanted : 1;
    const uint32_t count = BUS_AHEAD_MAX / REQUESTS_MAX / lanes;
    const uint64_t bytes = BUS_AHEAD_BYTES / REQUESTS_MAX / lanes;
    uint64_t now_ns = clock_mono_ns();
    int r = 0;

    for (unsigned i = 0; i < BUS_LANES && r == 0; i++) {
        struct lane *l = &b->lanes[i];

        if (!l->is_wanted || !l->is_ready || now_ns < l->quiet_until_ns)
            continue;
        while (l->requests_count && l->requests[0].deadline_ns < now_ns)
            end_request(l, 0);
        l->bytes_max = larger(l->bytes_max, bytes);
        while (l->requests_count < REQUESTS_MAX && r == 0)
            r = send_request(b, i, count);
    }
    return r;
}

/* Why a request was over before it had brought all. */
static void note_end(struct lane *l, natsMsg *msg)
{
    const char *status = "", *text = "";

    if (natsMsgHeader_Get(msg, "Status", &status) != NATS_OK || strcmp(status, "408") == 0)
        return;
    if (natsMsgHeader_Get(msg, "Description", &text) != NATS_OK)
        text = "";
    if (strcmp(status, "503") == 0 || strstr(text, "Deleted")) {
        l->is_ready = false;
        return;
    }
    /* One message may be larger than all that was asked for. */
    if (strstr(text, "MaxBytes") && l->bytes_max < REQUEST_BYTES_MAX)
        l->bytes_max *= 2;
    else
        l->quiet_until_ns = clock_mono_ns() + REFUSED_MS * NSEC_PER_MSEC;
}

/* "<inbox>.<lane>.<request>": a word of the server about a request, mostly that it is over. */
static void on_status(struct bus *b, natsMsg *msg)
{
    const char *subject = natsMsg_GetSubject(msg), *text = NULL;
    unsigned lane, id;

    if (strncmp(subject, b->inbox_prefix, strlen(b->inbox_prefix)) != 0 ||
        sscanf(subject + strlen(b->inbox_prefix), "%u.%u", &lane, &id) != 2 || lane >= BUS_LANES)
        return;
    for (unsigned i = 0; i < b->lanes[lane].requests_count; i++) {
        if (b->lanes[lane].requests[i].id != id)
            continue;
        if (natsMsgHeader_Get(msg, "Status", &text) == NATS_OK && strcmp(text, "100") == 0)
            return;
        end_request(&b->lanes[lane], i);
        note_end(&b->lanes[lane], msg);
        return;
    }
}

/* --- deliveries --- */

static int grow(struct bus_batch *batch)
{
    int capacity = batch->capacity ? 2 * batch->capacity : 1024;
    struct bus_message *messages =
        realloc(batch->messages, (size_t)capacity * sizeof(struct bus_message));

    if (!messages)
        return -ENOMEM;
    batch->messages = messages;
    batch->capacity = capacity;
    return 0;
}

static int add_block(struct bus_batch *batch, size_t least)
{
    struct block fresh = {.capacity = least > BLOCK_BYTES ? least : BLOCK_BYTES};

    if (batch->blocks_count == batch->blocks_capacity) {
        unsigned capacity = batch->blocks_capacity ? 2 * batch->blocks_capacity : 16;
        struct block *blocks = realloc(batch->blocks, capacity * sizeof(*blocks));

        if (!blocks)
            return -ENOMEM;
        batch->blocks = blocks;
        batch->blocks_capacity = capacity;
    }
    fresh.data = malloc(fresh.capacity);
    if (!fresh.data)
        return -ENOMEM;
    batch->blocks[batch->blocks_count++] = fresh;
    return 0;
}

/* Memory that stays where it is until the batch ends; NULL when there is none. */
static char *room_for(struct bus_batch *batch, size_t bytes)
{
    while (batch->block < batch->blocks_count &&
           batch->blocks[batch->block].capacity - batch->blocks[batch->block].len < bytes)
        batch->block++;
    if (batch->block == batch->blocks_count && add_block(batch, bytes) < 0)
        return NULL;
    batch->bytes += bytes;
    batch->blocks[batch->block].len += bytes;
    return batch->blocks[batch->block].data + batch->blocks[batch->block].len - bytes;
}

/* The lane whose consumer sent it, when it is the one that is in use. */
static struct lane *lane_of(struct bus *b, struct slice consumer, unsigned *ret_index)
{
    size_t at = strlen(b->durable);
    unsigned lane = 0, digits = 0;
    struct lane *l;

    if (consumer.len < at + 2 || memcmp(consumer.data, b->durable, at) != 0 ||
        consumer.data[at++] != '-')
        return NULL;
    for (; b->is_per_part && at < consumer.len && consumer.data[at] != '-'; at++, digits++) {
        if (consumer.data[at] < '0' || consumer.data[at] > '9' || digits == 2)
            return NULL;
        lane = lane * 10 + (unsigned)(consumer.data[at] - '0');
    }
    at += b->is_per_part;
    if (lane >= BUS_LANES || consumer.len != at + 1)
        return NULL;
    l = &b->lanes[lane];
    *ret_index = lane;
    return l->is_wanted && l->is_ready && consumer.data[at] == "ab"[l->current] ? l : NULL;
}

static void count_down(struct lane *l)
{
    if (l->requests_count && --l->requests[0].left == 0)
        end_request(l, 0);
}

/* Whether the message goes into the batch; else it is of no use to anybody. */
static bool is_due(struct bus *b, natsMsg *msg, struct bus_ref *ret_ref, unsigned *ret_lane)
{
    const char *reply = natsMsg_GetReply(msg);
    struct lane *l;

    if (!reply || bus_ref_parse(reply, ret_ref) < 0) {
        on_status(b, msg);
        return false;
    }
    l = lane_of(b, ret_ref->consumer, ret_lane);
    if (!l)
        return false;
    if (ret_ref->delivery_seq != l->next_delivery) {
        l->is_ready = false;
        l->is_torn = true;
        return false;
    }
    return true;
}

static int copy_message(struct bus_batch *batch, natsMsg *msg, struct bus_message *ret_message)
{
    const char *subject = natsMsg_GetSubject(msg), *reply = natsMsg_GetReply(msg);
    const size_t subject_len = strlen(subject) + 1, reply_len = strlen(reply) + 1;
    const size_t len = (size_t)natsMsg_GetDataLength(msg);
    char *to = room_for(batch, subject_len + reply_len + len);

    if (!to)
        return -ENOMEM;
    ret_message->subject = memcpy(to, subject, subject_len);
    ret_message->reply = memcpy(to + subject_len, reply, reply_len);
    to += subject_len + reply_len;
    if (len)
        memcpy(to, natsMsg_GetData(msg), len);
    ret_message->data = slice_of(to, len);
    return 0;
}

/* A message that there is no memory for is missed by the next one, and comes again. */
static int take(struct bus *b, natsMsg *msg)
{
    struct bus_batch *batch = &b->batch;
    struct bus_message message = {0};
    struct bus_ref ref;
    struct lane *l;
    int r;

    if (!is_due(b, msg, &ref, &message.lane))
        return 0;
    r = batch->count == batch->capacity ? grow(batch) : 0;
    if (r == 0)
        r = copy_message(batch, msg, &message);
    if (r < 0)
        return r;
    l = &b->lanes[message.lane];
    message.stream_seq = ref.stream_seq;
    batch->messages[batch->count++] = message;
    l->next_delivery++;
    l->batch_end = batch->count;
    count_down(l);
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
    /* What came before a failure is in order all the same. */
    if (r < 0 && b->batch.count == 0)
        return r;
    *ret_batch = &b->batch;
    return 0;
}

static bool is_in_step(const struct bus *b)
{
    for (unsigned i = 0; i < BUS_LANES; i++)
        if (b->lanes[i].is_wanted && !b->lanes[i].is_ready)
            return false;
    return bus_is_connected(b) && atomic_load(&b->reconnects) == b->reconnects_seen;
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

int bus_batch_count(const struct bus_batch *batch)
{
    return batch->count;
}

const struct bus_message *bus_batch_at(const struct bus_batch *batch, int index)
{
    return &batch->messages[index];
}

void bus_ack(struct bus *b, const struct bus_batch *batch, unsigned lane)
{
    struct lane *l = &b->lanes[lane];
    const struct bus_message *last;

    if (l->batch_end == 0)
        return;
    last = &batch->messages[l->batch_end - 1];
    l->acked_seq = larger(l->acked_seq, last->stream_seq);
    natsConnection_PublishString(b->connection, last->reply, "+ACK");
}

void bus_give_back(struct bus *b, unsigned lane)
{
    b->lanes[lane].is_ready = false;
    b->lanes[lane].is_torn = true;
}

void bus_batch_free(struct bus *b)
{
    struct bus_batch *batch = &b->batch;
    unsigned kept = 0;

    for (unsigned i = 0; i < BUS_LANES; i++)
        b->lanes[i].batch_end = 0;
    /* Those for messages larger than a block are not kept. */
    for (unsigned i = 0; i < batch->blocks_count; i++) {
        struct block *block = &batch->blocks[i];

        if (block->capacity > BLOCK_BYTES) {
            free(block->data);
            continue;
        }
        block->len = 0;
        batch->blocks[kept++] = *block;
    }
    batch->blocks_count = kept;
    batch->block = 0;
    batch->count = 0;
    batch->bytes = 0;
}

void bus_pull_close(struct bus *b)
{
    for (unsigned i = 0; i < b->batch.blocks_count; i++)
        free(b->batch.blocks[i].data);
    free(b->batch.blocks);
    free(b->batch.messages);
    b->batch = (struct bus_batch){0};
    natsSubscription_Destroy(b->inbox);
    b->inbox = NULL;
}
