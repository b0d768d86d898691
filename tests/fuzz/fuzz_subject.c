/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: */
/* Target: subject_parse(), and the builders: what was read is built again to the
 * same bytes, and any name that is built is read back. */
#include "proto/subject.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int build(const struct subject *s, char ret_subject[SUBJECT_BYTES])
{
    switch (s->type) {
    case EVENT_CALL:
        return subject_call(s->org, s->name, s->part, ret_subject);
    case EVENT_GAP:
        return subject_gap(s->org, s->name, s->part, ret_subject);
    case EVENT_COVERAGE:
        return subject_coverage(s->org, s->name, s->part, ret_subject);
    case EVENT_ALERT:
        return subject_alert(s->org, s->name, ret_subject);
    case EVENT_CLOUDEVENT:
        return subject_cloudevent(s->org, s->name, ret_subject);
    default:
        return subject_rollup(s->org, s->name, ret_subject);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEAN_FREE char *text = malloc(size + 1);
    char built[SUBJECT_BYTES];
    struct subject s, again;

    assert(text);
    memcpy(text, data, size);
    text[size] = '\0';
    if (subject_parse(text, &s) == 0 && (s.has_part || s.type >= EVENT_ALERT)) {
        assert(build(&s, built) == 0);
        assert(strcmp(built, text) == 0);
        assert(subject_lane(text) == (s.has_part ? (int)s.part : -1));
    }
    assert(subject_lane(text) >= -1 && subject_lane(text) < EVENT_PARTS);
    if (subject_alert(text, text, built) == 0) {
        assert(subject_parse(built, &again) == 0);
        assert(again.type == EVENT_ALERT);
        assert(strcmp(again.org, text) == 0 && strcmp(again.name, text) == 0);
    }
    return 0;
}
