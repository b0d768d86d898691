/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Original destinations: consumer of the kernel's origin ring (a BPF ring
 * buffer, mmapped) and the bounded table it fills. A record is handed out once.
 * When the table is full the oldest record makes room and is counted.
 */
#pragma once

#include "bpf/abi.h"
#include "proto/base/cleanup.h"

#include <stdint.h>

#define ORIGIN_TABLE_MAX 8192

struct origin;

struct origin_key {
    uint64_t netns_cookie;
    uint8_t family; /* LECTR_AF_* */
    uint16_t sport; /* host order */
    uint8_t saddr[16];
};

struct origin_stats {
    uint64_t received, taken, replaced, evicted, malformed;
    uint32_t held;
};

/* Maps the ring: the descriptor may be closed afterwards. `ring_bytes` is the
 * size of its data area, a power of two and a multiple of the page size. */
int origin_new(int fd, uint32_t ring_bytes, struct origin **ret_origin) LECTR_MUST_USE;
void origin_free(struct origin **origin);

/* Removes and returns the record of a steered connection. -ENOENT: there is
 * none; -EAGAIN: a record that is still being written hides what is behind it. */
int origin_take(struct origin *o, const struct origin_key *key,
                struct lectr_origin *ret_record) LECTR_MUST_USE;

/* Where connections are counted that were taken over: an mmapable array of
 * counters, by the records' slots. The descriptor may be closed afterwards. */
int origin_map_taken(struct origin *o, int fd) LECTR_MUST_USE;
/* The connection is in the in-flight table: its end, whatever it be, is told. */
void origin_took(struct origin *o, const struct lectr_origin *record);

void origin_stats(const struct origin *o, struct origin_stats *ret_stats);
