/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/recent.h"

static void ring_init(struct recent_ring *ring)
{
    ring->head.prev = ring->head.next = &ring->head;
}

static void append(struct recent_ring *ring, struct recent *item)
{
    item->next = &ring->head;
    item->prev = ring->head.prev;
    item->prev->next = item;
    ring->head.prev = item;
}

static void unlink_item(struct recent *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
}

void recent_init(struct recent_list *list, size_t bytes_max,
                 void (*forget)(void *ctx, struct recent *item), void *ctx)
{
    *list = (struct recent_list){.bytes_max = bytes_max, .forget = forget, .ctx = ctx};
    ring_init(&list->settled);
    ring_init(&list->used);
}

void recent_add(struct recent_list *list, struct recent *item, size_t bytes)
{
    item->bytes = item->counted_bytes = bytes;
    item->is_used = false;
    list->bytes += bytes;
    append(&list->settled, item);
}

void recent_use(struct recent_list *list, struct recent *item)
{
    if (item->is_used)
        return;
    item->is_used = true;
    unlink_item(item);
    append(&list->used, item);
}

int recent_each_used(struct recent_list *list, int (*each)(void *ctx, struct recent *item),
                     void *ctx)
{
    for (struct recent *item = list->used.head.next; item != &list->used.head; item = item->next) {
        int r = each(ctx, item);

        if (r < 0)
            return r;
    }
    return 0;
}

static void drop(struct recent_list *list, struct recent *item)
{
    unlink_item(item);
    list->bytes -= item->counted_bytes;
    list->forget(list->ctx, item);
}

void recent_settle(struct recent_list *list)
{
    while (list->used.head.next != &list->used.head) {
        struct recent *item = list->used.head.next;

        list->bytes += item->bytes - item->counted_bytes;
        item->counted_bytes = item->bytes;
        item->is_used = false;
        unlink_item(item);
        append(&list->settled, item);
    }
    while (list->bytes > list->bytes_max && list->settled.head.next != &list->settled.head)
        drop(list, list->settled.head.next);
}

static void forget_ring(struct recent_list *list, struct recent_ring *ring,
                        bool (*is_meant)(const void *ctx, const struct recent *item),
                        const void *ctx)
{
    struct recent *next;

    for (struct recent *item = ring->head.next; item != &ring->head; item = next) {
        next = item->next;
        if (!is_meant || is_meant(ctx, item))
            drop(list, item);
    }
}

void recent_forget_used(struct recent_list *list)
{
    forget_ring(list, &list->used, NULL, NULL);
}

void recent_forget_if(struct recent_list *list,
                      bool (*is_meant)(const void *ctx, const struct recent *item), const void *ctx)
{
    forget_ring(list, &list->used, is_meant, ctx);
    forget_ring(list, &list->settled, is_meant, ctx);
}

void recent_forget_all(struct recent_list *list)
{
    forget_ring(list, &list->used, NULL, NULL);
    forget_ring(list, &list->settled, NULL, NULL);
}
