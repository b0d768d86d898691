/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clients of `make bench` that wrk is not:
 *   client new    a TLS connection per request (latency includes TCP and TLS)
 *   client stream keep-alive, server-sent events; every event carries the
 *                 CLOCK_MONOTONIC time at which it was written, so that its way
 *                 through the middle can be measured event by event
 *   client hold   N connections, one request each, then idle until stdin closes
 * One blocking thread per connection. Prints one JSON line.
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX 4000000
#define BUF_BYTES 65536
#define STAMP "\"fp_"

static struct {
    const char *mode, *host, *port, *ca_file, *path;
    unsigned conns, seconds;
    bool resume;
    struct addrinfo *addr;
    SSL_CTX *ctx;
    char request[4096];
    size_t request_bytes;
    uint64_t end_ns;
} g = {.port = "443", .path = "/v1/chat/completions", .conns = 1, .seconds = 2};

/* Nanosecond samples of one worker; merged at the end. */
struct samples {
    uint64_t *ns;
    size_t count, size;
};

struct worker {
    pthread_t thread;
    struct samples total, event;
    uint64_t requests, errors, events, resumed;
    SSL_SESSION *session;
    SSL *ssl; /* hold */
    int fd;
    char buf[BUF_BYTES];
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void samples_add(struct samples *s, uint64_t ns)
{
    if (s->count == SAMPLES_MAX)
        return;
    if (s->count == s->size) {
        s->size = s->size ? s->size * 2 : 1024;
        s->ns = realloc(s->ns, s->size * sizeof *s->ns);
        if (!s->ns)
            abort();
    }
    s->ns[s->count++] = ns;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double percentile_us(const struct samples *s, double p)
{
    if (!s->count)
        return -1;
    size_t i = (size_t)(p * (double)(s->count - 1) + 0.5);
    return (double)s->ns[i] / 1000.0;
}

/* TLS 1.3 tickets arrive after the handshake: keep the newest. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct worker *w = SSL_get_app_data(ssl);
    SSL_SESSION_free(w->session);
    w->session = session;
    return 1;
}

static void leg_close(struct worker *w)
{
    if (w->ssl) {
        SSL_shutdown(w->ssl);
        SSL_free(w->ssl);
    }
    w->ssl = NULL;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

static int leg_open(struct worker *w)
{
    const int one = 1;

    w->fd = socket(g.addr->ai_family, SOCK_STREAM, 0);
    if (w->fd < 0)
        return -errno;
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(w->fd, g.addr->ai_addr, g.addr->ai_addrlen) < 0)
        return -errno;
    w->ssl = SSL_new(g.ctx);
    if (!w->ssl)
        return -ENOMEM;
    SSL_set_app_data(w->ssl, w);
    SSL_set_tlsext_host_name(w->ssl, g.host);
    SSL_set1_host(w->ssl, g.host);
    if (g.resume && w->session)
        SSL_set_session(w->ssl, w->session);
    SSL_set_fd(w->ssl, w->fd);
    ERR_clear_error();
    if (SSL_connect(w->ssl) != 1) {
        ERR_print_errors_fp(stderr);
        return -EPROTO;
    }
    w->resumed += (uint64_t)SSL_session_reused(w->ssl);
    return 0;
}

/* Takes the send times out of the events in this piece of the stream. An event
 * is one TLS record all the way here, so a stamp is not split in practice; one
 * that is gets no sample. */
static void events_seen(struct worker *w, uint64_t at_ns)
{
    for (const char *p = w->buf; (p = strstr(p, STAMP)); p++) {
        uint64_t sent_ns = strtoull(p + strlen(STAMP), NULL, 10);
        if (sent_ns && sent_ns <= at_ns) {
            samples_add(&w->event, at_ns - sent_ns);
            w->events++;
        }
    }
}

/* Reads one answer: to content-length, or to the last chunk. */
static int answer_read(struct worker *w)
{
    size_t head = 0, have = 0, want = 0;
    bool chunked = false;

    for (;;) {
        int n = SSL_read(w->ssl, w->buf + have, (int)(BUF_BYTES - 1 - have));
        if (n <= 0)
            return -EPROTO;
        have += (size_t)n;
        w->buf[have] = '\0';
        if (!head) {
            const char *end = strstr(w->buf, "\r\n\r\n");
            const char *length = strcasestr(w->buf, "\r\ncontent-length:");
            if (!end)
                continue;
            if (strncmp(w->buf, "HTTP/1.1 200", 12) != 0)
                return -EPROTO;
            head = (size_t)(end - w->buf) + 4;
            chunked = !length;
            want = length ? head + strtoull(length + 17, NULL, 10) : 0;
        }
        if (chunked) {
            events_seen(w, now_ns());
            if (have >= 5 && memcmp(w->buf + have - 5, "0\r\n\r\n", 5) == 0)
                return 0;
            /* Only the tail matters from here on. */
            size_t keep = have < 4 ? have : 4;
            memmove(w->buf, w->buf + have - keep, keep);
            have = keep;
        } else if (have >= want) {
            return 0;
        } else if (have == BUF_BYTES - 1) {
            want -= have;
            have = 0;
        }
    }
}

static int exchange(struct worker *w)
{
    if (SSL_write(w->ssl, g.request, (int)g.request_bytes) <= 0)
        return -EPROTO;
    return answer_read(w);
}

static void *new_run(void *arg)
{
    struct worker *w = arg;

    while (now_ns() < g.end_ns) {
        uint64_t start_ns = now_ns();
        int r = leg_open(w);
        if (r == 0)
            r = exchange(w);
        if (r == 0)
            samples_add(&w->total, now_ns() - start_ns);
        w->errors += r != 0;
        w->requests += r == 0;
        leg_close(w);
        if (r < 0)
            usleep(10000);
    }
    return NULL;
}

static void *stream_run(void *arg)
{
    struct worker *w = arg;

    while (now_ns() < g.end_ns) {
        uint64_t start_ns = now_ns();
        int r = w->ssl ? 0 : leg_open(w);
        if (r == 0)
            r = exchange(w);
        if (r == 0)
            samples_add(&w->total, now_ns() - start_ns);
        w->errors += r != 0;
        w->requests += r == 0;
        if (r < 0) {
            leg_close(w);
            usleep(10000);
        }
    }
    leg_close(w);
    return NULL;
}

static void samples_merge(struct samples *to, const struct samples *from)
{
    for (size_t i = 0; i < from->count; i++)
        samples_add(to, from->ns[i]);
}

static void report(struct worker *workers)
{
    struct samples total = {0}, event = {0};
    uint64_t requests = 0, errors = 0, events = 0, resumed = 0;

    for (unsigned i = 0; i < g.conns; i++) {
        samples_merge(&total, &workers[i].total);
        samples_merge(&event, &workers[i].event);
        requests += workers[i].requests;
        errors += workers[i].errors;
        events += workers[i].events;
        resumed += workers[i].resumed;
    }
    if (total.count)
        qsort(total.ns, total.count, sizeof *total.ns, by_value);
    if (event.count)
        qsort(event.ns, event.count, sizeof *event.ns, by_value);
    printf("{\"requests\":%llu,\"errors\":%llu,\"events\":%llu,\"resumed\":%llu,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"event_p50_us\":%.1f,\"event_p99_us\":%.1f}\n",
           (unsigned long long)requests, (unsigned long long)errors, (unsigned long long)events,
           (unsigned long long)resumed, percentile_us(&total, 0.5), percentile_us(&total, 0.99),
           percentile_us(&event, 0.5), percentile_us(&event, 0.99));
}

static int hold_run(struct worker *workers)
{
    unsigned open_count = 0;
    char c;

    for (unsigned i = 0; i < g.conns; i++) {
        if (leg_open(&workers[i]) == 0 && exchange(&workers[i]) == 0)
            open_count++;
    }
    printf("{\"open\":%u}\n", open_count);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    for (unsigned i = 0; i < g.conns; i++)
        leg_close(&workers[i]);
    return open_count == g.conns ? 0 : 1;
}

static void request_make(void)
{
    static const char body[] =
        "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"system\",\"content\":\"You answer in "
        "one sentence.\"},{\"role\":\"user\",\"content\":\"Which port does HTTPS use, and since "
        "when? Please keep it short.\"}],\"max_tokens\":128,\"temperature\":0.2,\"stream\":%s}";
    char text[1024];
    int n =
        snprintf(text, sizeof text, body,
                 strcmp(g.mode, "stream") == 0 ? "true,\"stream_options\":{\"include_usage\":true}"
                                               : "false");

    g.request_bytes = (size_t)snprintf(
        g.request, sizeof g.request,
        "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer sk-bench-0123456789abcdef\r\n"
        "Content-Type: application/json\r\nUser-Agent: bench/1\r\nContent-Length: %d\r\n\r\n%s",
        g.path, g.host, n, text);
}

static int arguments(int argc, char **argv)
{
    static const struct option options[] = {
        {"host", required_argument, NULL, 'h'},    {"port", required_argument, NULL, 'p'},
        {"ca", required_argument, NULL, 'a'},      {"conns", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'}, {"path", required_argument, NULL, 'u'},
        {"resume", no_argument, NULL, 'r'},        {0}};
    int o;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (o) {
        case 'h':
            g.host = optarg;
            break;
        case 'p':
            g.port = optarg;
            break;
        case 'a':
            g.ca_file = optarg;
            break;
        case 'c':
            g.conns = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            g.seconds = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'u':
            g.path = optarg;
            break;
        case 'r':
            g.resume = true;
            break;
        default:
            return -EINVAL;
        }
    }
    g.mode = optind < argc ? argv[optind] : NULL;
    return g.mode && g.host && g.ca_file && g.conns ? 0 : -EINVAL;
}

static int tls_make(void)
{
    g.ctx = SSL_CTX_new(TLS_client_method());
    if (!g.ctx || SSL_CTX_load_verify_file(g.ctx, g.ca_file) != 1 ||
        SSL_CTX_set_min_proto_version(g.ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(g.ctx, "TLS_AES_128_GCM_SHA256") != 1)
        return -EINVAL;
    SSL_CTX_set_verify(g.ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(g.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(g.ctx, on_session);
    return 0;
}

int main(int argc, char **argv)
{
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    void *(*run)(void *) = NULL;

    if (arguments(argc, argv) < 0) {
        fprintf(stderr, "usage: client new|stream|hold --host H --ca FILE [--port P] [--conns N]"
                        " [--seconds S] [--path P] [--resume]\n");
        return 2;
    }
    int r = getaddrinfo(g.host, g.port, &hints, &g.addr);
    if (r != 0) {
        fprintf(stderr, "%s: %s\n", g.host, gai_strerror(r));
        return 1;
    }
    if (tls_make() < 0) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    request_make();
    struct worker *workers = calloc(g.conns, sizeof *workers);
    if (!workers)
        return 1;
    for (unsigned i = 0; i < g.conns; i++)
        workers[i].fd = -1;
    if (strcmp(g.mode, "hold") == 0)
        return hold_run(workers);
    run = strcmp(g.mode, "stream") == 0 ? stream_run : new_run;
    g.end_ns = now_ns() + (uint64_t)g.seconds * 1000000000u;
    for (unsigned i = 0; i < g.conns; i++) {
        if (pthread_create(&workers[i].thread, NULL, run, &workers[i]) != 0)
            return 1;
    }
    for (unsigned i = 0; i < g.conns; i++)
        pthread_join(workers[i].thread, NULL);
    report(workers);
    return 0;
}
