// SPDX-License-Identifier: Apache-2.0
#include "proto/event_read.h"

#include "proto/base/utf8.h"

#include <errno.h>

#define DEPTH_MAX 4
/* Least capacity of a list; further ones are its doubles. */
#define LIST_MIN 4

/* Bytes of a tag or a length, and of a number. */
#define VARINT_SHORT 5
#define VARINT_LONG 10

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct reader {
    struct event_arena *arena;
    const uint8_t *at, *end;
};

static int read_message(struct event_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                        struct slice bytes, unsigned depth, ProtobufCMessage **ret_message);

static int take_long_varint(struct reader *r, unsigned bytes_max, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 7 * bytes_max && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;

        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return 0;
        }
    }
    return -EAGAIN;
}

/* Most tags and lengths are one byte. */
static inline int take_varint(struct reader *r, unsigned bytes_max, uint64_t *ret_value)
{
    if (r->at == r->end || *r->at >= 0x80)
        return take_long_varint(r, bytes_max, ret_value);
    *ret_value = *r->at++;
    return 0;
}

static int take_bytes(struct reader *r, struct slice *ret_bytes)
{
    uint64_t len = 0;
    int ret = take_varint(r, VARINT_SHORT, &len);

    if (ret < 0 || len > (size_t)(r->end - r->at))
        return -EAGAIN;
    *ret_bytes = slice_of(r->at, (size_t)len);
    r->at += len;
    return 0;
}

static int skip(struct reader *r, unsigned wire)
{
    struct slice bytes;
    uint64_t value;
    size_t len = wire == WIRE_64 ? 8 : 4;

    if (wire == WIRE_VARINT)
        return take_varint(r, VARINT_LONG, &value);
    if (wire == WIRE_BYTES)
        return take_bytes(r, &bytes);
    if ((wire != WIRE_64 && wire != WIRE_32) || len > (size_t)(r->end - r->at))
        return -EAGAIN;
    r->at += len;
    return 0;
}

static inline uint64_t odd_bits(const char *text)
{
    uint64_t word;

    memcpy(&word, text, sizeof(word));
    return word | (word - UINT64_C(0x0101010101010101));
}

/* Whether a byte is 0 or above 0x7f. The last word of a longer text overlaps the one before. */
static bool is_odd(const char *text, size_t len)
{
    uint64_t odd = 0;

    if (len < sizeof(odd)) {
        for (size_t at = 0; at < len; at++)
            odd |= (uint8_t)text[at] | ((uint8_t)text[at] - 1u);
        return odd & 0x80;
    }
    for (size_t at = 0; at < len - sizeof(odd); at += sizeof(odd))
        odd |= odd_bits(text + at);
    odd |= odd_bits(text + len - sizeof(odd));
    return odd & UINT64_C(0x8080808080808080);
}

/* Bytes that are no UTF-8, a NUL among them: not plain. */
static bool is_text(const char *text, size_t len)
{
    if (!is_odd(text, len))
        return true;
    for (size_t at = 0; at < len;) {
        size_t step = text[at] ? utf8_sequence((const uint8_t *)text + at) : 0;

        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

static int take_string(struct reader *r, char **member)
{
    struct slice bytes;
    char *text;
    int ret = take_bytes(r, &bytes);

    /* A second one would take the place of the first. */
    if (ret < 0 || *member)
        return -EAGAIN;
    text = event_arena_take(r->arena, bytes.len + 1);
    if (!text)
        return -ENOMEM;
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    if (!is_text(text, bytes.len))
        return -EAGAIN;
    *member = text;
    return 0;
}

static int take_message(struct reader *r, const ProtobufCFieldDescriptor *f, unsigned depth,
                        ProtobufCMessage **member)
{
    struct slice bytes;
    int ret = take_bytes(r, &bytes);

    /* A second one would be merged into the first. */
    if (ret < 0 || *member || depth == DEPTH_MAX)
        return -EAGAIN;
    return read_message(r->arena, f->descriptor, bytes, depth + 1, member);
}

static int append_message(struct reader *r, const ProtobufCFieldDescriptor *f, unsigned depth,
                          size_t *count, ProtobufCMessage ***list)
{
    ProtobufCMessage *message = NULL;
    int ret = take_message(r, f, depth, &message);

    if (ret < 0)
        return ret;
    if (*count == 0 || (*count >= LIST_MIN && (*count & (*count - 1)) == 0)) {
        size_t capacity = *count ? 2 * *count : LIST_MIN;
        ProtobufCMessage **more = event_arena_take(r->arena, capacity * sizeof(*more));

        if (!more)
            return -ENOMEM;
        if (*count)
            memcpy(more, *list, *count * sizeof(*more));
        *list = more;
    }
    (*list)[(*count)++] = message;
    return 0;
}

static int take_fixed64(struct reader *r, void *member)
{
    uint64_t value = 0;

    if (r->end - r->at < 8)
        return -EAGAIN;
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)*r->at++ << 8 * i;
    memcpy(member, &value, sizeof(value));
    return 0;
}

static int take_number(struct reader *r, const ProtobufCFieldDescriptor *f, unsigned wire,
                       void *member)
{
    uint64_t value = 0;

    switch (f->type) {
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return wire == WIRE_64 ? take_fixed64(r, member) : -EAGAIN;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
        if (wire != WIRE_VARINT || take_varint(r, VARINT_LONG, &value) < 0)
            return -EAGAIN;
        memcpy(member, &value, sizeof(value));
        return 0;
    case PROTOBUF_C_TYPE_SINT64:
        if (wire != WIRE_VARINT || take_varint(r, VARINT_LONG, &value) < 0)
            return -EAGAIN;
        value = value >> 1 ^ (0 - (value & 1));
        memcpy(member, &value, sizeof(value));
        return 0;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        if (wire != WIRE_VARINT || take_varint(r, VARINT_LONG, &value) < 0 || value > INT32_MAX)
            return -EAGAIN;
        *(uint32_t *)member = (uint32_t)value;
        return 0;
    case PROTOBUF_C_TYPE_BOOL:
        if (wire != WIRE_VARINT || take_varint(r, VARINT_LONG, &value) < 0)
            return -EAGAIN;
        *(protobuf_c_boolean *)member = value != 0;
        return 0;
    default:
        return -EAGAIN;
    }
}

static int take_field(struct reader *r, const ProtobufCFieldDescriptor *f, unsigned wire,
                      unsigned depth, uint8_t *message)
{
    void *member = message + f->offset;
    void *quantifier = message + f->quantifier_offset;
    int ret;

    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return f->type == PROTOBUF_C_TYPE_MESSAGE && wire == WIRE_BYTES
                   ? append_message(r, f, depth, quantifier, member)
                   : -EAGAIN;
    if (f->label != PROTOBUF_C_LABEL_OPTIONAL || (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return -EAGAIN;
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return wire == WIRE_BYTES ? take_string(r, member) : -EAGAIN;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return wire == WIRE_BYTES ? take_message(r, f, depth, member) : -EAGAIN;
    ret = take_number(r, f, wire, member);
    if (ret == 0)
        *(protobuf_c_boolean *)quantifier = 1;
    return ret;
}

/* Numbers are given away in a few runs without holes. NULL for one that is not known. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *d,
                                                  uint64_t number)
{
    for (unsigned i = 0; i < d->n_field_ranges; i++) {
        const ProtobufCIntRange *run = &d->field_ranges[i];
        uint64_t place = number - (uint64_t)run->start_value;

        if (place < run[1].orig_index - run->orig_index)
            return &d->fields[run->orig_index + place];
    }
    return NULL;
}

static int read_message(struct event_arena *arena, const ProtobufCMessageDescriptor *d,
                        struct slice bytes, unsigned depth, ProtobufCMessage **ret_message)
{
    struct reader r = {.arena = arena, .at = bytes.data, .end = bytes.data + bytes.len};
    ProtobufCMessage *message = event_arena_take(arena, d->sizeof_message);

    if (!message)
        return -ENOMEM;
    d->message_init(message);
    while (r.at < r.end) {
        const ProtobufCFieldDescriptor *field;
        uint64_t tag = 0;
        int ret = take_varint(&r, VARINT_SHORT, &tag);

        if (ret < 0 || tag >> 3 == 0 || tag > UINT32_MAX)
            return -EAGAIN;
        field = find_field(d, tag >> 3);
        ret = field ? take_field(&r, field, tag & 7, depth, (uint8_t *)message) : skip(&r, tag & 7);
        if (ret < 0)
            return ret;
    }
    *ret_message = message;
    return 0;
}

int event_read(struct event_arena *arena, const ProtobufCMessageDescriptor *descriptor,
               struct slice bytes, ProtobufCMessage **ret_message)
{
    return read_message(arena, descriptor, bytes, 0, ret_message);
}
