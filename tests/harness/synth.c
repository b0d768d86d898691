/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes lectr.v1.Call events with times of the past and publishes them through
 * JetStream, marked synthetic: history for the demo, traffic for tests.
 *
 * The same seed and end give the same events. Arrivals are Poisson around a
 * daily shape, token counts are lognormal, prices are fixed per model. A spike
 * multiplies the tokens of one feature's calls, and so their cost, near the end.
 */
#include "collector/bus.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "proto/subject.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SERIES_MAX 32
#define FLUSH_EVERY 2000
#define FLUSH_WAIT_MS 30000
#define TWO_PI 6.283185307179586

struct series {
    char feature[64], provider[32], model[96], owner[96];
    double rate_per_min; /* 0: the common one */
    double usd_per_mtok_in, usd_per_mtok_out;
    double input_tokens, output_tokens; /* medians */
};

struct options {
    const char *nats, *creds, *ca_file, *stream, *org, *features, *spike_feature, *instance;
    double hours, rate_per_min, spike_factor, calls_factor, error_ratio, daily_amplitude, follow_s;
    uint32_t spike_minutes, spike_ago_min;
    uint64_t seed, end_s;
    bool mark_synthetic, quiet, follow_spike, is_following;
    struct series extra[SERIES_MAX];
    unsigned extra_count;
};

/* Known features; --features picks from them, --series adds others. */
static const struct series known[] = {
    {"checkout", "openai", "gpt-4o", "shop/checkout", 0, 2.5, 10, 900, 220},
    {"search", "openai", "gpt-4o-mini", "shop/search", 0, 0.15, 0.6, 400, 80},
    {"support-chat", "anthropic", "claude-sonnet-4-5", "help/support", 0, 3, 15, 1500, 350},
    {"summaries", "groq", "llama-3.3-70b-versatile", "docs/summaries", 0, 0.59, 0.79, 3000, 300},
    {"translate", "gemini", "gemini-2.5-flash", "docs/translate", 0, 0.3, 2.5, 700, 600},
};

/* --- random numbers: splitmix64, so that a seed means the same everywhere --- */

static uint64_t random_state;

static uint64_t random_u64(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double random_unit(void)
{
    return ((double)(random_u64() >> 11) + 0.5) / 9007199254740992.0;
}

static double random_normal(void)
{
    return sqrt(-2 * log(random_unit())) * cos(TWO_PI * random_unit());
}

static double random_lognormal(double median, double sigma)
{
    return median * exp(sigma * random_normal());
}

static unsigned random_poisson(double mean)
{
    double limit = exp(-mean), product = 1;
    unsigned n = 0;

    if (mean > 60)
        return (unsigned)fmax(0, floor(mean + sqrt(mean) * random_normal() + 0.5));
    do {
        product *= random_unit();
        n++;
    } while (product > limit);
    return n - 1;
}

/* --- one call --- */

struct writer {
    struct bus *bus;
    char instance[EVENT_UUID_BYTES];
    uint32_t part;
    uint64_t seq;
    uint64_t sent;
    double usd_nano;
};

static char *borrow(const char *text)
{
    return (char *)(uintptr_t)text; /* packed only: never freed or written */
}

#define SET(message, field, value) ((message)->has_##field = true, (message)->field = (value))

static void add_usage(Lectr__V1__Usage *u, const char *kind, uint64_t count)
{
    lectr__v1__usage__init(u);
    u->kind = borrow(kind);
    SET(u, count, count);
    SET(u, low, count);
    SET(u, high, count);
    SET(u, source, LECTR__V1__SOURCE__SOURCE_REPORTED);
}

struct parts {
    Lectr__V1__Feature feature;
    Lectr__V1__Workload workload;
    Lectr__V1__Usage usage[3];
    Lectr__V1__Usage *usage_list[3];
    Lectr__V1__Latency latency;
    Lectr__V1__Cost cost;
    char id[EVENT_UUID_BYTES], response_id[64];
};

static void fill_numbers(Lectr__V1__Call *c, struct parts *p, const struct series *s, double factor)
{
    uint64_t input = (uint64_t)(factor * random_lognormal(s->input_tokens, 0.5)) + 1;
    uint64_t output = (uint64_t)(factor * random_lognormal(s->output_tokens, 0.5)) + 1;
    uint64_t cached = random_unit() < 0.3 ? input / 4 : 0;
    double nano =
        1000.0 * ((double)(input - cached) * s->usd_per_mtok_in +
                  0.5 * (double)cached * s->usd_per_mtok_in + (double)output * s->usd_per_mtok_out);

    add_usage(&p->usage[0], "input", input - cached);
    add_usage(&p->usage[1], "cached_input", cached);
    add_usage(&p->usage[2], "output", output);
    for (int i = 0; i < 3; i++)
        p->usage_list[i] = &p->usage[i];
    c->usage = p->usage_list;
    c->n_usage = 3;
    SET(c, usage_reported, true);
    SET(c, usage_final, true);
    SET(c, input_tokens_total, input);
    SET(c, output_tokens_total, output);
    SET(&p->cost, low_nanousd, (int64_t)nano);
    SET(&p->cost, expected_nanousd, (int64_t)nano);
    SET(&p->cost, high_nanousd, (int64_t)nano);
    p->cost.price_version = borrow("synthetic");
    p->cost.basis = borrow("table");
    SET(&p->latency, total_us,
        (uint64_t)random_lognormal(400e3 + 8e3 * (double)output / factor, 0.35));
    SET(&p->latency, first_token_us, p->latency.total_us / 4);
    SET(&p->latency, added_us, (uint64_t)random_lognormal(180, 0.4));
}

static void fill_error(Lectr__V1__Call *c, struct parts *p)
{
    SET(c, status_code, 429);
    SET(c, outcome, LECTR__V1__OUTCOME__OUTCOME_PROVIDER_ERROR);
    c->error_type = borrow("rate_limit_exceeded");
    SET(c, input_tokens_total, 0);
    SET(c, output_tokens_total, 0);
    SET(&p->cost, low_nanousd, 0);
    SET(&p->cost, expected_nanousd, 0);
    SET(&p->cost, high_nanousd, 0);
    p->cost.basis = borrow("free");
    SET(&p->latency, total_us, (uint64_t)random_lognormal(60e3, 0.3));
}

static void init_call(Lectr__V1__Call *c, struct parts *p, const struct options *o,
                      const struct series *s, uint64_t end_ns)
{
    lectr__v1__call__init(c);
    memset(p, 0, sizeof(*p));
    lectr__v1__feature__init(&p->feature);
    lectr__v1__workload__init(&p->workload);
    lectr__v1__latency__init(&p->latency);
    lectr__v1__cost__init(&p->cost);
    p->feature.value = borrow(s->feature);
    SET(&p->feature, source, LECTR__V1__FEATURE__FROM__FROM_HEADER);
    p->workload.owner = borrow(s->owner);
    p->workload.node = borrow("synthetic");
    c->feature = &p->feature;
    c->workload = &p->workload;
    c->latency = &p->latency;
    c->cost = &p->cost;
    c->org = borrow(o->org);
    c->provider = borrow(s->provider);
    c->operation = borrow("chat");
    c->model_requested = borrow(s->model);
    c->model_responded = borrow(s->model);
    c->agent_version = borrow(LECTR_VERSION);
    SET(c, end_time_unix_nano, end_ns);
    SET(c, streaming, true);
    SET(c, stream_complete, true);
    if (o->mark_synthetic)
        SET(c, synthetic, true);
}

static int send_call(struct writer *w, const Lectr__V1__Call *c)
{
    char subject[SUBJECT_BYTES], message_id[96];
    uint8_t packed[4096];
    size_t bytes = 0;
    int r = subject_call(c->org, c->provider, c->part, subject);

    if (r == 0)
        r = event_pack(&c->base, packed, sizeof(packed), &bytes);
    if (r < 0)
        return r;
    snprintf(message_id, sizeof(message_id), "%s-%u-%llu", w->instance, w->part,
             (unsigned long long)c->seq);
    return bus_publish_async(w->bus, subject, message_id, slice_of(packed, bytes));
}

static int make_call(struct writer *w, const struct options *o, const struct series *s,
                     uint64_t end_ns, double factor)
{
    Lectr__V1__Call c;
    struct parts p;
    char name[128];

    init_call(&c, &p, o, s, end_ns);
    fill_numbers(&c, &p, s, factor);
    SET(&c, status_code, 200);
    SET(&c, outcome, LECTR__V1__OUTCOME__OUTCOME_OK);
    c.finish_reason = borrow("stop");
    if (random_unit() < o->error_ratio) {
        c.n_usage = 0;
        c.finish_reason = NULL;
        fill_error(&c, &p);
    }
    SET(&c, start_time_unix_nano, end_ns - p.latency.total_us * NSEC_PER_USEC);
    SET(&c, part, w->part);
    SET(&c, seq, ++w->seq);
    c.agent_instance = w->instance;
    snprintf(name, sizeof(name), "%s %llu", w->instance, (unsigned long long)w->seq);
    event_uuid_named(slice_str(name), p.id);
    c.id = p.id;
    w->usd_nano += (double)p.cost.expected_nanousd;
    w->sent++;
    return send_call(w, &c);
}

/* --- time --- */

struct moment {
    uint64_t end_ns;
    unsigned series;
};

static int compare_moments(const void *left, const void *right)
{
    const struct moment *a = left, *b = right;

    return a->end_ns < b->end_ns ? -1 : a->end_ns > b->end_ns;
}

/* Lowest at 04:00 UTC, highest at 16:00. */
static double daily_shape(const struct options *o, uint64_t time_s)
{
    double day = (double)(time_s % 86400) / 86400.0;

    return 1.0 + o->daily_amplitude * sin(TWO_PI * (day - 10.0 / 24.0));
}

static bool is_spiking(const struct options *o, const struct series *s, uint64_t minute_s)
{
    uint64_t from_s = o->end_s - 60ull * (o->spike_minutes + o->spike_ago_min);

    if (strcmp(s->feature, o->spike_feature) != 0)
        return false;
    if (o->is_following)
        return o->follow_spike;
    return minute_s >= from_s && minute_s < from_s + 60ull * o->spike_minutes;
}

#define MOMENTS_MAX 200000

static int make_minute(struct writer *w, const struct options *o, const struct series *list,
                       unsigned count, uint64_t minute_s, unsigned seconds)
{
    static struct moment moments[MOMENTS_MAX];
    unsigned n = 0;
    int r = 0;

    for (unsigned i = 0; i < count; i++) {
        double rate = list[i].rate_per_min > 0 ? list[i].rate_per_min : o->rate_per_min;
        double noise = exp(0.05 * random_normal());
        unsigned calls;

        if (is_spiking(o, &list[i], minute_s))
            rate *= o->calls_factor;
        calls = random_poisson(rate * seconds / 60.0 * daily_shape(o, minute_s) * noise);
        for (unsigned k = 0; k < calls && n < MOMENTS_MAX; k++)
            moments[n++] = (struct moment){
                .end_ns = (uint64_t)(((double)minute_s + seconds * random_unit()) * 1e9),
                .series = i,
            };
    }
    qsort(moments, n, sizeof(moments[0]), compare_moments);
    for (unsigned i = 0; i < n && r == 0; i++) {
        const struct series *s = &list[moments[i].series];

        r = make_call(w, o, s, moments[i].end_ns,
                      is_spiking(o, s, minute_s) ? o->spike_factor : 1.0);
        if (r == 0 && w->sent % FLUSH_EVERY == 0)
            r = bus_flush(w->bus, FLUSH_WAIT_MS);
    }
    return r;
}

static int make_history(struct writer *w, const struct options *o, const struct series *list,
                        unsigned count)
{
    uint64_t from_s = o->end_s - (uint64_t)(o->hours * 3600);
    int r = 0;

    for (uint64_t m = from_s; m < o->end_s && r == 0; m += 60)
        r = make_minute(w, o, list, count, m, m + 60 > o->end_s ? (unsigned)(o->end_s - m) : 60);
    return r < 0 ? r : bus_flush(w->bus, FLUSH_WAIT_MS);
}

/* Goes on in real time, second by second; the spike is the whole of it. */
static int follow(struct writer *w, const struct options *o, const struct series *list,
                  unsigned count)
{
    uint64_t now_s = o->end_s;
    uint64_t until_s = now_s + (uint64_t)o->follow_s;
    int r = 0;

    while (now_s < until_s && r == 0) {
        if (clock_wall_ns() / NSEC_PER_SEC < now_s + 1) {
            usleep(50000);
            continue;
        }
        r = make_minute(w, o, list, count, now_s, 1);
        if (r == 0)
            r = bus_flush(w->bus, FLUSH_WAIT_MS);
        now_s++;
    }
    return r;
}

/* --- command line --- */

static const char usage[] =
    "usage: synth [options]\n"
    "  --nats URL            default nats://127.0.0.1:4222\n"
    "  --creds FILE          credentials\n"
    "  --ca-file FILE        TLS, with a server of this authority\n"
    "  --stream NAME         default LECTR\n"
    "  --org NAME            default \"default\"\n"
    "  --hours H             history before the end, default 26; 0 for none\n"
    "  --end now|UNIX        default now\n"
    "  --seed N              default 1\n"
    "  --features A,B        of: checkout search support-chat summaries translate (default all)\n"
    "  --series F:PROVIDER:MODEL:RATE:USD   adds one: calls a minute, usual cost of a call\n"
    "  --rate-per-min R      calls a minute of each feature, default 20\n"
    "  --daily A             amplitude of the daily shape 0..0.9, default 0.5\n"
    "  --errors P            share of failed calls, default 0.01\n"
    "  --spike-feature F     default checkout\n"
    "  --spike-minutes M     the last M minutes of the history cost more; default 0\n"
    "  --spike-ago M         the spike ends M minutes before the end, default 0\n"
    "  --spike-factor K      tokens and cost of a call in the spike, default 5\n"
    "  --calls-factor K      number of calls in the spike, default 1\n"
    "  --follow SECONDS      go on in real time after the history (with the spike when\n"
    "                        --follow-spike is given)\n"
    "  --instance UUID       agent instance, default from seed and end; goes on at seq 1\n"
    "  --unmarked            leave synthetic unset (tests)\n"
    "  --quiet               no summary\n";

enum {
    OPT_NATS = 256,
    OPT_CREDS,
    OPT_CA_FILE,
    OPT_STREAM,
    OPT_ORG,
    OPT_HOURS,
    OPT_END,
    OPT_SEED,
    OPT_FEATURES,
    OPT_SERIES,
    OPT_RATE,
    OPT_DAILY,
    OPT_ERRORS,
    OPT_SPIKE_FEATURE,
    OPT_SPIKE_MINUTES,
    OPT_SPIKE_AGO,
    OPT_SPIKE_FACTOR,
    OPT_CALLS_FACTOR,
    OPT_FOLLOW,
    OPT_FOLLOW_SPIKE,
    OPT_INSTANCE,
    OPT_UNMARKED,
    OPT_QUIET,
    OPT_HELP,
};

static const struct option long_options[] = {
    {"nats", required_argument, NULL, OPT_NATS},
    {"creds", required_argument, NULL, OPT_CREDS},
    {"ca-file", required_argument, NULL, OPT_CA_FILE},
    {"stream", required_argument, NULL, OPT_STREAM},
    {"org", required_argument, NULL, OPT_ORG},
    {"hours", required_argument, NULL, OPT_HOURS},
    {"end", required_argument, NULL, OPT_END},
    {"seed", required_argument, NULL, OPT_SEED},
    {"features", required_argument, NULL, OPT_FEATURES},
    {"series", required_argument, NULL, OPT_SERIES},
    {"rate-per-min", required_argument, NULL, OPT_RATE},
    {"daily", required_argument, NULL, OPT_DAILY},
    {"errors", required_argument, NULL, OPT_ERRORS},
    {"spike-feature", required_argument, NULL, OPT_SPIKE_FEATURE},
    {"spike-minutes", required_argument, NULL, OPT_SPIKE_MINUTES},
    {"spike-ago", required_argument, NULL, OPT_SPIKE_AGO},
    {"spike-factor", required_argument, NULL, OPT_SPIKE_FACTOR},
    {"calls-factor", required_argument, NULL, OPT_CALLS_FACTOR},
    {"follow", required_argument, NULL, OPT_FOLLOW},
    {"follow-spike", no_argument, NULL, OPT_FOLLOW_SPIKE},
    {"instance", required_argument, NULL, OPT_INSTANCE},
    {"unmarked", no_argument, NULL, OPT_UNMARKED},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

/* "feature:provider:model:rate:usd"; the model may hold no colon. */
static int add_series(struct options *o, const char *text)
{
    struct series *s = &o->extra[o->extra_count];
    double rate, usd;

    if (o->extra_count == SERIES_MAX ||
        sscanf(text, "%63[^:]:%31[^:]:%95[^:]:%lf:%lf", s->feature, s->provider, s->model, &rate,
               &usd) != 5 ||
        rate <= 0 || usd <= 0)
        return -EINVAL;
    strcpy(s->owner, "synthetic/");
    strcat(s->owner, s->feature);
    s->rate_per_min = rate;
    s->input_tokens = 1000;
    s->output_tokens = 200;
    /* 1000 in and 200 out at five times the price: half of the cost each. */
    s->usd_per_mtok_in = usd * 1e6 / 2 / 1000;
    s->usd_per_mtok_out = usd * 1e6 / 2 / 200;
    o->extra_count++;
    return 0;
}

static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strncmp(p, name, len) == 0 && (p[len] == ',' || p[len] == '\0'))
            return true;
    return false;
}

static unsigned pick_series(const struct options *o, struct series *ret_list)
{
    unsigned n = 0;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (o->features ? is_listed(o->features, known[i].feature) : o->extra_count == 0)
            ret_list[n++] = known[i];
    for (unsigned i = 0; i < o->extra_count && n < SERIES_MAX; i++)
        ret_list[n++] = o->extra[i];
    return n;
}

static int take_option(struct options *o, int opt)
{
    switch (opt) {
    case OPT_NATS:
        o->nats = optarg;
        return 0;
    case OPT_CREDS:
        o->creds = optarg;
        return 0;
    case OPT_CA_FILE:
        o->ca_file = optarg;
        return 0;
    case OPT_STREAM:
        o->stream = optarg;
        return 0;
    case OPT_ORG:
        o->org = optarg;
        return 0;
    case OPT_HOURS:
        o->hours = atof(optarg);
        return 0;
    case OPT_END:
        o->end_s = strcmp(optarg, "now") == 0 ? 0 : strtoull(optarg, NULL, 10);
        return 0;
    case OPT_SEED:
        o->seed = strtoull(optarg, NULL, 10);
        return 0;
    case OPT_FEATURES:
        o->features = optarg;
        return 0;
    case OPT_SERIES:
        return add_series(o, optarg);
    case OPT_RATE:
        o->rate_per_min = atof(optarg);
        return 0;
    case OPT_DAILY:
        o->daily_amplitude = atof(optarg);
        return 0;
    case OPT_ERRORS:
        o->error_ratio = atof(optarg);
        return 0;
    case OPT_SPIKE_FEATURE:
        o->spike_feature = optarg;
        return 0;
    case OPT_SPIKE_MINUTES:
        o->spike_minutes = (uint32_t)atoi(optarg);
        return 0;
    case OPT_SPIKE_AGO:
        o->spike_ago_min = (uint32_t)atoi(optarg);
        return 0;
    case OPT_SPIKE_FACTOR:
        o->spike_factor = atof(optarg);
        return 0;
    case OPT_CALLS_FACTOR:
        o->calls_factor = atof(optarg);
        return 0;
    case OPT_FOLLOW:
        o->follow_s = atof(optarg);
        return 0;
    case OPT_FOLLOW_SPIKE:
        o->follow_spike = true;
        return 0;
    case OPT_INSTANCE:
        o->instance = optarg;
        return 0;
    case OPT_UNMARKED:
        o->mark_synthetic = false;
        return 0;
    case OPT_QUIET:
        o->quiet = true;
        return 0;
    case OPT_HELP:
        fputs(usage, stdout);
        exit(0);
    default:
        return -EINVAL;
    }
}

static int run(struct options *o, struct writer *w)
{
    struct series list[SERIES_MAX + 8];
    unsigned count = pick_series(o, list);
    char name[128];
    int r;

    if (count == 0)
        return -EINVAL;
    snprintf(name, sizeof(name), "synth %llu %llu", (unsigned long long)o->seed,
             (unsigned long long)o->end_s);
    event_uuid_named(slice_str(name), w->instance);
    if (o->instance)
        snprintf(w->instance, sizeof(w->instance), "%s", o->instance);
    w->part = event_part(w->instance);
    r = make_history(w, o, list, count);
    o->is_following = true;
    if (r == 0 && o->follow_s > 0)
        r = follow(w, o, list, count);
    return r;
}

int main(int argc, char **argv)
{
    struct options o = {
        .nats = "nats://127.0.0.1:4222",
        .creds = "",
        .ca_file = "",
        .stream = "LECTR",
        .org = "default",
        .spike_feature = "checkout",
        .hours = 26,
        .rate_per_min = 20,
        .spike_factor = 5,
        .calls_factor = 1,
        .error_ratio = 0.01,
        .daily_amplitude = 0.5,
        .seed = 1,
        .mark_synthetic = true,
    };
    struct writer w = {0};
    int opt, r;

    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (take_option(&o, opt) < 0) {
            fputs(usage, stderr);
            return 2;
        }
    if (o.end_s == 0)
        o.end_s = clock_wall_ns() / NSEC_PER_SEC;
    random_state = o.seed;
    r = bus_open(&(struct bus_settings){.url = o.nats,
                                        .creds = o.creds,
                                        .ca_file = o.ca_file,
                                        .stream = o.stream,
                                        .durable = "",
                                        .name = "lectr-synth"},
                 &w.bus, NULL);
    if (r == 0)
        r = bus_ensure_stream(w.bus);
    if (r == 0)
        r = run(&o, &w);
    if (r < 0)
        fprintf(stderr, "synth: %s (%s)\n", strerror(-r), bus_error(w.bus));
    else if (!o.quiet)
        printf("%llu calls, $%.2f, instance %s\n", (unsigned long long)w.sent, 1e-9 * w.usd_nano,
               w.instance);
    bus_close(&w.bus);
    return r < 0 ? 1 : 0;
}
