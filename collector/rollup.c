/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/rollup.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <string.h>
#include <uthash.h>

const uint32_t rollup_seconds[ROLLUP__COUNT] = {60, 3600, 86400};

struct cell_key {
    int64_t bucket;
    int64_t series;
    int64_t seconds;
};

struct entry {
    struct cell_key key;
    struct rollup_cell cell;
    uint8_t usage_at[RECORD_USAGE_MAX]; /* calls of a series name what they used in one order */
    UT_hash_handle hh;
};

struct rollup {
    struct entry *entries;
};

int rollup_new(struct rollup **ret_rollup)
{
    struct rollup *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    *ret_rollup = r;
    return 0;
}

void rollup_reset(struct rollup *r)
{
    struct entry *e, *next;

    HASH_ITER(hh, r->entries, e, next)
    {
        HASH_DEL(r->entries, e);
        rollup_cell_fini(&e->cell);
        free(e);
    }
}

void rollup_free(struct rollup **rollup)
{
    if (!*rollup)
        return;
    rollup_reset(*rollup);
    free(*rollup);
    *rollup = NULL;
}

static struct entry *entry_at(struct rollup *r, int64_t time_s, uint32_t seconds, int64_t series)
{
    struct cell_key key = {
        .bucket = time_s - time_s % seconds, .series = series, .seconds = seconds};
    struct entry *e;

    HASH_FIND(hh, r->entries, &key, sizeof(key), e);
    if (e)
        return e;
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->key = key;
    e->cell.seconds = seconds;
    e->cell.bucket = key.bucket;
    e->cell.series = series;
    HASH_ADD(hh, r->entries, key, sizeof(e->key), e);
    return e;
}

static void add_sums(struct rollup_sums *s, const struct record *rec)
{
    const struct record_tokens *t = &rec->tokens;
    double usd = (double)rec->cost.expected_nanousd * 1e-9;

    s->calls++;
    s->errors += rec->error_type[0] != '\0';
    s->synthetic += rec->synthetic;
    s->retries += rec->is_retry;
    s->input += t->input;
    s->cached_input += t->cached_input;
    s->cache_write += t->cache_write;
    s->output += t->output;
    s->reasoning += t->reasoning;
    s->input_total += t->input_total.known ? t->input_total.value : 0;
    s->output_total += t->output_total.known ? t->output_total.value : 0;
    s->input_unknown += !t->input_total.known;
    s->output_unknown += !t->output_total.known;
    s->tokens_estimated += t->estimated;
    s->cost_unknown += !rec->cost.known;
    if (!rec->cost.known)
        return;
    s->cost_low_nanousd += rec->cost.low_nanousd;
    s->cost_expected_nanousd += rec->cost.expected_nanousd;
    s->cost_high_nanousd += rec->cost.high_nanousd;
    s->cost_squares += usd * usd;
}

int rollup_add(struct rollup *r, int64_t series, const struct record *rec)
{
    struct entry *e =
        entry_at(r, (int64_t)(rec->end_ns / NSEC_PER_SEC), rollup_seconds[ROLLUP_MINUTE], series);
    struct rollup_cell *cell;
    int ret = 0;

    if (!e)
        return -ENOMEM;
    cell = &e->cell;
    add_sums(&cell->sums, rec);
    for (uint32_t i = 0; i < rec->usage_count && ret == 0; i++)
        ret = tally_add_at(&cell->usage, rec->usage[i].name, rec->usage[i].count, &e->usage_at[i]);
    if (ret == 0 && rec->error_type[0])
        ret = tally_add(&cell->error_types, rec->error_type, 1);
    if (ret == 0 && rec->latency_us.known)
        ret = sketch_add(&cell->latency, rec->latency_us.value);
    if (ret == 0 && rec->ttft_us.known)
        ret = sketch_add(&cell->ttft, rec->ttft_us.value);
    if (ret == 0 && rec->added_us.known)
        ret = sketch_add(&cell->added, rec->added_us.value);
    return ret;
}

void rollup_sums_add(struct rollup_sums *into, const struct rollup_sums *from)
{
    into->calls += from->calls;
    into->errors += from->errors;
    into->synthetic += from->synthetic;
    into->retries += from->retries;
    into->input += from->input;
    into->cached_input += from->cached_input;
    into->cache_write += from->cache_write;
    into->output += from->output;
    into->reasoning += from->reasoning;
    into->input_total += from->input_total;
    into->output_total += from->output_total;
    into->input_unknown += from->input_unknown;
    into->output_unknown += from->output_unknown;
    into->cost_unknown += from->cost_unknown;
    into->tokens_estimated += from->tokens_estimated;
    into->cost_low_nanousd += from->cost_low_nanousd;
    into->cost_expected_nanousd += from->cost_expected_nanousd;
    into->cost_high_nanousd += from->cost_high_nanousd;
    into->cost_squares += from->cost_squares;
}

void rollup_cell_fini(struct rollup_cell *cell)
{
    sketch_fini(&cell->latency);
    sketch_fini(&cell->ttft);
    sketch_fini(&cell->added);
    tally_fini(&cell->error_types);
    tally_fini(&cell->usage);
    cell->sums = (struct rollup_sums){0};
}

void rollup_cell_reset(struct rollup_cell *cell)
{
    sketch_reset(&cell->latency);
    sketch_reset(&cell->ttft);
    sketch_reset(&cell->added);
    tally_fini(&cell->error_types);
    tally_fini(&cell->usage);
    cell->sums = (struct rollup_sums){0};
}

int rollup_cell_merge(struct rollup_cell *into, const struct rollup_cell *from)
{
    int r;

    rollup_sums_add(&into->sums, &from->sums);
    r = tally_merge(&into->error_types, &from->error_types);
    if (r == 0)
        r = tally_merge(&into->usage, &from->usage);
    if (r == 0)
        r = sketch_merge(&into->latency, &from->latency);
    if (r == 0)
        r = sketch_merge(&into->ttft, &from->ttft);
    if (r == 0)
        r = sketch_merge(&into->added, &from->added);
    return r;
}

int rollup_each(struct rollup *r, int (*each)(void *ctx, const struct rollup_cell *cell), void *ctx)
{
    for (struct entry *e = r->entries; e; e = e->hh.next) {
        int ret = each(ctx, &e->cell);

        if (ret < 0)
            return ret;
    }
    return 0;
}
