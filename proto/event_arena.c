// SPDX-License-Identifier: Apache-2.0
#include "proto/event_read.h"

#include <errno.h>
#include <stddef.h>

#define ARENA_BYTES ((size_t)64 * 1024)
#define ARENA_ALIGN _Alignof(max_align_t)

struct more {
    struct more *next;
    max_align_t bytes[];
};

static void *arena_more(struct event_arena *a, size_t size)
{
    struct more *more = malloc(sizeof(*more) + size);

    if (!more)
        return NULL;
    more->next = a->more;
    a->more = more;
    a->more_bytes += size;
    return more->bytes;
}

void *event_arena_take(struct event_arena *a, size_t size)
{
    void *p;

    size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (size > a->size - a->used)
        return arena_more(a, size);
    p = a->block + a->used;
    a->used += size;
    return p;
}

static void free_more(struct event_arena *a)
{
    struct more *next;

    for (struct more *more = a->more; more; more = next) {
        next = more->next;
        free(more);
    }
    a->more = NULL;
    a->more_bytes = 0;
}

int event_arena_reset(struct event_arena *a)
{
    size_t size = a->size + a->more_bytes;
    uint8_t *block;

    free_more(a);
    a->used = 0;
    if (size < ARENA_BYTES)
        size = ARENA_BYTES;
    if (size == a->size)
        return 0;
    block = malloc(size);
    if (!block)
        return a->block ? 0 : -ENOMEM;
    free(a->block);
    a->block = block;
    a->size = size;
    return 0;
}

void event_arena_fini(struct event_arena *arena)
{
    free_more(arena);
    free(arena->block);
    *arena = (struct event_arena){0};
}
