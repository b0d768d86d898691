/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/serve.h"

#include "collector/api.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECTION_IDLE_S 30

struct serve {
    const struct config *config;
    struct pipeline *pipeline;
    struct deliver *deliver; /* may be NULL */
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock; /* of what follows */
    struct exposed *exposed;
    struct deliver_stats letters; /* of the answer that is being made */
    struct store *store;
};

static const char *query_param(void *ctx, const char *name)
{
    return MHD_lookup_connection_value(ctx, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result respond(struct MHD_Connection *c, unsigned status, const char *type,
                               struct slice body)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body.len, (void *)(uintptr_t)body.data, MHD_RESPMEM_MUST_COPY);
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

static unsigned status_of(int error)
{
    switch (error) {
    case 0:
        return MHD_HTTP_OK;
    case -EINVAL:
        return MHD_HTTP_BAD_REQUEST;
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
    enum MHD_Result result;
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
    if (r < 0 && r != -EINVAL && r != -EAGAIN) {
        log_error("request failed", "path=%s error=%s database=%s", route->path, strerror(-r),
                  store_error(s->store));
        buf_reset(&out);
        if (buf_append_str(&out, "internal error\n") < 0)
            buf_reset(&out);
    }
    if (!route->is_probe)
        pthread_mutex_unlock(&s->lock);
    result = respond(c, status_of(r), r == 0 ? route->content_type : "text/plain; charset=utf-8",
                     buf_slice(&out));
    buf_fini(&out);
    return result;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request_ctx)
{
    static int seen_headers;
    const struct api_route *route = api_find(url);

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
        return respond(c, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", slice_str("GET only\n"));
    if (!route)
        return respond(c, MHD_HTTP_NOT_FOUND, "text/plain", slice_str("no such path\n"));
    return answer_route(ctx, c, route);
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
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVE_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)CONNECTION_IDLE_S, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
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
    exposed_free(&(*serve)->exposed);
    store_close(&(*serve)->store);
    pthread_mutex_destroy(&(*serve)->lock);
    free(*serve);
    *serve = NULL;
}
