/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a batch. */
#include "collector/bus_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)1024 * 1024)

static int grow(struct bus_batch *batch)
{
    int capacity = batch->capacity ? 2 * batch->capacity : 1024;
    struct bus_message *messages =
        realloc(batch->messages, (size_t)capacity * sizeof(struct bus_message));

    if (!messages)
        return -ENOMEM;
    batch->messages = messages;
    batch->capacity = capacity;
    return 0;
}

static int add_block(struct bus_batch *batch, size_t least)
{
    struct block fresh = {.capacity = least > BLOCK_BYTES ? least : BLOCK_BYTES};

    if (batch->blocks_count == batch->blocks_capacity) {
        unsigned capacity = batch->blocks_capacity ? 2 * batch->blocks_capacity : 16;
        struct block *blocks = realloc(batch->blocks, capacity * sizeof(*blocks));

        if (!blocks)
            return -ENOMEM;
        batch->blocks = blocks;
        batch->blocks_capacity = capacity;
    }
    fresh.data = malloc(fresh.capacity);
    if (!fresh.data)
        return -ENOMEM;
    batch->blocks[batch->blocks_count++] = fresh;
    return 0;
}

/* Memory that stays where it is until the batch ends; NULL when there is none. */
static char *room_for(struct bus_batch *batch, size_t bytes)
{
    while (batch->block < batch->blocks_count &&
           batch->blocks[batch->block].capacity - batch->blocks[batch->block].len < bytes)
        batch->block++;
    if (batch->block == batch->blocks_count && add_block(batch, bytes) < 0)
        return NULL;
    batch->bytes += bytes;
    batch->blocks[batch->block].len += bytes;
    return batch->blocks[batch->block].data + batch->blocks[batch->block].len - bytes;
}

static int copy_message(struct bus_batch *batch, natsMsg *msg, struct bus_message *ret_message)
{
    const char *subject = natsMsg_GetSubject(msg), *reply = natsMsg_GetReply(msg);
    const size_t subject_len = strlen(subject) + 1, reply_len = strlen(reply) + 1;
    const size_t len = (size_t)natsMsg_GetDataLength(msg);
    char *to = room_for(batch, subject_len + reply_len + len);

    if (!to)
        return -ENOMEM;
    ret_message->subject = memcpy(to, subject, subject_len);
    ret_message->reply = memcpy(to + subject_len, reply, reply_len);
    to += subject_len + reply_len;
    if (len)
        memcpy(to, natsMsg_GetData(msg), len);
    ret_message->data = slice_of(to, len);
    return 0;
}

int batch_add(struct bus_batch *batch, natsMsg *msg, struct bus_message *message)
{
    int r = batch->count == batch->capacity ? grow(batch) : 0;

    if (r == 0)
        r = copy_message(batch, msg, message);
    if (r == 0)
        batch->messages[batch->count++] = *message;
    return r;
}

void batch_reset(struct bus_batch *batch)
{
    unsigned kept = 0;

    /* Those for messages larger than a block are not kept. */
    for (unsigned i = 0; i < batch->blocks_count; i++) {
        struct block *block = &batch->blocks[i];

        if (block->capacity > BLOCK_BYTES) {
            free(block->data);
            continue;
        }
        block->len = 0;
        batch->blocks[kept++] = *block;
    }
    batch->blocks_count = kept;
    batch->block = 0;
    batch->count = 0;
    batch->bytes = 0;
}

void batch_fini(struct bus_batch *batch)
{
    for (unsigned i = 0; i < batch->blocks_count; i++)
        free(batch->blocks[i].data);
    free(batch->blocks);
    free(batch->messages);
    *batch = (struct bus_batch){0};
}

int bus_batch_count(const struct bus_batch *batch)
{
    return batch->count;
}

const struct bus_message *bus_batch_at(const struct bus_batch *batch, int index)
{
    return &batch->messages[index];
}
