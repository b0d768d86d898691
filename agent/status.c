/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/status.h"

#include "agent/config.h"
#include "proto/base/buf.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX_BYTES (1024 * 1024)
#define WAIT_S 3

/* "127.0.0.1:9463" or "[::1]:9463" -> connected socket. */
static int connect_to(const char *listen_at, int *ret_fd)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct timeval wait = {.tv_sec = WAIT_S};
    struct addrinfo *found = NULL;
    char host[128];
    const char *colon = strrchr(listen_at, ':');
    const char *start = listen_at[0] == '[' ? listen_at + 1 : listen_at;
    CLEAN_FD int fd = -1;
    int r;

    if (!colon || (size_t)(colon - start) >= sizeof(host))
        return -EINVAL;
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(start, start == listen_at ? ":" : "]"),
             start);
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -EINVAL;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    r = fd < 0 ? -errno : 0;
    if (r == 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
        if (connect(fd, found->ai_addr, found->ai_addrlen) < 0)
            r = -errno;
    }
    freeaddrinfo(found);
    if (r == 0)
        *ret_fd = TAKE_FD(fd);
    return r;
}

static int http_get(const char *listen_at, const char *path, struct buf *answer)
{
    CLEAN_FD int fd = -1;
    char chunk[4096];
    ssize_t n;
    int r;

    r = connect_to(listen_at, &fd);
    if (r < 0)
        return r;
    if (dprintf(fd, "GET %s HTTP/1.0\r\nHost: lectr\r\n\r\n", path) < 0)
        return -EIO;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
        r = buf_append(answer, slice_of(chunk, (size_t)n));
        if (r < 0)
            return r;
    }
    if (n < 0)
        return -errno;
    return buf_append(answer, slice_of("", 1));
}

static void print_metrics(char *text)
{
    char *body = strstr(text, "\r\n\r\n");
    char *rest = NULL;

    for (char *line = strtok_r(body ? body + 4 : text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest))
        if (line[0] != '#')
            printf("  %s\n", line);
}

int status_main(const struct config *config)
{
    struct buf answer;
    bool ready;
    int r;

    if (!config->metrics.listen[0]) {
        fprintf(stderr, "lectr-agent: metrics.listen is off, so there is nobody to ask\n");
        return 3;
    }
    buf_init(&answer, ANSWER_MAX_BYTES);
    r = http_get(config->metrics.listen, "/readyz", &answer);
    if (r < 0) {
        printf("not running: nothing answers at %s (%s); start it with: lectr-agent daemon\n",
               config->metrics.listen, strerror(-r));
        buf_fini(&answer);
        return 3;
    }
    ready = strstr((const char *)answer.data, " 200 ") != NULL;
    printf("%s\n", ready ? "ready" : "not ready");
    buf_reset(&answer);
    if (http_get(config->metrics.listen, "/metrics", &answer) == 0)
        print_metrics((char *)answer.data);
    buf_fini(&answer);
    return ready ? 0 : 1;
}
