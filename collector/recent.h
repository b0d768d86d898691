/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a write-through cache remembers, by when it was used last. Things used by
 * the batch under way stand apart: they stay until it is committed (then they
 * are the newest) or rolled back (then they are forgotten, for what they say is
 * not so). Pure.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

/* Embedded first in what is remembered. */
struct recent {
    struct recent *prev, *next;
    size_t bytes; /* may be changed while it is in use */
    size_t counted_bytes;
    bool is_used;
};

struct recent_ring {
    struct recent head; /* prev: newest, next: oldest */
};

struct recent_list {
    struct recent_ring settled, used;
    size_t bytes, bytes_max;                        /* bytes: of all, as of the last commit */
    void (*forget)(void *ctx, struct recent *item); /* frees it */
    void *ctx;
};

void recent_init(struct recent_list *list, size_t bytes_max,
                 void (*forget)(void *ctx, struct recent *item), void *ctx);
/* A new thing, not in use yet. */
void recent_add(struct recent_list *list, struct recent *item, size_t bytes);
/* Part of the batch under way from now on. */
void recent_use(struct recent_list *list, struct recent *item);
/* Everything in use, in the order of first use; stops at a negative return and returns it. */
int recent_each_used(struct recent_list *list, int (*each)(void *ctx, struct recent *item),
                     void *ctx) LECTR_MUST_USE;
/* After the commit: forgets the oldest beyond the bound. */
void recent_settle(struct recent_list *list);
void recent_forget_used(struct recent_list *list);
void recent_forget_if(struct recent_list *list,
                      bool (*is_meant)(const void *ctx, const struct recent *item),
                      const void *ctx);
void recent_forget_all(struct recent_list *list);
