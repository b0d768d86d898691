/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: */
/* Target: event_unpack(), event_unpack_in(), event_json(), event_pack(). The first byte chooses
 * the type. Both ways to unpack say the same. What was accepted prints as JSON, packs again and
 * then prints the same. */
#include "proto/event.h"

#include <assert.h>
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const ProtobufCMessage *message, struct buf *ret_out)
{
    buf_init(ret_out, 16 * EVENT_MAX_BYTES);
    assert(event_json(message, ret_out) == 0);
    assert(ret_out->len >= 2);
    assert(ret_out->data[0] == '{' && ret_out->data[ret_out->len - 1] == '}');
    assert(!memchr(ret_out->data, '\n', ret_out->len));
}

static void same_in_arena(enum event_type type, struct slice bytes, int expected,
                          const ProtobufCMessage *message)
{
    static struct event_arena arena;
    ProtobufCMessage *same = NULL;
    struct buf first, second;

    assert(event_unpack_in(&arena, type, bytes, &same) == expected);
    if (expected < 0)
        return;
    print(message, &first);
    print(same, &second);
    assert(slice_eq(buf_slice(&first), buf_slice(&second)));
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t packed[EVENT_MAX_BYTES];
    CLEAN_EVENT ProtobufCMessage *message = NULL, *again = NULL;
    struct buf first, second;
    enum event_type type;
    size_t len;
    int r;

    if (size == 0)
        return 0;
    type = (enum event_type)(data[0] % EVENT__COUNT);
    r = event_unpack(type, slice_of(data + 1, size - 1), &message);
    assert((r == 0) == (message != NULL));
    same_in_arena(type, slice_of(data + 1, size - 1), r, message);
    if (r < 0)
        return 0;
    print(message, &first);
    /* an enum cut to 32 bits may need ten bytes instead of six, tag included eleven */
    r = event_pack(message, packed, sizeof(packed), &len);
    assert(r == 0 || size > EVENT_MAX_BYTES / 2);
    if (r < 0) {
        buf_fini(&first);
        return 0;
    }
    assert(len < 2 * size);
    r = event_unpack(type, slice_of(packed, len), &again);
    /* protobuf-c lets an unknown field of number 0 pass in an overlong form only */
    assert(r == 0 || r == -EBADMSG);
    if (r == 0) {
        print(again, &second);
        assert(slice_eq(buf_slice(&first), buf_slice(&second)));
        buf_fini(&second);
    }
    buf_fini(&first);
    return 0;
}
