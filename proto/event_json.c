// SPDX-License-Identifier: Apache-2.0
/* The proto3 JSON mapping, by reflection over the generated descriptors. */
#include "proto/event.h"

#include "proto/base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

static int put_message(struct buf *out, const ProtobufCMessage *message);

/* C1, U+0080 to U+009F: JSON lets them pass, terminals act on them. 0 for anything else. */
static unsigned c1_control(const char *s, size_t len)
{
    const uint8_t *p = (const uint8_t *)s;

    return len == 2 && p[0] == 0xc2 && p[1] < 0xa0 ? p[1] : 0;
}

static int put_string(struct buf *out, const char *s)
{
    const char *run = s;
    int r = buf_append_str(out, "\"");

    while (r == 0 && *s) {
        size_t len = utf8_sequence((const uint8_t *)s);
        unsigned c1 = c1_control(s, len);
        uint8_t c = (uint8_t)*s;

        if (len > 0 && !c1 && c >= 0x20 && c != '"' && c != '\\') {
            s += len;
            continue;
        }
        r = buf_append(out, slice_of(run, (size_t)(s - run)));
        if (r < 0)
            return r;
        if (len == 0)
            r = buf_append_str(out, "\\ufffd");
        else if (c1)
            r = buf_printf(out, "\\u%04x", c1);
        else if (c < 0x20)
            r = buf_printf(out, "\\u%04x", c);
        else
            r = buf_printf(out, "\\%c", c);
        s += c1 ? len : 1;
        run = s;
    }
    if (r == 0)
        r = buf_append(out, slice_of(run, (size_t)(s - run)));
    return r < 0 ? r : buf_append_str(out, "\"");
}

static int put_double(struct buf *out, double value)
{
    char text[40];

    if (isnan(value))
        return buf_append_str(out, "\"NaN\"");
    if (isinf(value))
        return buf_append_str(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    /* the shorter form when it reads back the same */
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof(text), "%.17g", value);
    return buf_append_str(out, text);
}

static int put_enum(struct buf *out, const ProtobufCEnumDescriptor *descriptor, int value)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(descriptor, value);

    return known ? buf_printf(out, "\"%s\"", known->name) : buf_printf(out, "%d", value);
}

/* One value at `member`, whatever its label. */
static int put_value(struct buf *out, const ProtobufCFieldDescriptor *field, const void *member)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return buf_printf(out, "%" PRId32, *(const int32_t *)member);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return buf_printf(out, "%" PRIu32, *(const uint32_t *)member);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return buf_printf(out, "\"%" PRId64 "\"", *(const int64_t *)member);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return buf_printf(out, "\"%" PRIu64 "\"", *(const uint64_t *)member);
    case PROTOBUF_C_TYPE_FLOAT:
        return put_double(out, (double)*(const float *)member);
    case PROTOBUF_C_TYPE_DOUBLE:
        return put_double(out, *(const double *)member);
    case PROTOBUF_C_TYPE_BOOL:
        return buf_append_str(out, *(const protobuf_c_boolean *)member ? "true" : "false");
    case PROTOBUF_C_TYPE_ENUM:
        return put_enum(out, field->descriptor, *(const int *)member);
    case PROTOBUF_C_TYPE_STRING:
        return put_string(out, *(char *const *)member);
    case PROTOBUF_C_TYPE_MESSAGE:
        return put_message(out, *(ProtobufCMessage *const *)member);
    case PROTOBUF_C_TYPE_BYTES:
        break; /* lectr.proto has none */
    }
    return -ENOTSUP;
}

static size_t value_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

static int put_list(struct buf *out, const ProtobufCFieldDescriptor *field, const uint8_t *values,
                    size_t count)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i++) {
        r = buf_append_str(out, i == 0 ? "[" : ",");
        if (r == 0)
            r = put_value(out, field, values + i * value_bytes(field->type));
    }
    return r < 0 ? r : buf_append_str(out, "]");
}

static bool is_present(const ProtobufCFieldDescriptor *field, const uint8_t *base)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(base + field->quantifier_offset) > 0;
    if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)(base + field->offset) != NULL;
    return field->label == PROTOBUF_C_LABEL_REQUIRED ||
           *(const protobuf_c_boolean *)(base + field->quantifier_offset);
}

static int put_message(struct buf *out, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *d = message->descriptor;
    const uint8_t *base = (const uint8_t *)message;
    const char *divider = "{";
    int r = 0;

    for (unsigned i = 0; r == 0 && i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];

        if (!is_present(f, base))
            continue;
        r = buf_printf(out, "%s\"%s\":", divider, f->name);
        divider = ",";
        if (r < 0)
            break;
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            r = put_list(out, f, *(uint8_t *const *)(base + f->offset),
                         *(const size_t *)(base + f->quantifier_offset));
        else
            r = put_value(out, f, base + f->offset);
    }
    if (r < 0)
        return r;
    return buf_append_str(out, *divider == '{' ? "{}" : "}");
}

int event_json(const ProtobufCMessage *message, struct buf *out)
{
    return put_message(out, message);
}
