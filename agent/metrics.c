/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics.h"

#include "proto/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct client {
    struct metrics *owner;
    int fd; /* -1: free */
    struct loop_poll *poll;
    uint64_t deadline_ms;
    size_t request_len;
    struct buf answer;
    size_t sent;
    char request[METRICS_REQUEST_BYTES];
};

struct metrics {
    struct loop *loop;
    struct metrics_source source;
    int fd;
    struct loop_poll *poll;
    struct client clients[METRICS_CLIENTS_MAX];
};

int metrics_listen(const char *address, int *ret_fd)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    const char *colon = strrchr(address, ':');
    CLEAN_FD int fd = -1;
    char host[64], *end;
    unsigned long port;
    bool v6 = address[0] == '[';
    int on = 1, r;

    if (!colon || colon == address || (size_t)(colon - address) >= sizeof(host))
        return -EINVAL;
    port = strtoul(colon + 1, &end, 10);
    if (colon[1] == '\0' || *end || port > 65535)
        return -EINVAL;
    if (v6 && colon[-1] != ']')
        return -EINVAL;
    snprintf(host, sizeof(host), "%.*s", (int)(colon - address) - (v6 ? 2 : 0), address + v6);
    in4.sin_port = in6.sin6_port = htons((uint16_t)port);
    if (inet_pton(v6 ? AF_INET6 : AF_INET, host,
                  v6 ? (void *)&in6.sin6_addr : (void *)&in4.sin_addr) != 1)
        return -EINVAL;
    fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    r = v6 ? bind(fd, (struct sockaddr *)&in6, sizeof(in6))
           : bind(fd, (struct sockaddr *)&in4, sizeof(in4));
    if (r < 0 || listen(fd, 64) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static void client_close(struct client *c)
{
    loop_poll_free(&c->poll);
    if (c->fd >= 0)
        close(TAKE_FD(c->fd));
    buf_fini(&c->answer);
    c->request_len = c->sent = 0;
}

static int answer_with(struct client *c, const char *status, const char *type, struct slice body)
{
    int r = buf_printf(&c->answer,
                       "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                       "Connection: close\r\n\r\n",
                       status, type, body.len);

    return r < 0 ? r : buf_append(&c->answer, body);
}

static int answer_metrics(struct client *c)
{
    struct buf text;
    int r;

    buf_init(&text, METRICS_TEXT_MAX_BYTES);
    r = c->owner->source.write(c->owner->source.user, &text);
    if (r == 0)
        r = answer_with(c, "200 OK", "text/plain; version=0.0.4; charset=utf-8", buf_slice(&text));
    buf_fini(&text);
    return r;
}

static bool asks_for(const struct client *c, const char *path)
{
    size_t len = strlen(path);

    return c->request_len > 5 + len && memcmp(c->request, "GET ", 4) == 0 &&
           memcmp(c->request + 4, path, len) == 0 &&
           (c->request[4 + len] == ' ' || c->request[4 + len] == '?');
}

static int answer(struct client *c)
{
    const struct metrics_source *source = &c->owner->source;
    const char *why;

    if (asks_for(c, "/metrics"))
        return answer_metrics(c);
    if (asks_for(c, "/healthz"))
        return answer_with(c, "200 OK", "text/plain", slice_str("ok\n"));
    if (asks_for(c, "/readyz")) {
        why = source->not_ready(source->user);
        return answer_with(c, why ? "503 Service Unavailable" : "200 OK", "text/plain",
                           slice_str(why ? why : "ready\n"));
    }
    return answer_with(c, "404 Not Found", "text/plain", slice_str("not found\n"));
}

static void client_send(struct client *c)
{
    while (c->sent < c->answer.len) {
        ssize_t n = send(c->fd, c->answer.data + c->sent, c->answer.len - c->sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            loop_poll_set(c->poll, LOOP_WRITE);
            return;
        }
        if (n < 0)
            break;
        c->sent += (size_t)n;
    }
    client_close(c);
}

static void on_client(void *user, unsigned events)
{
    struct client *c = user;
    ssize_t n;

    (void)events;
    if (c->answer.len > 0) {
        client_send(c);
        return;
    }
    n = recv(c->fd, c->request + c->request_len, sizeof(c->request) - c->request_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(c);
        return;
    }
    c->request_len += (size_t)n;
    if (!memmem(c->request, c->request_len, "\r\n\r\n", 4)) {
        if (c->request_len == sizeof(c->request))
            client_close(c);
        return;
    }
    if (answer(c) < 0)
        client_close(c);
    else
        client_send(c);
}

static struct client *free_client(struct metrics *m)
{
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++) {
        if (m->clients[i].fd < 0)
            return &m->clients[i];
    }
    return NULL;
}

static void on_listener(void *user, unsigned events)
{
    struct metrics *m = user;
    int fd = accept4(m->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *c;

    (void)events;
    if (fd < 0)
        return;
    c = free_client(m);
    if (!c || loop_poll_new(m->loop, fd, on_client, c, &c->poll) < 0) {
        close(fd);
        return;
    }
    c->fd = fd;
    c->deadline_ms = clock_mono_ns() / NSEC_PER_MSEC + METRICS_CLIENT_MS;
    loop_poll_set(c->poll, LOOP_READ);
}

int metrics_new(struct loop *loop, int fd, const struct metrics_source *source,
                struct metrics **ret_metrics)
{
    struct metrics *m = calloc(1, sizeof(*m));
    int r;

    if (!m)
        return -ENOMEM;
    m->loop = loop;
    m->source = *source;
    m->fd = fd;
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++) {
        m->clients[i].fd = -1;
        m->clients[i].owner = m;
        buf_init(&m->clients[i].answer, METRICS_TEXT_MAX_BYTES + 512);
    }
    r = loop_poll_new(loop, fd, on_listener, m, &m->poll);
    if (r < 0) {
        free(m);
        return r;
    }
    loop_poll_set(m->poll, LOOP_READ);
    *ret_metrics = m;
    return 0;
}

void metrics_free(struct metrics **metrics)
{
    struct metrics *m = *metrics;

    *metrics = NULL;
    if (!m)
        return;
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++)
        client_close(&m->clients[i]);
    loop_poll_free(&m->poll);
    close(m->fd);
    free(m);
}

void metrics_tick(struct metrics *m, uint64_t now_ms)
{
    for (unsigned i = 0; i < METRICS_CLIENTS_MAX; i++) {
        if (m->clients[i].fd >= 0 && now_ms >= m->clients[i].deadline_ms)
            client_close(&m->clients[i]);
    }
}

int metrics_sample(struct buf *out, const struct metrics_sample *s, const char **last_name)
{
    int r = 0;

    if (!*last_name || strcmp(*last_name, s->name) != 0)
        r = buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", s->name, s->help, s->name, s->type);
    *last_name = s->name;
    if (r < 0)
        return r;
    if (s->labels)
        return buf_printf(out, "%s{%s} %" PRIu64 "\n", s->name, s->labels, s->value);
    return buf_printf(out, "%s %" PRIu64 "\n", s->name, s->value);
}
