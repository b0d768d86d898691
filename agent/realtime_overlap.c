/* SPDX-License-Identifier: Apache-2.0 */
/* Cached input of several modalities, when the provider tells only their sum. */
#include "agent/realtime_impl.h"

#include <math.h>

#define TOKENS_MAX 1e12

/* Text is what is left. */
static const struct {
    const char *modality;
    enum usage_slot total, cached;
} modalities[] = {
    {"audio", SLOT_AUDIO_INPUT, SLOT_CACHED_AUDIO_PART},
    {"image", SLOT_IMAGE_INPUT, SLOT_CACHED_IMAGE_PART},
    {"image", SLOT_INPUT_IMAGE_PART, SLOT_CACHED_IMAGE_PART},
    {"video", SLOT_INPUT_VIDEO_PART, SLOT_CACHED_VIDEO_PART},
    {"document", SLOT_INPUT_DOCUMENT_PART, SLOT_CACHED_DOCUMENT_PART},
};
#define MODALITIES (sizeof(modalities) / sizeof(modalities[0]))

static bool is_split(const struct usage_row *row)
{
    return strcmp(row->unit, "token") == 0 &&
           (strcmp(row->kind, "input") == 0 || strcmp(row->kind, "cached_input") == 0);
}

static void drop_rows(struct call *call)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < call->usage_count; i++)
        if (!is_split(&call->usage[i]))
            call->usage[kept++] = call->usage[i];
    call->usage_count = kept;
}

static void add_row(struct call *call, const char *kind, const char *modality, double count,
                    double low, double high)
{
    if (call->usage_count >= CALL_USAGE_MAX || high <= 0)
        return;
    call->usage[call->usage_count++] = (struct usage_row){
        .kind = kind,
        .modality = modality,
        .unit = "token",
        .count = opt_u64((uint64_t)count),
        .low = opt_u64((uint64_t)low),
        .high = opt_u64((uint64_t)high),
        .source = low < high ? USAGE_ESTIMATED : USAGE_REPORTED,
    };
}

/* `cached` of all `input` tokens, of which `total` are of this modality. */
static void add_modality(struct call *call, const char *modality, double total, double count,
                         double input, double cached)
{
    double low = fmax(0, cached - (input - total)), high = fmin(cached, total);

    count = fmin(fmax(count, low), high);
    add_row(call, "input", modality, total - count, total - high, total - low);
    add_row(call, "cached_input", modality, count, low, high);
}

void realtime_overlap(const struct answer *a, struct call *call)
{
    const struct opt_double *input = &a->slot[SLOT_INPUT], *cached = &a->slot[SLOT_CACHED_INPUT];
    double others = 0, left;

    if (!input->known || !cached->known || cached->value <= 0 || input->value > TOKENS_MAX)
        return;
    for (size_t i = 0; i < MODALITIES; i++) {
        if (a->slot[modalities[i].cached].known)
            return;
        others += a->slot[modalities[i].total].known ? a->slot[modalities[i].total].value : 0;
    }
    if (others <= 0 || others > input->value || cached->value > input->value)
        return;
    drop_rows(call);
    left = cached->value;
    for (size_t i = 0; i < MODALITIES; i++) {
        const struct opt_double *total = &a->slot[modalities[i].total];
        double count = total->known ? floor(cached->value * total->value / input->value) : 0;

        if (!total->known || total->value <= 0)
            continue;
        add_modality(call, modalities[i].modality, total->value, count, input->value,
                     cached->value);
        left -= count;
    }
    add_modality(call, "text", input->value - others, left, input->value, cached->value);
}
