/* SPDX-License-Identifier: Apache-2.0 */
/* Watches the named namespaces (/run/netns) for configured names. */
#pragma once

#include "proto/base/cleanup.h"

struct netns_names;

/* `patterns` must outlive it. The directory may come later. */
int netns_names_new(char *const *patterns, unsigned count,
                    struct netns_names **ret_names) LECTR_MUST_USE;
void netns_names_free(struct netns_names **names);

/* For epoll; -1 when there is nothing to watch for. */
int netns_names_fd(const struct netns_names *n);
/* How long until netns_names_read() should be called again; -1: when readable. */
int netns_names_wait_ms(const struct netns_names *n);
/* Calls `fn` for each namespace that appeared (the first call: that is there);
 * the descriptor becomes its own. */
typedef void (*netns_names_fn)(void *user, const char *name, int ns_fd);
void netns_names_read(struct netns_names *n, netns_names_fn fn, void *user);
