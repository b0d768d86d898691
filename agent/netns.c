/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

#define PORT_LOW 10000
#define PORTS 20000
#define NODEPORT_LOW 30000
#define NODEPORT_HIGH 32767
#define PORT_TRIES 64       /* some may be taken */
#define ROUTE_REJECT 0x0200 /* RTF_REJECT */
#define ROUTE_UP 0x0001

static int open_namespace(const char *path, int *ret_fd)
{
    CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct statfs fs;

    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return -errno;
    if (fs.f_type != NSFS_MAGIC)
        return -EAGAIN;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int netns_open_pid(uint32_t pid, int *ret_fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
    return open_namespace(path, ret_fd);
}

int netns_open_name(const char *name, int *ret_fd)
{
    char path[320];
    int n = snprintf(path, sizeof(path), NETNS_NAMES_DIR "/%s", name);

    if (n < 0 || (size_t)n >= sizeof(path) || strchr(name, '/'))
        return -EINVAL;
    return open_namespace(path, ret_fd);
}

int netns_inode(int fd, uint64_t *ret_inode)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_inode = st.st_ino;
    return 0;
}

bool netns_name_matches(const char *pattern, const char *name)
{
    size_t len = strlen(pattern);

    if (len > 0 && pattern[len - 1] == '*')
        return strncmp(pattern, name, len - 1) == 0;
    return strcmp(pattern, name) == 0;
}

bool netns_port_is_free_for_us(uint16_t port, struct netns_range ephemeral)
{
    if (port >= NODEPORT_LOW && port <= NODEPORT_HIGH)
        return false;
    return port < ephemeral.low || port > ephemeral.high;
}

bool netns_range_leaves_room(struct netns_range ephemeral)
{
    return ephemeral.low > PORT_LOW || ephemeral.high < PORT_LOW + PORTS - 1;
}

int netns_enter(int fd)
{
    return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int netns_cookie(uint64_t *ret_cookie)
{
    CLEAN_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(*ret_cookie);
    uint64_t cookie;

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
        return -errno;
    *ret_cookie = cookie;
    return 0;
}

/* This file resolves per thread, unlike most of /proc. */
struct netns_range netns_ephemeral(void)
{
    CLEAN_FILE FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    unsigned low, high;

    if (!f || fscanf(f, "%u %u", &low, &high) != 2 || low > high || high > UINT16_MAX)
        return NETNS_RANGE_DEFAULT;
    return (struct netns_range){(uint16_t)low, (uint16_t)high};
}

static int bind_loopback(int fd, int family, uint16_t port)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const void *addr = family == AF_INET ? (const void *)&v4 : &v6;

    return bind(fd, addr, family == AF_INET ? sizeof(v4) : sizeof(v6)) < 0 ? -errno : 0;
}

/* The first fit from a random place on. A namespace whose ephemeral range covers
 * everything leaves no better choice than a port inside of it. */
static uint16_t pick_port(struct netns_range ephemeral)
{
    uint16_t random = 0;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        random = (uint16_t)getpid();
    for (unsigned i = 0; i < PORTS; i++) {
        uint16_t port = (uint16_t)(PORT_LOW + (random + i) % PORTS);

        if (netns_port_is_free_for_us(port, ephemeral))
            return port;
    }
    return (uint16_t)(PORT_LOW + random % PORTS);
}

int netns_listen(int fd, int family, struct netns_range ephemeral, uint16_t *ret_port)
{
    int on = 1, r = -EADDRINUSE;
    uint16_t port = 0;

    /* Loopback may not be up yet. */
    if (family == AF_INET)
        (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
    else if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
        return -errno;
    else
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
    for (int i = 0; i < PORT_TRIES && r == -EADDRINUSE; i++) {
        port = pick_port(ephemeral);
        r = bind_loopback(fd, family, port);
    }
    if (r == 0 && listen(fd, NETNS_BACKLOG) < 0)
        r = -errno;
    if (r == 0)
        *ret_port = port;
    return r;
}

int netns_socket(int family, int *ret_fd)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

static bool loopback_is_up(int fd)
{
    struct ifreq req = {.ifr_name = "lo"};

    return ioctl(fd, SIOCGIFFLAGS, &req) == 0 && (req.ifr_flags & IFF_UP);
}

static bool has_loopback6(void)
{
    CLEAN_FILE FILE *f = fopen("/proc/thread-self/net/if_inet6", "re");
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "00000000000000000000000000000001 ", 33) == 0)
            return true;
    return false;
}

static bool has_default_route6(void)
{
    CLEAN_FILE FILE *f = fopen("/proc/thread-self/net/ipv6_route", "re");
    char line[256], device[IFNAMSIZ + 1];
    unsigned flags;

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "00000000000000000000000000000000 00 ", 36) == 0 &&
            sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %*s %x %16s", &flags, device) == 2 &&
            (flags & ROUTE_UP) && !(flags & ROUTE_REJECT) && strcmp(device, "lo") != 0)
            return true;
    return false;
}

bool netns_reachable(int family, int fd)
{
    return family == AF_INET ? loopback_is_up(fd) : has_loopback6() && has_default_route6();
}

int netns_monitor(int *ret_fd)
{
    CLEAN_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK,
                               .nl_groups = RTMGRP_LINK | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE};

    if (fd < 0 || bind(fd, (const void *)&addr, sizeof(addr)) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}
