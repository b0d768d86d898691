/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/serve.h"

#include "collector/api.h"
#include "collector/callers.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECTION_IDLE_S 30
#define QUERY_PARAMS_MAX 8

struct serve {
    const struct config *config;
    struct pipeline *pipeline;
    struct deliver *deliver; /* may be NULL */
    struct MHD_Daemon *daemon;
    struct callers *callers;
    atomic_size_t held_bytes;
    pthread_mutex_t lock; /* of what follows */
    struct exposed *exposed;
    struct deliver_stats letters; /* of the answer that is being made */
    struct store *store;
};

static const char *query_param(void *ctx, const char *name)
{
    return MHD_lookup_connection_value(ctx, MHD_GET_ARGUMENT_KIND, name);
}

/* An answer, until its reader has it or is gone. */
struct held {
    struct serve *serve;
    struct buf body;
};

static void let_go(void *ctx)
{
    struct held *held = ctx;

    atomic_fetch_sub(&held->serve->held_bytes, held->body.cap);
    buf_fini(&held->body);
    free(held);
}

static struct MHD_Response *hold(struct serve *s, struct buf *body)
{
    struct held *held = calloc(1, sizeof(*held));
    struct MHD_Response *response;

    if (!held) {
        buf_fini(body);
        return NULL;
    }
    *held = (struct held){.serve = s, .body = *body};
    *body = (struct buf){0};
    atomic_fetch_add(&s->held_bytes, held->body.cap);
    response = MHD_create_response_from_buffer_with_free_callback_cls(
        held->body.len, held->body.data, let_go, held);
    if (!response)
        let_go(held);
    return response;
}

/* Takes the body. */
static enum MHD_Result respond(struct serve *s, struct MHD_Connection *c, unsigned status,
                               const char *type, struct buf *body)
{
    struct MHD_Response *response = hold(s, body);
    enum MHD_Result r;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    r = MHD_queue_response(c, status, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result refuse(struct serve *s, struct MHD_Connection *c, unsigned status,
                              const char *problem)
{
    struct buf out;

    buf_init(&out, SERVE_ANSWER_BYTES_MAX);
    (void)!api_complain(&out, "", problem);
    return respond(s, c, status, "application/json", &out);
}

static unsigned status_of(int error)
{
    switch (error) {
    case 0:
        return MHD_HTTP_OK;
    case -EINVAL:
        return MHD_HTTP_BAD_REQUEST;
    case -ENOSPC:
        return MHD_HTTP_CONTENT_TOO_LARGE;
    case -EAGAIN:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

static enum MHD_Result answer_route(struct serve *s, struct MHD_Connection *c,
                                    const struct api_route *route)
{
    struct pipeline_stats stats;
    struct api_request req = {
        .config = s->config,
        .stats = &stats,
        .exposed = s->exposed,
        .store = s->store,
        .wall_ns = clock_wall_ns(),
        .param = query_param,
        .param_ctx = c,
    };
    struct buf out;
    int r;

    buf_init(&out, SERVE_ANSWER_BYTES_MAX);
    pipeline_get_stats(s->pipeline, &stats);
    /* A report may take long; whoever probes would take that for a process that hangs. */
    if (!route->is_probe)
        pthread_mutex_lock(&s->lock);
    if (s->deliver && !route->is_probe) {
        deliver_get_stats(s->deliver, &s->letters);
        req.deliver = &s->letters;
    }
    r = route->answer(&req, &out);
    if (r == -ENOSPC)
        (void)!api_complain(&out, "", "the answer is too long: ask for less of it");
    else if (r < 0 && r != -EINVAL && r != -EAGAIN) {
        log_error("request failed", "path=%s error=%s database=%s", route->path, strerror(-r),
                  store_error(s->store));
        (void)!api_complain(&out, "", "internal error");
    }
    if (!route->is_probe)
        pthread_mutex_unlock(&s->lock);
    /* Probes tell in words what is wrong. */
    return respond(s, c, status_of(r),
                   r == 0 || route->is_probe ? route->content_type : "application/json", &out);
}

struct query {
    struct api_param params[QUERY_PARAMS_MAX];
    unsigned count;
    bool is_long;
};

static enum MHD_Result take_param(void *ctx, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    struct query *q = ctx;

    (void)kind;
    q->is_long = q->count == QUERY_PARAMS_MAX;
    if (q->is_long)
        return MHD_NO;
    q->params[q->count++] = (struct api_param){
        .name = slice_of(name, name_len),
        .value = value ? slice_of(value, value_len) : slice_str(""),
    };
    return MHD_YES;
}

static enum MHD_Result answer_checked(struct serve *s, struct MHD_Connection *c,
                                      const struct api_route *route)
{
    struct query query = {.count = 0};
    struct buf out;
    int r;

    MHD_get_connection_values_n(c, MHD_GET_ARGUMENT_KIND, take_param, &query);
    if (query.is_long && !route->is_loose)
        return refuse(s, c, MHD_HTTP_BAD_REQUEST, "too many parameters");
    if (!route->is_probe && atomic_load(&s->held_bytes) > SERVE_HELD_BYTES_MAX)
        return refuse(s, c, MHD_HTTP_SERVICE_UNAVAILABLE, "too much is still to be read");
    buf_init(&out, SERVE_ANSWER_BYTES_MAX);
    r = api_check_params(route, query.params, query.count, &out);
    if (r < 0)
        return respond(s, c, status_of(r), "application/json", &out);
    buf_fini(&out);
    return answer_route(s, c, route);
}

static struct caller *caller_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

static void on_connection(void *ctx, struct MHD_Connection *c, void **caller,
                          enum MHD_ConnectionNotificationCode code)
{
    struct serve *s = ctx;
    const union MHD_ConnectionInfo *info;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        callers_go(s->callers, *caller);
        return;
    }
    info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info)
        *caller = callers_come(s->callers, info->connect_fd, clock_mono_ns());
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request_ctx)
{
    static int seen_headers;
    const struct api_route *route = api_find(url);
    struct serve *s = ctx;
    enum MHD_Result r;

    (void)version;
    (void)upload;
    /* The first call brings the headers only. */
    if (!*request_ctx) {
        *request_ctx = &seen_headers;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return refuse(s, c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only");
    if (!route)
        return refuse(s, c, MHD_HTTP_NOT_FOUND, "no such path");
    callers_begin(s->callers, caller_of(c));
    r = answer_checked(s, c, route);
    callers_end(s->callers, caller_of(c), clock_mono_ns());
    return r;
}

/* "host:port", "[v6]:port" or ":port". */
static int resolve_listen(const char *listen, struct addrinfo **ret_info)
{
    const char *colon = strrchr(listen, ':');
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    char host[256];
    size_t len = (size_t)(colon - listen);

    if (len >= sizeof(host))
        return -EINVAL;
    memcpy(host, listen, len);
    host[len] = '\0';
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        memmove(host, host + 1, len - 2);
        host[len - 2] = '\0';
    }
    return getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, ret_info) == 0 ? 0 : -EINVAL;
}

static int start_daemon(struct serve *s)
{
    struct addrinfo *info = NULL;
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION;
    int r = resolve_listen(s->config->http.listen, &info);

    if (r < 0)
        return r;
    if (info->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    errno = 0;
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR, info->ai_addr,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)(CALLERS_LEAVING * SERVE_CONNECTIONS_MAX),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_IDLE_S, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
    r = s->daemon ? 0 : errno ? -errno : -EIO;
    freeaddrinfo(info);
    return r;
}

int serve_start(const struct config *config, struct pipeline *pipeline, struct deliver *deliver,
                struct serve **ret_serve)
{
    struct serve *s;
    int r;

    if (!config->http.listen[0])
        return 0;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->config = config;
    s->pipeline = pipeline;
    s->deliver = deliver;
    pthread_mutex_init(&s->lock, NULL);
    r = exposed_new(config->http.metrics_series, &s->exposed);
    if (r == 0)
        r = callers_new(SERVE_CONNECTIONS_MAX, &s->callers);
    if (r == 0)
        r = store_open_reader(config_store_where(config), &s->store);
    if (r == 0)
        r = start_daemon(s);
    if (r < 0) {
        log_error("cannot listen", "listen=%s error=%s", config->http.listen, strerror(-r));
        serve_stop(&s);
        return r;
    }
    log_info("listening", "listen=%s", config->http.listen);
    *ret_serve = s;
    return 0;
}

void serve_stop(struct serve **serve)
{
    if (!*serve)
        return;
    if ((*serve)->daemon)
        MHD_stop_daemon((*serve)->daemon);
    callers_free(&(*serve)->callers);
    exposed_free(&(*serve)->exposed);
    store_close(&(*serve)->store);
    pthread_mutex_destroy(&(*serve)->lock);
    free(*serve);
    *serve = NULL;
}
