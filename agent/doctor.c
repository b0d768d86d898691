/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/doctor.h"

#include "agent/bpffs.h"
#include "agent/ca.h"
#include "agent/capture.h"
#include "agent/cert.h"
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/control.h"
#include "agent/provider.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define NATS_PORT "4222"
#define CONNECT_WAIT_MS 2000

struct doctor {
    const struct config *config;
    unsigned failed, warned;
    char root[CGROUP_PATH_MAX], cgroup[CGROUP_PATH_MAX];
};

enum level { OK, WARN, FAIL };

static __attribute__((format(printf, 4, 5))) void tell(struct doctor *d, enum level level,
                                                       const char *remedy, const char *fmt, ...)
{
    static const char *const marks[] = {[OK] = "ok  ", [WARN] = "warn", [FAIL] = "FAIL"};
    va_list args;

    printf("[%s] ", marks[level]);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    if (level != OK && remedy)
        printf("       -> %s\n", remedy);
    d->failed += level == FAIL;
    d->warned += level == WARN;
}

static void check_root(struct doctor *d)
{
    bool root = geteuid() == 0;

    tell(d, root ? OK : FAIL, "run as root: sudo lectr-agent doctor (and daemon)",
         root ? "running as root" : "not running as root; what follows may be incomplete");
}

static void check_kernel(struct doctor *d)
{
    struct capture_probe p;
    struct utsname name = {0};

    uname(&name);
    capture_probe(&p);
    tell(d, p.btf ? OK : FAIL, "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
         "kernel %s: type information (BTF) %s", name.release, p.btf ? "present" : "missing");
    tell(d, p.bpf_permitted ? OK : FAIL,
         "give CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE, or run as root; in a "
         "container, allow bpf() in its seccomp profile",
         "BPF programs %s", p.bpf_permitted ? "may be loaded" : "may not be loaded");
    if (!p.bpf_permitted)
        return;
    tell(d, p.ringbuf && p.sk_storage_connect ? OK : FAIL, "use kernel 5.15 or newer",
         "ring buffers and socket storage %s",
         p.ringbuf && p.sk_storage_connect ? "available" : "missing");
    tell(d, p.sk_lookup_connect && p.netns_cookie_connect ? OK : FAIL, "use kernel 5.15 or newer",
         "socket lookup and namespace cookies in connect hooks %s",
         p.sk_lookup_connect && p.netns_cookie_connect ? "available" : "missing");
    tell(d, OK, NULL, "namespace cookies in packet hooks %s",
         p.netns_cookie_skb ? "available"
                            : "missing (before 6.15): noted per socket instead, answers to sockets "
                              "older than the agent are not read");
}

static void check_cgroup(struct doctor *d)
{
    const char *foreign;
    uint64_t id;
    int r = cgroup_find_root(d->root, sizeof(d->root));

    if (r < 0) {
        tell(d, FAIL,
             r == -EXDEV ? "mount the host's cgroup2 tree, or run outside of the container"
                         : "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
             r == -EXDEV ? "only a part of the cgroup2 tree is visible (a cgroup namespace)"
                         : "cgroup2 is not mounted");
        return;
    }
    tell(d, OK, NULL, "cgroup2 at %s (%s)", d->root,
         strcmp(d->root, "/sys/fs/cgroup") == 0 ? "unified host" : "hybrid host");
    r = cgroup_resolve(d->root, d->config->capture.cgroup, d->cgroup, sizeof(d->cgroup));
    if (r == 0)
        r = cgroup_id_of(d->cgroup, &id);
    if (r < 0) {
        tell(d, FAIL, "create it, or correct capture.cgroup", "capture.cgroup '%s': %s",
             d->config->capture.cgroup, strerror(-r));
        return;
    }
    foreign = capture_foreign_hook(d->cgroup);
    if (foreign)
        tell(d, FAIL,
             "`bpftool cgroup show` names it; stop it, or have it attach with "
             "BPF_F_ALLOW_MULTI",
             "a foreign program holds the hook '%s' of %s exclusively", foreign, d->cgroup);
    else
        tell(d, OK, NULL, "hooks of %s can be shared", d->cgroup);
}

static void check_bpffs(struct doctor *d)
{
    bool mounted = bpffs_is_mounted(d->config->capture.bpffs);
    struct stat st;

    if (mounted || stat(d->config->capture.bpffs, &st) == 0)
        tell(d, OK, NULL, "BPF file system at %s %s", d->config->capture.bpffs,
             mounted ? "mounted" : "not mounted; the daemon will mount it");
    else
        tell(d, WARN, "the daemon will try to create it; or set capture.bpffs", "%s does not exist",
             d->config->capture.bpffs);
}

static void check_file(struct doctor *d, const char *dir, const char *name, bool secret,
                       const char *remedy)
{
    char path[CGROUP_PATH_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (stat(path, &st) < 0)
        tell(d, FAIL, remedy, "%s: %s", path, strerror(errno));
    else if (secret && (st.st_mode & 077))
        tell(d, FAIL, "chmod 600 the file", "%s can be read by others (mode %o)", path,
             st.st_mode & 0777);
    else if (!secret && !(st.st_mode & 04))
        tell(d, WARN, "chmod 644 the file: commands must read it", "%s cannot be read by all",
             path);
    else
        tell(d, OK, NULL, "%s", path);
}

static void check_authority(struct doctor *d)
{
    const char *dir = d->config->tls.ca_dir, *remedy = "sudo lectr-agent ca init";

    check_file(d, dir, "ca.crt", false, remedy);
    check_file(d, dir, "intermediate.crt", false, remedy);
    check_file(d, dir, "intermediate.key", true, remedy);
    check_file(d, dir, "bundle.crt", false, remedy);
}

static void check_constraints(struct doctor *d, const struct provider_set *set)
{
    const char *dir = d->config->tls.ca_dir, *first = "";
    struct cert_authority *ca;
    unsigned outside = 0;
    int r = cert_authority_load(dir, &ca);

    if (r < 0) {
        tell(d, FAIL,
             "sudo lectr-agent ca init; if a rotation was interrupted, sudo lectr-agent ca rotate "
             "--finish",
             "the authority in %s cannot be used: %s", dir, strerror(-r));
        return;
    }
    r = ca_hosts_outside(ca, set, &first, 1, &outside);
    if (r < 0)
        tell(d, WARN, NULL, "the authority's constraints: %s", strerror(-r));
    else if (outside > 0)
        tell(d, WARN,
             "sudo lectr-agent ca extend, then restart the agent; until then they are passed on "
             "unmetered (outside_ca)",
             "%u host names of the profiles are outside the authority's constraints, %s first",
             outside, first);
    else
        tell(d, OK, NULL, "every host of the profiles is within the authority's constraints");
    cert_authority_free(&ca);
}

static void check_trust_store(struct doctor *d)
{
    static const char *const stores[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt",
                                         "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
    const char *configured = d->config->upstream.ca_file;

    if (configured && configured[0]) {
        bool there = access(configured, R_OK) == 0;

        tell(d, there ? OK : FAIL, "correct upstream.ca_file",
             there ? "providers are verified with %s" : "upstream.ca_file %s cannot be read",
             configured);
        return;
    }
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
        if (access(stores[i], R_OK) == 0) {
            tell(d, OK, NULL, "providers are verified with %s", stores[i]);
            return;
        }
    tell(d, FAIL, "install ca-certificates, or set upstream.ca_file",
         "the system's trust store was not found");
}

static void check_data(struct doctor *d)
{
    struct provider_error error = {0};
    struct provider_set *set = NULL;
    const char *prices = d->config->data.prices_file;
    int r = provider_set_load(d->config->data.providers_dir, &set, &error);

    if (r == 0)
        tell(d, OK, NULL, "providers: %u host names from %s", provider_hosts(set, NULL, 0),
             d->config->data.providers_dir);
    else
        tell(d, FAIL, "correct the file, or data.providers_dir", "providers: %s", error.text);
    if (r == 0)
        check_constraints(d, set);
    provider_set_free(&set);
    tell(d, access(prices, R_OK) == 0 ? OK : WARN,
         "costs will be unknown: lectr-agent prices update, or correct data.prices_file",
         "prices: %s%s", prices, access(prices, R_OK) == 0 ? "" : " cannot be read");
    tell(d, getpwnam(d->config->user) ? OK : FAIL, "create the user, or set another one",
         "the proxy's user '%s' %s", d->config->user,
         getpwnam(d->config->user) ? "exists" : "does not exist");
}

static int try_connect(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    CLEAN_FD int fd = -1;
    struct pollfd pfd = {.events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof(error);

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -EHOSTUNREACH;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) < 0 && errno != EINPROGRESS))
        error = errno;
    freeaddrinfo(found);
    if (error)
        return -error;
    pfd.fd = fd;
    if (poll(&pfd, 1, CONNECT_WAIT_MS) <= 0)
        return -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    return -error;
}

/* Of "nats://user:pass@host:port,…" the first server; credentials are not shown. */
static void check_nats(struct doctor *d)
{
    const char *url = d->config->nats.url, *at;
    char host[256], *port;
    int r;

    at = strstr(url, "://") ? strstr(url, "://") + 3 : url;
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(at, ",/"), at);
    at = strrchr(host, '@');
    if (at)
        memmove(host, at + 1, strlen(at + 1) + 1);
    port = strrchr(host, ':');
    if (port)
        *port++ = '\0';
    r = try_connect(host, port ? port : NATS_PORT);
    if (r == 0)
        tell(d, OK, NULL, "NATS at %s:%s reachable", host, port ? port : NATS_PORT);
    else
        tell(d, WARN,
             "start nats-server (with JetStream: -js), or correct nats.url; events wait in "
             "the spool meanwhile",
             "NATS at %s:%s: %s", host, port ? port : NATS_PORT, strerror(-r));
}

static void check_agent(struct doctor *d)
{
    char answer[CONTROL_MESSAGE_MAX];
    int r = control_ask(d->config->run_dir, "ping", answer, sizeof(answer));

    tell(d, r == 0 ? OK : WARN, "sudo systemctl start lectr-agent, or sudo lectr-agent daemon",
         r == 0 ? "the agent is running" : "the agent is not running");
}

int doctor_main(const struct config *config)
{
    struct doctor d = {.config = config};

    check_root(&d);
    check_kernel(&d);
    check_cgroup(&d);
    check_bpffs(&d);
    check_authority(&d);
    check_trust_store(&d);
    check_data(&d);
    check_nats(&d);
    check_agent(&d);
    printf("%u missing, %u to note\n", d.failed, d.warned);
    return d.failed > 0 ? 1 : 0;
}
