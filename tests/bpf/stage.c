/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/stage.h"

#include "agent/bpffs.h"
#include "agent/cgroup.h"
#include "agent/netns.h"
#include "agent/provider.h"
#include "proto/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* ---- one provider ---- */

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

unsigned provider_plaintext_ports(const struct provider_set *set, uint16_t *ret_ports, unsigned max)
{
    (void)set;
    if (max > 0)
        ret_ports[0] = CLEAR_PORT;
    return 1;
}

const char *provider_name(const struct provider *p)
{
    (void)p;
    return "exampleai";
}

/* ---- the stage ---- */

struct stage st;

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

struct sockaddr_in at4(const char *ip, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

int listen_at(const char *ip, uint16_t port)
{
    struct sockaddr_in a = at4(ip, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(fd, (void *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

void keep_alive(void)
{
    struct lectr_beat *beat = capture_beat(st.capture);

    beat->proxy_ns = beat->helper_ns = clock_mono_ns();
    beat->shed = 0;
    beat->generation = GENERATION;
}

void open_agent(void)
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

void close_agent(void)
{
    capture_close(&st.capture);
    close(st.agent4);
    close(st.agent6);
}

/* A resolver's answer, as this namespace's clients receive it. */
void resolve(const char *name, const char *ip)
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

static void drain(int listener, bool *ret_any)
{
    int fd;

    *ret_any = false;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        *ret_any = true;
        close(fd);
    }
}

void note_peer(int fd, struct result *r)
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
struct result connect_fd(int fd, const void *addr, socklen_t size)
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

struct result connect_out(void)
{
    struct sockaddr_in a = at4(PROVIDER_IP, 443);

    return connect_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), &a, sizeof(a));
}

static void add_counts(void *user, const struct capture_row *row)
{
    struct counts *c = user;

    assert_int_equal(row->key.cgroup_id, st.cgroup_id);
    assert_int_equal(row->key.netns_cookie, st.cookie);
    for (int v = 0; v < LECTR_VERDICT__COUNT; v++)
        c->of[v] += row->seen.count[v];
    capture_provider_name(st.capture, row->key.provider, c->provider);
}

struct counts counts(void)
{
    struct counts c = {0};

    capture_census_each(st.capture, add_counts, &c);
    return c;
}

/* One connection, which must get this verdict, and be counted so. */
void expect(enum lectr_verdict verdict)
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

int build_stage(void)
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

void strike_stage(void)
{
    if (write_self(st.home) < 0 || rmdir(st.cgroup) < 0)
        fprintf(stderr, "left behind: %s: %s\n", st.cgroup, strerror(errno));
    if (bpffs_clean(st.bpffs, true, NULL, NULL) < 0)
        fprintf(stderr, "left behind: %s\n", st.bpffs);
}

int set_up(void **state)
{
    (void)state;
    st.provider = listen_at(PROVIDER_IP, 443);
    open_agent();
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    close_agent();
    close(st.provider);
    return bpffs_clean(st.bpffs, true, NULL, NULL);
}
