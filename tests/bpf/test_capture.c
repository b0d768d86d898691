/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/capture.c agent/bpffs.c agent/netns.c agent/cgroup.c */
/*
 * The programs at work on this very process, which puts itself into a cgroup
 * and a network namespace of its own and plays all parts: resolver, client,
 * provider and agent. Needs root; leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/bpffs.h"
#include "agent/capture.h"
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/netns.h"
#include "agent/provider.h"
#include "proto/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PROVIDER_IP "198.51.100.7"
#define GENERATION 3

/* ---- one provider ---- */

struct provider_set {
    int unused;
};

unsigned provider_hosts(const struct provider_set *set, const char **ret_patterns, unsigned max)
{
    (void)set;
    if (max > 0)
        ret_patterns[0] = "api.example-ai.test";
    return 1;
}

const struct provider *provider_by_host(const struct provider_set *set, struct slice host)
{
    (void)host;
    return (const void *)set;
}

const char *provider_name(const struct provider *p)
{
    (void)p;
    return "exampleai";
}

/* ---- the stage ---- */

static struct {
    char cgroup[256], bpffs[64], home[256];
    uint16_t ports[1];
    char mode[16];
    struct config config;
    struct provider_set providers;
    struct capture *capture;
    uint64_t cookie, cgroup_id;
    int agent4, agent6; /* the agent's listeners */
    uint16_t agent_port4, agent_port6;
    int provider; /* what is reached when nobody steers */
} st;

static int write_self(const char *cgroup)
{
    char path[300];
    int fd, r;

    snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = dprintf(fd, "%d", (int)getpid()) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static int interface_up(const char *name, const char *address)
{
    struct ifreq req = {0};
    struct sockaddr_in a = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

    snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
    if (address) {
        inet_pton(AF_INET, address, &a.sin_addr);
        memcpy(&req.ifr_addr, &a, sizeof(a));
        r = ioctl(fd, SIOCSIFADDR, &req);
    }
    if (r == 0)
        r = ioctl(fd, SIOCGIFFLAGS, &req);
    req.ifr_flags |= IFF_UP;
    if (r == 0)
        r = ioctl(fd, SIOCSIFFLAGS, &req);
    close(fd);
    return r;
}

static struct sockaddr_in at4(const char *ip, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static int listen_at(const char *ip, uint16_t port)
{
    struct sockaddr_in a = at4(ip, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(fd, (void *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static void keep_alive(void)
{
    struct lectr_beat *beat = capture_beat(st.capture);

    beat->proxy_ns = beat->helper_ns = clock_mono_ns();
    beat->shed = 0;
    beat->generation = GENERATION;
}

static void open_agent(void)
{
    struct lectr_netns value = {.flags = LECTR_NETNS_V4 | LECTR_NETNS_V6};
    struct capture_error error = {0};

    if (capture_open(&st.config, st.cgroup, &st.providers, &st.capture, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(capture_consent_cgroup(st.capture, st.cgroup_id), 0);
    assert_int_equal(netns_socket(AF_INET, &st.agent4), 0);
    assert_int_equal(netns_socket(AF_INET6, &st.agent6), 0);
    assert_int_equal(netns_listen(st.agent4, AF_INET, NETNS_RANGE_DEFAULT, &st.agent_port4), 0);
    assert_int_equal(netns_listen(st.agent6, AF_INET6, NETNS_RANGE_DEFAULT, &st.agent_port6), 0);
    assert_int_equal(capture_own(st.capture, st.agent4, GENERATION, true), 0);
    assert_int_equal(capture_own(st.capture, st.agent6, GENERATION, true), 0);
    value.port4 = st.agent_port4;
    value.port6 = st.agent_port6;
    assert_int_equal(capture_netns_put(st.capture, st.cookie, &value), 0);
    if (capture_attach(st.capture, &error) < 0)
        fail_msg("%s", error.text);
    keep_alive();
}

static void close_agent(void)
{
    capture_close(&st.capture);
    close(st.agent4);
    close(st.agent6);
}

/* A resolver's answer, as this namespace's clients receive it. */
static void resolve(const char *name, const char *ip)
{
    struct sockaddr_in server = at4("127.0.0.1", 53), client = at4("127.0.0.1", 0);
    uint8_t packet[512] = {0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1};
    uint8_t got[512];
    socklen_t size = sizeof(client);
    size_t n = 12;
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int c = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    while (*name) {
        size_t len = strcspn(name, ".");

        packet[n++] = (uint8_t)len;
        memcpy(packet + n, name, len);
        n += len;
        name += len + (name[len] == '.');
    }
    memcpy(packet + n, "\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4", 17);
    n += 17;
    if (strchr(ip, ':')) {
        packet[n - 15] = packet[n - 9] = 28; /* AAAA */
        packet[n - 1] = 16;
        inet_pton(AF_INET6, ip, packet + n);
        n += 16;
    } else {
        inet_pton(AF_INET, ip, packet + n);
        n += 4;
    }
    assert_int_equal(bind(s, (void *)&server, sizeof(server)), 0);
    assert_int_equal(bind(c, (void *)&client, sizeof(client)), 0);
    assert_int_equal(getsockname(c, (void *)&client, &size), 0);
    assert_int_equal(sendto(s, packet, n, 0, (void *)&client, size), n);
    assert_int_equal(recv(c, got, sizeof(got), 0), n);
    close(s);
    close(c);
}

struct result {
    bool steered, direct;
    char peer[64];
    uint16_t local_port;
};

static void drain(int listener, bool *ret_any)
{
    int fd;

    *ret_any = false;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        *ret_any = true;
        close(fd);
    }
}

static void note_peer(int fd, struct result *r)
{
    struct sockaddr_storage peer, local;
    socklen_t size = sizeof(peer);
    char ip[64];

    assert_int_equal(getpeername(fd, (void *)&peer, &size), 0);
    size = sizeof(local);
    assert_int_equal(getsockname(fd, (void *)&local, &size), 0);
    if (peer.ss_family == AF_INET) {
        const struct sockaddr_in *a = (const void *)&peer;

        snprintf(r->peer, sizeof(r->peer), "%s:%u",
                 inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip)), ntohs(a->sin_port));
        r->local_port = ntohs(((const struct sockaddr_in *)(const void *)&local)->sin_port);
    } else {
        const struct sockaddr_in6 *a = (const void *)&peer;

        snprintf(r->peer, sizeof(r->peer), "[%s]:%u",
                 inet_ntop(AF_INET6, &a->sin6_addr, ip, sizeof(ip)), ntohs(a->sin6_port));
        r->local_port = ntohs(((const struct sockaddr_in6 *)(const void *)&local)->sin6_port);
    }
}

/* Connects a socket (closed) and tells where it arrived. */
static struct result connect_fd(int fd, const void *addr, socklen_t size)
{
    struct result r = {0};
    bool steered4, steered6;

    assert_int_equal(connect(fd, addr, size), 0);
    note_peer(fd, &r);
    close(fd);
    drain(st.agent4, &steered4);
    drain(st.agent6, &steered6);
    drain(st.provider, &r.direct);
    r.steered = steered4 || steered6;
    return r;
}

static struct result connect_out(void)
{
    struct sockaddr_in a = at4(PROVIDER_IP, 443);

    return connect_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), &a, sizeof(a));
}

struct counts {
    uint64_t of[LECTR_VERDICT__COUNT];
    char provider[32];
};

static void add_counts(void *user, const struct capture_row *row)
{
    struct counts *c = user;

    assert_int_equal(row->key.cgroup_id, st.cgroup_id);
    assert_int_equal(row->key.netns_cookie, st.cookie);
    for (int v = 0; v < LECTR_VERDICT__COUNT; v++)
        c->of[v] += row->seen.count[v];
    capture_provider_name(st.capture, row->key.provider, c->provider);
}

static struct counts counts(void)
{
    struct counts c = {0};

    capture_census_each(st.capture, add_counts, &c);
    return c;
}

/* One connection, which must get this verdict, and be counted so. */
static void expect(enum lectr_verdict verdict)
{
    struct counts before = counts(), after;
    struct result r = connect_out();

    after = counts();
    assert_int_equal(r.steered, verdict == LECTR_STEERED);
    assert_int_equal(r.direct, verdict != LECTR_STEERED);
    assert_string_equal(r.peer, PROVIDER_IP ":443");
    assert_int_equal(after.of[LECTR_SEEN], before.of[LECTR_SEEN] + (verdict != LECTR_NOT_PROVIDER));
    for (int v = LECTR_STEERED; v < LECTR_VERDICT__COUNT; v++)
        assert_int_equal(after.of[v], before.of[v] + ((enum lectr_verdict)v == verdict &&
                                                      verdict != LECTR_NOT_PROVIDER));
}

/* ---- set up and down ---- */

static int build_stage(void)
{
    char root[CGROUP_PATH_MAX];
    FILE *f;

    st.provider = st.agent4 = st.agent6 = -1;
    if (cgroup_find_root(root, sizeof(root)) < 0)
        return -ENOENT;
    snprintf(st.cgroup, sizeof(st.cgroup), "%.200s/lectr-test-%d", root, (int)getpid());
    snprintf(st.bpffs, sizeof(st.bpffs), "/tmp/lectr-test-bpf-%d", (int)getpid());
    snprintf(st.home, sizeof(st.home), "%.200s", root);
    f = fopen("/proc/self/cgroup", "re");
    for (char line[300]; f && fgets(line, sizeof(line), f);)
        if (strncmp(line, "0::/", 4) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(st.home, sizeof(st.home), "%.100s%.150s", root, line + 3);
        }
    if (f)
        fclose(f);
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdir(st.cgroup, 0755) < 0)
        return -errno;
    if (write_self(st.cgroup) < 0 || cgroup_id_of(st.cgroup, &st.cgroup_id) < 0 ||
        interface_up("lo", NULL) < 0 || interface_up("lo:1", PROVIDER_IP) < 0 ||
        netns_cookie(&st.cookie) < 0)
        return -EIO;
    st.ports[0] = 443;
    strcpy(st.mode, "providers");
    st.config.capture.bpffs = st.bpffs;
    st.config.capture.mode = st.mode;
    st.config.capture.ports = st.ports;
    st.config.capture.ports_count = 1;
    st.config.capture.heartbeat_stale_ms = 60000;
    st.config.capture.dns_ttl_min_s = 3600;
    return 0;
}

static void strike_stage(void)
{
    if (write_self(st.home) < 0 || rmdir(st.cgroup) < 0)
        fprintf(stderr, "left behind: %s: %s\n", st.cgroup, strerror(errno));
    if (bpffs_clean(st.bpffs, true, NULL, NULL) < 0)
        fprintf(stderr, "left behind: %s\n", st.bpffs);
}

static int set_up(void **state)
{
    (void)state;
    st.provider = listen_at(PROVIDER_IP, 443);
    open_agent();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_agent();
    close(st.provider);
    return bpffs_clean(st.bpffs, true, NULL, NULL);
}

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

/* The record is there before the connection is accepted. */
static void the_original_destination_is_on_record(void **state)
{
    long page = sysconf(_SC_PAGESIZE);
    uint32_t bytes = capture_origins_bytes(st.capture);
    const uint8_t *ring;
    const uint64_t *produced;
    struct lectr_origin o;
    struct result r;

    (void)state;
    ring = mmap(NULL, (size_t)page + bytes, PROT_READ, MAP_SHARED, capture_origins_fd(st.capture),
                page);
    assert_true(ring != MAP_FAILED);
    produced = (const void *)ring;
    assert_int_equal(*produced, 0);
    resolve("api.example-ai.test", PROVIDER_IP);
    r = connect_out();
    assert_int_equal(*produced, 8 + sizeof(o));
    memcpy(&o, ring + page + 8, sizeof(o));
    assert_int_equal(o.netns_cookie, st.cookie);
    assert_int_equal(o.cgroup_id, st.cgroup_id);
    assert_int_equal(o.family, LECTR_AF_INET);
    assert_int_equal(o.dport, 443);
    assert_int_equal(o.sport, r.local_port);
    assert_int_equal(o.pid, getpid());
    assert_memory_equal(o.daddr, "\xc6\x33\x64\x07\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_memory_equal(o.saddr, "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    munmap((void *)(uintptr_t)ring, (size_t)page + bytes);
}

/* The last record of the ring; its header must be of that size. */
static struct lectr_origin last_record(void)
{
    long page = sysconf(_SC_PAGESIZE);
    uint32_t bytes = capture_origins_bytes(st.capture);
    struct lectr_origin o;
    uint8_t *ring = mmap(NULL, (size_t)page + bytes, PROT_READ, MAP_SHARED,
                         capture_origins_fd(st.capture), page);
    uint64_t produced;

    assert_true(ring != MAP_FAILED);
    memcpy(&produced, ring, sizeof(produced));
    assert_true(produced >= 8 + sizeof(o) && produced < bytes);
    memcpy(&o, ring + page + produced - sizeof(o), sizeof(o));
    munmap(ring, (size_t)page + bytes);
    return o;
}

static void another_address_of_the_name_goes_along(void **state)
{
    uint8_t other6[16], other4[16] = {198, 51, 100, 8};
    struct lectr_origin o;

    (void)state;
    inet_pton(AF_INET6, "2001:db8::7", other6);
    /* Of another name: none of this one's. */
    resolve("api.example-ai.test", PROVIDER_IP);
    connect_out();
    assert_int_equal(last_record().alt_family, 0);
    /* The same family, if there is no other. */
    resolve("api.example-ai.test", "198.51.100.8");
    connect_out();
    o = last_record();
    assert_int_equal(o.alt_family, LECTR_AF_INET);
    assert_memory_equal(o.alt_daddr, other4, 16);
    resolve("API.example-ai.test", "2001:db8::7");
    connect_out();
    o = last_record();
    assert_int_equal(o.alt_family, LECTR_AF_INET6);
    assert_memory_equal(o.alt_daddr, other6, 16);
    assert_memory_equal(o.daddr, "\xc6\x33\x64\x07\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

static void put_taken(void *user, const struct capture_row *row)
{
    *(uint64_t *)user = row->taken;
}

static void drop_row(void *user, const struct capture_row *row)
{
    (void)user;
    capture_census_drop(st.capture, &row->key);
}

/* What a proxy counts by the record's slot is counted for the census row. */
static void taken_connections_are_counted(void **state)
{
    size_t bytes = (LECTR_CENSUS_MAX + 1) * sizeof(uint64_t);
    uint64_t *taken =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, capture_taken_fd(st.capture), 0);
    uint64_t got = 99;
    uint16_t slot;

    (void)state;
    assert_true((void *)taken != MAP_FAILED);
    resolve("api.example-ai.test", PROVIDER_IP);
    connect_out();
    slot = last_record().slot;
    assert_in_range(slot, 1, LECTR_CENSUS_MAX);
    capture_census_each(st.capture, put_taken, &got);
    assert_int_equal(got, 0);
    taken[slot]++;
    connect_out();
    assert_int_equal(last_record().slot, slot);
    taken[slot]++;
    capture_census_each(st.capture, put_taken, &got);
    assert_int_equal(got, 2);
    /* A row that is dropped leaves its slot clean, and to others in time. */
    capture_census_each(st.capture, drop_row, NULL);
    assert_int_equal(taken[slot], 0);
    connect_out();
    assert_int_not_equal(last_record().slot, slot);
    assert_int_not_equal(last_record().slot, 0);
    munmap(taken, bytes);
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
        T(the_original_destination_is_on_record),
        T(another_address_of_the_name_goes_along),
        T(taken_connections_are_counted),
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
