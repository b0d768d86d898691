// SPDX-License-Identifier: Apache-2.0
#include "agent/publish.h"

#include "agent/config.h"
#include "agent/outbox.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/nkey.h"
#include "proto/subject.h"

#include <errno.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define DEFAULT_URL "nats://127.0.0.1:4222"
#define DEFAULT_STREAM "LECTR"
#define WINDOW 2048          /* events sent and not answered */
#define ACK_WAIT_MS 5000     /* after that the event is sent again */
#define ANSWER_LOST_MS 20000 /* nothing at all was answered: the client library lost track */
#define CALL_WAIT_MS 2000    /* connecting, and requests to the JetStream API */
#define DUPLICATE_WINDOW_NS (120LL * 1000000000LL)
#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 5000
#define ADOPT_EVERY_MS 2000
#define IDLE_WAIT_MS 500
#define GATHER_MS 10
#define MSG_ID_BYTES (EVENT_UUID_BYTES + 32)

/* What the sending thread sleeps for. */
enum waiting {
    WAITING_NOT,
    WAITING_RECORD,
    WAITING_ANSWER,
};

/* NATS calls back on threads of its own, perhaps after everything was closed,
 * so what it gets outlives the publisher. One for each publisher ever opened. */
struct port {
    pthread_mutex_t lock;
    struct publish *owner; /* NULL once closed */
    struct port *link;
};

struct publish {
    struct outbox *outbox;
    struct port *port;
    char *url, *creds, *nkey_seed, *ca_file, *cert_file, *key_file, *stream;
    int64_t stream_max_age_ns, stream_max_bytes; /* of a stream that is made here; 0: none */

    pthread_t thread;
    pthread_mutex_t lock; /* stop, drain_until_ns */
    pthread_cond_t wake;
    bool stop;
    uint64_t drain_until_ns;
    _Atomic int waiting;

    /* the sending thread's own */
    natsConnection *connection;
    jsCtx *js;
    uint64_t adopt_at_ns, connect_at_ns, connect_wait_ms;
    bool said_unreachable, said_unsure;

    _Atomic bool connected, stream_ready;
    _Atomic uint64_t hold_until_ns, hold_ms; /* nothing is sent before */
    _Atomic uint64_t answered_at_ns;
    _Atomic uint64_t acked, errors, reconnects;
};

static pthread_mutex_t ports_lock = PTHREAD_MUTEX_INITIALIZER;
static struct port *ports;

static struct port *port_open(struct publish *owner)
{
    struct port *port = calloc(1, sizeof(*port));

    if (!port)
        return NULL;
    pthread_mutex_init(&port->lock, NULL);
    port->owner = owner;
    pthread_mutex_lock(&ports_lock);
    port->link = ports;
    ports = port;
    pthread_mutex_unlock(&ports_lock);
    return port;
}

static void port_shut(struct port *port)
{
    pthread_mutex_lock(&port->lock);
    port->owner = NULL;
    pthread_mutex_unlock(&port->lock);
}

static void wake_sender(struct publish *p, enum waiting reason)
{
    if (atomic_load(&p->waiting) != (int)reason)
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

/* Sending stops for a while, longer each time until something is acked. */
static void hold(struct publish *p)
{
    uint64_t now_ns = clock_mono_ns(), hold_ms = atomic_load(&p->hold_ms);

    if (now_ns < atomic_load(&p->hold_until_ns))
        return;
    hold_ms = hold_ms == 0 ? RETRY_MIN_MS : 2 * hold_ms;
    if (hold_ms > RETRY_MAX_MS)
        hold_ms = RETRY_MAX_MS;
    atomic_store(&p->hold_ms, hold_ms);
    atomic_store(&p->hold_until_ns, now_ns + hold_ms * NSEC_PER_MSEC);
}

static void format_msg_id(const struct spool_record *r, char ret_id[MSG_ID_BYTES])
{
    snprintf(ret_id, MSG_ID_BYTES, "%s-%u-%" PRIu64, r->instance, event_part(r->instance),
             r->record.seq);
}

/* "<instance>-<part>-<seq>" */
static bool parse_msg_id(const char *id, char ret_instance[EVENT_UUID_BYTES], uint64_t *ret_seq)
{
    const char *seq;

    if (!id || strlen(id) < EVENT_UUID_BYTES)
        return false;
    seq = strchr(id + EVENT_UUID_BYTES, '-');
    if (!seq)
        return false;
    memcpy(ret_instance, id, EVENT_UUID_BYTES - 1);
    ret_instance[EVENT_UUID_BYTES - 1] = '\0';
    *ret_seq = strtoull(seq + 1, NULL, 10);
    return true;
}

/* The server will refuse this event however often it comes. */
static bool is_refusal(natsStatus status, int error_code)
{
    return status == NATS_MAX_PAYLOAD || error_code == JSStreamMessageExceedsMaximumErr;
}

static void refuse(struct publish *p, const char *instance, uint64_t seq)
{
    atomic_fetch_add(&p->errors, 1);
    outbox_note_refused(p->outbox);
    (void)spool_ack(outbox_spool(p->outbox), instance, seq);
}

static void handle_answer(struct publish *p, natsMsg *msg, const jsPubAck *ack,
                          const jsPubAckErr *error)
{
    struct spool *spool = outbox_spool(p->outbox);
    char instance[EVENT_UUID_BYTES];
    const char *id = NULL;
    uint64_t seq;

    if (natsMsgHeader_Get(msg, "Nats-Msg-Id", &id) != NATS_OK || !parse_msg_id(id, instance, &seq))
        return;
    atomic_store(&p->answered_at_ns, clock_mono_ns());
    if (ack) {
        if (spool_ack(spool, instance, seq))
            atomic_fetch_add(&p->acked, 1);
        atomic_store(&p->hold_ms, 0);
    } else if (error && is_refusal(error->Err, (int)error->ErrCode)) {
        refuse(p, instance, seq);
    } else {
        atomic_fetch_add(&p->errors, 1);
        /* perhaps the stream is gone: look again before sending more */
        if (!error || error->Err != NATS_TIMEOUT)
            atomic_store(&p->stream_ready, false);
        hold(p);
        spool_requeue(spool, instance, seq);
    }
    wake_sender(p, WAITING_ANSWER);
}

static void on_answer(jsCtx *js, natsMsg *msg, jsPubAck *ack, jsPubAckErr *error, void *closure)
{
    struct port *port = closure;

    (void)js;
    pthread_mutex_lock(&port->lock);
    if (port->owner)
        handle_answer(port->owner, msg, ack, error);
    pthread_mutex_unlock(&port->lock);
    natsMsg_Destroy(msg);
}

static void on_disconnected(natsConnection *connection, void *closure)
{
    struct port *port = closure;

    (void)connection;
    pthread_mutex_lock(&port->lock);
    if (port->owner && atomic_exchange(&port->owner->connected, false))
        log_warn("nats disconnected, events are kept in the spool", NULL);
    pthread_mutex_unlock(&port->lock);
}

static void on_reconnected(natsConnection *connection, void *closure)
{
    struct port *port = closure;

    (void)connection;
    pthread_mutex_lock(&port->lock);
    if (port->owner) {
        atomic_store(&port->owner->connected, true);
        atomic_fetch_add(&port->owner->reconnects, 1);
        log_info("nats reconnected", NULL);
        wake_sender(port->owner, WAITING_ANSWER);
    }
    pthread_mutex_unlock(&port->lock);
}

/* What the server says outside an answer, such as a permission it refuses. */
static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus error,
                     void *closure)
{
    struct port *port = closure;

    (void)connection, (void)subscription;
    pthread_mutex_lock(&port->lock);
    if (port->owner) {
        atomic_fetch_add(&port->owner->errors, 1);
        log_warn("nats error", "reason=%s", natsStatus_GetText(error));
    }
    pthread_mutex_unlock(&port->lock);
}

static natsStatus set_identity(natsOptions *options, const struct publish *p)
{
    natsStatus s = NATS_OK;
    char key[NKEY_BYTES];

    if (p->ca_file || p->cert_file)
        s = natsOptions_SetSecure(options, true);
    if (s == NATS_OK && p->ca_file)
        s = natsOptions_LoadCATrustedCertificates(options, p->ca_file);
    if (s == NATS_OK && p->cert_file)
        s = natsOptions_LoadCertificatesChain(options, p->cert_file, p->key_file);
    if (s == NATS_OK && p->creds)
        s = natsOptions_SetUserCredentialsFromFiles(options, p->creds, NULL);
    if (s == NATS_OK && p->nkey_seed) {
        if (nkey_read_public(p->nkey_seed, key) < 0)
            return NATS_INVALID_ARG;
        s = natsOptions_SetNKeyFromSeed(options, key, p->nkey_seed);
    }
    return s;
}

static natsStatus set_options(natsOptions *options, struct publish *p)
{
    const natsStatus steps[] = {
        natsOptions_SetURL(options, p->url),
        natsOptions_SetName(options, "lectr-agent"),
        natsOptions_SetTimeout(options, CALL_WAIT_MS),
        natsOptions_SetMaxReconnect(options, -1),
        natsOptions_SetReconnectWait(options, 500),
        natsOptions_SetReconnectJitter(options, 200, 500),
        natsOptions_SetPingInterval(options, 10000),
        natsOptions_SetErrorHandler(options, on_error, p->port),
        natsOptions_SetDisconnectedCB(options, on_disconnected, p->port),
        natsOptions_SetReconnectedCB(options, on_reconnected, p->port),
        set_identity(options, p),
    };

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (steps[i] != NATS_OK)
            return steps[i];
    return NATS_OK;
}

static void disconnect(struct publish *p)
{
    /* first, so that the callback takes it for no accident */
    atomic_store(&p->connected, false);
    if (p->connection)
        natsConnection_Close(p->connection);
    jsCtx_Destroy(p->js);
    p->js = NULL;
    natsConnection_Destroy(p->connection);
    p->connection = NULL;
    /* answers to what was in flight will not come any more */
    spool_requeue_all(outbox_spool(p->outbox));
}

static natsStatus connect_once(struct publish *p)
{
    natsOptions *options = NULL;
    jsOptions js_options;
    natsStatus s = natsOptions_Create(&options);

    if (s == NATS_OK)
        s = set_options(options, p);
    if (s == NATS_OK)
        s = natsConnection_Connect(&p->connection, options);
    natsOptions_Destroy(options);
    if (s == NATS_OK)
        s = jsOptions_Init(&js_options);
    if (s == NATS_OK) {
        js_options.Wait = CALL_WAIT_MS;
        /* the window is kept by the spool, so publishing never stalls inside the library */
        js_options.PublishAsync.MaxPending = 4 * WINDOW;
        js_options.PublishAsync.AckHandler = on_answer;
        js_options.PublishAsync.AckHandlerClosure = p->port;
        s = natsConnection_JetStream(&p->js, p->connection, &js_options);
    }
    if (s != NATS_OK)
        disconnect(p);
    return s;
}

/* The library reconnects by itself; only what it gave up (or never had) is begun anew here. */
static void keep_connected(struct publish *p, uint64_t now_ns)
{
    natsStatus s;

    if (p->connection && natsConnection_Status(p->connection) == NATS_CONN_STATUS_CLOSED)
        disconnect(p);
    if (p->connection || now_ns < p->connect_at_ns)
        return;
    s = connect_once(p);
    if (s == NATS_OK) {
        log_info("nats connected", "stream=%s", p->stream);
        p->said_unreachable = p->said_unsure = false;
        p->connect_wait_ms = 0;
        atomic_store(&p->stream_ready, false);
        atomic_store(&p->answered_at_ns, clock_mono_ns());
        atomic_store(&p->connected, true);
        return;
    }
    if (!p->said_unreachable)
        log_warn("nats cannot be reached, events are kept in the spool", "reason=%s",
                 natsStatus_GetText(s));
    p->said_unreachable = true;
    p->connect_wait_ms = p->connect_wait_ms == 0 ? RETRY_MIN_MS : 2 * p->connect_wait_ms;
    if (p->connect_wait_ms > RETRY_MAX_MS)
        p->connect_wait_ms = RETRY_MAX_MS;
    p->connect_at_ns = clock_mono_ns() + p->connect_wait_ms * NSEC_PER_MSEC;
}

static natsStatus create_stream(struct publish *p)
{
    const char *subjects[] = {SUBJECT_ALL};
    jsStreamConfig config;
    jsErrCode code = 0;
    natsStatus s = jsStreamConfig_Init(&config);

    if (s != NATS_OK)
        return s;
    config.Name = p->stream;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    config.Duplicates = DUPLICATE_WINDOW_NS;
    config.MaxAge = p->stream_max_age_ns;
    config.MaxBytes = p->stream_max_bytes ? p->stream_max_bytes : -1;
    s = js_AddStream(NULL, p->js, &config, NULL, &code);
    /* somebody else was faster, with settings of their own */
    return code == JSStreamNameExistErr ? NATS_OK : s;
}

/* Once per connection, and again when an event was answered with an error. An
 * account that may only publish cannot ask; whether the stream is there shows
 * then in the answers. */
static void ensure_stream(struct publish *p)
{
    jsStreamInfo *info = NULL;
    natsStatus s;

    if (atomic_exchange(&p->stream_ready, true))
        return;
    s = js_GetStreamInfo(&info, p->js, p->stream, NULL, NULL);
    jsStreamInfo_Destroy(info);
    if (s == NATS_NOT_FOUND)
        s = create_stream(p);
    if (s == NATS_OK || p->said_unsure)
        return;
    p->said_unsure = true;
    log_warn("nats stream could not be checked", "stream=%s reason=%s", p->stream,
             natsStatus_GetText(s));
}

static natsStatus send_record(struct publish *p, const struct spool_record *r)
{
    char msg_id[MSG_ID_BYTES];
    jsPubOptions options;
    natsMsg *msg = NULL;
    natsStatus s = jsPubOptions_Init(&options);

    format_msg_id(r, msg_id);
    options.MsgId = msg_id;
    /* without it a lost ack is never told */
    options.MaxWait = ACK_WAIT_MS;
    if (s == NATS_OK)
        s = natsMsg_Create(&msg, r->record.subject, NULL, (const char *)r->record.payload.data,
                           (int)r->record.payload.len);
    if (s == NATS_OK)
        s = js_PublishMsgAsync(p->js, &msg, &options);
    natsMsg_Destroy(msg); /* NULL once it was taken */
    return s;
}

static bool may_send(struct publish *p)
{
    return p->js && natsConnection_Status(p->connection) == NATS_CONN_STATUS_CONNECTED &&
           atomic_load(&p->stream_ready) && clock_mono_ns() >= atomic_load(&p->hold_until_ns);
}

static void send_records(struct publish *p)
{
    struct spool *spool = outbox_spool(p->outbox);
    struct spool_record r;
    natsStatus s;

    /* bounded, so that housekeeping gets its turn under load */
    for (unsigned i = 0; i < 8 * WINDOW && may_send(p) && spool_take(spool, WINDOW, &r); i++) {
        s = send_record(p, &r);
        if (s == NATS_OK)
            continue;
        if (is_refusal(s, 0)) {
            refuse(p, r.instance, r.record.seq);
            continue;
        }
        atomic_fetch_add(&p->errors, 1);
        hold(p);
        spool_requeue(spool, r.instance, r.record.seq);
        return;
    }
}

/* In flight, connected, and no answer of any kind for far longer than MaxWait. */
static void rescue_lost_answers(struct publish *p, const struct spool_counts *counts,
                                uint64_t now_ns)
{
    if (counts->in_flight == 0 || !atomic_load(&p->connected)) {
        atomic_store(&p->answered_at_ns, now_ns);
        return;
    }
    if (now_ns > atomic_load(&p->answered_at_ns) + ANSWER_LOST_MS * NSEC_PER_MSEC) {
        spool_requeue_all(outbox_spool(p->outbox));
        atomic_store(&p->answered_at_ns, now_ns);
    }
}

static void tend(struct publish *p, uint64_t now_ns)
{
    struct spool *spool = outbox_spool(p->outbox);

    spool_tend(spool);
    outbox_tell_losses(p->outbox);
    if (now_ns >= p->adopt_at_ns && spool_adopt(spool) != -EAGAIN)
        p->adopt_at_ns = now_ns + ADOPT_EVERY_MS * NSEC_PER_MSEC;
}

/* Sleeps until there is something to do; false: time to end. */
static bool sleep_until_needed(struct publish *p)
{
    struct spool_counts counts;
    struct timespec until;
    uint64_t now_ns = clock_mono_ns(), wait_ms = IDLE_WAIT_MS;
    bool go_on, stopping;

    spool_count(outbox_spool(p->outbox), &counts);
    rescue_lost_answers(p, &counts, now_ns);
    /* set before the spool is looked at again, so that no append is missed */
    atomic_store(&p->waiting, counts.queued > 0 ? WAITING_ANSWER : WAITING_RECORD);
    spool_count(outbox_spool(p->outbox), &counts);
    pthread_mutex_lock(&p->lock);
    stopping = p->stop;
    go_on = !stopping || (counts.queued + counts.in_flight > 0 && now_ns < p->drain_until_ns);
    if (stopping)
        wait_ms = 5;
    if (go_on && (counts.queued == 0 || counts.in_flight >= WINDOW || !may_send(p))) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)(wait_ms * NSEC_PER_MSEC);
        until.tv_sec += until.tv_nsec / (long)NSEC_PER_SEC;
        until.tv_nsec %= (long)NSEC_PER_SEC;
        pthread_cond_timedwait(&p->wake, &p->lock, &until);
    }
    pthread_mutex_unlock(&p->lock);
    atomic_store(&p->waiting, WAITING_NOT);
    return go_on;
}

/* A wake-up, a write and its acks cost more than an event: under light load,
 * wait a moment for company. */
static void gather(struct publish *p)
{
    const struct timespec moment = {.tv_nsec = GATHER_MS * (long)NSEC_PER_MSEC};
    struct spool_counts counts;
    bool stopping;

    spool_count(outbox_spool(p->outbox), &counts);
    pthread_mutex_lock(&p->lock);
    stopping = p->stop;
    pthread_mutex_unlock(&p->lock);
    if (!stopping && counts.queued > 0 && counts.queued < WINDOW / 4)
        nanosleep(&moment, NULL);
}

static void *sender_main(void *arg)
{
    struct publish *p = arg;

    do {
        uint64_t now_ns = clock_mono_ns();

        tend(p, now_ns);
        keep_connected(p, now_ns);
        if (p->js && natsConnection_Status(p->connection) == NATS_CONN_STATUS_CONNECTED &&
            now_ns >= atomic_load(&p->hold_until_ns))
            ensure_stream(p);
        gather(p);
        send_records(p);
    } while (sleep_until_needed(p));
    return NULL;
}

static char *copy_setting(const char *value, const char *fallback)
{
    const char *chosen = value && *value ? value : fallback;

    return chosen ? strdup(chosen) : NULL;
}

static void publish_free(struct publish *p)
{
    free(p->url);
    free(p->creds);
    free(p->nkey_seed);
    free(p->ca_file);
    free(p->cert_file);
    free(p->key_file);
    free(p->stream);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static struct publish *publish_new(const struct config *config)
{
    struct publish *p = calloc(1, sizeof(*p));
    pthread_condattr_t attr;

    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &attr);
    pthread_condattr_destroy(&attr);
    p->url = copy_setting(config->nats.url, DEFAULT_URL);
    p->stream = copy_setting(config->nats.stream, DEFAULT_STREAM);
    p->stream_max_age_ns = (int64_t)config->nats.stream_max_age_h * 3600 * (int64_t)NSEC_PER_SEC;
    p->stream_max_bytes = (int64_t)config->nats.stream_max_bytes;
    p->creds = copy_setting(config->nats.creds, NULL);
    p->nkey_seed = copy_setting(config->nats.nkey_seed, NULL);
    p->ca_file = copy_setting(config->nats.ca_file, NULL);
    p->cert_file = copy_setting(config->nats.cert_file, NULL);
    p->key_file = copy_setting(config->nats.key_file, NULL);
    p->port = p->url && p->stream ? port_open(p) : NULL;
    if (!p->port) {
        publish_free(p);
        return NULL;
    }
    return p;
}

/* Signals are the caller's business: none of the threads begun here takes one. */
static int start_threads(struct publish *p)
{
    sigset_t all, before;
    int r = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (nats_Open(-1) != NATS_OK)
        r = -ENOMEM;
    else
        r = -pthread_create(&p->thread, NULL, sender_main, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

int publish_open(const struct config *config, struct publish **ret_publish)
{
    struct publish *p = publish_new(config);
    int r;

    if (!p)
        return -ENOMEM;
    r = outbox_open(config, &p->outbox);
    if (r == 0)
        r = start_threads(p);
    if (r < 0) {
        port_shut(p->port);
        outbox_close(&p->outbox);
        publish_free(p);
        return r;
    }
    *ret_publish = p;
    return 0;
}

void publish_close(struct publish **publish, uint32_t drain_ms)
{
    struct publish *p = publish ? *publish : NULL;

    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    p->drain_until_ns = clock_mono_ns() + drain_ms * NSEC_PER_MSEC;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    disconnect(p);
    port_shut(p->port);
    outbox_close(&p->outbox);
    publish_free(p);
    *publish = NULL;
}

const char *publish_instance(const struct publish *p)
{
    return outbox_instance(p->outbox);
}

int publish_call(struct publish *p, struct Lectr__V1__Call *call)
{
    int r = outbox_call(p->outbox, call);

    wake_sender(p, WAITING_RECORD);
    return r;
}

int publish_gap(struct publish *p, struct Lectr__V1__Gap *gap)
{
    int r = outbox_gap(p->outbox, gap);

    wake_sender(p, WAITING_RECORD);
    return r;
}

int publish_coverage(struct publish *p, struct Lectr__V1__Coverage *coverage)
{
    int r = outbox_coverage(p->outbox, coverage);

    wake_sender(p, WAITING_RECORD);
    return r;
}

void publish_promise(struct publish *p, uint64_t *cell, uint64_t base)
{
    outbox_promise(p->outbox, cell, base);
}

void publish_attempt(struct publish *p, uint64_t *cell)
{
    outbox_attempt(p->outbox, cell);
}

int publish_last_seq(struct publish *p, const char *instance, uint64_t *ret_seq)
{
    return spool_last_seq(outbox_spool(p->outbox), instance, ret_seq);
}

void publish_stats(const struct publish *p, struct publish_stats *ret_stats)
{
    struct outbox_counts outbox;
    struct spool_counts spool;

    outbox_count(p->outbox, &outbox);
    spool_count(outbox_spool(p->outbox), &spool);
    *ret_stats = (struct publish_stats){
        .events_appended = outbox.appended,
        .events_acked = atomic_load(&p->acked),
        .events_dropped = outbox.dropped,
        .events_pending = spool.queued + spool.in_flight,
        .spool_bytes = spool.bytes,
        .spool_limit_bytes = spool.limit_bytes,
        .publish_errors = atomic_load(&p->errors),
        .reconnects = atomic_load(&p->reconnects),
        .connected = atomic_load(&p->connected),
    };
}
