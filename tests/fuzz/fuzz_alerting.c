/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/alerting.c collector/alerting_schema.c collector/alerting_check.c
 * collector/places.c collector/yamlread.c collector/yamlread.c collector/when.c */
/* Target: alerting_parse(), alerting_route(). A refusal says why. */
#include "collector/alerting.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct alerting_scope scope = {.org = "o", .feature = "f", .severity = "info", .rule = "a.b"};
    struct alerting_error error = {.text = ""};
    struct alerting *a = NULL;

    if (alerting_parse("a.yaml", slice_of(data, size), &a, &error) < 0) {
        assert(!a && error.text[0]);
        return 0;
    }
    for (unsigned i = 0; i < a->rules_count; i++)
        assert(a->rules[i].name && a->rules[i].kind < ALERTING_KIND__COUNT);
    assert(a->receivers_count == ALERTING_RECEIVERS_MAX ||
           alerting_route(a, &scope) >> a->receivers_count == 0);
    (void)alerting_silenced(a, &scope, 0);
    (void)alerting_period_rule(a, ALERTING_COST, true, &scope);
    alerting_free(&a);
    return 0;
}
