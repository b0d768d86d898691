/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of series -> a small number (handle) at once, and the store's number when
 * it is known. A batch is counted under handles; the numbers of new series are
 * asked for together, before its transaction. Pure.
 */
#pragma once

#include "collector/record.h"
#include "proto/base/cleanup.h"

#include <stdint.h>

struct series;

struct series_names {
    const char *org, *feature, *provider, *model, *workload;
};

/* Beyond `names_max` all are forgotten between two batches. */
int series_new(uint32_t names_max, struct series **ret_series) LECTR_MUST_USE;
void series_free(struct series **series);

/* Handles are of one batch: this begins the next one. */
void series_begin(struct series *s);
/* The same for a series that was met before; -ENOENT for any other. */
int series_find(const struct series *s, const struct record *rec,
                uint32_t *ret_handle) LECTR_MUST_USE;
int series_handle(struct series *s, const struct record *rec, uint32_t *ret_handle) LECTR_MUST_USE;
/* Those without a number, in the order of their names: two collectors that create the same ones
 * must not wait for each other. `create` gives the number. Stops at a negative return and returns
 * it; what was numbered by then is forgotten, as the transaction that did it is. */
int series_create(struct series *s,
                  int (*create)(void *ctx, const struct series_names *names, int64_t *ret_number),
                  void *ctx) LECTR_MUST_USE;
/* How many have none. */
uint32_t series_unknown(const struct series *s);
/* 0 before it has one. */
int64_t series_number(const struct series *s, uint32_t handle);
/* The numbers that series_create() gave last are not so: their transaction was rolled back. */
void series_forget(struct series *s);
