/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of lectr-agent: one YAML file (default /etc/lectr/agent.yaml), all
 * keys optional. A wrong file is refused with file, line and field.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

struct config_org_key {
    char *org;
    char *sha256; /* hex SHA-256 of the LECTR_ORG_KEY value */
};

struct config {
    char *org;       /* default "default" */
    char *cluster;   /* default "" */
    char *node;      /* default: LECTR_NODE of the environment, else the host name */
    char *log_level; /* error|warn|info|debug, default info */
    char *state_dir; /* spool, in-flight tables, learned refusals; default /var/lib/lectr */
    char *run_dir;   /* control socket; default /run/lectr */
    char *user;      /* the proxy's user, default "nobody" */
    struct config_org_key *org_keys;
    unsigned org_keys_count;

    struct config_capture {
        char *cgroup; /* where to attach: absolute, or below the cgroup2 root; default "" = root */
        char *bpffs;  /* pins go to <bpffs>/lectr-vN; default /sys/fs/bpf; mounted if absent */
        char *mode;   /* providers (default) | all */
        uint16_t *ports; /* default [443] */
        unsigned ports_count;
        char **consent_cgroups; /* below the cgroup2 root; the subtree consents */
        unsigned consent_cgroups_count;
        char **consent_netns; /* names in /run/netns, trailing * allowed; inotify */
        unsigned consent_netns_count;
        uint32_t heartbeat_stale_ms; /* default 500 */
        uint32_t pool_size;     /* unconnected upstream sockets per netns and family, default 8 */
        uint32_t dns_ttl_min_s; /* learned addresses live at least this long, default 3600 */
    } capture;

    struct config_tls {
        char *ca_dir; /* ca.crt ca.key intermediate.crt intermediate.key bundle.crt; default
                         /etc/lectr/ca */
    } tls;

    struct config_upstream {
        char *ca_file;               /* default "" = the system's trust store */
        uint32_t connect_timeout_ms; /* default 10000 */
    } upstream;

    struct config_nats {
        char *url;                  /* default nats://127.0.0.1:4222 */
        char *creds;                /* credentials file, default "" */
        char *nkey_seed;            /* file, default "" */
        char *ca_file;              /* TLS, default "" */
        char *cert_file, *key_file; /* the client's own, PEM; default "" */
        char *stream;               /* default LECTR; created when absent, with these limits: */
        uint32_t stream_max_age_h;  /* default 168; 0: none */
        uint64_t stream_max_bytes;  /* default 1 GiB; 0: none */
    } nats;

    struct config_spool {
        uint64_t limit_bytes;   /* default 256 MiB */
        uint64_t segment_bytes; /* default 4 MiB */
    } spool;

    struct config_metrics {
        char *listen; /* default 127.0.0.1:9463; "" = off */
    } metrics;

    struct config_data {
        char *providers_dir;  /* *.yaml profiles; default <datadir>/providers */
        char *prices_file;    /* default <datadir>/prices.json */
        char *estimates_file; /* what estimates begin with; default <datadir>/estimates.prior */
    } data;
};

/* An error a person can act on. */
struct config_error {
    char text[512]; /* "agent.yaml:12: capture.mode: …; use providers or all" */
};

/* `path` NULL: the defaults. -EINVAL with ret_error filled on a bad file; another
 * -errno, ret_error filled as well, when it could not be read. */
int config_load(const char *path, struct config **ret_config,
                struct config_error *ret_error) LECTR_MUST_USE;
void config_free(struct config **config);
