/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rules of the file keep: values ever seen, silences, what people said of
 * alerts, and the state of the rules. Strings live for one call of `each`.
 */
#pragma once

#include "collector/store.h"

/* --- values of dimensions (numbers of enum alerting_dimension) --- */

struct store_seen {
    const char *org;
    int dimension;
    const char *value;
    int64_t first_s; /* end of the first call with it */
    const char *feature, *provider, *model;
    int64_t dimension_first_s; /* of the organisation's first value of the dimension */
};
/* One that is there already is left as it is. */
int store_add_seen(struct store *s, const struct store_seen *seen) LECTR_MUST_USE;
/* All of them; only org, dimension and value. */
int store_each_seen(struct store *s, int (*each)(void *ctx, const struct store_seen *seen),
                    void *ctx) LECTR_MUST_USE;
/* Those that the judge does not know, from before a time, oldest first. */
int store_each_untold(struct store *s, int64_t before_s, unsigned limit,
                      int (*each)(void *ctx, const struct store_seen *seen),
                      void *ctx) LECTR_MUST_USE;
/* The judge knows it now. */
int store_set_seen_told(struct store *s, const struct store_seen *seen) LECTR_MUST_USE;

/* --- silences; "" in a name: any --- */

struct store_silence {
    const char *id;
    const char *org, *feature, *provider, *model, *severity, *rule;
    int64_t from_s, until_s;
    bool is_planned;
    const char *comment;
};
int store_add_silence(struct store *s, const struct store_silence *silence) LECTR_MUST_USE;
/* Those that end after a time, the last ones to end first: a reader may have no room for all. */
int store_each_silence(struct store *s, int64_t after_s,
                       int (*each)(void *ctx, const struct store_silence *silence),
                       void *ctx) LECTR_MUST_USE;
/* Ends it now; what was planned before stays planned. -ENOENT: none that still lasts. */
int store_end_silence(struct store *s, const char *id, int64_t now_s) LECTR_MUST_USE;

/* --- what people said of an episode: true, false, planned --- */

int store_put_feedback(struct store *s, const char *fingerprint, const char *verdict,
                       int64_t at_s) LECTR_MUST_USE;
/* "" when nobody said anything. */
int store_get_feedback(struct store *s, const char *fingerprint, char *ret_verdict,
                       size_t size) LECTR_MUST_USE;

/* --- state of the rules --- */

/* Appends the payload; *ret_at_s is 0 when there is none. */
struct buf;
int store_get_rule_state(struct store *s, const char *name, int64_t *ret_at_s,
                         struct buf *out) LECTR_MUST_USE;
int store_put_rule_state(struct store *s, const char *name, int64_t at_s,
                         struct slice payload) LECTR_MUST_USE;
