/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/bus_priv.h"

#include "proto/base/clock.h"
#include "proto/nkey.h"
#include "proto/subject.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define API_WAIT_MS 5000
#define PUBLISH_WAIT_MS 3000
/* Nobody waits for a single one of these; a busy server is not a lost message. */
#define ASYNC_WAIT_MS 30000
/* The stream finds a message that is published twice within this time. */
#define DUPLICATE_WINDOW_MS 120000
#define ASYNC_PENDING_MAX 4000
/* Read at a time; the library's 32 KiB are fifty messages. */
#define READ_BYTES (256 * 1024)

int bus_tell_denied(struct bus *b, const char *what)
{
    int r = 0;

    pthread_mutex_lock(&b->denied_lock);
    if (b->denied[0]) {
        snprintf(b->error, sizeof(b->error), "%s: the server does not allow it, %s", what,
                 b->denied);
        r = -EACCES;
    }
    b->denied[0] = '\0';
    pthread_mutex_unlock(&b->denied_lock);
    return r;
}

int bus_fail(struct bus *b, const char *what, natsStatus status)
{
    const char *detail = nats_GetLastError(NULL);

    /* What is refused is not answered, either. */
    if (status == NATS_TIMEOUT && bus_tell_denied(b, what) < 0)
        return -EACCES;
    snprintf(b->error, sizeof(b->error), "%s: %s%s%.160s", what, natsStatus_GetText(status),
             detail && *detail ? ", " : "", detail ? detail : "");
    switch (status) {
    case NATS_NO_MEMORY:
        return -ENOMEM;
    case NATS_NO_SERVER:
    case NATS_CONNECTION_CLOSED:
    case NATS_CONNECTION_DISCONNECTED:
        return -ECONNREFUSED;
    case NATS_TIMEOUT:
    case NATS_NO_RESPONDERS:
        return -ETIMEDOUT;
    default:
        return -EIO;
    }
}

static void on_publish_error(jsCtx *js, jsPubAckErr *error, void *ctx)
{
    struct bus *b = ctx;

    (void)js;
    (void)error;
    __atomic_add_fetch(&b->async_errors, 1, __ATOMIC_RELAXED);
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *ctx)
{
    struct bus *b = ctx;
    const char *text = nats_GetLastError(NULL);

    (void)subscription;
    if (status != NATS_NOT_PERMITTED)
        return;
    if (!text || !*text)
        natsConnection_GetLastError(connection, &text);
    pthread_mutex_lock(&b->denied_lock);
    snprintf(b->denied, sizeof(b->denied), "%s", text && *text ? text : "permissions violation");
    pthread_mutex_unlock(&b->denied_lock);
}

static void on_reconnected(natsConnection *connection, void *ctx)
{
    struct bus *b = ctx;

    (void)connection;
    atomic_fetch_add(&b->reconnects, 1);
}

static bool is_given(const char *file)
{
    return file && file[0];
}

static natsStatus set_identity(natsOptions *options, const struct bus_settings *settings)
{
    natsStatus s = NATS_OK;
    char key[NKEY_BYTES];

    if (is_given(settings->ca_file) || is_given(settings->cert_file))
        s = natsOptions_SetSecure(options, true);
    if (s == NATS_OK && is_given(settings->ca_file))
        s = natsOptions_LoadCATrustedCertificates(options, settings->ca_file);
    if (s == NATS_OK && is_given(settings->cert_file))
        s = natsOptions_LoadCertificatesChain(options, settings->cert_file, settings->key_file);
    if (s == NATS_OK && is_given(settings->creds))
        s = natsOptions_SetUserCredentialsFromFiles(options, settings->creds, NULL);
    if (s != NATS_OK || !is_given(settings->nkey_seed))
        return s;
    if (nkey_read_public(settings->nkey_seed, key) < 0)
        return NATS_INVALID_ARG;
    return natsOptions_SetNKeyFromSeed(options, key, settings->nkey_seed);
}

static natsStatus set_options(struct bus *b, const struct bus_settings *settings)
{
    natsStatus s = natsOptions_Create(&b->options);

    if (s == NATS_OK)
        s = natsOptions_SetURL(b->options, settings->url);
    if (s == NATS_OK)
        s = natsOptions_SetName(b->options, settings->name);
    if (s == NATS_OK)
        s = natsOptions_SetMaxReconnect(b->options, -1);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectWait(b->options, 250);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(b->options, 5000);
    if (s == NATS_OK)
        s = natsOptions_SetIOBufSize(b->options, READ_BYTES);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectedCB(b->options, on_reconnected, b);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(b->options, on_error, b);
    return s == NATS_OK ? set_identity(b->options, settings) : s;
}

static natsStatus connect_bus(struct bus *b)
{
    jsOptions js_options;
    natsStatus s = natsConnection_Connect(&b->connection, b->options);

    if (s == NATS_OK)
        s = jsOptions_Init(&js_options);
    if (s != NATS_OK)
        return s;
    js_options.Wait = API_WAIT_MS;
    js_options.PublishAsync.MaxPending = ASYNC_PENDING_MAX;
    js_options.PublishAsync.StallWait = PUBLISH_WAIT_MS;
    js_options.PublishAsync.ErrHandler = on_publish_error;
    js_options.PublishAsync.ErrHandlerClosure = b;
    return natsConnection_JetStream(&b->js, b->connection, &js_options);
}

/* What may not be in a consumer's name is not in the id's place either. */
static void name_consumer(struct bus *b, const char *share_id)
{
    snprintf(b->durable, sizeof(b->durable), "%s%s%.56s", b->named, share_id ? "-" : "",
             share_id ? share_id : "");
    for (char *p = b->durable + strlen(b->named); *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            *p = '_';
}

int bus_open(const struct bus_settings *settings, struct bus **ret_bus,
             char ret_error[BUS_ERROR_BYTES])
{
    struct bus *b = calloc(1, sizeof(*b));
    const char *what;
    natsStatus s;
    int r = 0;

    if (!b)
        return -ENOMEM;
    pthread_mutex_init(&b->denied_lock, NULL);
    snprintf(b->stream, sizeof(b->stream), "%s", settings->stream ? settings->stream : "");
    b->is_shared = settings->share_id != NULL;
    b->stream_max_age_ns = (int64_t)settings->stream_max_age_h * 3600 * (int64_t)NSEC_PER_SEC;
    b->stream_max_bytes = (int64_t)settings->stream_max_bytes;
    snprintf(b->named, sizeof(b->named), "%s", settings->durable ? settings->durable : "");
    name_consumer(b, settings->share_id);
    s = set_options(b, settings);
    what = s == NATS_OK ? "connect" : "nats.creds, nkey_seed, ca_file, cert_file or key_file";
    if (s == NATS_OK)
        s = connect_bus(b);
    if (s != NATS_OK) {
        r = bus_fail(b, what, s);
        if (ret_error)
            memcpy(ret_error, b->error, sizeof(b->error));
        bus_close(&b);
        return r;
    }
    *ret_bus = b;
    return 0;
}

void bus_close(struct bus **bus)
{
    struct bus *b = *bus;

    if (!b)
        return;
    bus_pull_close(b);
    natsSubscription_Destroy(b->watch);
    jsCtx_Destroy(b->js);
    natsConnection_Destroy(b->connection);
    natsOptions_Destroy(b->options);
    pthread_mutex_destroy(&b->denied_lock);
    free(b);
    *bus = NULL;
}

const char *bus_error(const struct bus *b)
{
    return b ? b->error : "";
}

bool bus_is_connected(const struct bus *b)
{
    return b && natsConnection_Status(b->connection) == NATS_CONN_STATUS_CONNECTED;
}

int bus_ensure_stream(struct bus *b)
{
    const char *subjects[] = {SUBJECT_ALL};
    jsStreamInfo *info = NULL;
    jsStreamConfig config;
    jsErrCode code = 0;
    natsStatus s = js_GetStreamInfo(&info, b->js, b->stream, NULL, &code);

    jsStreamInfo_Destroy(info);
    if (s == NATS_OK)
        return 0;
    if (s != NATS_NOT_FOUND)
        return bus_fail(b, "stream", s);
    s = jsStreamConfig_Init(&config);
    if (s != NATS_OK)
        return bus_fail(b, "stream", s);
    config.Name = b->stream;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    config.Duplicates = DUPLICATE_WINDOW_MS * (int64_t)NSEC_PER_MSEC;
    config.MaxAge = b->stream_max_age_ns;
    config.MaxBytes = b->stream_max_bytes ? b->stream_max_bytes : -1;
    s = js_AddStream(NULL, b->js, &config, NULL, &code);
    /* Somebody else was faster: as good. */
    if (s != NATS_OK && code != JSStreamNameExistErr)
        return bus_fail(b, "create the stream", s);
    return 0;
}

int bus_publish(struct bus *b, const char *subject, const char *id, struct slice data)
{
    jsPubOptions options;
    jsErrCode code = 0;
    natsStatus s = jsPubOptions_Init(&options);

    if (s == NATS_OK) {
        options.MsgId = id;
        options.MaxWait = PUBLISH_WAIT_MS;
        s = js_Publish(NULL, b->js, subject, data.data, (int)data.len, &options, &code);
    }
    return s == NATS_OK ? 0 : bus_fail(b, "publish", s);
}

int bus_publish_async(struct bus *b, const char *subject, const char *id, struct slice data)
{
    jsPubOptions options;
    natsStatus s = jsPubOptions_Init(&options);

    if (s == NATS_OK) {
        options.MsgId = id;
        /* Without it an ack that is lost stays silent for ever. */
        options.MaxWait = ASYNC_WAIT_MS;
        s = js_PublishAsync(b->js, subject, data.data, (int)data.len, &options);
    }
    return s == NATS_OK ? 0 : bus_fail(b, "publish", s);
}

int bus_flush(struct bus *b, uint32_t wait_ms)
{
    jsPubOptions options;
    natsStatus s = jsPubOptions_Init(&options);

    if (s == NATS_OK) {
        options.MaxWait = wait_ms;
        s = js_PublishAsyncComplete(b->js, &options);
    }
    if (s != NATS_OK)
        return bus_fail(b, "flush", s);
    return __atomic_exchange_n(&b->async_errors, 0, __ATOMIC_RELAXED) ? -EIO : 0;
}

static void on_watch(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    struct bus *b = ctx;
    struct bus_message m = {
        .subject = natsMsg_GetSubject(msg),
        .data = slice_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)),
    };

    (void)nc;
    (void)sub;
    b->watch_each(b->watch_ctx, &m);
    natsMsg_Destroy(msg);
}

int bus_watch(struct bus *b, const char *subject,
              void (*each)(void *ctx, const struct bus_message *message), void *ctx)
{
    natsStatus s;

    b->watch_each = each;
    b->watch_ctx = ctx;
    s = natsConnection_Subscribe(&b->watch, b->connection, subject, on_watch, b);
    if (s == NATS_OK)
        s = natsConnection_Flush(b->connection);
    return s == NATS_OK ? 0 : bus_fail(b, "watch", s);
}
