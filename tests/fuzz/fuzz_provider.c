/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/provider.c agent/provider_match.c agent/profile.c agent/json_paths.c agent/text.c */
/* Target: provider_set_parse(), provider_route(). A refusal says why. */
#include "agent/profile.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct provider_set *set = NULL;
    struct provider_error error;
    struct provider_route route;
    const char *hosts[8];

    if (provider_set_parse(slice_of(data, size), &set, &error)) {
        assert(!set && error.text[0]);
        return 0;
    }
    unsigned count = provider_hosts(set, hosts, 8);

    for (unsigned i = 0; i < count && i < 8; i++) {
        const struct provider *p = provider_by_host(set, slice_str(hosts[i]));

        if (p && provider_route(p, slice_str("POST"), slice_str("/v1/models/a:b"), &route) == 0)
            assert(route.operation && profile_api(route.operation));
    }
    provider_set_free(&set);
    return 0;
}
