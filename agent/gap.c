/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/gap.h"

#include "agent/config.h"
#include "agent/event.h"
#include "agent/inflight.h"
#include "agent/ipc.h"
#include "agent/once.h"
#include "agent/publish.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <string.h>

static const char *const names[VERDICT__COUNT] = {
    [VERDICT_NONE] = "none",
    [VERDICT_METERED] = "metered",
    [VERDICT_NOT_PROVIDER] = "not_provider",
    [VERDICT_UNTRUSTED_CA] = "untrusted_ca",
    [VERDICT_ECH] = "ech",
    [VERDICT_CLIENT_CERT] = "client_cert",
    [VERDICT_NOT_HTTP] = "not_http",
    [VERDICT_OUTSIDE_CA] = "outside_ca",
    [VERDICT_HTTP2_UNMETERED] = "http2_unmetered",
    [VERDICT_GRPC] = "grpc",
    [VERDICT_UPSTREAM_UNTRUSTED] = "upstream_untrusted",
    [VERDICT_UPSTREAM_TLS] = "upstream_tls",
    [VERDICT_OVERLOAD] = "overload",
};

struct tally {
    struct caller who;
    char provider[32];
    uint64_t first_wall_ns;
    uint32_t count[VERDICT__COUNT];
};

struct gap {
    const struct config *config;
    struct publish *publish;
    struct inflight *inflight;
    struct once *once;
    unsigned tallies_count;
    struct gap_stats stats;
    struct tally tallies[GAP_TALLIES_MAX];
};

const char *verdict_name(enum verdict v)
{
    return names[v];
}

static int last_seq_of(void *user, const char *instance, uint64_t *ret_last_seq)
{
    const struct gap *g = user;

    return publish_last_seq(g->publish, instance, ret_last_seq);
}

int gap_new(const struct config *config, struct publish *publish, struct inflight *inflight,
            struct gap **ret_gap)
{
    CLEAN_FREE struct gap *g = calloc(1, sizeof(*g));
    int r;

    if (!g)
        return -ENOMEM;
    g->config = config;
    g->publish = publish;
    g->inflight = inflight;
    r = once_open(config->state_dir, publish_instance(publish), last_seq_of, g, &g->once);
    if (r < 0)
        return r;
    *ret_gap = TAKE_PTR(g);
    return 0;
}

void gap_free(struct gap **gap)
{
    struct gap *g = *gap;

    *gap = NULL;
    if (!g)
        return;
    gap_flush(g, clock_wall_ns());
    once_close(&g->once);
    free(g);
}

/* The message types say the same with different fields. The casts drop const:
 * protobuf-c's strings are char *, nobody writes them. */
#define STR(s) ((char *)(uintptr_t)(s))

struct told {
    struct event_context ctx;
    Lectr__V1__Workload workload;
    const char *org;
};

static void fill_told(const struct gap *g, const struct caller *who, struct told *ret_told)
{
    ret_told->ctx = (struct event_context){
        .org = g->config->org,
        .cluster = g->config->cluster,
        .node = g->config->node,
    };
    ret_told->org = who->org[0] ? who->org : g->config->org;
    event_workload(who, &ret_told->ctx, &ret_told->workload);
}

struct gap_facts {
    const struct caller *who;
    const char *id; /* NULL: a new one */
    const char *provider, *reason;
    uint64_t start_wall_ns, end_wall_ns;
    uint64_t connections, calls_in_flight;
};

static int publish_one_gap(struct gap *g, const struct gap_facts *f)
{
    Lectr__V1__Gap gap = LECTR__V1__GAP__INIT;
    struct told told;
    int r;

    fill_told(g, f->who, &told);
    gap.id = STR(f->id);
    gap.org = STR(told.org);
    gap.workload = &told.workload;
    gap.provider = f->provider[0] ? STR(f->provider) : NULL;
    gap.reason = STR(f->reason);
    gap.has_start_time_unix_nano = gap.has_end_time_unix_nano = true;
    gap.start_time_unix_nano = f->start_wall_ns;
    gap.end_time_unix_nano = f->end_wall_ns < f->start_wall_ns ? f->start_wall_ns : f->end_wall_ns;
    gap.has_connections = true;
    gap.connections = f->connections;
    gap.has_calls_in_flight = f->calls_in_flight > 0;
    gap.calls_in_flight = f->calls_in_flight;
    r = publish_gap(g->publish, &gap);
    if (r == 0)
        g->stats.gaps++;
    else
        g->stats.failed++;
    return r;
}

static int publish_one_coverage(struct gap *g, const struct gap_facts *f, uint64_t seen,
                                uint64_t metered)
{
    Lectr__V1__Coverage coverage = LECTR__V1__COVERAGE__INIT;
    struct told told;
    int r;

    fill_told(g, f->who, &told);
    coverage.id = STR(f->id);
    coverage.org = STR(told.org);
    coverage.workload = &told.workload;
    coverage.provider = f->provider[0] ? STR(f->provider) : NULL;
    coverage.has_start_time_unix_nano = coverage.has_end_time_unix_nano = true;
    coverage.start_time_unix_nano = f->start_wall_ns;
    coverage.end_time_unix_nano =
        f->end_wall_ns < f->start_wall_ns ? f->start_wall_ns : f->end_wall_ns;
    coverage.has_seen_connections = coverage.has_metered_connections = true;
    coverage.seen_connections = seen;
    coverage.metered_connections = metered;
    r = publish_coverage(g->publish, &coverage);
    if (r == 0)
        g->stats.coverages++;
    else
        g->stats.failed++;
    return r;
}

static struct tally *find_tally(struct gap *g, const struct caller *who, const char *provider)
{
    for (unsigned i = 0; i < g->tallies_count; i++) {
        struct tally *t = &g->tallies[i];

        if (t->who.cgroup_id == who->cgroup_id && strcmp(t->provider, provider) == 0 &&
            strcmp(t->who.org, who->org) == 0)
            return t;
    }
    return NULL;
}

_Static_assert(GAP_TALLIES_MAX *VERDICT__COUNT <= INFLIGHT_TALLIES_MAX, "a place for each");

static uint32_t tally_number(const struct gap *g, const struct tally *t, unsigned v)
{
    return (uint32_t)(t - g->tallies) * VERDICT__COUNT + v + 1;
}

/* The event that comes next tells this tally. */
static void promise(struct gap *g, const struct tally *t, unsigned v)
{
    publish_promise(g->publish, inflight_tally(g->inflight, tally_number(g, t, v)), 0);
}

uint32_t gap_tally(struct gap *g, const struct caller *who, const char *provider, enum verdict v,
                   uint64_t now_wall_ns)
{
    struct tally *t = find_tally(g, who, provider);

    if (!t) {
        if (g->tallies_count == GAP_TALLIES_MAX)
            gap_flush(g, now_wall_ns);
        t = &g->tallies[g->tallies_count++];
        *t = (struct tally){.who = *who, .first_wall_ns = now_wall_ns};
        snprintf(t->provider, sizeof(t->provider), "%s", provider);
        /* The tally is the workload's, not of the one process that came first. */
        t->who.pid = 0;
    }
    t->count[v]++;
    return tally_number(g, t, v);
}

void gap_flush(struct gap *g, uint64_t now_wall_ns)
{
    /* A failure is one of the spool, which counts and tells its own losses. */
    for (unsigned i = 0; i < g->tallies_count; i++) {
        const struct tally *t = &g->tallies[i];
        struct gap_facts f = {
            .who = &t->who,
            .provider = t->provider,
            .start_wall_ns = t->first_wall_ns,
            .end_wall_ns = now_wall_ns,
        };

        if (t->count[VERDICT_METERED] > 0) {
            promise(g, t, VERDICT_METERED);
            (void)!publish_one_coverage(g, &f, 0, t->count[VERDICT_METERED]);
        }
        for (unsigned v = VERDICT_METERED + 1; v < VERDICT__COUNT; v++) {
            if (t->count[v] == 0)
                continue;
            f.reason = names[v];
            f.connections = t->count[v];
            promise(g, t, v);
            (void)!publish_one_gap(g, &f);
        }
    }
    if (g->tallies_count > 0)
        inflight_note(g->inflight);
    g->tallies_count = 0;
}

/* Unless what has this id was told before, by whichever process. NULL reason: a
 * coverage of what was seen. */
static int tell_once(struct gap *g, const struct gap_facts *f)
{
    uint64_t *cell = NULL;
    int r = once_begin(g->once, f->id, &cell);

    if (r == ONCE_TOLD)
        g->stats.told_before++;
    if (r != 0)
        return r;
    publish_attempt(g->publish, cell);
    r = f->reason ? publish_one_gap(g, f) : publish_one_coverage(g, f, f->connections, 0);
    once_end(g->once, r == 0);
    return r;
}

int gap_census(struct gap *g, const struct ipc_census *row)
{
    struct gap_facts f = {
        .who = &row->caller,
        .id = row->gap_id,
        .provider = row->provider,
        .reason = row->reason[0] ? row->reason : NULL,
        .start_wall_ns = row->start_unix_ns,
        .end_wall_ns = row->end_unix_ns,
        .connections = row->connections,
    };
    int r;

    g->stats.census_rows++;
    /* What was steered is told by the verdicts of the connections themselves. */
    if (strcmp(row->reason, "steered") == 0)
        return 0;
    r = tell_once(g, &f);
    return r < 0 ? r : 0;
}

static int on_loss(void *user, const struct inflight_loss *loss)
{
    struct gap *g = user;
    struct gap_facts f = {
        .who = &loss->caller,
        .id = loss->id,
        .provider = loss->provider,
        .reason = "agent_died",
        .start_wall_ns = loss->start_wall_ns,
        .end_wall_ns = clock_wall_ns(),
        .connections = loss->connections,
        .calls_in_flight = loss->calls,
    };
    int r = tell_once(g, &f);

    if (r != 0)
        return r < 0 ? r : 0;
    g->stats.died_connections += loss->connections;
    g->stats.died_calls += loss->calls;
    return 0;
}

static int settle(void *user, const char *instance)
{
    const struct gap *g = user;

    return once_settle(g->once, instance);
}

void gap_adopt(struct gap *g)
{
    const struct inflight_adopter adopter = {
        .settle = settle, .last = last_seq_of, .loss = on_loss, .user = g};
    int r = inflight_adopt(g->config->state_dir, &adopter);

    if (r < 0)
        log_warn("in-flight table of a dead process kept for later", "error=%s", strerror(-r));
    else if (r > 0)
        log_info("in-flight tables of dead processes told", "tables=%d calls_total=%llu", r,
                 (unsigned long long)g->stats.died_calls);
}

void gap_stats(const struct gap *g, struct gap_stats *ret_stats)
{
    *ret_stats = g->stats;
}
