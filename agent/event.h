/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the meter, the helper and the connection know -> lectr.v1.Call. Pure, no
 * allocation: the message points into its arguments and into the record.
 */
#pragma once

#include "agent/call.h"
#include "agent/caller.h"
#include "proto/event.h"

/* What the connection and the configuration add. Strings are borrowed, NULL or
 * empty: not known. */
struct event_context {
    const char *org, *cluster, *node; /* configured; the caller's own org wins */
    const char *connection_id;
    const char *logical_call_id; /* where the request itself names none */
    const char *amends;          /* id of the call this one completes */
    const char *policy_decision; /* "allow" */
    const char *policy_rule;
    uint32_t server_port;       /* 0: not known */
    int64_t wall_minus_mono_ns; /* event_clock_offset() near the call */
    struct opt_u64 connect_us, tls_us, client_tls_us, added_us;
};

/* A call and everything it points to that has no other home. About 10 KiB. */
struct event_record {
    Lectr__V1__Call call;
    Lectr__V1__Feature feature;
    Lectr__V1__Workload workload;
    Lectr__V1__Latency latency;
    Lectr__V1__Reported reported;
    Lectr__V1__Cost cost;
    Lectr__V1__RateLimit rate_limit;
    Lectr__V1__Policy policy;
    Lectr__V1__Usage usage[CALL_USAGE_MAX];
    Lectr__V1__Usage *usage_list[CALL_USAGE_MAX];
    Lectr__V1__Reported__Raw raw[CALL_RAW_MAX];
    Lectr__V1__Reported__Raw *raw_list[CALL_RAW_MAX];
};

/* Fills `ret_record->call`. It is valid as long as the record stays where it is
 * and the three arguments live. Fields nobody knows stay absent; id, seq, part,
 * agent_instance and agent_version are the publisher's. */
void event_call(const struct call *c, const struct caller *who, const struct event_context *ctx,
                struct event_record *ret_record);

/* The workload alone, for gaps and coverage. Borrows from both. */
void event_workload(const struct caller *who, const struct event_context *ctx,
                    Lectr__V1__Workload *ret_workload);

/* header x-lectr-feature, LECTR_FEATURE, pod label, owner, command: the first
 * that is not empty. Borrows. */
void event_feature(const struct caller *who, const char *header, Lectr__V1__Feature *ret_feature);

/* Unix time minus CLOCK_MONOTONIC, now. */
int64_t event_clock_offset(void);
