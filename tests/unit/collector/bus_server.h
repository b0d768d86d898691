/* SPDX-License-Identifier: Apache-2.0 */
/* A real server for each test, and what is expected of a bus on it. */
#pragma once

#include "collector/bus_priv.h"
#include "proto/base/clock.h"
#include "proto/subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 30000

static char root[64], url[64];
static char server_config[96]; /* a file for the server, "" = none */
static uint16_t port;
static pid_t server_pid;
static struct bus_settings settings;

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEAN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(at);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static inline void server_start(void)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    char port_text[8], store[96], log[96];
    int r = -1;

    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(store, sizeof(store), "%s/jetstream", root);
    snprintf(log, sizeof(log), "%s/server.log", root);
    server_pid = fork();
    if (server_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (server_config[0])
            execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port_text, "-js", "-sd",
                   store, "-l", log, "-c", server_config, NULL);
        execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port_text, "-js", "-sd",
               store, "-l", log, NULL);
        _exit(127);
    }
    while (r < 0) {
        CLEAN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        r = connect(fd, (struct sockaddr *)&at, sizeof(at));
        assert_true(clock_mono_ns() < until_ns);
        usleep(10000);
    }
}

static inline void server_end(int how)
{
    if (server_pid > 0) {
        kill(server_pid, how);
        waitpid(server_pid, NULL, 0);
    }
    server_pid = 0;
}

static inline void server_stop(void)
{
    server_end(SIGKILL);
}

static inline int bus_setup(void **state)
{
    (void)state;
    server_config[0] = '\0';
    snprintf(root, sizeof(root), "/tmp/lectr-bus-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    port = free_port();
    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", port);
    settings = (struct bus_settings){.url = url,
                                     .creds = "",
                                     .ca_file = "",
                                     .stream = "LECTR",
                                     .durable = "collector",
                                     .name = "test"};
    server_start();
    return 0;
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int bus_teardown(void **state)
{
    (void)state;
    server_stop();
    return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A position whose message is not known. */
static inline struct bus_position at(uint64_t seq)
{
    return (struct bus_position){.seq = seq};
}

static inline struct bus *open_bus(void)
{
    struct bus *b = NULL;

    assert_int_equal(bus_open(&settings, &b, NULL), 0);
    return b;
}

/* Numbers first to last, in the subjects of a part. */
static inline void publish(struct bus *b, unsigned part, unsigned first, unsigned last)
{
    char subject[SUBJECT_BYTES], text[16], id[32];

    assert_int_equal(bus_ensure_stream(b), 0);
    assert_int_equal(subject_call("acme", "openai", part, subject), 0);
    for (unsigned i = first; i <= last; i++) {
        snprintf(text, sizeof(text), "%u", i);
        snprintf(id, sizeof(id), "%u-%u", part, i);
        assert_int_equal(bus_publish_async(b, subject, id, slice_str(text)), 0);
    }
    assert_int_equal(bus_flush(b, WAIT_MS), 0);
}

static inline unsigned number_of(const struct bus_message *m)
{
    char text[16];

    snprintf(text, sizeof(text), "%.*s", (int)m->data.len, (const char *)m->data.data);
    return (unsigned)atoi(text);
}

/* Fetches `count` messages of the lane, which are first, first + 1, ... */
static inline void expect(struct bus *b, unsigned lane, unsigned first, unsigned count, bool ack)
{
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    unsigned got = 0;

    while (got < count) {
        struct bus_batch *batch = NULL;

        assert_true(clock_mono_ns() < until_ns);
        if (bus_fetch(b, count - got < 100 ? (int)(count - got) : 100, 50, &batch) < 0) {
            usleep(50000);
            continue;
        }
        for (int i = 0; i < bus_batch_count(batch); i++) {
            const struct bus_message *m = bus_batch_at(batch, i);

            assert_int_equal(m->lane, lane);
            assert_int_equal(number_of(m), first + got++);
        }
        if (ack)
            bus_ack(b, batch, lane);
        bus_batch_free(b);
    }
    assert_int_equal(got, count);
}

static inline void expect_nothing(struct bus *b)
{
    struct bus_batch *batch = NULL;

    assert_int_equal(bus_fetch(b, 100, 300, &batch), 0);
    assert_int_equal(bus_batch_count(batch), 0);
}

static inline struct bus *open_shared(const char *id)
{
    settings.share_id = id;
    return open_bus();
}

/* Up to there nothing is of a lane that is attached. */
static inline void expect_passed(struct bus *b, uint64_t seq)
{
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    struct bus_batch *batch = NULL;

    while (bus_seen_seq(b) < seq) {
        assert_true(clock_mono_ns() < until_ns);
        assert_int_equal(bus_fetch(b, 100, 50, &batch), 0);
        assert_int_equal(bus_batch_count(batch), 0);
    }
    assert_int_equal(bus_seen_seq(b), seq);
}
