/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy_impl.h"

#include "agent/body.h"
#include "agent/cert.h"
#include "agent/inflight.h"
#include "agent/metrics.h"
#include "agent/origin.h"
#include "agent/peer.h"
#include "agent/publish.h"
#include "agent/refuse.h"
#include "agent/upstream.h"

#define COUNTER "counter"
#define GAUGE "gauge"

/* One row per sample. The rows of a name follow each other. */
#define ROWS_MAX 176

struct rows {
    struct metrics_sample row[ROWS_MAX];
    unsigned count;
};

static void add(struct rows *rows, const char *name, const char *type, const char *help,
                const char *labels, uint64_t value)
{
    if (rows->count < ROWS_MAX)
        rows->row[rows->count++] = (struct metrics_sample){
            .name = name, .type = type, .help = help, .labels = labels, .value = value};
}

static void add_connections(struct rows *rows, const struct proxy *p)
{
    static char labels[VERDICT__COUNT][48];
    const struct conns_stats *s = conns_stats(p->conns);

    add(rows, "lectr_agent_connections_accepted_total", COUNTER, "Steered connections accepted.",
        NULL, s->accepted);
    add(rows, "lectr_agent_connections_open", GAUGE, "Connections open now.", NULL, s->open);
    for (unsigned v = VERDICT_METERED; v < VERDICT__COUNT; v++) {
        snprintf(labels[v], sizeof(labels[v]), "result=\"%s\"", verdict_name((enum verdict)v));
        add(rows, "lectr_agent_connections_total", COUNTER, "Connections by what became of them.",
            labels[v], s->verdicts[v]);
    }
    add(rows, "lectr_agent_connections_unknown_total", COUNTER,
        "Connections closed because no original destination is on record.", NULL, s->no_origin);
    add(rows, "lectr_agent_connections_cut_total", COUNTER, "Connections ended by a drain's end.",
        NULL, s->cut_by_drain);
    add(rows, "lectr_agent_upstream_failed_total", COUNTER, "Upstream connections that failed.",
        NULL, s->upstream_failed);
    add(rows, "lectr_agent_upstream_other_address_total", COUNTER,
        "Times that the other address of a name was tried.", NULL, s->upstream_other_address);
    add(rows, "lectr_agent_tls_failed_total", COUNTER, "TLS handshakes that failed.",
        "leg=\"upstream\"", s->upstream_tls_failed);
    add(rows, "lectr_agent_tls_failed_total", COUNTER, "", "leg=\"client\"", s->client_tls_failed);
    add(rows, "lectr_agent_tls_resumed_total", COUNTER, "TLS sessions resumed.", "leg=\"upstream\"",
        s->upstream_tls_resumed);
    add(rows, "lectr_agent_tls_resumed_total", COUNTER, "", "leg=\"client\"",
        s->client_tls_resumed);
    add(rows, "lectr_agent_tls_established_total", COUNTER, "Connections with both TLS legs up.",
        NULL, s->tls_established);
    add(rows, "lectr_agent_bytes_total", COUNTER, "Bytes passed on.", "direction=\"request\"",
        s->request_bytes);
    add(rows, "lectr_agent_bytes_total", COUNTER, "", "direction=\"response\"", s->response_bytes);
    add(rows, "lectr_agent_bytes_total", COUNTER, "", "direction=\"spliced\"", s->spliced_bytes);
}

static void add_calls(struct rows *rows, const struct proxy *p)
{
    const struct conns_stats *s = conns_stats(p->conns);

    add(rows, "lectr_agent_calls_total", COUNTER, "AI calls metered.", NULL, s->calls);
    add(rows, "lectr_agent_calls_open", GAUGE, "AI calls under way.", NULL, s->calls_open);
    add(rows, "lectr_agent_calls_unpublished_total", COUNTER, "Calls whose event found no room.",
        NULL, s->calls_unpublished);
    add(rows, "lectr_agent_calls_caller_unknown_total", COUNTER,
        "Calls told before the helper said whose they are.", NULL, s->caller_unknown);
    add(rows, "lectr_agent_calls_held", GAUGE, "Events waiting for the helper's answer.", NULL,
        s->held_events);
    add(rows, "lectr_agent_added_nanoseconds_total", COUNTER, "Lectr's own work on calls.", NULL,
        s->added_ns_total);
    add(rows, "lectr_agent_meter_failed_total", COUNTER, "Connections passed on without metering.",
        NULL, s->meter_failed);
    add(rows, "lectr_agent_upgraded_total", COUNTER, "Connections that left HTTP after a call.",
        NULL, s->upgraded);
}

static void add_costs(struct rows *rows, const struct proxy *p)
{
    static char bases[PRICE_BASES][48], providers[PRICE_COUNT_PROVIDERS_MAX][64];
    const struct price_counts *c = &conns_stats(p->conns)->costs;

    for (unsigned i = 0; price_basis(i); i++) {
        snprintf(bases[i], sizeof(bases[i]), "basis=\"%s\"", price_basis(i));
        add(rows, "lectr_agent_calls_cost_total", COUNTER, "Calls by how their cost is known.",
            bases[i], c->basis[i]);
    }
    for (unsigned i = 0; i < PRICE_COUNT_PROVIDERS_MAX && c->disagreements[i].calls; i++) {
        snprintf(providers[i], sizeof(providers[i]), "provider=\"%s\"",
                 c->disagreements[i].provider);
        add(rows, "lectr_agent_cost_disagreements_total", COUNTER,
            "Calls whose provider said a cost more than 1% off the price table.", providers[i],
            c->disagreements[i].calls);
    }
}

static void add_estimates(struct rows *rows, const struct proxy *p)
{
    struct estimator_stats s;

    estimator_stats(p->estimates.estimator, &s);
    add(rows, "lectr_agent_estimates_total", COUNTER, "Counts of tokens made by Lectr.",
        "source=\"measured\"", s.measured);
    add(rows, "lectr_agent_estimates_total", COUNTER, "", "source=\"estimated\"", s.estimated);
    add(rows, "lectr_agent_estimates_learned_total", COUNTER, "Reported calls learned from.", NULL,
        s.learned);
    add(rows, "lectr_agent_estimates_entries", GAUGE, "Models and groups of models known.", NULL,
        s.entries);
    add(rows, "lectr_agent_estimates_evicted_total", COUNTER, "Entries that made room for others.",
        NULL, s.evicted);
    add(rows, "lectr_agent_estimates_refused_total", COUNTER, "Damaged files not loaded.", NULL,
        p->estimates.refused);
    add(rows, "lectr_agent_estimates_unsaved_total", COUNTER,
        "Times that the file was not written.", NULL, p->estimates.failed);
}

static void add_bodies(struct rows *rows, const struct proxy *p)
{
    const struct body_budget *b = conns_bodies(p->conns);

    add(rows, "lectr_agent_bodies_undecoded_total", COUNTER, "Bodies passed on but not understood.",
        "reason=\"coding\"", b->failed_coding);
    add(rows, "lectr_agent_bodies_undecoded_total", COUNTER, "", "reason=\"memory\"",
        b->failed_memory);
    add(rows, "lectr_agent_bodies_undecoded_total", COUNTER, "", "reason=\"output\"",
        b->failed_output);
    add(rows, "lectr_agent_decoders_bytes", GAUGE, "Memory of the decoders of bodies.", NULL,
        b->memory_used_bytes);
}

static void add_stages(struct rows *rows, const struct proxy *p)
{
    struct upstreams_stats up;
    struct origin_stats origin = {0};
    struct gap_stats gap;

    upstreams_stats(p->upstreams, &up);
    gap_stats(p->gap, &gap);
    if (p->origin)
        origin_stats(p->origin, &origin);
    add(rows, "lectr_agent_listeners", GAUGE, "Network namespaces and families listened in.", NULL,
        p->listeners_count);
    add(rows, "lectr_agent_listeners_refused_total", COUNTER, "Listeners that found no place.",
        NULL, p->listeners_refused);
    add(rows, "lectr_agent_shed_total", COUNTER, "Times that steering was stopped for load.", NULL,
        p->shed_total);
    add(rows, "lectr_agent_shedding", GAUGE, "1 while steering is stopped for load.", NULL,
        p->shedding);
    add(rows, "lectr_agent_messages_lost_total", COUNTER,
        "Messages of the helper lost for want of descriptors.", NULL, peer_lost(p->peer));
    add(rows, "lectr_agent_pool_sockets", GAUGE, "Upstream sockets ready.", NULL, up.pool.sockets);
    add(rows, "lectr_agent_pool_empty_total", COUNTER, "Connections that found no socket ready.",
        NULL, up.pool.empty);
    add(rows, "lectr_agent_pool_waiting", GAUGE, "Connections waiting for a socket.", NULL,
        up.waiting);
    add(rows, "lectr_agent_pool_timeouts_total", COUNTER, "Connections that waited in vain.", NULL,
        up.timeouts);
    add(rows, "lectr_agent_origin_held", GAUGE, "Original destinations not asked for yet.", NULL,
        origin.held);
    add(rows, "lectr_agent_origin_evicted_total", COUNTER,
        "Original destinations dropped for room.", NULL, origin.evicted);
    add(rows, "lectr_agent_origin_malformed_total", COUNTER, "Records of the ring not understood.",
        NULL, origin.malformed);
    add(rows, "lectr_agent_refusals", GAUGE, "Clients remembered to refuse our certificates.", NULL,
        refuse_count(p->refuse));
    add(rows, "lectr_agent_gaps_total", COUNTER, "Gap events.", NULL, gap.gaps);
    add(rows, "lectr_agent_coverages_total", COUNTER, "Coverage events.", NULL, gap.coverages);
    add(rows, "lectr_agent_gap_failed_total", COUNTER,
        "Gap and coverage events that found no room.", NULL, gap.failed);
    add(rows, "lectr_agent_inflight_kept", GAUGE, "1 while what is open outlives this process.",
        NULL, inflight_is_kept(p->inflight));
    add(rows, "lectr_agent_inflight_untracked_total", COUNTER,
        "Connections that a crash would not tell of.", NULL, inflight_untracked(p->inflight));
    add(rows, "lectr_agent_census_rows_total", COUNTER, "Rows of the kernel's census.", NULL,
        gap.census_rows);
    add(rows, "lectr_agent_told_before_total", COUNTER,
        "Rows and losses that had been told before, and were not again.", NULL, gap.told_before);
    add(rows, "lectr_agent_died_calls_total", COUNTER,
        "Calls that were in flight in dead processes.", NULL, gap.died_calls);
    add(rows, "lectr_agent_ca_expires_seconds", GAUGE,
        "Unix time at which the intermediate expires.", NULL, cert_authority_expires_s(p->ca));
}

static void add_publish(struct rows *rows, const struct proxy *p)
{
    struct publish_stats s;

    publish_stats(p->publish, &s);
    add(rows, "lectr_agent_events_appended_total", COUNTER, "Events in the spool.", NULL,
        s.events_appended);
    add(rows, "lectr_agent_events_acked_total", COUNTER, "Events that NATS has.", NULL,
        s.events_acked);
    add(rows, "lectr_agent_events_dropped_total", COUNTER, "Events lost to a full spool.", NULL,
        s.events_dropped);
    add(rows, "lectr_agent_spool_bytes", GAUGE, "Size of the spool.", NULL, s.spool_bytes);
    add(rows, "lectr_agent_spool_limit_bytes", GAUGE, "Bound of the spool.", NULL,
        s.spool_limit_bytes);
    add(rows, "lectr_agent_publish_errors_total", COUNTER, "Publishing attempts that failed.", NULL,
        s.publish_errors);
    add(rows, "lectr_agent_nats_reconnects_total", COUNTER, "Reconnections to NATS.", NULL,
        s.reconnects);
    add(rows, "lectr_agent_nats_connected", GAUGE, "1 while connected to NATS.", NULL, s.connected);
}

int proxy_write_metrics(void *user, struct buf *out)
{
    const struct proxy *p = user;
    struct rows rows = {.count = 0};
    const char *last_name = NULL;
    int r = 0;

    add_connections(&rows, p);
    add_calls(&rows, p);
    add_costs(&rows, p);
    add_bodies(&rows, p);
    add_estimates(&rows, p);
    add_stages(&rows, p);
    add_publish(&rows, p);
    for (unsigned i = 0; i < rows.count && r == 0; i++)
        r = metrics_sample(out, &rows.row[i], &last_name);
    return r;
}

const char *proxy_not_ready(void *user)
{
    const struct proxy *p = user;

    if (p->draining)
        return "draining\n";
    if (!p->beat)
        return "waiting for the helper\n";
    if (p->shedding)
        return "too many connections\n";
    return NULL;
}
