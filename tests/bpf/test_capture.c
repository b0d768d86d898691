/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: tests/bpf/stage.c agent/capture.c agent/capture_names.c agent/bpffs.c agent/netns.c
 * agent/cgroup.c */
/* What is steered, counted and left alone, by the programs at work. */
#include "tests/bpf/stage.h"

#include "agent/bpffs.h"
#include "agent/netns.h"
#include "proto/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- tests ---- */

static void a_learned_address_is_steered(void **state)
{
    (void)state;
    expect(LECTR_NOT_PROVIDER);
    resolve("www.example-ai.test", PROVIDER_IP);
    expect(LECTR_NOT_PROVIDER);
    resolve("API.example-AI.test", PROVIDER_IP);
    expect(LECTR_STEERED);
    assert_string_equal(counts().provider, "exampleai");
}

static void reasons_to_leave_it_alone(void **state)
{
    struct lectr_beat *beat = capture_beat(st.capture);
    struct lectr_netns none = {0}, ports = {.port4 = st.agent_port4, .flags = LECTR_NETNS_V4};
    int other;

    (void)state;
    resolve("api.example-ai.test", PROVIDER_IP);
    beat->shed = 1;
    expect(LECTR_AGENT_DOWN);
    keep_alive();
    beat->proxy_ns -= 61 * NSEC_PER_SEC;
    expect(LECTR_AGENT_DOWN);
    keep_alive();
    beat->helper_ns -= 61 * NSEC_PER_SEC;
    expect(LECTR_AGENT_DOWN);
    keep_alive();
    beat->generation++; /* the listener is of a proxy that is gone */
    expect(LECTR_AGENT_DOWN);
    keep_alive();
    assert_int_equal(capture_netns_put(st.capture, st.cookie, &none), 0);
    expect(LECTR_NO_LISTENER);
    assert_int_equal(capture_netns_put(st.capture, st.cookie, &ports), 0);
    expect(LECTR_STEERED);
    close(st.agent4);
    expect(LECTR_AGENT_DOWN);
    /* Somebody else listens on the port now, on every address even. */
    other = listen_at("0.0.0.0", st.agent_port4);
    expect(LECTR_AGENT_DOWN);
    close(other);
}

static void who_did_not_consent(void **state)
{
    (void)state;
    resolve("api.example-ai.test", PROVIDER_IP);
    /* The next capture knows of no consenting cgroup. */
    capture_close(&st.capture);
    close(st.agent4);
    close(st.agent6);
    st.cgroup_id++;
    open_agent();
    st.cgroup_id--;
    expect(LECTR_NO_CONSENT);
    assert_int_equal(capture_consent_netns(st.capture, st.cookie), 0);
    expect(LECTR_STEERED);
    capture_netns_drop(st.capture, st.cookie);
    expect(LECTR_NO_CONSENT);
}

static void sockets_that_are_special(void **state)
{
    struct sockaddr_in a = at4(PROVIDER_IP, 443);
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    struct result r;
    int fd;

    (void)state;
    resolve("api.example-ai.test", PROVIDER_IP);
    /* Our own upstream socket is neither steered nor counted. */
    assert_int_equal(netns_socket(AF_INET, &fd), 0);
    fcntl(fd, F_SETFL, 0);
    assert_int_equal(capture_own(st.capture, fd, GENERATION, false), 0);
    r = connect_fd(fd, &a, sizeof(a));
    assert_true(r.direct && !r.steered);
    assert_int_equal(counts().of[LECTR_SEEN], 0);
    /* Bound to a device: left alone. */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
    r = connect_fd(fd, &a, sizeof(a));
    assert_true(r.direct && !r.steered);
    assert_int_equal(counts().of[LECTR_DEVICE_BOUND], 1);
    /* IPv4 by its IPv6 name. */
    inet_pton(AF_INET6, "::ffff:" PROVIDER_IP, &mapped.sin6_addr);
    r = connect_fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), &mapped, sizeof(mapped));
    assert_true(r.steered && !r.direct);
    assert_string_equal(r.peer, "[::ffff:" PROVIDER_IP "]:443");
    assert_int_equal(counts().of[LECTR_STEERED], 1);
    assert_int_equal(counts().of[LECTR_SEEN], 2);
}

/* What the application chose of its own source, the agent's connection would not have. */
static void sockets_with_a_source_of_their_own(void **state)
{
    struct sockaddr_in a = at4(PROVIDER_IP, 443), address = at4(PROVIDER_IP, 0);
    struct sockaddr_in port = at4("0.0.0.0", 4711);
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    struct sockaddr_in6 mapped_source = {.sin6_family = AF_INET6};
    const struct sockaddr_in *binds[] = {&address, &port};
    int fd, mark = 7;

    (void)state;
    resolve("api.example-ai.test", PROVIDER_IP);
    for (unsigned i = 0; i < 2; i++) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (const void *)binds[i], sizeof(*binds[i])), 0);
        assert_true(connect_fd(fd, &a, sizeof(a)).direct);
        assert_int_equal(counts().of[LECTR_BOUND_SOURCE], i + 1);
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
    assert_true(connect_fd(fd, &a, sizeof(a)).direct);
    assert_int_equal(counts().of[LECTR_BOUND_SOURCE], 3);
    inet_pton(AF_INET6, "::ffff:" PROVIDER_IP, &mapped.sin6_addr);
    mapped_source.sin6_addr = mapped.sin6_addr;
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const void *)&mapped_source, sizeof(mapped_source)), 0);
    assert_true(connect_fd(fd, &mapped, sizeof(mapped)).direct);
    assert_int_equal(counts().of[LECTR_BOUND_SOURCE], 4);
    assert_int_equal(counts().of[LECTR_STEERED], 0);
    expect(LECTR_STEERED);
}

/* A socket that was steered, failed, and is used for something else. */
static void a_socket_used_again(void **state)
{
    struct sockaddr_in a = at4(PROVIDER_IP, 443), b = at4("127.0.0.1", 8443);
    struct sockaddr unspec = {.sa_family = AF_UNSPEC};
    struct result r = {0};
    int other = listen_at("127.0.0.1", 8443);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    resolve("api.example-ai.test", PROVIDER_IP);
    assert_int_equal(connect(fd, (void *)&a, sizeof(a)), 0);
    assert_int_equal(connect(fd, &unspec, sizeof(unspec)), 0);
    assert_int_equal(connect(fd, (void *)&b, sizeof(b)), 0);
    note_peer(fd, &r);
    assert_string_equal(r.peer, "127.0.0.1:8443");
    assert_int_equal(counts().of[LECTR_SEEN], 1);
    close(fd);
    close(other);
}

/* The resolver sorts addresses by connecting UDP sockets; only a datagram is QUIC. */
static void quic_is_counted_by_its_first_datagram(void **state)
{
    struct sockaddr_in a = at4(PROVIDER_IP, 443);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)state;
    resolve("api.example-ai.test", PROVIDER_IP);
    assert_int_equal(connect(fd, (void *)&a, sizeof(a)), 0);
    assert_int_equal(counts().of[LECTR_SEEN], 0);
    (void)send(fd, "x", 1, 0);
    assert_int_equal(counts().of[LECTR_QUIC], 1);
    assert_int_equal(counts().of[LECTR_SEEN], 1);
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < 3; i++)
        (void)sendto(fd, "x", 1, 0, (void *)&a, sizeof(a));
    assert_int_equal(counts().of[LECTR_QUIC], 2);
    close(fd);
}

static struct result connect_to(const char *ip, uint16_t port)
{
    struct sockaddr_in a = at4(ip, port);

    return connect_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), &a, sizeof(a));
}

/* In clear a provider is told by its port: at any address, loopback included. */
static void a_plaintext_port_is_steered(void **state)
{
    static const struct {
        const char *listen, *connect, *peer;
    } rows[] = {
        {"0.0.0.0", PROVIDER_IP, PROVIDER_IP ":11434"},
        {"0.0.0.0", "127.0.0.1", "127.0.0.1:11434"},
        {"127.0.0.1", "127.0.0.1", "127.0.0.1:11434"},
        {"127.0.0.7", "127.0.0.7", "127.0.0.7:11434"},
        {"0.0.0.0", "0.0.0.0", "127.0.0.1:11434"},
    };
    struct sockaddr_in a = at4("127.0.0.1", CLEAR_PORT);
    unsigned count = sizeof(rows) / sizeof(rows[0]);
    struct result r;
    int server, fd;

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        server = listen_at(rows[i].listen, CLEAR_PORT);
        r = connect_to(rows[i].connect, CLEAR_PORT);
        assert_true(r.steered);
        assert_string_equal(r.peer, rows[i].peer);
        assert_int_equal(counts().of[LECTR_STEERED], i + 1);
        close(server);
    }
    assert_string_equal(counts().provider, "exampleai");
    /* The agent's own way to the server. */
    server = listen_at("127.0.0.1", CLEAR_PORT);
    assert_int_equal(netns_socket(AF_INET, &fd), 0);
    fcntl(fd, F_SETFL, 0);
    assert_int_equal(capture_own(st.capture, fd, GENERATION, false), 0);
    assert_false(connect_fd(fd, &a, sizeof(a)).steered);
    /* Without the agent. */
    capture_beat(st.capture)->shed = 1;
    assert_false(connect_to("127.0.0.1", CLEAR_PORT).steered);
    keep_alive();
    assert_int_equal(counts().of[LECTR_AGENT_DOWN], 1);
    assert_int_equal(counts().of[LECTR_SEEN], count + 1);
    /* Another port is nobody's. */
    close(server);
    server = listen_at("127.0.0.1", CLEAR_PORT + 1);
    assert_false(connect_to("127.0.0.1", CLEAR_PORT + 1).steered);
    assert_int_equal(counts().of[LECTR_SEEN], count + 1);
    close(server);
}

/* The next address that `localhost` stands for is tried only after a refusal. */
static void nobody_at_loopback_refuses(void **state)
{
    struct sockaddr_in a = at4("127.0.0.1", CLEAR_PORT);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(CLEAR_PORT)};
    int server = listen_at("127.0.0.2", CLEAR_PORT);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    six.sin6_addr = in6addr_loopback;
    assert_int_equal(connect(fd, (void *)&a, sizeof(a)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (void *)&six, sizeof(six)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    assert_int_equal(counts().of[LECTR_SEEN], 0);
    close(server);
}

static void plaintext_loopback_ipv6(void **state)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(CLEAR_PORT)};
    struct sockaddr_in6 any = a;
    struct lectr_netns no_route = {
        .port4 = st.agent_port4, .port6 = st.agent_port6, .flags = LECTR_NETNS_V4};
    int server = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct result r;

    (void)state;
    a.sin6_addr = in6addr_loopback;
    assert_int_equal(bind(server, (const void *)&a, sizeof(a)), 0);
    assert_int_equal(listen(server, 16), 0);
    /* Loopback needs no way out. */
    assert_int_equal(capture_netns_put(st.capture, st.cookie, &no_route), 0);
    r = connect_fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), &a, sizeof(a));
    assert_true(r.steered);
    assert_string_equal(r.peer, "[::1]:11434");
    r = connect_fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), &any, sizeof(any));
    assert_true(r.steered);
    assert_string_equal(r.peer, "[::1]:11434");
    close(server);
}

/* A port alone counts only for those who consented. */
static void a_plaintext_port_without_consent(void **state)
{
    int server = listen_at("127.0.0.1", CLEAR_PORT);

    (void)state;
    capture_consent_drop(st.capture, st.cgroup_id);
    assert_false(connect_to("127.0.0.1", CLEAR_PORT).steered);
    assert_int_equal(counts().of[LECTR_SEEN], 0);
    close(server);
}

static void count_event(void *user, const struct lectr_netns_event *event)
{
    unsigned *met = user;

    assert_int_equal(event->netns_cookie, st.cookie);
    assert_int_equal(event->pid, getpid());
    (*met)++;
}

static void an_unknown_namespace_is_reported_once(void **state)
{
    unsigned met = 0;

    (void)state;
    close(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    capture_events_read(st.capture, count_event, &met);
    assert_int_equal(met, 0);
    capture_netns_drop(st.capture, st.cookie);
    for (int i = 0; i < 5; i++)
        close(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    capture_events_read(st.capture, count_event, &met);
    assert_int_equal(met, 1);
}

/* Between two helpers the census counts on, and names stay learned. */
static void what_outlives_the_helper(void **state)
{
    struct counts c;
    uint64_t epoch;

    (void)state;
    resolve("api.example-ai.test", PROVIDER_IP);
    expect(LECTR_STEERED);
    epoch = capture_meta(st.capture)->epoch[0];
    capture_meta(st.capture)->helper_wall_ns = 4711;
    close_agent();
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in a = at4(PROVIDER_IP, 443);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (void *)&a, sizeof(a)), 0);
        close(fd);
    }
    open_agent();
    assert_int_equal(capture_meta(st.capture)->epoch[0], epoch);
    assert_int_equal(capture_meta_before(st.capture)->helper_wall_ns, 4711);
    c = counts();
    assert_int_equal(c.of[LECTR_SEEN], 4);
    assert_int_equal(c.of[LECTR_STEERED], 1);
    /* Steered without another look at the name; the census is attached once. */
    connect_out();
    assert_int_equal(counts().of[LECTR_SEEN], 5);
    assert_int_equal(counts().of[LECTR_STEERED], 2);
}

static void count_removed(void *user, const char *what)
{
    (void)what;
    ++*(unsigned *)user;
}

static void cleaning_up_ends_the_census_too(void **state)
{
    unsigned removed = 0;
    struct stat s;

    (void)state;
    resolve("api.example-ai.test", PROVIDER_IP);
    close_agent();
    assert_int_equal(bpffs_clean(st.bpffs, true, count_removed, &removed), 0);
    assert_true(removed > 10);
    assert_int_equal(stat(st.bpffs, &s), -1);
    open_agent();
    assert_int_equal(counts().of[LECTR_SEEN], 0);
    expect(LECTR_NOT_PROVIDER);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_learned_address_is_steered),
        T(reasons_to_leave_it_alone),
        T(who_did_not_consent),
        T(sockets_that_are_special),
        T(sockets_with_a_source_of_their_own),
        T(a_socket_used_again),
        T(quic_is_counted_by_its_first_datagram),
        T(a_plaintext_port_is_steered),
        T(nobody_at_loopback_refuses),
        T(plaintext_loopback_ipv6),
        T(a_plaintext_port_without_consent),
        T(an_unknown_namespace_is_reported_once),
        T(what_outlives_the_helper),
        T(cleaning_up_ends_the_census_too),
    };
    int r;

    if (geteuid() != 0) {
        puts("SKIP - attaching programs needs root");
        return 0;
    }
    r = build_stage();
    if (r < 0) {
        printf("SKIP - no cgroup and namespaces of its own: %s\n", strerror(-r));
        return 0;
    }
    r = cmocka_run_group_tests(tests, NULL, NULL);
    strike_stage();
    return r;
}
