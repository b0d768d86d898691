/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream of the streaming case of `make bench`: answers every request with
 * EVENTS chat-completion events, one chunk and one TLS record each, `gap_us`
 * apart, each stamped with the CLOCK_MONOTONIC time of its write.
 *   sse ADDRESS PORT CERT KEY EVENTS GAP_US
 * One thread a connection; runs until killed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES_MAX 16384

static SSL_CTX *ctx;
static unsigned events, gap_us;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One request with its content-length body. 0 at the end of the connection. */
static int request_read(SSL *ssl)
{
    char buf[REQUEST_BYTES_MAX];
    size_t have = 0, want = 0;

    while (!want || have < want) {
        int n = SSL_read(ssl, buf + have, (int)(sizeof buf - 1 - have));
        if (n <= 0)
            return 0;
        have += (size_t)n;
        buf[have] = '\0';
        const char *end = strstr(buf, "\r\n\r\n");
        const char *length = strcasestr(buf, "\r\ncontent-length:");
        if (end && !want)
            want = (size_t)(end - buf) + 4 + (length ? strtoull(length + 17, NULL, 10) : 0);
        if (have == sizeof buf - 1)
            return 0;
    }
    return 1;
}

static int chunk_write(SSL *ssl, const char *data, size_t bytes)
{
    char out[1024];
    int n = snprintf(out, sizeof out, "%zx\r\n%.*s\r\n", bytes, (int)bytes, data);

    return SSL_write(ssl, out, n) == n ? 0 : -EPIPE;
}

static int event_write(SSL *ssl, unsigned i)
{
    static const char start[] = "data: {\"id\":\"chatcmpl-bench\",\"object\":"
                                "\"chat.completion.chunk\",\"created\":1700000000,\"model\":"
                                "\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\","
                                "\"system_fingerprint\":\"fp_%llu\",";
    char text[768];
    int n = snprintf(text, sizeof text, start, (unsigned long long)now_ns());

    if (i + 1 < events)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word%u\"},"
                      "\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
                      i);
    else
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "\"choices\":[],\"usage\":{\"prompt_tokens\":31,\"completion_tokens\":%u,"
                      "\"total_tokens\":%u,\"prompt_tokens_details\":{\"cached_tokens\":0},"
                      "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n",
                      events, events + 31);
    return chunk_write(ssl, text, (size_t)n);
}

static int stream_write(SSL *ssl)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "x-request-id: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const char done[] = "data: [DONE]\n\n";
    const struct timespec gap = {.tv_nsec = (long)gap_us * 1000};

    if (SSL_write(ssl, head, sizeof head - 1) <= 0)
        return -EPIPE;
    for (unsigned i = 0; i < events; i++) {
        if (event_write(ssl, i) < 0)
            return -EPIPE;
        nanosleep(&gap, NULL);
    }
    if (chunk_write(ssl, done, sizeof done - 1) < 0)
        return -EPIPE;
    return SSL_write(ssl, "0\r\n\r\n", 5) == 5 ? 0 : -EPIPE;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    SSL *ssl = SSL_new(ctx);

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        while (request_read(ssl) && stream_write(ssl) == 0)
            ;
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static int listen_at(const char *address, const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, address, &at.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1024) < 0)
        return -errno;
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: sse ADDRESS PORT CERT KEY EVENTS GAP_US\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    events = (unsigned)atoi(argv[5]);
    gap_us = (unsigned)atoi(argv[6]);
    ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_use_certificate_chain_file(ctx, argv[3]) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, argv[4], SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    int listener = listen_at(argv[1], argv[2]);
    if (listener < 0) {
        fprintf(stderr, "%s:%s: %s\n", argv[1], argv[2], strerror(-listener));
        return 1;
    }
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0)
            close(fd);
        else
            pthread_detach(thread);
    }
}
