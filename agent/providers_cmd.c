/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/providers_cmd.h"

#include "agent/config.h"
#include "agent/provider.h"

#include <stdio.h>

#define HOSTS_MAX 1024
#define PORTS_MAX 64

static struct slice plain_host(const char *pattern)
{
    return slice_str(pattern[0] == '*' ? pattern + 1 : pattern);
}

/* Whose HTTP in clear a port is, whatever the host. */
static void print_ports(const struct provider_set *set)
{
    uint16_t ports[PORTS_MAX];
    unsigned count = provider_plaintext_ports(set, ports, PORTS_MAX);

    for (unsigned i = 0; i < count && i < PORTS_MAX; i++) {
        char probe[32];
        const struct provider *p;

        snprintf(probe, sizeof(probe), "localhost:%u", ports[i]);
        p = provider_by_host(set, slice_str(probe));
        printf("%-20s any host, port %u, in clear\n", p ? provider_name(p) : "?", ports[i]);
    }
}

int providers_main(const struct config *config)
{
    struct provider_set *set = NULL;
    struct provider_error error;
    const char *hosts[HOSTS_MAX];
    unsigned count;

    if (provider_set_load(config->data.providers_dir, &set, &error) < 0) {
        fprintf(stderr, "lectr-agent: %s\n", error.text);
        return 2;
    }
    count = provider_hosts(set, hosts, HOSTS_MAX);
    printf("%-20s %s\n", "PROVIDER", "HOST");
    for (unsigned i = 0; i < count && i < HOSTS_MAX; i++) {
        char probe[512];
        const struct provider *p;

        /* A suffix pattern is looked up through a name below it. */
        snprintf(probe, sizeof(probe), "%s%.*s", hosts[i][0] == '*' ? "x" : "",
                 (int)plain_host(hosts[i]).len, (const char *)plain_host(hosts[i]).data);
        p = provider_by_host(set, slice_str(probe));
        printf("%-20s %s\n", p ? provider_name(p) : "?", hosts[i]);
    }
    print_ports(set);
    provider_set_free(&set);
    return 0;
}
