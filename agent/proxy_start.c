/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy_impl.h"

#include "agent/cert.h"
#include "agent/config.h"
#include "agent/metrics.h"
#include "agent/price.h"
#include "agent/provider.h"
#include "agent/seccomp.h"
#include "agent/tls.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int load_data(struct proxy *p)
{
    const struct config *config = p->config;
    struct provider_error provider_error = {0};
    struct price_error price_error = {0};
    int r = provider_set_load(config->data.providers_dir, &p->providers, &provider_error);

    if (r < 0) {
        log_error("provider profiles cannot be used", "error=%s reason=%s", strerror(-r),
                  provider_error.text);
        return r;
    }
    /* Without prices everything is metered, only the cost is unknown. */
    if (price_load(config->data.prices_file, &p->prices, &price_error) < 0)
        log_warn("price table cannot be used, costs are unknown", "reason=%s", price_error.text);
    return 0;
}

static int load_estimates(struct proxy *p)
{
    const struct config *config = p->config;
    int r = estimate_store_open(&p->estimates, config->state_dir, config->data.estimates_file);

    if (p->estimates.refused)
        log_warn("what was learned of token counts is damaged and was left", "path=%s",
                 p->estimates.path);
    return r;
}

static int load_trust(struct proxy *p)
{
    const struct config *config = p->config;
    int r = cert_authority_load(config->tls.ca_dir, &p->ca);

    if (r < 0) {
        log_error("certificate authority cannot be used; make one with lectr-agent ca init, or "
                  "end an interrupted rotation with lectr-agent ca rotate --finish",
                  "dir=%s error=%s", config->tls.ca_dir, strerror(-r));
        return r;
    }
    if (cert_authority_expires_s(p->ca) <= clock_wall_ns() / NSEC_PER_SEC)
        log_error("the intermediate certificate has expired: nothing can be metered", "dir=%s",
                  config->tls.ca_dir);
    r = tls_new(config->upstream.ca_file, &p->tls);
    if (r < 0)
        log_error("no trust store for the providers' certificates", "ca_file=%s error=%s",
                  config->upstream.ca_file, strerror(-r));
    return r;
}

/* Made once and kept, so that a key has the same fingerprint after a restart. */
static int load_fingerprint_key(struct proxy *p)
{
    char path[PATH_MAX];
    CLEAN_FD int fd = -1;
    ssize_t n;

    if (snprintf(path, sizeof(path), "%s/fingerprint.key", p->config->state_dir) >=
        (int)sizeof(path))
        return -ENAMETOOLONG;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    n = read(fd, p->fingerprint_key, sizeof(p->fingerprint_key));
    if (n == sizeof(p->fingerprint_key))
        return 0;
    if (getrandom(p->fingerprint_key, sizeof(p->fingerprint_key), 0) != sizeof(p->fingerprint_key))
        return -EIO;
    n = pwrite(fd, p->fingerprint_key, sizeof(p->fingerprint_key), 0);
    if (n == sizeof(p->fingerprint_key))
        return 0;
    if (n < 0 && errno != ENOSPC && errno != EDQUOT)
        return -errno;
    log_warn("no room for the fingerprint key: keys get other fingerprints at the next start",
             "path=%s", path);
    return 0;
}

/* Below the state folder, the proxy's own. */
static int make_own_dir(const char *state_dir, const char *name,
                        const struct seccomp_identity *identity)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%s", state_dir, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (geteuid() == 0 && lchown(path, identity->uid, identity->gid) < 0)
        return -errno;
    return 0;
}

static int prepare_state(struct proxy *p, const struct seccomp_identity *identity)
{
    const char *dir = p->config->state_dir;
    int r = 0;

    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        r = -errno;
    if (r == 0)
        r = make_own_dir(dir, "spool", identity);
    if (r == 0)
        r = make_own_dir(dir, "inflight", identity);
    if (r == 0)
        r = make_own_dir(dir, "estimates", identity);
    if (r == 0)
        r = load_fingerprint_key(p);
    if (r < 0)
        log_error("state folder cannot be used", "dir=%s error=%s", dir, strerror(-r));
    return r;
}

static int open_metrics(struct proxy *p)
{
    const char *address = p->config->metrics.listen;
    int r;

    if (!address || !address[0])
        return 0;
    r = metrics_listen(address, &p->metrics_fd);
    /* An older generation that drains may still have the port: taken later. */
    if (r == -EADDRINUSE) {
        log_warn("metrics address in use, will be tried again", "listen=%s", address);
        return 0;
    }
    if (r < 0)
        log_error("metrics address cannot be used", "listen=%s error=%s", address, strerror(-r));
    return r;
}

int proxy_prepare(struct proxy *p)
{
    struct seccomp_identity identity;
    int r = seccomp_identity(p->config->user, &identity);

    if (r < 0) {
        log_error("no such user", "user=%s", p->config->user);
        return r;
    }
    raise_fd_limit();
    r = load_data(p);
    if (r == 0)
        r = load_trust(p);
    if (r == 0)
        r = prepare_state(p, &identity);
    if (r == 0)
        r = open_metrics(p);
    if (r < 0)
        return r;
    r = seccomp_drop_identity(&identity);
    if (r == 0)
        r = seccomp_restrict();
    if (r < 0) {
        log_error("privileges cannot be given up", "error=%s", strerror(-r));
        return r;
    }
    /* As the user who writes it. */
    r = load_estimates(p);
    if (r < 0)
        log_error("nothing can be estimated", "error=%s", strerror(-r));
    return r;
}
