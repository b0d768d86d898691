/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/torrent_events.h"

#include "proto/base/clock.h"
#include "tests/harness/torrent_shapes.h"
#include "tests/harness/torrent_totals.h"
#include "tests/harness/torrent_wire.h"

#include <errno.h>
#include <inttypes.h>

/* Events change places within a block of so many. */
#define BLOCK 4096
#define HOLE_ONE_IN 5000
#define LATE_ONE_IN 100
#define GAP_ONE_IN 100
#define COVERAGE_ONE_IN 100
#define MINUTE_NS (60 * NSEC_PER_SEC)
#define FEATURES_MAX 4096

struct series {
    uint8_t *fields; /* of a Call */
    size_t fields_len;
    char *subject; /* of its calls, up to the part */
    uint32_t org, feature, provider;
};

struct torrent {
    struct torrent_plan plan;
    struct wire head;
    size_t at_id, at_instance, at_part, at_seq, at_start, at_end;
    char (*instances)[EVENT_UUID_BYTES];
    uint8_t *parts;
    struct series *series;
    unsigned shares;
    uint64_t base_ns; /* of the sums over minutes */
    struct torrent_totals totals;
    struct torrent_group *groups; /* orgs x features */
    struct wire out;
    char id[64], subject[SUBJECT_BYTES];
};

static const char *const providers[] = {"openai", "anthropic", "groq", "gemini", "azure openai"};
#define PROVIDERS (sizeof(providers) / sizeof(providers[0]))

/* splitmix64's last step: one number to another that looks like chance. */
static uint64_t mix(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t chance(const struct torrent *t, uint64_t n, uint64_t what)
{
    return mix(mix(t->plan.seed + what) ^ n);
}

/* --- making it --- */

/* Followed by so many characters of two bytes: beyond what a collector keeps. */
static void put_owner(struct wire *w, const char *name, size_t more)
{
    char owner[320];
    size_t len = strlen(name);

    memcpy(owner, name, len);
    for (size_t i = 0; i < more; i++, len += 2)
        memcpy(owner + len, "\xc3\xa9", 2);
    wire_bytes(w, 6, owner, len);
}

static void put_workload(struct wire *w, unsigned field, uint64_t series)
{
    struct wire inner = {.len = 0};
    char name[64];

    wire_text(&inner, 1, "torrent");
    snprintf(name, sizeof(name), "node-%" PRIu64 ".eu-west-1.internal", series % 97);
    wire_text(&inner, 2, name);
    snprintf(name, sizeof(name), "team-%" PRIu64, series % 13);
    wire_text(&inner, 3, name);
    snprintf(name, sizeof(name), "worker-%" PRIu64 "-7d9f8b6c5d-x2x4z", series);
    wire_text(&inner, 4, name);
    snprintf(name, sizeof(name), "Deployment/worker-%" PRIu64, series);
    put_owner(&inner, name, series % 7 == 0 ? 90 + series % 5 : 0);
    wire_text(&inner, 7, "node");
    wire_number(&inner, 8, 1000 + series % 60000);
    wire_bytes(w, field, inner.data, inner.len);
}

static int make_subject(struct series *s)
{
    char org[64], subject[SUBJECT_BYTES];
    int r;

    torrent_org(s->org, org, sizeof(org));
    r = subject_call(org, providers[s->provider], 0, subject);
    if (r < 0)
        return r;
    s->subject = strndup(subject, strlen(subject) - 1);
    return s->subject ? 0 : -ENOMEM;
}

static int make_series(struct torrent *t, uint64_t n)
{
    struct series *s = &t->series[n];
    struct wire w = {.len = 0}, feature = {.len = 0};
    char name[96];

    s->org = (uint32_t)(n % t->plan.orgs);
    s->feature = (uint32_t)(n / t->plan.orgs % t->plan.features);
    s->provider = (uint32_t)(mix(n) % PROVIDERS);
    torrent_org(s->org, name, sizeof(name));
    wire_text(&w, 7, name);
    torrent_feature(s->feature, name, sizeof(name));
    wire_text(&feature, 1, name);
    wire_number(&feature, 2, LECTR__V1__FEATURE__FROM__FROM_HEADER);
    wire_bytes(&w, 8, feature.data, feature.len);
    put_workload(&w, 9, n);
    wire_text(&w, 10, providers[s->provider]);
    wire_text(&w, 11, "api.provider.example");
    wire_number(&w, 12, 443);
    wire_text(&w, 13, "openai.chat");
    snprintf(name, sizeof(name), "model-%" PRIu64, mix(n ^ 7) % 20);
    wire_text(&w, 15, name);
    snprintf(name, sizeof(name), "model-%" PRIu64 "-2026-01-01", mix(n ^ 7) % 20);
    wire_text(&w, 16, name);
    wire_text(&w, 19, "1.1");
    wire_text(&w, 26, "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG");
    wire_text(&w, 33, "OpenAI-JS/5.1.0");
    wire_text(&w, 47, LECTR_VERSION);
    wire_number(&w, 52, 1);
    wire_text(&w, 500, "a field of a later version");
    s->fields = malloc(w.len);
    if (!s->fields)
        return -ENOMEM;
    memcpy(s->fields, w.data, w.len);
    s->fields_len = w.len;
    return make_subject(s);
}

static void make_head(struct torrent *t)
{
    static const char blank[] = "00000000-0000-7000-8000-000000000000";
    struct wire *w = &t->head;

    wire_text(w, 1, blank);
    t->at_id = w->len - strlen(blank);
    wire_text(w, 2, blank);
    t->at_instance = w->len - strlen(blank);
    t->at_part = wire_room(w, 3, 1);
    t->at_seq = wire_room(w, 4, WIRE_COUNT);
    t->at_start = wire_room64(w, 5);
    t->at_end = wire_room64(w, 6);
}

static void make_instances(struct torrent *t)
{
    for (uint64_t i = 0; i < t->plan.instances; i++) {
        char name[64];

        snprintf(name, sizeof(name), "torrent %" PRIu64 " %" PRIu64, t->plan.seed, i);
        event_uuid_named(slice_str(name), t->instances[i]);
        t->parts[i] = (uint8_t)event_part(t->instances[i]);
    }
}

int torrent_new(const struct torrent_plan *plan, struct torrent **ret_torrent)
{
    struct torrent *t;
    int r = 0;

    if (!plan->events || !plan->instances || !plan->series || !plan->orgs || !plan->features ||
        plan->orgs * plan->features > FEATURES_MAX || plan->instances > plan->events)
        return -EINVAL;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->plan = *plan;
    t->instances = calloc(plan->instances, sizeof(*t->instances));
    t->parts = calloc(plan->instances, 1);
    t->series = calloc(plan->series, sizeof(*t->series));
    t->groups = calloc(plan->orgs * plan->features, sizeof(*t->groups));
    if (!t->instances || !t->parts || !t->series || !t->groups)
        r = -ENOMEM;
    for (unsigned i = 0; i < shapes_count; i++)
        t->shares += shapes[i].share;
    t->base_ns = plan->end_ns - plan->span_ns - plan->late_ns;
    t->base_ns -= t->base_ns % (1440 * MINUTE_NS);
    make_head(t);
    for (uint64_t i = 0; i < plan->series && r == 0; i++)
        r = make_series(t, i);
    if (r == 0) {
        make_instances(t);
        *ret_torrent = TAKE_PTR(t);
    }
    torrent_free(&t);
    return r;
}

void torrent_free(struct torrent **torrent)
{
    struct torrent *t = *torrent;

    if (!t)
        return;
    for (uint64_t i = 0; t->series && i < t->plan.series; i++) {
        free(t->series[i].fields);
        free(t->series[i].subject);
    }
    free(t->series);
    free(t->instances);
    free(t->parts);
    free(t->groups);
    free(t);
    *torrent = NULL;
}

/* --- one event --- */

/* One event as it is being made. */
struct event {
    uint64_t n;
    uint64_t instance, seq, end_ns, took_us;
    const struct series *series;
    bool count;
};

uint64_t torrent_emissions(const struct torrent *t)
{
    return t->plan.clean ? t->plan.events
                         : t->plan.events + t->plan.events / (TORRENT_EXTRA_EVERY - 1);
}

/* Some blocks come in another order; the last, which may be short, never. */
static uint64_t shuffled(const struct torrent *t, uint64_t n)
{
    uint64_t block = n / BLOCK, at = n % BLOCK;

    if (t->plan.clean || (block + 1) * BLOCK > t->plan.events || chance(t, block, 1) % 3 != 0)
        return n;
    return block * BLOCK + (at * (2 * (chance(t, block, 2) % BLOCK) + 1)) % BLOCK;
}

/* An agent's last number is always sent: a hole behind it could not be seen. */
static bool is_hole(const struct torrent *t, uint64_t n)
{
    return !t->plan.clean && n + t->plan.instances < t->plan.events &&
           chance(t, n, 3) % HOLE_ONE_IN == 0;
}

static struct event event_at(const struct torrent *t, uint64_t n)
{
    struct event e = {.n = n};
    uint64_t begins_ns = t->plan.end_ns - t->plan.span_ns, when = chance(t, n, 4);

    e.instance = n % t->plan.instances;
    e.seq = n / t->plan.instances + 1;
    e.series = &t->series[chance(t, n, 5) % t->plan.series];
    e.end_ns =
        begins_ns + (uint64_t)((double)t->plan.span_ns * ((double)n / (double)t->plan.events));
    if (!t->plan.clean && t->plan.late_ns && when % LATE_ONE_IN == 0)
        e.end_ns -= when / LATE_ONE_IN % t->plan.late_ns;
    e.took_us = 50000 + chance(t, n, 6) % 3000000;
    return e;
}

static void put_hex(uint8_t *at, uint64_t value, unsigned digits)
{
    for (unsigned i = 0; i < digits; i++)
        at[i] = (uint8_t) "0123456789abcdef"[value >> (4 * (digits - 1 - i)) & 15];
}

static void put_head(struct torrent *t, const struct event *e)
{
    uint8_t *out = t->out.data;

    t->out.len = 0;
    wire_raw(&t->out, t->head.data, t->head.len);
    put_hex(out + t->at_id, e->end_ns >> 32, 8);
    /* Another plan's ids are others: the stream looks for them. */
    put_hex(out + t->at_id + 9, mix(t->plan.seed) & 0xffff, 4);
    put_hex(out + t->at_id + 19, mix(t->plan.seed) >> 16 & 0xffff, 4);
    put_hex(out + t->at_id + 24, e->n, 12);
    memcpy(out + t->at_instance, t->instances[e->instance], EVENT_UUID_BYTES - 1);
    wire_patch(out + t->at_part, 1, t->parts[e->instance]);
    wire_patch(out + t->at_seq, WIRE_COUNT, e->seq);
    wire_fixed64(out + t->at_start, e->end_ns - e->took_us * NSEC_PER_USEC);
    wire_fixed64(out + t->at_end, e->end_ns);
    memcpy(t->id, out + t->at_id, EVENT_UUID_BYTES - 1);
    t->id[EVENT_UUID_BYTES - 1] = '\0';
}

/* What a call comes to. */
struct sums {
    uint64_t input, output;
    int64_t low, expected, high;
};

static bool is_output(const char *kind)
{
    return strcmp(kind, "output") == 0 || strcmp(kind, "reasoning") == 0;
}

static void put_row(struct torrent *t, const struct event *e, const struct shape_row *row,
                    uint64_t number, struct sums *sums)
{
    struct wire w = {.len = 0};
    uint64_t count = row->max ? 1 + number % row->max : 0;
    bool is_token = !*row->unit || strcmp(row->unit, "token") == 0;

    wire_text(&w, 1, row->kind);
    wire_text(&w, 2, row->modality);
    wire_text(&w, 3, row->unit);
    if (row->max) {
        wire_number(&w, 5, count);
        wire_number(&w, 6, row->source == SHAPE_ESTIMATED ? count - count / 4 : count);
        wire_number(&w, 7, row->source == SHAPE_ESTIMATED ? count + count / 3 : count);
    }
    wire_number(&w, 8, row->source);
    wire_bytes(&t->out, 41, w.data, w.len);
    if (is_token && strcmp(row->kind, "counted") != 0)
        *(is_output(row->kind) ? &sums->output : &sums->input) += count;
    sums->expected +=
        (int64_t)(count * (is_output(row->kind) ? 10000 : 2500)) + (int64_t)(number >> 40 & 1023);
    if (e->count && row->max)
        torrent_count(
            t->totals.usage, &t->totals.usage_count,
            (struct torrent_name){row->kind, is_token ? "token" : row->unit, row->source, count});
}

static void put_cost(struct torrent *t, const struct event *e, const struct shape *shape,
                     struct sums *s)
{
    struct wire w = {.len = 0};

    if (shape->cost == SHAPE_COST_FREE)
        s->expected = 0;
    s->low = shape->cost == SHAPE_COST_RANGE ? s->expected - s->expected / 5 : s->expected;
    s->high = shape->cost == SHAPE_COST_RANGE ? s->expected + s->expected / 3 : s->expected;
    if (shape->cost != SHAPE_COST_ABSENT) {
        wire_number(&w, 1, wire_zigzag(s->low));
        wire_number(&w, 2, wire_zigzag(s->expected));
        wire_number(&w, 3, wire_zigzag(s->high));
    }
    wire_text(&w, 4, "torrent 1");
    wire_text(&w, 5, shape->basis);
    wire_bytes(&t->out, 42, w.data, w.len);
    if (shape->cost == SHAPE_COST_ABSENT)
        s->low = s->expected = s->high = 0;
    if (e->count)
        t->totals.cost_unknown += shape->cost == SHAPE_COST_ABSENT;
}

static void put_totals(struct torrent *t, const struct event *e, const struct shape *shape,
                       struct sums *s)
{
    bool absent = shape->totals == SHAPE_TOTALS_ABSENT;

    if (shape->totals == SHAPE_TOTALS_SUMS || shape->totals == SHAPE_TOTALS_REPEATED) {
        wire_number(&t->out, 53, shape->totals == SHAPE_TOTALS_SUMS ? s->input : 1234);
        wire_number(&t->out, 54, shape->totals == SHAPE_TOTALS_SUMS ? s->output : 567);
    } else if (shape->totals == SHAPE_TOTALS_ZERO) {
        wire_number(&t->out, 53, 0);
        wire_number(&t->out, 54, 0);
    }
    if (shape->totals != SHAPE_TOTALS_SUMS)
        s->input = s->output = 0;
    if (e->count) {
        t->totals.input_unknown += absent;
        t->totals.output_unknown += absent;
    }
}

static void put_latency(struct torrent *t, const struct event *e, const struct shape *shape)
{
    struct wire w = {.len = 0};

    wire_number(&w, 1, 4000 + e->took_us % 900);
    wire_number(&w, 2, 9000 + e->took_us % 1700);
    wire_number(&w, 3, e->took_us / 5);
    if (shape->has_ttft)
        wire_number(&w, 4, e->took_us / 4);
    wire_number(&w, 5, e->took_us);
    wire_number(&w, 8, 100 + e->took_us % 300);
    wire_bytes(&t->out, 37, w.data, w.len);
    if (e->count) {
        t->totals.latencies++;
        t->totals.ttfts += shape->has_ttft;
    }
}

static void count_call(struct torrent *t, const struct event *e, const struct shape *shape,
                       const struct sums *s)
{
    struct torrent_totals *x = &t->totals;
    struct torrent_group *g = &t->groups[e->series->org * t->plan.features + e->series->feature];
    uint64_t minute = (e->end_ns - t->base_ns) / MINUTE_NS;
    bool estimated = false;

    for (int i = 0; i < SHAPE_ROWS_MAX && shape->rows[i].kind; i++)
        estimated |= shape->rows[i].source == SHAPE_ESTIMATED;
    x->calls++;
    x->estimated += estimated;
    x->input_total += s->input;
    x->output_total += s->output;
    x->low += s->low;
    x->expected += s->expected;
    x->high += s->high;
    x->minutes += minute;
    x->minutes_squared += minute * minute;
    x->hours += minute / 60;
    x->days += minute / 1440;
    if (*shape->counted_type)
        torrent_count(x->errors, &x->errors_count,
                      (struct torrent_name){shape->counted_type, "", 0, 1});
    g->calls++;
    g->input_tokens += s->input;
    g->output_tokens += s->output;
    g->expected_nanousd += s->expected;
}

static const struct shape *shape_of(const struct torrent *t, uint64_t n)
{
    uint64_t at = chance(t, n, 7) % t->shares;
    unsigned i = 0;

    for (; at >= shapes[i].share; i++)
        at -= shapes[i].share;
    return &shapes[i];
}

static int put_call(struct torrent *t, const struct event *e)
{
    const struct shape *shape = shape_of(t, e->n);
    uint64_t number = chance(t, e->n, 8);
    struct sums sums = {0};

    wire_raw(&t->out, e->series->fields, e->series->fields_len);
    wire_text(&t->out, 14, shape->operation);
    wire_number(&t->out, 20, shape->status);
    if (shape->outcome)
        wire_number(&t->out, 21, shape->outcome);
    wire_text(&t->out, 22, shape->error_type);
    for (int i = 0; i < SHAPE_ROWS_MAX && shape->rows[i].kind; i++, number = mix(number))
        put_row(t, e, &shape->rows[i], number, &sums);
    put_cost(t, e, shape, &sums);
    put_totals(t, e, shape, &sums);
    put_latency(t, e, shape);
    if (e->count)
        count_call(t, e, shape, &sums);
    snprintf(t->subject, sizeof(t->subject), "%s%u", e->series->subject, t->parts[e->instance]);
    return 0;
}

/* As agents told them before the subject had a part. */
static void put_old_subject(struct torrent *t, const char *org, bool is_gap)
{
    char token[SUBJECT_TOKEN_BYTES] = "";
    int r = subject_token(org, token);

    assert(r == 0);
    (void)r;
    snprintf(t->subject, sizeof(t->subject), SUBJECT_ROOT ".%s.%s", is_gap ? "gap" : "coverage",
             token);
}

static int put_other(struct torrent *t, const struct event *e, bool is_gap)
{
    static const char *const reasons[] = {"untrusted_ca", "no_listener", "agent_died",
                                          "spool_lost"};
    uint64_t number = chance(t, e->n, 9), a = number % 50, b = number / 50 % 50,
             c = number / 2500 % 50;
    struct torrent_totals *x = &t->totals;
    char org[64];

    torrent_org(e->series->org, org, sizeof(org));
    wire_text(&t->out, 7, org);
    put_workload(&t->out, 8, (uint64_t)(e->series - t->series));
    wire_text(&t->out, 9, providers[e->series->provider]);
    if (is_gap) {
        wire_text(&t->out, 10, reasons[number % 4]);
        wire_number(&t->out, 11, a);
        wire_number(&t->out, 12, b);
        wire_number(&t->out, 14, c);
    } else {
        wire_number(&t->out, 10, a + b);
        wire_number(&t->out, 11, a);
    }
    if (e->count && is_gap) {
        x->gaps++;
        x->connections += a;
        x->in_flight += b;
        x->lost += c;
    } else if (e->count) {
        x->coverages++;
        x->seen += a + b;
        x->metered += a;
    }
    if (t->plan.old_subjects && number / 125000 % 4 == 0) {
        put_old_subject(t, org, is_gap);
        return 0;
    }
    return is_gap
               ? subject_gap(org, providers[e->series->provider], t->parts[e->instance], t->subject)
               : subject_coverage(org, providers[e->series->provider], t->parts[e->instance],
                                  t->subject);
}

static int put_event(struct torrent *t, uint64_t n, bool count)
{
    struct event e = event_at(t, n);
    uint64_t kind = chance(t, n, 10) % 1000;

    e.count = count;
    put_head(t, &e);
    if (kind < 1000 / GAP_ONE_IN)
        return put_other(t, &e, true);
    if (kind < 1000 / GAP_ONE_IN + 1000 / COVERAGE_ONE_IN)
        return put_other(t, &e, false);
    return put_call(t, &e);
}

/* --- garbage: an event that is broken in one of many ways --- */

static void break_cut(struct torrent *t)
{
    t->out.len = t->at_id + 20;
}

static void break_noise(struct torrent *t)
{
    for (size_t i = 0; i < t->out.len; i++)
        t->out.data[i] = (uint8_t)mix(i);
}

static void break_empty(struct torrent *t)
{
    t->out.len = 0;
}

static void break_part(struct torrent *t)
{
    wire_patch(t->out.data + t->at_part, 1, EVENT_PARTS);
}

static void break_seq(struct torrent *t)
{
    wire_patch(t->out.data + t->at_seq, WIRE_COUNT, 0);
}

static void break_times(struct torrent *t)
{
    wire_fixed64(t->out.data + t->at_end, 1);
}

static void break_far(struct torrent *t)
{
    wire_fixed64(t->out.data + t->at_end, UINT64_MAX);
}

static void break_instance(struct torrent *t)
{
    memcpy(t->out.data + t->at_instance, "no uuid", 7);
}

static void break_text(struct torrent *t)
{
    wire_text(&t->out, 7, "\xff\xfe");
}

/* The last field of a name wins: the subject speaks for another organisation. */
static void break_org(struct torrent *t)
{
    wire_text(&t->out, 7, "somebody-else");
}

static void break_subject(struct torrent *t)
{
    snprintf(t->subject, sizeof(t->subject), "lectr.v1.nonsense.a.b.3");
}

static void break_subject_text(struct torrent *t)
{
    snprintf(t->subject, sizeof(t->subject), "lectr.v1.nonsense.\xff\xc3.b.3");
}

static void (*const breaks[])(struct torrent *t) = {
    break_cut, break_noise,    break_empty, break_part, break_seq,     break_times,
    break_far, break_instance, break_text,  break_org,  break_subject, break_subject_text,
};

#define BREAKS (sizeof(breaks) / sizeof(breaks[0]))

/* --- emissions --- */

static bool put_extra(struct torrent *t, uint64_t extra, uint64_t before, bool count)
{
    uint64_t number = chance(t, extra, 11), n = shuffled(t, number / 8 % before);
    bool again = number % 3 != 0 && !is_hole(t, n);

    if (put_event(t, n, false) < 0)
        return false;
    if (!again)
        breaks[number / 8 % BREAKS](t);
    snprintf(t->id + EVENT_UUID_BYTES - 1, sizeof(t->id) - EVENT_UUID_BYTES + 1, "-%" PRIu64,
             extra);
    if (count) {
        t->totals.duplicates += again;
        t->totals.malformed += !again;
    }
    return true;
}

bool torrent_at(struct torrent *t, uint64_t emission, bool count,
                struct torrent_message *ret_message)
{
    uint64_t extras = t->plan.clean ? 0 : emission / TORRENT_EXTRA_EVERY;
    bool is_extra = !t->plan.clean && emission % TORRENT_EXTRA_EVERY == TORRENT_EXTRA_EVERY - 1;
    uint64_t n = emission - extras;

    if (is_extra) {
        if (!put_extra(t, extras, n, count))
            return false;
    } else {
        n = shuffled(t, n);
        if (is_hole(t, n)) {
            t->totals.holes += count;
            return false;
        }
        if (put_event(t, n, count) < 0)
            return false;
    }
    if (count)
        t->totals.bytes += t->out.len;
    *ret_message = (struct torrent_message){
        .subject = t->subject, .id = t->id, .data = slice_of(t->out.data, t->out.len)};
    return true;
}

void torrent_print_totals(const struct torrent *t, const char *tail, FILE *out)
{
    torrent_totals_print(&t->totals, t->groups, t->plan.orgs, t->plan.features,
                         (int64_t)(t->base_ns / NSEC_PER_SEC), tail, out);
}
