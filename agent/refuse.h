/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who refused our certificate: (workload, host, kind of client), so that its
 * next connections are spliced, and asked again once in a while. Pure. Holds
 * REFUSE_MAX entries; beyond, the one that is nearest its end is forgotten.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdint.h>

#define REFUSE_MAX 4096
#define REFUSE_MS 600000      /* spliced for so long */
#define REFUSE_PROBE_MS 20000 /* a probe may take so long; meanwhile others are spliced */

struct refuse;

struct refuse_key {
    uint64_t cgroup_id;
    uint64_t fingerprint; /* of the ClientHello */
    const char *host;
};

enum refuse_answer {
    REFUSE_NO,     /* nothing known against it */
    REFUSE_SPLICE, /* refused not long ago */
    REFUSE_PROBE,  /* refused long ago: this connection finds out; the next ones wait for it */
};

int refuse_new(struct refuse **ret_refuse) LECTR_MUST_USE;
void refuse_free(struct refuse **refuse);

enum refuse_answer refuse_ask(struct refuse *r, const struct refuse_key *key, uint64_t now_ms);
void refuse_add(struct refuse *r, const struct refuse_key *key, uint64_t now_ms);
/* It was accepted. */
void refuse_forget(struct refuse *r, const struct refuse_key *key);
unsigned refuse_count(const struct refuse *r);
