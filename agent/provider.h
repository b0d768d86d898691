/* SPDX-License-Identifier: Apache-2.0 */
/* Provider profiles: YAML files saying which hosts are providers and how they speak. */
#pragma once

#include <stdint.h>

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

struct provider_set;
struct provider;

struct provider_error {
    char text[512]; /* "openai.yaml:12: operations[3].path: …" */
};

/* Loads every *.yaml of `dirs`, directories joined by ":". All but the first may be missing or
 * empty; what a later one says of a host goes before what an earlier one says. -EINVAL with
 * ret_error on the first bad file. */
int provider_set_load(const char *dirs, struct provider_set **ret_set,
                      struct provider_error *ret_error) LECTR_MUST_USE;
/* The same from one file's text; for tests. */
int provider_set_parse(struct slice text, struct provider_set **ret_set,
                       struct provider_error *ret_error) LECTR_MUST_USE;
void provider_set_free(struct provider_set **set);

/* The profile for a host name (any case); NULL when it is no provider's. "host:port" is asked of
 * plaintext connections: a provider's plaintext port decides before the name does. */
const struct provider *provider_by_host(const struct provider_set *set, struct slice host);
const char *provider_name(const struct provider *p);

/* Every host pattern of every profile, for the BPF name map and the CA's
 * constraints: an exact name ("api.openai.com") or a suffix ("*.openai.azure.com").
 * Pointers live as long as the set. Returns their number; fills up to `max`. */
unsigned provider_hosts(const struct provider_set *set, const char **ret_patterns, unsigned max);

/* The same for the ports on which providers speak HTTP without TLS. */
unsigned provider_plaintext_ports(const struct provider_set *set, uint16_t *ret_ports,
                                  unsigned max);
