/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a deviation comes from, from roll-ups alone: those of the alert's window
 * (OBSERVED) and those of a time before it that shows what is usual (USUAL), which are
 * scaled by k so that their sum is the alert's baseline.
 *
 * By factor (cost, tokens, calls): with i over the models (feature, provider, model), q
 * calls, t tokens and c cost,
 *
 *     metric = Q * sum over i of s_i * a_i * p_i
 *     Q = sum q_i    volume            s_i = q_i / Q   mix
 *     a_i = t_i/q_i  tokens per call   p_i = c_i/t_i   price
 *
 * and each factor's part is its Shapley value between the usual and the observed
 * factors: the mean, over all orders in which the four are changed, of what its change
 * adds. Any order is as good as another, so none is preferred; the parts add up to the
 * deviation exactly. A model that is on one side only changes the mix (its a and p are
 * taken as there); one without tokens has a = 1 and its cost per call for p. For tokens
 * p = 1, for calls a = p = 1.
 *
 * By value (workload, model, feature, provider): observed_j - k * usual_j; for the share
 * of failed calls (failed_j - baseline * calls_j) / calls. Complete, these add up as well;
 * the largest are told.
 *
 * Pure.
 */
#pragma once

#include "collector/alert.h"
#include "collector/store_query.h"
#include "proto/base/cleanup.h"

/* Models, and values of each dimension; further ones count as "(other)". */
#define ATTRIBUTION_VALUES_MAX 20000
#define ATTRIBUTION_TOP 3

enum attribution_side { ATTRIBUTION_USUAL, ATTRIBUTION_OBSERVED };

struct attribution;

int attribution_new(enum alert_rule rule, struct attribution **ret_attribution) LECTR_MUST_USE;
void attribution_free(struct attribution **attribution);
static inline void attribution_cleanup_free(struct attribution **attribution)
{
    attribution_free(attribution);
}
#define CLEAN_ATTRIBUTION __attribute__((cleanup(attribution_cleanup_free)))

/* Does the rule's metric come in parts? Quantiles do not. */
bool attribution_is_for(enum alert_rule rule);
int attribution_add(struct attribution *a, enum attribution_side side,
                    const struct store_series_name *name,
                    const struct rollup_sums *sums) LECTR_MUST_USE;
/* Fills parts. False: nothing is known of what is usual, only the values that are
 * observed are told. */
bool attribution_fill(const struct attribution *a, struct alert *alert);
