/* SPDX-License-Identifier: Apache-2.0 */
/* lectrctl tail: calls as they are published, straight from NATS. */
#include "collector/bus.h"
#include "collector/ctl/ctl.h"
#include "collector/text.h"
#include "proto/base/clock.h"
#include "proto/subject.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct tail {
    const struct ctl_options *options;
    atomic_uint printed;
    atomic_bool failed; /* stdout is gone */
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static int print_json(const ProtobufCMessage *message)
{
    struct buf line;
    int r;

    buf_init(&line, 4 * EVENT_MAX_BYTES);
    r = event_json(message, &line);
    if (r == 0 && printf("%.*s\n", (int)line.len, (const char *)line.data) < 0)
        r = -EIO;
    buf_fini(&line);
    return r;
}

static void copy_name(char *to, size_t size, const char *name)
{
    text_copy(to, size, name && *name ? name : "?");
}

static void print_tokens(bool known, uint64_t count, char *ret_text, size_t size)
{
    if (known)
        snprintf(ret_text, size, "%llu", (unsigned long long)count);
    else
        snprintf(ret_text, size, "?");
}

static int print_line(const Lectr__V1__Call *c)
{
    time_t end = (time_t)(c->end_time_unix_nano / NSEC_PER_SEC);
    char when[16], feature[64], provider[32], model[64], error[64];
    char in[24], out[24], usd[24] = "?", total[24] = "?";
    struct tm tm;

    gmtime_r(&end, &tm);
    strftime(when, sizeof(when), "%H:%M:%S", &tm);
    copy_name(feature, sizeof(feature), c->feature ? c->feature->value : NULL);
    copy_name(provider, sizeof(provider), c->provider);
    copy_name(model, sizeof(model), c->model_requested ? c->model_requested : c->model_responded);
    text_copy(error, sizeof(error), c->error_type);
    print_tokens(c->has_input_tokens_total, c->input_tokens_total, in, sizeof(in));
    print_tokens(c->has_output_tokens_total, c->output_tokens_total, out, sizeof(out));
    if (c->cost && c->cost->has_expected_nanousd)
        snprintf(usd, sizeof(usd), "$%.6f", 1e-9 * (double)c->cost->expected_nanousd);
    if (c->latency && c->latency->has_total_us)
        snprintf(total, sizeof(total), "%.0f ms", 1e-3 * (double)c->latency->total_us);
    return printf("%s  %-20s  %-10s  %-28s  %3u  %8s in %7s out  %12s  %9s%s%s%s\n", when, feature,
                  provider, model, c->status_code, in, out, usd, total, *error ? "  " : "", error,
                  c->has_synthetic && c->synthetic ? "  (synthetic)" : "") < 0
               ? -EIO
               : 0;
}

/* What cannot be decoded is left to the collector, who counts it. */
static void on_message(void *ctx, const struct bus_message *m)
{
    struct tail *t = ctx;
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    struct subject subject;
    int r;

    if (subject_parse(m->subject, &subject) < 0 || subject.type != EVENT_CALL ||
        event_unpack(subject.type, m->data, &message) < 0)
        return;
    if (t->options->limit && atomic_fetch_add(&t->printed, 1) >= t->options->limit)
        return;
    r = t->options->json ? print_json(message)
                         : print_line((const Lectr__V1__Call *)(const void *)message);
    if (r == 0 && fflush(stdout) != 0)
        r = -EIO;
    if (r < 0)
        atomic_store(&t->failed, true);
}

static int make_subject(const struct ctl_options *o, char *ret_subject, size_t size)
{
    char org[SUBJECT_TOKEN_BYTES] = "*";
    int r = o->org ? subject_token(o->org, org) : 0;

    snprintf(ret_subject, size, SUBJECT_ROOT ".call.%s.>", org);
    return r;
}

static bool is_done(const struct tail *t)
{
    return stopped || atomic_load(&t->failed) ||
           (t->options->limit && atomic_load(&t->printed) >= t->options->limit);
}

int tail_run(const struct ctl_options *o)
{
    const struct bus_settings settings = {.url = o->nats,
                                          .creds = o->creds,
                                          .nkey_seed = o->nkey_seed,
                                          .ca_file = o->ca_file,
                                          .cert_file = o->cert_file,
                                          .key_file = o->key_file,
                                          .stream = "",
                                          .durable = "",
                                          .name = "lectrctl"};
    struct tail t = {.options = o};
    struct bus *bus = NULL;
    char subject[SUBJECT_BYTES], error[BUS_ERROR_BYTES] = "";
    int r = make_subject(o, subject, sizeof(subject));

    if (!o->cert_file != !o->key_file) {
        fprintf(stderr, "lectrctl: --cert-file and --key-file: give both, or neither\n");
        return -EINVAL;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    if (r == 0)
        r = bus_open(&settings, &bus, error);
    if (r == 0)
        r = bus_watch(bus, subject, on_message, &t);
    if (r < 0)
        fprintf(stderr, "lectrctl: %s: %s: %s\n", o->nats, strerror(-r),
                bus ? bus_error(bus) : error);
    while (r == 0 && !is_done(&t))
        usleep(20000);
    bus_close(&bus);
    return r;
}
