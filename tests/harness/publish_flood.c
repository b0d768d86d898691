// SPDX-License-Identifier: Apache-2.0
/*
 * Publishes synthetic Calls through the agent's own spool and publisher, for
 * outage tests and the append benchmark. Prints one JSON line at the start
 * (the instance) and one at the end (what became of the events).
 */
#include "agent/config.h"
#include "agent/event.h"
#include "agent/publish.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>

struct flood {
    struct config config;
    uint64_t count;
    uint64_t rate; /* events/s; 0: as fast as it goes */
    uint32_t drain_ms;
    const char *feature;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static const struct option long_options[] = {
    {"nats", required_argument, NULL, 'u'},
    {"state-dir", required_argument, NULL, 'd'},
    {"count", required_argument, NULL, 'n'},
    {"rate", required_argument, NULL, 'r'},
    {"drain-ms", required_argument, NULL, 'w'},
    {"org", required_argument, NULL, 'o'},
    {"feature", required_argument, NULL, 'f'},
    {"limit-bytes", required_argument, NULL, 'l'},
    {"segment-bytes", required_argument, NULL, 's'},
    {"stream", required_argument, NULL, 'S'},
    {"ca", required_argument, NULL, 'C'},
    {"nkey", required_argument, NULL, 'k'},
    {"creds", required_argument, NULL, 'c'},
    {NULL, 0, NULL, 0},
};

static int parse(int argc, char **argv, struct flood *f)
{
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'u':
            f->config.nats.url = optarg;
            break;
        case 'd':
            f->config.state_dir = optarg;
            break;
        case 'n':
            f->count = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            f->rate = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            f->drain_ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'o':
            f->config.org = optarg;
            break;
        case 'f':
            f->feature = optarg;
            break;
        case 'l':
            f->config.spool.limit_bytes = strtoull(optarg, NULL, 10);
            break;
        case 's':
            f->config.spool.segment_bytes = strtoull(optarg, NULL, 10);
            break;
        case 'S':
            f->config.nats.stream = optarg;
            break;
        case 'C':
            f->config.nats.ca_file = optarg;
            break;
        case 'k':
            f->config.nats.nkey_seed = optarg;
            break;
        case 'c':
            f->config.nats.creds = optarg;
            break;
        default:
            return -EINVAL;
        }
    }
    return f->config.state_dir ? 0 : -EINVAL;
}

static void fill_call(struct call *c, uint64_t i)
{
    snprintf(c->response_id, sizeof(c->response_id), "flood-%" PRIu64, i);
    snprintf(c->provider, sizeof(c->provider), "openai");
    snprintf(c->server_address, sizeof(c->server_address), "api.openai.com");
    snprintf(c->model_requested, sizeof(c->model_requested), "gpt-4o-mini");
    snprintf(c->model_responded, sizeof(c->model_responded), "gpt-4o-mini-2024-07-18");
    c->operation = "chat";
    c->status_code = 200;
    c->outcome = CALL_OK;
    c->usage_reported = c->usage_final = true;
    c->reported.input_tokens = opt_u64(10);
    c->reported.output_tokens = opt_u64(20);
    c->usage_count = 2;
    c->usage[0] =
        (struct usage_row){.kind = "input", .count = opt_u64(10), .source = USAGE_REPORTED};
    c->usage[1] =
        (struct usage_row){.kind = "output", .count = opt_u64(20), .source = USAGE_REPORTED};
    c->input_tokens_total = opt_u64(10);
    c->output_tokens_total = opt_u64(20);
    c->end_mono_ns = clock_mono_ns();
    c->start_mono_ns = c->end_mono_ns - 5 * NSEC_PER_MSEC;
}

static void keep_rate(const struct flood *f, uint64_t start_ns, uint64_t sent)
{
    uint64_t due_ns, now_ns;

    if (f->rate == 0)
        return;
    due_ns = start_ns + sent * NSEC_PER_SEC / f->rate;
    now_ns = clock_mono_ns();
    if (due_ns > now_ns)
        usleep((useconds_t)((due_ns - now_ns) / 1000));
}

static uint64_t flood(const struct flood *f, struct publish *p)
{
    static struct caller who = {.pid = 1, .process = "flood", .owner = "flood.service"};
    static struct event_record record;
    static struct call call;
    struct event_context ctx = {.node = f->config.node, .wall_minus_mono_ns = event_clock_offset()};
    uint64_t start_ns = clock_mono_ns(), sent = 0;

    snprintf(call.feature_header, sizeof(call.feature_header), "%s", f->feature);
    for (; sent < f->count && !interrupted; sent++) {
        fill_call(&call, sent);
        event_call(&call, &who, &ctx, &record);
        record.call.has_synthetic = record.call.synthetic = true;
        if (publish_call(p, &record.call) < 0)
            continue; /* counted as dropped */
        keep_rate(f, start_ns, sent + 1);
    }
    return clock_mono_ns() - start_ns;
}

static void print_result(struct publish *p, uint64_t took_ns)
{
    struct publish_stats stats;

    publish_stats(p, &stats);
    printf("{\"appended\":%" PRIu64 ",\"acked\":%" PRIu64 ",\"dropped\":%" PRIu64
           ",\"publish_errors\":%" PRIu64 ",\"reconnects\":%" PRIu64 ",\"append_seconds\":%.3f}\n",
           stats.events_appended, stats.events_acked, stats.events_dropped, stats.publish_errors,
           stats.reconnects, (double)took_ns / 1e9);
}

/* Acks can be counted only while the publisher lives, so the wait is here. Adopted
 * events are waited for, and counted as acked, too. */
static void wait_for_acks(struct publish *p, uint32_t drain_ms)
{
    uint64_t until_ns = clock_mono_ns() + drain_ms * NSEC_PER_MSEC;
    struct publish_stats stats;

    do {
        usleep(5000);
        publish_stats(p, &stats);
    } while (stats.events_pending > 0 && clock_mono_ns() < until_ns);
}

int main(int argc, char **argv)
{
    static char url[] = "nats://127.0.0.1:4222", org[] = "default", node[] = "flood";
    static char stream[] = "LECTR";
    struct flood f = {.count = 1000, .drain_ms = 10000, .feature = "flood"};
    struct publish *p = NULL;
    uint64_t took_ns;
    int r;

    f.config.org = org;
    f.config.node = node;
    f.config.nats.url = url;
    f.config.nats.stream = stream;
    f.config.spool.limit_bytes = 256 << 20;
    f.config.spool.segment_bytes = 4 << 20;
    log_setup("flood", LOG_LEVEL_WARN);
    if (parse(argc, argv, &f) < 0) {
        fprintf(stderr,
                "usage: publish_flood --state-dir DIR [--nats URL] [--count N] [--rate R]\n");
        return 2;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    r = publish_open(&f.config, &p);
    if (r < 0) {
        fprintf(stderr, "publish_open: %s\n", strerror(-r));
        return 1;
    }
    printf("{\"instance\":\"%s\"}\n", publish_instance(p));
    fflush(stdout);
    took_ns = flood(&f, p);
    wait_for_acks(p, f.drain_ms);
    print_result(p, took_ns);
    publish_close(&p, 0);
    return 0;
}
