/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/estimate.c agent/estimate_file.c agent/text.c */
/* Target: estimator_load(). The checksum is mended first, or nothing would get past it. */
#include "agent/estimate.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_it(struct slice text)
{
    static const struct estimate_key key = {"openai.chat", "openai", "gpt-4o"};
    struct estimate_sizes sizes = {.request_whole = true, .streaming = true};
    struct estimate_report report = {.input_tokens = opt_u64(90), .output_tokens = opt_u64(12)};
    struct estimate_range range;
    struct estimator *e;

    if (estimator_new(&e))
        return;
    sizes.request.milliunits[EXTENT_TEXT] = sizes.answer.milliunits[EXTENT_TEXT] = 10000;
    if (estimator_load(e, text) == 0) {
        char *again;
        size_t len;

        if (estimator_output(e, &key, &sizes, &range) == 0)
            assert(isfinite(range.low) && range.low <= range.high && range.low >= 0);
        estimator_learn(e, &key, &sizes, &report);
        if (estimator_save(e, &again, &len) == 0)
            free(again);
    }
    estimator_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t sum = 0xcbf29ce484222325ULL;
    char *text = malloc(size + 32);

    if (!text)
        return 0;
    try_it(slice_of(data, size));
    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ data[i]) * 0x100000001b3ULL;
        text[i] = (char)data[i];
    }
    snprintf(text + size, 32, "sum %016llx\n", (unsigned long long)sum);
    try_it(slice_of(text, size + 21));
    free(text);
    return 0;
}
