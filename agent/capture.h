/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel side: loads, attaches, pins, and owns every map. Sole libbpf user.
 * The helper's main thread owns it; the functions marked (any thread) are
 * single map operations, which another thread may use meanwhile.
 */
#pragma once

#include "bpf/abi.h"
#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPTURE_NAMES_MAX 4000
#define CAPTURE_NAMES_MAP_MAX 4096 /* room for those of an earlier configuration */

struct capture;
struct config;
struct provider_set;

/* What failed, and what to do about it. */
struct capture_error {
    char text[512];
};

/* Loads everything, takes over what an earlier helper pinned, and attaches the
 * census and the DNS reader at the cgroup. Steers nothing yet. */
int capture_open(const struct config *config, const char *cgroup_path,
                 const struct provider_set *providers, struct capture **ret_capture,
                 struct capture_error *ret_error) LECTR_MUST_USE;
/* Detaches steering; what is pinned stays. NULL-safe. */
void capture_close(struct capture **capture);

/* Steering on and off; both may be repeated. */
int capture_attach(struct capture *c, struct capture_error *ret_error) LECTR_MUST_USE;
void capture_detach(struct capture *c);

/* Live memory shared with the programs and the proxy. */
struct lectr_beat *capture_beat(struct capture *c);
struct lectr_meta *capture_meta(struct capture *c);
/* The same as it was before this helper. All zero: there was none. */
const struct lectr_meta *capture_meta_before(const struct capture *c);

/* For the proxy: descriptors stay ours. */
int capture_beat_fd(const struct capture *c);
int capture_origins_fd(const struct capture *c);
int capture_taken_fd(const struct capture *c);
uint32_t capture_origins_bytes(const struct capture *c);

/* Namespaces met; one reader. The descriptor is for epoll. */
typedef void (*capture_event_fn)(void *user, const struct lectr_netns_event *event);
int capture_events_fd(const struct capture *c);
void capture_events_read(struct capture *c, capture_event_fn fn, void *user);

/* (any thread) */
int capture_own(struct capture *c, int socket_fd, uint32_t generation,
                bool listener) LECTR_MUST_USE;
int capture_consent_cgroup(struct capture *c, uint64_t cgroup_id) LECTR_MUST_USE;
void capture_consent_drop(struct capture *c, uint64_t cgroup_id);
int capture_consent_netns(struct capture *c, uint64_t cookie) LECTR_MUST_USE;
int capture_netns_put(struct capture *c, uint64_t cookie,
                      const struct lectr_netns *value) LECTR_MUST_USE;
/* Forgets the namespace and its consent. */
void capture_netns_drop(struct capture *c, uint64_t cookie);

/* The census. `fn` may put and drop the row that it is called with. */
struct capture_row {
    struct lectr_census_key key;
    struct lectr_census seen;
    struct lectr_told told;
    uint64_t taken; /* steered connections that proxies took */
};
typedef void (*capture_row_fn)(void *user, const struct capture_row *row);
void capture_census_each(struct capture *c, capture_row_fn fn, void *user);
int capture_told_put(struct capture *c, const struct lectr_census_key *key,
                     const struct lectr_told *told) LECTR_MUST_USE;
int capture_told_get(struct capture *c, const struct lectr_census_key *key,
                     struct lectr_told *ret_told) LECTR_MUST_USE;
void capture_census_drop(struct capture *c, const struct lectr_census_key *key);
/* "" when it is not known. */
void capture_provider_name(struct capture *c, uint32_t provider, char ret_name[32]);

/* For doctor: each is independent of an open capture. */
struct capture_probe {
    bool bpf_permitted;
    bool btf, ringbuf, sk_storage_connect, sk_lookup_connect, netns_cookie_connect;
    bool netns_cookie_skb; /* optional */
};
void capture_probe(struct capture_probe *ret_probe);
/* Name of a hook that a foreign program holds exclusively; NULL: none. */
const char *capture_foreign_hook(const char *cgroup_path);
