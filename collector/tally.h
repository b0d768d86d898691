/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts by name: errors by type, tokens by kind and source. Pure.
 *
 * Names come from the outside, so there is a bound on how many a tally tells
 * apart: beyond it counts go to TALLY_OTHER. The sum over all names is exact
 * whatever is merged with whatever; sums saturate at INT64_MAX.
 *
 * As text, as it is stored: one "name TAB count NL" for each name, sorted by the
 * bytes of the name; an empty tally is an empty text.
 */
#pragma once

#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdint.h>

/* Names told apart by one tally, TALLY_OTHER included. */
#define TALLY_NAMES_MAX 48
/* Bytes of a name; a longer one is cut. */
#define TALLY_NAME_BYTES_MAX 96
#define TALLY_OTHER "other"
#define TALLY_ENCODED_MAX (TALLY_NAMES_MAX * (TALLY_NAME_BYTES_MAX + 24))

struct tally_item {
    const char *name; /* the tally's; may be shared with others, in any thread */
    uint64_t count;
};

/* Zeroed memory is an empty tally. */
struct tally {
    struct tally_item *items; /* sorted by name */
    uint32_t count;
};

void tally_fini(struct tally *t);
/* Control characters of the name become '?'. -ENOMEM; unchanged on failure. */
int tally_add(struct tally *t, const char *name, uint64_t by) LECTR_MUST_USE;
/* The same. `place`: where the caller found such a name last, at first 0; looked at before all
 * others. */
int tally_add_at(struct tally *t, const char *name, uint64_t by, uint8_t *place) LECTR_MUST_USE;
/* -ENOMEM: `into` may then hold part of it. */
int tally_merge(struct tally *into, const struct tally *from) LECTR_MUST_USE;
/* 0 for a name that is not there. */
uint64_t tally_get(const struct tally *t, const char *name);
uint64_t tally_sum(const struct tally *t);

int tally_encode(const struct tally *t, struct buf *b) LECTR_MUST_USE;
/* Adds what the text says. -EBADMSG for a damaged text: unchanged. -ENOMEM: `into` may hold part of
 * it. */
int tally_decode_merge(struct tally *into, struct slice text) LECTR_MUST_USE;
