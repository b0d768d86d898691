/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/usage.h"
#include "agent/text.h"

#include <math.h>

#define COUNT_MAX 9007199254740992.0 /* 2^53: exact in a double */

static struct opt_u64 whole(const struct opt_double *d)
{
    if (!d->known || d->value > COUNT_MAX)
        return (struct opt_u64){0};
    return opt_u64((uint64_t)llround(d->value));
}

/* Known when the first term is; a term nobody said counts as nothing. */
static struct opt_u64 sum_of(const struct usage_sum *s, const struct opt_double *slot)
{
    double sum = 0;

    if (!s->count || !slot[s->slot[0]].known)
        return (struct opt_u64){0};
    for (unsigned i = 0; i < s->count; i++)
        if (slot[s->slot[i]].known)
            sum += s->sign[i] * slot[s->slot[i]].value;
    return whole(&(struct opt_double){sum > 0 ? sum : 0, true});
}

/* What the head and the framing say stands in where the usage does not. */
static bool with_fallback(const struct answer *a, struct opt_double *ret_slot)
{
    bool used = false;

    memcpy(ret_slot, a->slot, sizeof(a->slot));
    for (int i = 0; i < SLOT__COUNT; i++)
        if (!ret_slot[i].known && a->fallback[i].known) {
            ret_slot[i] = a->fallback[i];
            used = true;
        }
    return used;
}

static void fill_raw(const struct answer *a, struct call_reported *r)
{
    r->raw_count = a->raw_count;
    memcpy(r->raw, a->raw, sizeof(a->raw[0]) * a->raw_count);
    for (uint32_t i = 0; i < a->header_raw_count && r->raw_count < CALL_RAW_MAX; i++)
        r->raw[r->raw_count++] = a->header_raw[i];
}

static void fill_reported(const struct opt_double *slot, struct call_reported *r)
{

    r->input_tokens = whole(&slot[SLOT_INPUT]);
    r->output_tokens = whole(&slot[SLOT_OUTPUT]);
    r->total_tokens = whole(&slot[SLOT_TOTAL]);
    r->cached_input_tokens = whole(&slot[SLOT_CACHED_INPUT]);
    r->cache_creation_tokens = whole(&slot[SLOT_CACHE_CREATION]);
    r->cache_creation_tokens_5m = whole(&slot[SLOT_CACHE_CREATION_5M]);
    r->cache_creation_tokens_1h = whole(&slot[SLOT_CACHE_CREATION_1H]);
    r->reasoning_tokens = whole(&slot[SLOT_REASONING]);
    r->audio_input_tokens = whole(&slot[SLOT_AUDIO_INPUT]);
    r->audio_output_tokens = whole(&slot[SLOT_AUDIO_OUTPUT]);
    r->image_input_tokens = whole(&slot[SLOT_IMAGE_INPUT]);
    r->image_output_tokens = whole(&slot[SLOT_IMAGE_OUTPUT]);
    r->tool_use_input_tokens = whole(&slot[SLOT_TOOL_USE_INPUT]);
    r->counted_tokens = whole(&slot[SLOT_COUNTED]);
    r->audio_seconds = slot[SLOT_AUDIO_SECONDS];
    r->images = whole(&slot[SLOT_IMAGES]);
    r->search_units = slot[SLOT_SEARCH_UNITS];
    r->web_search_requests = whole(&slot[SLOT_WEB_SEARCH_REQUESTS]);
    r->pages_processed = whole(&slot[SLOT_PAGES]);
    if (slot[SLOT_COST_TICKS].known && slot[SLOT_COST_TICKS].value < COUNT_MAX)
        r->cost_nanousd = (struct opt_i64){llround(slot[SLOT_COST_TICKS].value / 10), true};
    else if (slot[SLOT_COST_USD].known && slot[SLOT_COST_USD].value < 1e6)
        r->cost_nanousd = (struct opt_i64){llround(slot[SLOT_COST_USD].value * 1e9), true};
}

static bool is_base(const struct profile_row *row)
{
    return (strcmp(row->kind, "input") == 0 || strcmp(row->kind, "output") == 0) &&
           !row->modality && !row->unit;
}

static bool stands_elsewhere(const struct profile_row *row, const struct opt_double *slot)
{
    for (int i = 0; i < SLOT__COUNT; i++)
        if (row->unless_mask & 1ULL << i && slot[i].known)
            return true;
    return false;
}

static void add_rows(const struct profile_usage *u, const struct opt_double *slot,
                     const char *model, bool base_only_if_known, struct call *call)
{
    for (unsigned i = 0; i < u->rows_count && call->usage_count < CALL_USAGE_MAX; i++) {
        const struct profile_row *p = &u->rows[i];
        struct usage_row *row = &call->usage[call->usage_count];
        struct opt_u64 count = sum_of(&p->compiled_sum, slot);
        bool unknown_base = !count.known && (p->always || (is_base(p) && !base_only_if_known));

        if (stands_elsewhere(p, slot))
            continue;
        if (!unknown_base && (!count.known || (count.value == 0 && !is_base(p))))
            continue;
        *row = (struct usage_row){
            .kind = p->kind,
            .modality = p->modality ? p->modality : "text",
            .unit = p->unit ? p->unit : "token",
            .count = count,
            .source = count.known ? USAGE_REPORTED : USAGE_UNKNOWN,
        };
        text_copy(row->model, sizeof(row->model), slice_str(model));
        call->usage_count++;
    }
}

static void add_entries(const struct profile_usage *u, const struct answer *a, struct call *call)
{
    for (uint32_t i = 0; i < a->entry_count; i++)
        for (unsigned k = 0; k < u->entries_types_count; k++)
            if (strcmp(u->entries_types[k], a->entries[i].type) == 0)
                add_rows(u, a->entries[i].slot, a->entries[i].model, true, call);
}

void usage_fill(const struct answer *a, bool stream, bool repeats, struct call *call)
{
    const struct profile_usage *u = a->family ? a->family->usage : NULL;
    struct opt_double slot[SLOT__COUNT];
    bool has_usage = with_fallback(a, slot) || a->has_usage;

    call->late = repeats;
    if (u && u->merge == USAGE_MERGE_LINES) {
        add_rows(u, slot, a->models_differ ? "" : a->line_model, true, call);
        return;
    }
    fill_reported(slot, &call->reported);
    fill_raw(a, &call->reported);
    if (!u)
        return;
    call->usage_reported = has_usage;
    call->usage_final = has_usage && (!a->has_usage || a->final_usage || !stream || a->end);
    call->input_tokens_total = sum_of(&u->compiled_input_total, slot);
    call->output_tokens_total = sum_of(&u->compiled_output_total, slot);
    /* What nobody knows yet need not be told again. */
    if (repeats && !has_usage)
        return;
    add_rows(u, slot, "", has_usage || !u->roots_count, call);
    add_entries(u, a, call);
}
