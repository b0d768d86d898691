/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How good the estimates are. Recorded exchanges go through the real meter with
 * the real estimator; every source repository in turn is tested with what was
 * learned from all the others (and from no shipped prior).
 *
 *   estimate_eval [--profiles DIR] [--cuts N] [--truth FILE] [--seed N] [--check]
 *                 [--learn FILE] FOLDER
 *
 * 1. Usage hidden. The exchange passes whole, with profiles that find no usage.
 *    Truth: the provider's own totals, which the estimator never saw.
 * 2. Cut streams (--cuts). A recorded stream is cut at a random byte and the
 *    client goes away. The true count is what the provider had generated and
 *    sent when it was cut, which no recording says; it is taken from
 *      tokenizer  the model's public tokenizer over the text that had passed, for
 *                 streams of which the whole text gives the reported number
 *                 within two tokens (--truth, made by token-truth.mjs); else
 *      share      the stream's own reported output, less what was not shown, times
 *                 the share of its text bytes that had passed, plus what was not
 *                 shown. The estimator knows neither the total nor the share.
 *    Counted are cuts after which the output is neither reported nor none. The
 *    outcome is checked against the place of the stream's end mark in the bytes.
 * What is learned depends a little on the order: each source is tested after three, and n counts
 * every test. Coverage comes with a 95 % bootstrap interval over source repositories. Rivals:
 * bytes ÷ 4, and the mean of the model (else provider, else all); each gets the
 * 5 % and 95 % points of truth ÷ value on what it was allowed to learn from.
 * --check fails outside 88–96 %. --learn writes what all exchanges teach.
 */
/* LINK: @meter agent/estimate_file.c tests/harness/eval_blind.c */
/* LINK: tests/harness/eval_items.c */
#include <math.h>
#include <stdlib.h>

#include "agent/estimate_impl.h"
#include "agent/meter.h"
#include "tests/harness/eval_blind.h"
#include "tests/harness/eval_items.h"

#define BOOTSTRAPS 2000
#define ORDERS 3 /* in which is learned; figures are over all of them */

struct seen {
    struct call call;
    unsigned calls;
};

static void on_call(void *user, const struct call *call)
{
    struct seen *s = user;

    s->call = *call;
    s->calls++;
}

/* `body_bytes` of the answer's body, then the end. */
static unsigned pass(const struct bench *b, const struct item *it, const struct provider_set *set,
                     struct estimator *e, size_t body_bytes, struct call *ret_call)
{
    static const uint8_t key[32] = {1};
    static struct seen seen;
    struct meter_env env = {.providers = set,
                            .fingerprint_key = key,
                            .estimator = e,
                            .user = &seen,
                            .on_call = on_call};
    bool whole = body_bytes >= it->body.len;
    struct meter *m;

    (void)b;
    memset(&seen, 0, sizeof(seen));
    if (meter_new(&env, METER_HTTP1, slice_str(it->host), &m))
        eval_die("out of memory");
    meter_request(m, buf_slice(&it->up), 1000);
    meter_response(m, buf_slice(&it->head), 2000);
    meter_response(m, slice_of(it->body.data, whole ? it->body.len : body_bytes), 3000);
    meter_close(m, whole ? METER_END_CLEAN : METER_END_CLIENT, 4000);
    meter_free(&m);
    *ret_call = seen.call;
    return seen.calls;
}

/* The sum of the rows of one direction; false where one of them is unknown. */
static bool rows_sum(const struct call *call, bool input, struct estimate_range *ret,
                     bool *ret_made)
{
    struct estimate_range sum = {0};
    bool any = false, made = false;

    for (uint32_t i = 0; i < call->usage_count; i++) {
        const struct usage_row *row = &call->usage[i];
        bool in = strcmp(row->kind, "output") != 0 && strcmp(row->kind, "reasoning") != 0;

        if (in != input || strcmp(row->unit, "token") != 0 || row->model[0])
            continue;
        if (!row->count.known)
            return false;
        any = true;
        made |= row->source == USAGE_ESTIMATED || row->source == USAGE_MEASURED;
        sum.expected += (double)row->count.value;
        sum.low += (double)(row->low.known ? row->low.value : row->count.value);
        sum.high += (double)(row->high.known ? row->high.value : row->count.value);
    }
    *ret = sum;
    *ret_made = made;
    return any;
}

/* ---- figures ---- */

enum who {
    LECTR,
    BYTES,
    MEAN,
    WHOS,
};

struct case_ {
    int repo;
    char provider[32];
    double truth, off[WHOS], width[WHOS];
    bool held[WHOS];
};

struct cases {
    struct case_ *at;
    size_t count, room;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile(double *v, size_t count, double q)
{
    size_t at = (size_t)(q * (double)(count - 1) + 0.5);

    if (!count)
        return NAN;
    qsort(v, count, sizeof(*v), by_value);
    return v[at];
}

static void cases_add(struct cases *c, const struct item *it, double truth,
                      const struct estimate_range range[WHOS])
{
    struct case_ *k;

    if (c->count == c->room) {
        c->room = c->room ? 2 * c->room : 1024;
        c->at = realloc(c->at, c->room * sizeof(*c->at));
        if (!c->at)
            eval_die("out of memory");
    }
    k = &c->at[c->count++];
    *k = (struct case_){.repo = it->repo, .truth = truth};
    snprintf(k->provider, sizeof(k->provider), "%s", it->provider);
    for (int w = 0; w < WHOS; w++) {
        k->held[w] = truth >= floor(range[w].low) && truth <= ceil(range[w].high);
        k->width[w] = (range[w].high - range[w].low) / fmax(truth, 1);
        k->off[w] = fabs(range[w].expected - truth) / fmax(truth, 1);
    }
}

static void bootstrap(const struct bench *b, const struct cases *c, const char *provider,
                      double *ret_low, double *ret_high)
{
    static double share[BOOTSTRAPS];
    double n[REPOS_MAX] = {0}, held[REPOS_MAX] = {0};
    int present[REPOS_MAX], repos = 0;

    for (size_t i = 0; i < c->count; i++) {
        if (provider && strcmp(provider, c->at[i].provider) != 0)
            continue;
        n[c->at[i].repo]++;
        held[c->at[i].repo] += c->at[i].held[LECTR];
    }
    for (int r = 0; r < b->repo_count; r++)
        if (n[r] > 0)
            present[repos++] = r;
    for (int i = 0; i < BOOTSTRAPS; i++) {
        double all = 0, in = 0;

        for (int k = 0; k < repos; k++) {
            int r = present[rand() % repos];

            all += n[r];
            in += held[r];
        }
        share[i] = in / fmax(all, 1);
    }
    *ret_low = quantile(share, BOOTSTRAPS, 0.025);
    *ret_high = quantile(share, BOOTSTRAPS, 0.975);
}

static double print_line(const struct bench *b, const struct cases *c, const char *provider)
{
    double *v = calloc(c->count + 1, sizeof(*v)), held[WHOS] = {0}, width[WHOS], off[WHOS];
    double low, high;
    size_t n = 0;

    if (!v)
        eval_die("out of memory");
    for (int w = 0; w < WHOS; w++) {
        for (int what = 0; what < 2; what++) {
            n = 0;
            for (size_t i = 0; i < c->count; i++) {
                if (provider && strcmp(provider, c->at[i].provider) != 0)
                    continue;
                held[w] += what == 0 && c->at[i].held[w];
                v[n++] = what == 0 ? c->at[i].width[w] : c->at[i].off[w];
            }
            *(what == 0 ? &width[w] : &off[w]) = quantile(v, n, 0.5);
        }
        held[w] /= fmax((double)n, 1);
    }
    bootstrap(b, c, provider, &low, &high);
    if (n)
        printf(
            "%-18s %6zu  %5.1f%% [%3.0f–%3.0f]  %5.2f %5.2f   %5.1f%% %6.2f %5.2f   %5.1f%% %6.2f "
            "%5.2f\n",
            provider ? provider : "all", n, 100 * held[LECTR], 100 * low, 100 * high, width[LECTR],
            off[LECTR], 100 * held[BYTES], width[BYTES], off[BYTES], 100 * held[MEAN], width[MEAN],
            off[MEAN]);
    free(v);
    return held[LECTR];
}

static double print_cases(const struct bench *b, const char *title, const struct cases *c)
{
    printf("\n%s\n%-18s %6s  %-16s %5s %5s   %6s %6s %5s   %6s %6s %5s\n", title, "", "n",
           "held [95% boot.]", "width", "error", "bytes4", "width", "error", "mean", "width",
           "error");
    for (size_t i = 0; i < c->count; i++) {
        bool first = true;

        for (size_t k = 0; k < i && first; k++)
            first = strcmp(c->at[k].provider, c->at[i].provider) != 0;
        if (first)
            (void)print_line(b, c, c->at[i].provider);
    }
    return print_line(b, c, NULL);
}

/* ---- learning and the rivals ---- */

static void shuffle(unsigned *order, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count; i > 1; i--) {
        unsigned k = (unsigned)rand() % i, t = order[i - 1];

        order[i - 1] = order[k];
        order[k] = t;
    }
}

/* From every source but two; -1: from all. */
static struct estimator *learn_but(struct bench *b, int except, int also_except)
{
    static unsigned order[ITEMS_MAX];
    static struct call call;
    struct estimator *e;

    if (estimator_new(&e))
        eval_die("out of memory");
    shuffle(order, b->count);
    for (unsigned i = 0; i < b->count; i++) {
        struct item *it = &b->items[order[i]];

        if (it->repo == except || it->repo == also_except)
            continue;
        (void)pass(b, it, b->open, e, SIZE_MAX, &call);
    }
    return e;
}

struct scores {
    double at[ESTIMATE_CLASSES][ESTIMATE_LEVELS][ITEMS_MAX];
    size_t count[ESTIMATE_CLASSES][ESTIMATE_LEVELS];
};

static void on_score(void *user, enum estimate_class class, enum estimate_level level, double score)
{
    struct scores *s = user;

    if (s->count[class][level] < ITEMS_MAX)
        s->at[class][level][s->count[class][level]++] = score;
}

/* How sources differ shows only in sources that were not learned from: each of
 * those at hand is left out in turn, and the factor is the 90 % point. */
static void calibrate(struct bench *b, int except, struct estimator *e)
{
    static struct scores scores;
    static struct call call;

    memset(scores.count, 0, sizeof(scores.count));
    for (int repo = 0; repo < b->repo_count; repo++) {
        struct estimator *part;

        if (repo == except)
            continue;
        part = learn_but(b, except, repo);
        part->probe = on_score;
        part->probe_user = &scores;
        for (unsigned i = 0; i < b->count; i++)
            if (b->items[i].repo == repo)
                (void)pass(b, &b->items[i], b->open, part, SIZE_MAX, &call);
        estimator_free(&part);
    }
    for (int k = 0; k < ESTIMATE_CLASSES; k++) {
        double above = 1.5;

        for (int level = 0; level < ESTIMATE_LEVELS; level++) {
            size_t n = scores.count[k][level];
            double q =
                n ? quantile(scores.at[k][level], n, fmin(0.94 * ((double)n + 1) / (double)n, 1))
                  : above;

            /* Few say little: the level above counts as fifteen. 94 rather than 90
             * for the sources being few: the next one differs more than these. */
            above = fmin(fmax(((double)n * q + 15 * above) / ((double)n + 15), 0.4), 6);
            e->factor[k][level] = above;
        }
    }
}

static struct estimator *learn(struct bench *b, int except)
{
    struct estimator *e = learn_but(b, except, except);

    calibrate(b, except, e);
    if (getenv("VERBOSE"))
        for (int k = 0; k < ESTIMATE_CLASSES; k++)
            printf("factors %.2f %.2f %.2f %.2f %.2f\n", e->factor[k][0], e->factor[k][1],
                   e->factor[k][2], e->factor[k][3], e->factor[k][4]);
    return e;
}

struct rival {
    double low, high; /* truth ÷ value, 5 % and 95 % */
};

static double mean_of(const struct bench *b, const struct item *it, int except, bool input)
{
    double sum[3] = {0}, n[3] = {0};

    for (unsigned i = 0; i < b->count; i++) {
        const struct item *o = &b->items[i];
        double v = input ? o->input : o->output;

        if (o->repo == except || !o->usable || v <= 0 || o == it)
            continue;
        for (int level = 0; level < 3; level++) {
            if ((level == 0 && strcmp(o->model, it->model) != 0) ||
                (level == 1 && strcmp(o->provider, it->provider) != 0))
                continue;
            sum[level] += v;
            n[level]++;
        }
    }
    for (int level = 0; level < 3; level++)
        if (n[level] >= 1)
            return sum[level] / n[level];
    return 1;
}

static double bytes_of(const struct item *it, bool input)
{
    return input ? it->request_bytes / 4 : (double)it->bytes / 4;
}

static struct rival rival_of(const struct bench *b, int except, bool input, enum who who)
{
    static double ratio[ITEMS_MAX];
    size_t n = 0;

    for (unsigned i = 0; i < b->count; i++) {
        const struct item *o = &b->items[i];
        double v = input ? o->input : o->output;
        double value = who == BYTES ? bytes_of(o, input) : mean_of(b, o, except, input);

        if (o->repo != except && o->usable && v > 0 && value > 0)
            ratio[n++] = v / value;
    }
    return (struct rival){quantile(ratio, n, 0.05), quantile(ratio, n, 0.95)};
}

static struct estimate_range rival_range(struct rival r, double value)
{
    return (struct estimate_range){value, value * r.low, value * r.high};
}

struct fold {
    struct estimator *e;
    struct rival rival[2][WHOS]; /* by input */
};

static void fold_make(struct bench *b, int repo, struct fold *f)
{
    f->e = learn(b, repo);
    for (int input = 0; input < 2; input++)
        for (int w = BYTES; w < WHOS; w++)
            f->rival[input][w] = rival_of(b, repo, input, (enum who)w);
}

/* ---- 1. usage hidden ---- */

static void hide_one(struct bench *b, struct fold *f, struct item *it, bool input, struct cases *c)
{
    struct estimate_range range[WHOS];
    double truth = input ? it->input : it->output;
    static struct call call;
    bool made;

    if (!it->usable || truth <= 0)
        return;
    (void)pass(b, it, b->blind, f->e, SIZE_MAX, &call);
    if (!rows_sum(&call, input, &range[LECTR], &made) || !made)
        return;
    range[BYTES] = rival_range(f->rival[input][BYTES], bytes_of(it, input));
    range[MEAN] = rival_range(f->rival[input][MEAN], mean_of(b, it, it->repo, input));
    cases_add(c, it, truth, range);
    if (getenv("VERBOSE"))
        printf("%s %-36s %-28.28s truth %6.0f  [%6.0f %6.0f %6.0f]%s\n", input ? "in " : "out",
               it->id, it->model, truth, range[LECTR].low, range[LECTR].expected, range[LECTR].high,
               c->at[c->count - 1].held[LECTR] ? "" : " MISSED");
}

/* ---- 2. cut streams ---- */

static double share_truth(const struct item *it, uint64_t bytes)
{
    double hidden = fmax(it->hidden, 0), shown = it->output - hidden;

    /* Reasoning that was shown is part of the bytes. */
    if (hidden > 0 && it->output * 8 < (double)it->bytes * 3) {
        shown = it->output;
        hidden = 0;
    }
    return hidden + shown * (double)bytes / (double)it->bytes;
}

static double cut_truth(const struct item *it, uint64_t bytes, bool *ret_exact)
{
    const json_t *step;
    size_t i;

    *ret_exact = false;
    json_array_foreach(it->tokens, i, step)
    {
        if ((uint64_t)json_integer_value(json_array_get(step, 0)) != bytes)
            continue;
        *ret_exact = true;
        return json_number_value(json_array_get(step, 1));
    }
    return round(share_truth(it, bytes));
}

static const struct {
    const char *api, *mark, *or_mark;
} marks[] = {
    {"openai.chat", "data: [DONE]", NULL},
    {"openai.completions", "data: [DONE]", NULL},
    {"openai.responses", "\"type\":\"response.completed\"", "\"type\":\"response.incomplete\""},
    {"anthropic.messages", "\"message_stop\"", NULL},
    {"gemini.generate_content", "\"finishReason\"", NULL},
};

/* 1 the client's abort, 0 complete, -1 either: inside the last event, or not known. */
static int expected_abort(const struct item *it, size_t cut)
{
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const uint8_t *at;

        if (strcmp(marks[i].api, it->api) != 0)
            continue;
        at = memmem(it->body.data, it->body.len, marks[i].mark, strlen(marks[i].mark));
        if (!at && marks[i].or_mark)
            at = memmem(it->body.data, it->body.len, marks[i].or_mark, strlen(marks[i].or_mark));
        if (!at)
            return -1;
        if (cut <= (size_t)(at - it->body.data))
            return 1;
        at = memmem(at, it->body.len - (size_t)(at - it->body.data), "\n", 1);
        return at && cut > (size_t)(at - it->body.data) + 2 ? 0 : -1;
    }
    return -1;
}

struct cut_totals {
    unsigned cuts, events, outcome_known, outcome_wrong, reported, nothing, exact;
};

static void cut_one(struct bench *b, struct fold *f, struct item *it, struct cut_totals *t,
                    struct cases *c)
{
    size_t at = (size_t)rand() % it->body.len;
    struct estimate_range range[WHOS];
    static struct call call;
    int abort_expected = expected_abort(it, at);
    bool made, exact;
    double truth;

    t->cuts++;
    t->events += pass(b, it, b->open, f->e, at, &call);
    if (abort_expected >= 0) {
        t->outcome_known++;
        t->outcome_wrong += call.outcome != (abort_expected ? CALL_CLIENT_ABORT : CALL_OK);
    } else {
        t->outcome_wrong += call.outcome != CALL_CLIENT_ABORT && call.outcome != CALL_OK;
    }
    if (!call.output_bytes || !rows_sum(&call, false, &range[LECTR], &made)) {
        t->nothing++;
        return;
    }
    if (!made) {
        t->reported++;
        return;
    }
    truth = cut_truth(it, call.output_bytes, &exact);
    t->exact += exact;
    range[BYTES] = rival_range(f->rival[0][BYTES], (double)call.output_bytes / 4);
    range[MEAN] = rival_range(f->rival[0][MEAN], mean_of(b, it, it->repo, false));
    cases_add(c, it, truth, range);
}

static bool cuttable(const struct item *it)
{
    return it->stream && it->plain && it->usable && it->output > 0 && it->bytes > 0 &&
           it->body.len > 200;
}

static void sizes_of(struct bench *b)
{
    static struct call call;

    for (unsigned i = 0; i < b->count; i++) {
        (void)pass(b, &b->items[i], b->open, NULL, SIZE_MAX, &call);
        b->items[i].bytes = call.output_bytes;
    }
}

static bool in_band(double held)
{
    return held >= 0.88 && held <= 0.96;
}

static bool evaluate(struct bench *b)
{
    struct cases input = {0}, output = {0}, cut = {0};
    struct cut_totals t = {0};
    static unsigned cuts_of[ITEMS_MAX], can[ITEMS_MAX];
    unsigned can_count = 0;
    bool ok = true;

    for (unsigned i = 0; i < b->count; i++)
        if (cuttable(&b->items[i]))
            can[can_count++] = i;
    for (unsigned i = 0; can_count && i < b->o.cuts; i++)
        cuts_of[can[(unsigned)rand() % can_count]]++;
    for (int round = 0; round < b->repo_count * ORDERS; round++) {
        int repo = round % b->repo_count;
        struct fold f;

        fold_make(b, repo, &f);
        for (unsigned i = 0; i < b->count; i++) {
            if (b->items[i].repo != repo)
                continue;
            hide_one(b, &f, &b->items[i], true, &input);
            if (b->items[i].stream)
                hide_one(b, &f, &b->items[i], false, &output);
            for (unsigned k = (unsigned)round / (unsigned)b->repo_count; k < cuts_of[i];
                 k += ORDERS)
                cut_one(b, &f, &b->items[i], &t, &cut);
        }
        estimator_free(&f.e);
    }
    ok &= in_band(print_cases(b, "input tokens, usage hidden", &input));
    ok &= in_band(print_cases(b, "output tokens of streams, usage hidden", &output));
    if (b->o.cuts) {
        ok &= in_band(print_cases(b, "output tokens of cut streams", &cut));
        printf(
            "%u streams of %u cut %u times: %u events; outcome checked in %u, wrong in %u; output "
            "reported in %u, none passed in %u, estimated in %zu (truth by tokenizer in %u)\n",
            can_count, b->count, t.cuts, t.events, t.outcome_known, t.outcome_wrong, t.reported,
            t.nothing, cut.count, t.exact);
        ok &= t.cuts == b->o.cuts && t.events == t.cuts && !t.outcome_wrong;
    }
    free(input.at);
    free(output.at);
    free(cut.at);
    return ok;
}

static void write_learned(struct bench *b)
{
    struct estimator *e = learn(b, -1);
    FILE *f = fopen(b->o.learn, "w");
    char *text;
    size_t len;

    if (!f || estimator_save(e, &text, &len) || fwrite(text, 1, len, f) != len || fclose(f))
        eval_die("cannot write what was learned");
    free(text);
    estimator_free(&e);
}

static void parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.profiles = "agent/providers", .seed = 1};
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--check") == 0)
            o->check = true;
        else if (strcmp(argv[i], "--profiles") == 0 && next)
            o->profiles = argv[++i];
        else if (strcmp(argv[i], "--cuts") == 0 && next)
            o->cuts = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && next)
            o->seed = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--truth") == 0 && next)
            o->truth = argv[++i];
        else if (strcmp(argv[i], "--learn") == 0 && next)
            o->learn = argv[++i];
        else
            o->folder = argv[i];
    }
    if (!o->folder)
        eval_die("usage: see the head of tests/harness/estimate_eval.c");
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct provider_error error;
    bool ok;

    parse(argc, argv, &b.o);
    srand(b.o.seed);
    if (provider_set_load(b.o.profiles, &b.open, &error) ||
        provider_set_load(b.o.profiles, &b.blind, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    eval_blind(b.blind);
    b.truth = b.o.truth ? json_load_file(b.o.truth, 0, NULL) : json_object();
    eval_load(&b, b.o.folder);
    sizes_of(&b);
    if (b.o.learn) {
        write_learned(&b);
        return 0;
    }
    ok = evaluate(&b);
    return b.o.check && !ok;
}
