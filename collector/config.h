/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of lectr-collector: one YAML file (default /etc/lectr/collector.yaml),
 * all keys optional. A wrong file is refused with file, line and field.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_DETECT_WINDOWS_MAX 4

struct config {
    char *log_level; /* error|warn|info|debug, default info */

    struct config_nats {
        char *url;                  /* default nats://127.0.0.1:4222 */
        char *creds;                /* credentials file, default "" */
        char *nkey_seed;            /* file, default "" */
        char *ca_file;              /* TLS, default "" */
        char *cert_file, *key_file; /* the client's own, PEM; default "" */
        char *stream;               /* default LECTR; created when absent, with these limits: */
        uint32_t stream_max_age_h;  /* default 168; 0: none */
        uint64_t stream_max_bytes;  /* default 1 GiB; 0: none */
        char *durable;              /* name of the consumer, default lectr-collector */
        bool publish_rollups;       /* lectr.v1.rollup.<org>.1m, 1h, 1d; default true */
    } nats;

    struct config_store {
        char *path;            /* SQLite, default /var/lib/lectr/collector.db */
        char *url;             /* postgresql://…, default "": SQLite at `path` */
        char *url_file;        /* instead of url, which is then its first line; default "" */
        uint32_t lease_ttl_ms; /* a collector not seen for so long is dead, default 3000 */
        uint32_t series_max;   /* of all organisations, default 50000; see limits */
    } store;

    /* Names of the last forget_d days that are told apart; further ones are "(other)". */
    struct config_limits {
        uint32_t orgs;                                   /* default 200 */
        uint32_t features, providers, models, workloads; /* of an org: 1000, 100, 1000, 2000 */
        uint32_t series;                                 /* combinations, of an org: 20000 */
        uint32_t forget_d;                               /* default 30 */
    } limits;

    struct config_http {
        char *listen;            /* host:port, default 127.0.0.1:9464; "" = off */
        uint32_t metrics_series; /* told apart in /metrics, default 500; more share "(other)" */
    } http;

    struct config_ingest {
        uint32_t batch; /* at most, in one transaction, default 20000 */
    } ingest;

    struct config_detect {
        bool enabled;                                  /* default true */
        uint32_t windows_s[CONFIG_DETECT_WINDOWS_MAX]; /* default [60, 300, 900, 3600] */
        unsigned windows_count;
        uint32_t history_h;   /* no alert on a series younger than this, default 24, at least 24 */
        double target_weeks;  /* one false alarm per series in so many weeks, default 100 */
        double ratio_min;     /* smaller deviations are no alert, default 1.3 */
        uint32_t lateness_ms; /* a minute closes this long after its end, default 2000 */
        uint32_t idle_ms;     /* without events the wall clock closes minutes, default 1500 */
        char *clock;          /* auto (default): as above | event: only event time counts */
        bool open_minute;     /* judge the running minute as well, default true */
        uint32_t resolve_after_min; /* quiet minutes before an alert is resolved, default 5 */
    } detect;

    struct config_alerting {
        char *file; /* rules, silences, receivers, routes; default /etc/lectr/alerting.yaml */
    } alerting;

    struct config_retention {
        uint32_t calls_h;   /* single calls, default 24; 0 = none are kept */
        uint32_t minutes_d; /* 1 m roll-ups, gaps, coverage: default 14 */
        uint32_t hours_d;   /* default 400 */
        uint32_t days_d;    /* default 3650 */
        uint32_t alerts_d;  /* alerts of episodes that are over, silences that ended: default 400 */
    } retention;
};

/* An error a person can act on. */
struct config_error {
    char text[1024]; /* "collector.yaml:12: detect.clock: …" */
};

/* `path` NULL: the defaults. -EINVAL with ret_error filled on a bad file. */
int config_load(const char *path, struct config **ret_config,
                struct config_error *ret_error) LECTR_MUST_USE;
void config_free(struct config **config);
static inline void config_cleanup_free(struct config **config)
{
    config_free(config);
}
#define CLEAN_CONFIG __attribute__((cleanup(config_cleanup_free)))
enum log_level config_log_level(const struct config *config);
/* What the store is opened with. */
static inline const char *config_store_where(const struct config *config)
{
    return config->store.url[0] ? config->store.url : config->store.path;
}
/* For alerting_load(): NULL when the file is the default one and not there. */
const char *config_alerting_file(const struct config *config);
