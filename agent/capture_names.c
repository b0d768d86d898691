/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/capture_names.h"

#include "agent/provider.h"

#include <bpf/bpf.h>

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int capture_fail(struct capture_error *ret_error, int r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(ret_error->text, sizeof(ret_error->text), fmt, args);
    va_end(args);
    return r;
}

/* FNV-1a; never 0. */
static uint32_t provider_id(const char *name)
{
    uint32_t hash = 2166136261u;

    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash ? hash : 1;
}

static int put_provider(const struct capture_names_maps *m, const struct provider *p,
                        uint32_t *ret_id)
{
    struct lectr_provider_name name = {0};

    snprintf(name.name, sizeof(name.name), "%s", provider_name(p));
    *ret_id = provider_id(name.name);
    return bpf_map_update_elem(m->providers_fd, ret_id, &name, BPF_ANY);
}

/* Keys that an earlier helper put and this configuration does not name. The
 * wanted ones are sorted. */
static int drop_others(int map_fd, const void *wanted, unsigned count, size_t key_bytes,
                       unsigned map_max, int (*compare)(const void *, const void *))
{
    CLEAN_FREE uint8_t *stale = calloc(map_max, key_bytes);
    CLEAN_FREE uint8_t *at = calloc(1, key_bytes);
    CLEAN_FREE uint8_t *next = calloc(1, key_bytes);
    void *from = NULL;
    unsigned dropped = 0;

    if (!stale || !at || !next)
        return -ENOMEM;
    while (dropped < map_max && bpf_map_get_next_key(map_fd, from, next) == 0) {
        if (count == 0 || !bsearch(next, wanted, count, key_bytes, compare))
            memcpy(stale + dropped++ * key_bytes, next, key_bytes);
        memcpy(at, next, key_bytes);
        from = at;
    }
    while (dropped > 0)
        bpf_map_delete_elem(map_fd, stale + --dropped * key_bytes);
    return 0;
}

/* ---- names ---- */

static int compare_names(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct lectr_name_key));
}

/* "api.x.y" -> "y.x.ipa\0"; "*.x.y" -> "y.x." */
static int name_key(const char *pattern, struct lectr_name_key *ret_key)
{
    bool suffix = strncmp(pattern, "*.", 2) == 0;
    const char *name = suffix ? pattern + 1 : pattern;
    size_t len = strlen(name);

    if (len == 0 || len > LECTR_NAME_MAX - 1)
        return -EINVAL;
    memset(ret_key, 0, sizeof(*ret_key));
    for (size_t i = 0; i < len; i++)
        ret_key->name[i] = (uint8_t)tolower((unsigned char)name[len - 1 - i]);
    ret_key->prefix_bits = (uint32_t)(suffix ? len : len + 1) * 8;
    return 0;
}

static int put_name(const struct capture_names_maps *m, const struct provider_set *providers,
                    const char *pattern, struct lectr_name_key *ret_key)
{
    char host[LECTR_NAME_MAX + 1];
    const struct provider *p;
    uint32_t id;
    int r;

    snprintf(host, sizeof(host), "%s%s", pattern[0] == '*' ? "x" : "",
             pattern[0] == '*' ? pattern + 1 : pattern);
    p = provider_by_host(providers, slice_str(host));
    r = p ? name_key(pattern, ret_key) : -EINVAL;
    if (r == 0)
        r = put_provider(m, p, &id);
    if (r == 0)
        r = bpf_map_update_elem(m->names_fd, ret_key, &id, BPF_ANY);
    return r;
}

static int put_names(const struct capture_names_maps *m, const struct provider_set *providers,
                     struct capture_error *e)
{
    unsigned count = provider_hosts(providers, NULL, 0);
    CLEAN_FREE const char **patterns = calloc(count + 1, sizeof(*patterns));
    CLEAN_FREE struct lectr_name_key *keys = calloc(count + 1, sizeof(*keys));
    int r;

    if (!patterns || !keys)
        return capture_fail(e, -ENOMEM, "no memory");
    if (count > CAPTURE_NAMES_MAX)
        return capture_fail(e, -E2BIG, "%u provider names, at most %d can be watched", count,
                            CAPTURE_NAMES_MAX);
    count = provider_hosts(providers, patterns, count);
    for (unsigned i = 0; i < count; i++) {
        r = put_name(m, providers, patterns[i], &keys[i]);
        if (r < 0)
            return capture_fail(e, r, "provider name %s: %s", patterns[i], strerror(-r));
    }
    qsort(keys, count, sizeof(*keys), compare_names);
    r = drop_others(m->names_fd, keys, count, sizeof(*keys), CAPTURE_NAMES_MAP_MAX, compare_names);
    return r < 0 ? capture_fail(e, r, "no memory") : 0;
}

/* ---- ports ---- */

static int compare_ports(const void *a, const void *b)
{
    uint32_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static int put_port(const struct capture_names_maps *m, const struct provider_set *providers,
                    uint32_t port)
{
    const struct provider *p;
    char host[16];
    uint32_t id;
    int r;

    snprintf(host, sizeof(host), "x:%u", port);
    p = provider_by_host(providers, slice_str(host));
    r = p ? put_provider(m, p, &id) : -EINVAL;
    return r < 0 ? r : bpf_map_update_elem(m->clear_ports_fd, &port, &id, BPF_ANY);
}

static int put_ports(const struct capture_names_maps *m, const struct provider_set *providers,
                     struct capture_error *e)
{
    uint16_t ports[LECTR_CLEAR_PORTS_MAX];
    uint32_t keys[LECTR_CLEAR_PORTS_MAX];
    unsigned count = provider_plaintext_ports(providers, ports, LECTR_CLEAR_PORTS_MAX);
    int r;

    if (count > LECTR_CLEAR_PORTS_MAX)
        return capture_fail(e, -E2BIG, "%u plaintext ports of providers, at most %d can be watched",
                            count, LECTR_CLEAR_PORTS_MAX);
    for (unsigned i = 0; i < count; i++) {
        keys[i] = ports[i];
        r = put_port(m, providers, keys[i]);
        if (r < 0)
            return capture_fail(e, r, "plaintext port %u: %s", keys[i], strerror(-r));
    }
    qsort(keys, count, sizeof(keys[0]), compare_ports);
    r = drop_others(m->clear_ports_fd, keys, count, sizeof(keys[0]), LECTR_CLEAR_PORTS_MAX,
                    compare_ports);
    return r < 0 ? capture_fail(e, r, "no memory") : 0;
}

int capture_names_put(const struct capture_names_maps *maps, const struct provider_set *providers,
                      struct capture_error *ret_error)
{
    int r = put_names(maps, providers, ret_error);

    return r < 0 ? r : put_ports(maps, providers, ret_error);
}
