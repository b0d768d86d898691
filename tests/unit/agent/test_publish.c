// SPDX-License-Identifier: Apache-2.0
/* LINK: agent/publish.c agent/outbox.c agent/spool.c agent/folder.c agent/segment.c */
#include "agent/config.h"
#include "agent/publish.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/event.h"
#include "proto/subject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <nats/nats.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#define WAIT_MS 60000 /* only a bound: a test ends as soon as it has what it waits for */
#define EVENTS_MAX 200000

struct server {
    pid_t pid;
    uint16_t port;
};

static char root[64];
static char state_dir[96], url[64], org[] = "acme", stream[] = "LECTR";
static struct server server;
static struct config config;

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEAN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(at);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static bool is_listening(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CLEAN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
}

static void server_start(void)
{
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    char port[8], store[128], log[128];

    snprintf(port, sizeof(port), "%u", server.port);
    snprintf(store, sizeof(store), "%s/jetstream", root);
    snprintf(log, sizeof(log), "%s/server.log", root);
    server.pid = fork();
    if (server.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("nats-server", "nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", store,
               "-l", log, NULL);
        _exit(127);
    }
    while (!is_listening(server.port)) {
        assert_true(clock_mono_ns() < until_ns);
        usleep(10000);
    }
}

static void server_stop(int signal_number)
{
    if (server.pid <= 0)
        return;
    kill(server.pid, signal_number);
    waitpid(server.pid, NULL, 0);
    server.pid = 0;
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/lectr-publish-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(state_dir, sizeof(state_dir), "%s/state", root);
    server.port = free_port();
    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", server.port);
    config = (struct config){
        .org = org,
        .state_dir = state_dir,
        .nats = {.url = url,
                 .stream = stream,
                 .stream_max_age_h = 48,
                 .stream_max_bytes = 512 << 20},
        .spool = {.limit_bytes = 64 << 20, .segment_bytes = 256 << 10},
    };
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    server_stop(SIGKILL);
    return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* `number` is told by the response id, to be counted in the stream. */
static int publish_number(struct publish *p, uint64_t number)
{
    Lectr__V1__Call call = LECTR__V1__CALL__INIT;
    char response_id[32], provider[] = "openai";

    snprintf(response_id, sizeof(response_id), "%llu", (unsigned long long)number);
    call.provider = provider;
    call.response_id = response_id;
    return publish_call(p, &call);
}

static struct publish *open_publish(void)
{
    struct publish *p = NULL;

    assert_int_equal(publish_open(&config, &p), 0);
    return p;
}

static struct publish_stats stats_of(const struct publish *p)
{
    struct publish_stats stats;

    publish_stats(p, &stats);
    return stats;
}

static void wait_acked_at_least(const struct publish *p, uint64_t events)
{
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;

    while (stats_of(p).events_acked < events && clock_mono_ns() < until_ns)
        usleep(5000);
    assert_true(stats_of(p).events_acked >= events);
}

static void wait_acked(const struct publish *p, uint64_t events)
{
    wait_acked_at_least(p, events);
    assert_int_equal(stats_of(p).events_acked, events);
}

/* What the stream holds, read as a subscriber would. */
struct census {
    uint64_t messages, calls, gaps, events_lost;
    uint64_t holes;      /* in the numbering of any instance */
    uint64_t duplicates; /* of a response id */
    uint64_t bad;        /* not decodable, or on a wrong subject */
    uint32_t instances;
    struct {
        char id[EVENT_UUID_BYTES];
        uint64_t last_seq, count;
    } seen[32];
};

static uint8_t times_seen[EVENTS_MAX];

static void count_seq(struct census *c, const char *instance, uint64_t seq)
{
    uint32_t i = 0;

    while (i < c->instances && strcmp(c->seen[i].id, instance) != 0)
        i++;
    assert_true(i < 32);
    if (i == c->instances) {
        c->instances++;
        snprintf(c->seen[i].id, sizeof(c->seen[i].id), "%s", instance);
    }
    c->seen[i].count++;
    if (seq > c->seen[i].last_seq)
        c->seen[i].last_seq = seq;
}

static void count_call(struct census *c, const Lectr__V1__Call *call, const struct subject *subject)
{
    uint64_t number = strtoull(call->response_id, NULL, 10);

    c->calls++;
    c->bad += strcmp(subject->org, org) != 0 || strcmp(subject->name, "openai") != 0 ||
              subject->part != call->part || call->part != event_part(call->agent_instance);
    if (number < EVENTS_MAX && times_seen[number]++ > 0)
        c->duplicates++;
    count_seq(c, call->agent_instance, call->seq);
}

static void count_message(struct census *c, natsMsg *msg)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    struct slice bytes = slice_of(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    struct subject subject;

    c->messages++;
    if (subject_parse(natsMsg_GetSubject(msg), &subject) < 0 ||
        event_unpack(subject.type, bytes, &message) < 0) {
        c->bad++;
        return;
    }
    if (subject.type == EVENT_CALL) {
        count_call(c, (Lectr__V1__Call *)message, &subject);
    } else if (subject.type == EVENT_GAP) {
        const Lectr__V1__Gap *gap = (Lectr__V1__Gap *)message;

        c->gaps++;
        c->events_lost += gap->events_lost;
        c->bad += strcmp(gap->reason, "spool_lost") != 0;
        count_seq(c, gap->agent_instance, gap->seq);
    } else {
        count_seq(c, ((Lectr__V1__Coverage *)message)->agent_instance,
                  ((Lectr__V1__Coverage *)message)->seq);
    }
}

static void read_stream(natsConnection *connection, struct census *c)
{
    natsSubscription *subscription = NULL;
    jsStreamInfo *info = NULL;
    jsSubOptions options;
    jsCtx *js = NULL;
    natsMsgList list;

    assert_int_equal(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    assert_int_equal(js_GetStreamInfo(&info, js, stream, NULL, NULL), NATS_OK);
    jsSubOptions_Init(&options);
    options.Stream = stream;
    options.Config.AckPolicy = js_AckNone;
    assert_int_equal(js_PullSubscribe(&subscription, js, SUBJECT_ALL, NULL, NULL, &options, NULL),
                     NATS_OK);
    while (c->messages < info->State.Msgs) {
        int batch =
            info->State.Msgs - c->messages < 500 ? (int)(info->State.Msgs - c->messages) : 500;

        assert_int_equal(natsSubscription_Fetch(&list, subscription, batch, 10000, NULL), NATS_OK);
        for (int i = 0; i < list.Count; i++)
            count_message(c, list.Msgs[i]);
        natsMsgList_Destroy(&list);
    }
    natsSubscription_Destroy(subscription);
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
}

static struct census take_census(void)
{
    natsConnection *connection = NULL;
    struct census c = {0};

    memset(times_seen, 0, sizeof(times_seen));
    assert_int_equal(natsConnection_ConnectTo(&connection, url), NATS_OK);
    read_stream(connection, &c);
    natsConnection_Destroy(connection);
    for (uint32_t i = 0; i < c.instances; i++)
        c.holes += c.seen[i].last_seq - c.seen[i].count;
    assert_int_equal(c.bad, 0);
    return c;
}

/* Numbers 0 … events-1 are in the stream once each, and nothing else. */
static void assert_exactly_once(const struct census *c, uint64_t events)
{
    assert_int_equal(c->calls, events);
    assert_int_equal(c->duplicates, 0);
    assert_int_equal(c->holes, 0);
    for (uint64_t i = 0; i < events; i++)
        assert_int_equal(times_seen[i], 1);
}

static bool spool_is_empty(void)
{
    char command[160];

    snprintf(command, sizeof(command), "test -z \"$(ls %s/spool)\"", state_dir);
    return system(command) == 0;
}

static void events_reach_the_stream(void **state)
{
    Lectr__V1__Coverage coverage = LECTR__V1__COVERAGE__INIT;
    struct publish *p;
    struct census c;

    (void)state;
    server_start();
    p = open_publish();
    assert_true(event_is_uuid(publish_instance(p)));
    for (uint64_t i = 0; i < 5000; i++)
        assert_int_equal(publish_number(p, i), 0);
    assert_int_equal(publish_coverage(p, &coverage), 0);
    assert_int_equal(coverage.seq, 5001);
    assert_null(coverage.id);
    wait_acked(p, 5001);
    assert_true(stats_of(p).connected);
    publish_close(&p, 1000);
    assert_null(p);
    assert_true(spool_is_empty());
    c = take_census();
    assert_int_equal(c.messages, 5001);
    assert_exactly_once(&c, 5000);
}

static void nothing_is_lost_while_there_is_no_server(void **state)
{
    struct publish *p = open_publish();
    struct census c;

    (void)state;
    for (uint64_t i = 0; i < 3000; i++)
        assert_int_equal(publish_number(p, i), 0);
    assert_int_equal(stats_of(p).events_acked, 0);
    assert_false(stats_of(p).connected);
    server_start();
    wait_acked(p, 3000);
    publish_close(&p, 1000);
    c = take_census();
    assert_exactly_once(&c, 3000);
}

static void a_closed_publisher_leaves_the_rest_to_the_next(void **state)
{
    struct publish *p = open_publish();
    struct census c;

    (void)state;
    for (uint64_t i = 0; i < 2000; i++)
        assert_int_equal(publish_number(p, i), 0);
    publish_close(&p, 0);
    assert_false(spool_is_empty());
    server_start();
    p = open_publish();
    for (uint64_t i = 2000; i < 2100; i++)
        assert_int_equal(publish_number(p, i), 0);
    wait_acked(p, 2100);
    publish_close(&p, 1000);
    assert_true(spool_is_empty());
    c = take_census();
    assert_exactly_once(&c, 2100);
    assert_int_equal(c.instances, 2);
}

static void outage(int signal_number)
{
    struct publish *p;
    struct census c;
    uint64_t number = 0;

    server_start();
    p = open_publish();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5000; i++)
            assert_int_equal(publish_number(p, number++), 0);
        server_stop(signal_number); /* with thousands in flight */
        for (int i = 0; i < 3000; i++)
            assert_int_equal(publish_number(p, number++), 0);
        usleep(300000);
        server_start();
        for (int i = 0; i < 1000; i++)
            assert_int_equal(publish_number(p, number++), 0);
    }
    wait_acked(p, number);
    publish_close(&p, 1000);
    assert_true(spool_is_empty());
    c = take_census();
    assert_exactly_once(&c, number);
}

static void a_killed_server_loses_and_doubles_nothing(void **state)
{
    (void)state;
    outage(SIGKILL);
}

static void a_stopped_server_loses_and_doubles_nothing(void **state)
{
    (void)state;
    outage(SIGTERM);
}

/* A server that hangs says nothing at all: only MaxWait tells. */
static void a_hanging_server_loses_and_doubles_nothing(void **state)
{
    struct publish *p;
    struct census c;
    uint64_t number = 0;

    (void)state;
    server_start();
    p = open_publish();
    for (; number < 2000; number++)
        assert_int_equal(publish_number(p, number), 0);
    kill(server.pid, SIGSTOP);
    for (; number < 6000; number++)
        assert_int_equal(publish_number(p, number), 0);
    usleep(7000000); /* longer than an ack is waited for */
    kill(server.pid, SIGCONT);
    wait_acked(p, number);
    publish_close(&p, 1000);
    c = take_census();
    assert_exactly_once(&c, number);
}

static void a_deleted_stream_is_made_again(void **state)
{
    natsConnection *connection = NULL;
    struct publish *p;
    jsStreamInfo *info = NULL;
    jsCtx *js = NULL;
    struct census c;

    (void)state;
    server_start();
    p = open_publish();
    assert_int_equal(publish_number(p, 0), 0);
    wait_acked(p, 1);
    assert_int_equal(natsConnection_ConnectTo(&connection, url), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    assert_int_equal(js_GetStreamInfo(&info, js, stream, NULL, NULL), NATS_OK);
    assert_int_equal(info->Config->MaxAge, 48 * 3600 * 1000000000LL);
    assert_int_equal(info->Config->MaxBytes, 512 << 20);
    jsStreamInfo_Destroy(info);
    assert_int_equal(js_DeleteStream(js, stream, NULL, NULL), NATS_OK);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    assert_int_equal(publish_number(p, 1), 0);
    wait_acked(p, 2);
    publish_close(&p, 1000);
    c = take_census();
    assert_int_equal(c.calls, 1);
    assert_int_equal(times_seen[1], 1);
}

/* Shared with the child through a file. */
struct progress {
    _Atomic uint64_t appended, acked;
};

static struct progress *map_progress(const char *path)
{
    CLEAN_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct progress *progress;

    if (fd < 0 || ftruncate(fd, sizeof(*progress)) < 0)
        return NULL;
    progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return progress == MAP_FAILED ? NULL : progress;
}

/* The program of a process that is killed while it publishes: this one again,
 * because the client library's threads do not survive a fork. */
static int publish_until_killed(char **args)
{
    struct progress *progress = map_progress(args[0]);
    uint64_t first = strtoull(args[3], NULL, 10);
    struct publish *p = NULL;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    config = (struct config){
        .org = org,
        .state_dir = args[1],
        .nats = {.url = args[2], .stream = stream},
        .spool = {.limit_bytes = 64 << 20, .segment_bytes = 256 << 10},
    };
    log_setup("child", LOG_LEVEL_ERROR);
    if (!progress || publish_open(&config, &p) < 0)
        return 1;
    for (uint64_t i = first; i < first + 20000; i++) {
        if (publish_number(p, i) < 0)
            return 1;
        progress->appended = i + 1 - first;
        if (i % 100 == 0) {
            progress->acked = stats_of(p).events_acked;
            usleep(1000);
        }
    }
    for (;;) {
        progress->acked = stats_of(p).events_acked;
        usleep(1000);
    }
}

/* Returns how many events the process had appended when it died; `until_acked`: not before one
 * was acknowledged. */
static uint64_t run_and_kill(uint64_t first, unsigned after_us, bool until_acked,
                             uint64_t *ret_acked)
{
    char path[96], first_text[24];
    struct progress *progress;
    uint64_t appended;
    pid_t child;

    snprintf(path, sizeof(path), "%s/progress", root);
    snprintf(first_text, sizeof(first_text), "%llu", (unsigned long long)first);
    progress = map_progress(path);
    assert_non_null(progress);
    progress->appended = progress->acked = 0;
    child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test_publish", "--publish", path, state_dir, url, first_text,
              NULL);
        _exit(127);
    }
    while (progress->appended == 0)
        usleep(1000);
    usleep(after_us);
    for (unsigned ms = 0; until_acked && progress->acked == 0 && ms < WAIT_MS; ms++)
        usleep(1000);
    assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    appended = progress->appended;
    *ret_acked = progress->acked;
    munmap(progress, sizeof(*progress));
    return appended;
}

/* Publishers are killed at several moments, before and after the server is
 * there and while it is away; the next one sends what they left. */
static void a_killed_publisher_loses_and_doubles_nothing(void **state)
{
    uint64_t told = 0, first = 0, acked[6], until_ns;
    struct publish *p;
    struct census c;

    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        if (round == 1)
            server_start();
        if (round == 4)
            server_stop(SIGKILL);
        told += run_and_kill(first, 20000 + 40000 * round, round == 3, &acked[round]);
        first += 20000;
    }
    assert_int_equal(acked[0], 0);
    assert_true(acked[3] > 0);
    server_start();
    p = open_publish();
    until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    while (stats_of(p).spool_bytes > config.spool.segment_bytes && clock_mono_ns() < until_ns)
        usleep(20000);
    publish_close(&p, 10000);
    assert_true(spool_is_empty());
    c = take_census();
    assert_int_equal(c.duplicates, 0);
    assert_int_equal(c.holes, 0);
    assert_int_equal(c.instances, 6);
    /* each may have appended one more than it could tell */
    assert_in_range(c.calls, told, told + 6);
}

static void what_did_not_fit_is_told(void **state)
{
    struct publish *p;
    uint64_t dropped = 0, kept = 0;
    struct census c;

    (void)state;
    config.spool.limit_bytes = 512 << 10;
    p = open_publish();
    for (uint64_t i = 0; i < 20000; i++) {
        int r = publish_number(p, i);

        assert_true(r == 0 || r == -ENOSPC);
        dropped += r < 0;
        kept += r == 0;
    }
    assert_true(dropped > 0 && kept > 1000);
    assert_int_equal(stats_of(p).events_dropped, dropped);
    assert_true(stats_of(p).spool_bytes <= config.spool.limit_bytes);
    server_start();
    wait_acked_at_least(p, kept + 1); /* and the gap */
    publish_close(&p, 1000);
    assert_true(spool_is_empty());
    c = take_census();
    assert_int_equal(c.calls, kept);
    assert_int_equal(c.events_lost, dropped);
    /* told in the midst of it and again at its end, if the sender was quick */
    assert_in_range(c.gaps, 1, 2);
    assert_int_equal(c.holes, 0); /* a dropped event takes no number */
    assert_int_equal(c.duplicates, 0);
}

static void what_did_not_fit_is_told_by_the_next(void **state)
{
    uint64_t dropped = 0;
    struct publish *p;
    struct census c;

    (void)state;
    config.spool.limit_bytes = 512 << 10;
    p = open_publish();
    for (uint64_t i = 0; i < 20000; i++)
        dropped += publish_number(p, i) < 0;
    assert_true(dropped > 0);
    publish_close(&p, 0); /* the gap goes into the reserve */
    server_start();
    p = open_publish();
    wait_acked_at_least(p, 20000 - dropped + 1);
    publish_close(&p, 1000);
    c = take_census();
    assert_int_equal(c.events_lost, dropped);
    /* told in the midst of it and again at its end, if the sender was quick */
    assert_in_range(c.gaps, 1, 2);
    assert_int_equal(c.holes, 0);
}

static void a_gap_keeps_the_name_it_was_given(void **state)
{
    Lectr__V1__Gap gap = LECTR__V1__GAP__INIT;
    char id[] = "0190163d-8694-739b-aea5-966c26f8ad91", reason[] = "agent_died";
    struct publish *p = open_publish();

    (void)state;
    gap.id = id;
    gap.reason = reason;
    assert_int_equal(publish_gap(p, &gap), 0);
    assert_ptr_equal(gap.id, id);
    assert_int_equal(gap.seq, 1);
    assert_null(gap.org);
    assert_null(gap.agent_instance);
    assert_false(gap.has_end_time_unix_nano);
    publish_close(&p, 0);
}

static void an_org_that_fits_no_subject_is_refused(void **state)
{
    char long_org[80];
    struct publish *p = NULL;

    (void)state;
    memset(long_org, 'x', sizeof(long_org) - 1);
    long_org[sizeof(long_org) - 1] = '\0';
    config.org = long_org;
    assert_int_equal(publish_open(&config, &p), -ENAMETOOLONG);
    assert_null(p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(events_reach_the_stream),
        T(nothing_is_lost_while_there_is_no_server),
        T(a_closed_publisher_leaves_the_rest_to_the_next),
        T(a_killed_server_loses_and_doubles_nothing),
        T(a_stopped_server_loses_and_doubles_nothing),
        T(a_hanging_server_loses_and_doubles_nothing),
        T(a_deleted_stream_is_made_again),
        T(a_killed_publisher_loses_and_doubles_nothing),
        T(what_did_not_fit_is_told),
        T(what_did_not_fit_is_told_by_the_next),
        T(a_gap_keeps_the_name_it_was_given),
        T(an_org_that_fits_no_subject_is_refused),
    };

    if (argc == 6 && strcmp(argv[1], "--publish") == 0)
        return publish_until_killed(argv + 2);
    if (system("command -v nats-server >/dev/null") != 0) {
        printf("SKIP test_publish: nats-server is not installed\n");
        return 0;
    }
    log_setup("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
