/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOAD stand-in for the connect hook: a TCP connect() to a port in
 * STEER_PORTS ("8443,9443") goes to loopback port STEER_TO instead, after its
 * origin record was written to the ring file STEER_RING. STEER_ALT: an IPv4
 * address that the record gives as the other one of the name.
 */
#include "tests/harness/fake_ring.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static bool wanted(int port)
{
    const char *list = getenv("STEER_PORTS");

    while (list && *list) {
        char *end;

        if (strtol(list, &end, 10) == port)
            return true;
        list = *end == ',' ? end + 1 : NULL;
    }
    return false;
}

static uint8_t *ring(void)
{
    static uint8_t *map;

    if (!map) {
        const char *path = getenv("STEER_RING");
        int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

        if (fd >= 0) {
            map = fake_ring_map(fd);
            close(fd);
        }
    }
    return map;
}

static bool record(int fd, int family, const void *daddr, int dport)
{
    struct lectr_origin o = {.pid = (uint32_t)getpid(), .uid = getuid(), .cgroup_id = 4242};
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    socklen_t len = sizeof(o.netns_cookie);
    const char *cgroup = getenv("STEER_CGROUP"), *other = getenv("STEER_ALT");

    if (!ring())
        return false;
    if (other && inet_pton(AF_INET, other, o.alt_daddr) == 1)
        o.alt_family = AF_INET;
    if (cgroup)
        o.cgroup_id = strtoull(cgroup, NULL, 10);
    getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &o.netns_cookie, &len);
    o.dport = (uint16_t)dport;
    o.family = (uint8_t)family;
    if (family == AF_INET) {
        in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        len = sizeof(in4);
        bind(fd, (struct sockaddr *)&in4, len);
        getsockname(fd, (struct sockaddr *)&in4, &len);
        memcpy(o.daddr, daddr, 4);
        memcpy(o.saddr, &in4.sin_addr, 4);
        o.sport = ntohs(in4.sin_port);
    } else {
        in6.sin6_addr = in6addr_loopback;
        len = sizeof(in6);
        bind(fd, (struct sockaddr *)&in6, len);
        getsockname(fd, (struct sockaddr *)&in6, &len);
        memcpy(o.daddr, daddr, 16);
        memcpy(o.saddr, &in6.sin6_addr, 16);
        o.sport = ntohs(in6.sin6_port);
    }
    fake_ring_write(ring(), &o, 0);
    return true;
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    int (*real)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    const char *listener = getenv("STEER_TO");
    int type = 0;
    socklen_t type_len = sizeof(type);

    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len);
    if (type != SOCK_STREAM || !listener)
        return real(fd, to, len);
    if (to->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in4;

        memcpy(&in4, to, sizeof(in4));
        if (wanted(ntohs(in4.sin_port)) &&
            record(fd, AF_INET, &in4.sin_addr, ntohs(in4.sin_port))) {
            in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            in4.sin_port = htons((uint16_t)atoi(listener));
            return real(fd, (struct sockaddr *)&in4, sizeof(in4));
        }
    } else if (to->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;

        memcpy(&in6, to, sizeof(in6));
        if (wanted(ntohs(in6.sin6_port)) &&
            record(fd, AF_INET6, &in6.sin6_addr, ntohs(in6.sin6_port))) {
            in6.sin6_addr = in6addr_loopback;
            in6.sin6_port = htons((uint16_t)atoi(listener));
            return real(fd, (struct sockaddr *)&in6, sizeof(in6));
        }
    }
    return real(fd, to, len);
}
