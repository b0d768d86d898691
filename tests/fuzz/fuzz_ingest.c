/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/ingest.c collector/region.c collector/text.c */
/* Target: ingest_decode(). The first byte chooses the subject. A record that is
 * accepted is inside the bounds that the sums rely on. */
#include "collector/ingest.h"

#include <assert.h>
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const subjects[] = {
    "lectr.v1.call.acme.openai.3", "lectr.v1.gap.acme",   "lectr.v1.coverage.acme.openai.3",
    "lectr.v1.alert.acme.cost",    "lectr.v1.call.acme.", "lectr.v1.rollup.acme.1m",
};

static void check_text(const char *text, size_t size)
{
    size_t len = strnlen(text, size);

    assert(len < size);
    for (size_t i = 0; i < len; i++)
        assert((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_arena arena;
    const char *reason = NULL;
    struct record rec;
    int r;

    if (size == 0)
        return 0;
    r = ingest_decode(&arena, subjects[data[0] % (sizeof(subjects) / sizeof(subjects[0]))],
                      slice_of(data + 1, size - 1), &rec, &reason);
    assert(r == 0 || (r == -EBADMSG && reason));
    if (r < 0 || rec.kind == RECORD_OTHER)
        return 0;
    assert(rec.instance[0] && rec.part < 64 && rec.seq > 0 && rec.seq <= UINT64_C(1) << 62);
    assert(rec.end_ns > 0 && rec.start_ns <= rec.end_ns);
    check_text(rec.org, sizeof(rec.org));
    check_text(rec.feature, sizeof(rec.feature));
    check_text(rec.provider, sizeof(rec.provider));
    check_text(rec.model, sizeof(rec.model));
    check_text(rec.workload, sizeof(rec.workload));
    check_text(rec.error_type, sizeof(rec.error_type));
    check_text(rec.reason, sizeof(rec.reason));
    assert(rec.cost.known || rec.cost.expected_nanousd == 0);
    assert(rec.tokens.input <= UINT64_C(1) << 40);
    return 0;
}
