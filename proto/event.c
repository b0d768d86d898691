// SPDX-License-Identifier: Apache-2.0
#include "proto/event.h"

#include "proto/base/clock.h"
#include "proto/base/utf8.h"
#include "proto/event_read.h"

#include <errno.h>
#include <sys/random.h>

static const struct {
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
} types[EVENT__COUNT] = {
    [EVENT_CALL] = {"call", &lectr__v1__call__descriptor},
    [EVENT_GAP] = {"gap", &lectr__v1__gap__descriptor},
    [EVENT_COVERAGE] = {"coverage", &lectr__v1__coverage__descriptor},
    [EVENT_ALERT] = {"alert", &lectr__v1__alert__descriptor},
    [EVENT_ROLLUP] = {"rollup", &lectr__v1__rollup__descriptor},
    [EVENT_CLOUDEVENT] = {"cloudevent", NULL},
};

const char *event_type_name(enum event_type type)
{
    return types[type].name;
}

/* Nearly all text is. */
static bool is_ascii(const char *text)
{
    size_t len = strlen(text), at = 0;
    uint64_t word, seen = 0;

    for (; at + sizeof(word) <= len; at += sizeof(word)) {
        memcpy(&word, text + at, sizeof(word));
        seen |= word;
    }
    word = 0;
    memcpy(&word, text + at, len - at);
    return ((seen | word) & UINT64_C(0x8080808080808080)) == 0;
}

/* Replaces what is not UTF-8 when `repair`; false when there was any. */
static bool check_text(char *text, bool repair)
{
    bool valid = true;

    if (is_ascii(text))
        return true;
    for (size_t i = 0; text[i];) {
        size_t len = utf8_sequence((const uint8_t *)text + i);

        if (len == 0) {
            valid = false;
            if (!repair)
                return false;
            text[i] = '?';
            len = 1;
        }
        i += len;
    }
    return valid;
}

static bool check_strings(const ProtobufCMessage *message, bool repair);

static bool check_field(const ProtobufCFieldDescriptor *field, void *const *values, size_t count,
                        bool repair)
{
    bool valid = true;

    for (size_t i = 0; i < count; i++) {
        if (!values[i])
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING)
            valid &= check_text(values[i], repair);
        else
            valid &= check_strings(values[i], repair);
    }
    return valid;
}

/* Every string of the message and of those inside it. */
static bool check_strings(const ProtobufCMessage *message, bool repair)
{
    const ProtobufCMessageDescriptor *d = message->descriptor;
    const uint8_t *base = (const uint8_t *)message;
    bool valid = true;

    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        const void *member = base + f->offset;

        if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            valid &= check_field(f, *(void *const *const *)member,
                                 *(const size_t *)(base + f->quantifier_offset), repair);
        else
            valid &= check_field(f, member, 1, repair);
    }
    return valid;
}

/* The message's own strings are borrowed and may be read-only, so the repair is
 * done on a decoded copy; '?' keeps every length. */
static int repack(const ProtobufCMessageDescriptor *descriptor, uint8_t *bytes, size_t len)
{
    CLEAN_EVENT ProtobufCMessage *copy = protobuf_c_message_unpack(descriptor, NULL, len, bytes);

    if (!copy)
        return -ENOMEM;
    check_strings(copy, true);
    protobuf_c_message_pack(copy, bytes);
    return 0;
}

int event_pack(const ProtobufCMessage *message, uint8_t *out, size_t cap, size_t *ret_bytes)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    int r;

    if (len > cap || len > EVENT_MAX_BYTES)
        return -EMSGSIZE;
    protobuf_c_message_pack(message, out);
    if (!check_strings(message, false)) {
        r = repack(message->descriptor, out, len);
        if (r < 0)
            return r;
    }
    *ret_bytes = len;
    return 0;
}

struct identity {
    const char *id, *agent_instance;
    uint32_t part;
    uint64_t seq, start_ns, end_ns;
    bool complete; /* part, seq and both times are present */
};

#define IDENTITY_OF(m)                                                                             \
    ((struct identity){                                                                            \
        .id = (m)->id,                                                                             \
        .agent_instance = (m)->agent_instance,                                                     \
        .part = (m)->part,                                                                         \
        .seq = (m)->seq,                                                                           \
        .start_ns = (m)->start_time_unix_nano,                                                     \
        .end_ns = (m)->end_time_unix_nano,                                                         \
        .complete = (m)->has_part && (m)->has_seq && (m)->has_start_time_unix_nano &&              \
                    (m)->has_end_time_unix_nano,                                                   \
    })

static bool has_identity(enum event_type type, const ProtobufCMessage *message)
{
    struct identity i = {0};

    if (type == EVENT_CALL)
        i = IDENTITY_OF((const Lectr__V1__Call *)message);
    else if (type == EVENT_GAP)
        i = IDENTITY_OF((const Lectr__V1__Gap *)message);
    else if (type == EVENT_COVERAGE)
        i = IDENTITY_OF((const Lectr__V1__Coverage *)message);
    else if (type == EVENT_ALERT)
        return event_is_uuid(((const Lectr__V1__Alert *)message)->id);
    else
        return ((const Lectr__V1__Rollup *)message)->id != NULL;
    return i.complete && event_is_uuid(i.id) && event_is_uuid(i.agent_instance) &&
           i.part < EVENT_PARTS && i.seq > 0 && i.end_ns >= i.start_ns;
}

static int unpack(ProtobufCAllocator *allocator, enum event_type type, struct slice bytes,
                  ProtobufCMessage **ret_message)
{
    ProtobufCMessage *message;
    int r = 0;

    if (bytes.len > EVENT_MAX_BYTES)
        return -EMSGSIZE;
    if (!types[type].descriptor)
        return -EBADMSG;
    message = protobuf_c_message_unpack(types[type].descriptor, allocator, bytes.len, bytes.data);
    if (!message)
        return -EBADMSG;
    if (!check_strings(message, false))
        r = -EILSEQ;
    else if (!has_identity(type, message))
        r = -EINVAL;
    if (r < 0)
        protobuf_c_message_free_unpacked(message, allocator);
    else
        *ret_message = message;
    return r;
}

int event_unpack(enum event_type type, struct slice bytes, ProtobufCMessage **ret_message)
{
    return unpack(NULL, type, bytes, ret_message);
}

static void *arena_alloc(void *ctx, size_t size)
{
    return event_arena_take(ctx, size);
}

static void arena_leave(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

int event_unpack_in(struct event_arena *arena, enum event_type type, struct slice bytes,
                    ProtobufCMessage **ret_message)
{
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_leave, .allocator_data = arena};
    ProtobufCMessage *message = NULL;
    int r;

    if (bytes.len > EVENT_MAX_BYTES)
        return -EMSGSIZE;
    if (!types[type].descriptor)
        return -EBADMSG;
    r = event_arena_reset(arena);
    if (r == 0)
        r = event_read(arena, types[type].descriptor, bytes, &message);
    if (r == -EAGAIN)
        return unpack(&allocator, type, bytes, ret_message);
    if (r == 0 && !has_identity(type, message))
        r = -EINVAL;
    if (r == 0)
        *ret_message = message;
    return r;
}

void event_free(ProtobufCMessage **message)
{
    if (!message || !*message)
        return;
    protobuf_c_message_free_unpacked(*message, NULL);
    *message = NULL;
}

static void format_uuid(const uint8_t bytes[16], char ret_id[EVENT_UUID_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *out = ret_id;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

/* A system call for many ids. */
#define RANDOM_AHEAD 64

static int random_u64(uint64_t *ret_random)
{
    static _Thread_local struct {
        uint64_t number[RANDOM_AHEAD];
        unsigned left;
    } pool;

    if (pool.left == 0) {
        ssize_t n = getrandom(pool.number, sizeof(pool.number), 0);

        if (n != sizeof(pool.number))
            return n < 0 ? -errno : -EIO;
        pool.left = RANDOM_AHEAD;
    }
    *ret_random = pool.number[--pool.left];
    return 0;
}

int event_uuid7(uint64_t wall_ns, char ret_id[EVENT_UUID_BYTES])
{
    uint64_t ms = wall_ns / NSEC_PER_MSEC;
    /* RFC 9562 section 6.2, method 3: the fraction of the millisecond in rand_a */
    uint32_t fraction = (uint32_t)(wall_ns % NSEC_PER_MSEC * 4096 / NSEC_PER_MSEC);
    uint8_t bytes[16];
    uint64_t random = 0;
    int r = random_u64(&random);

    if (r < 0)
        return r;
    memcpy(bytes + 8, &random, sizeof(random));
    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    bytes[6] = (uint8_t)(0x70 | fraction >> 8);
    bytes[7] = (uint8_t)fraction;
    bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));
    format_uuid(bytes, ret_id);
    return 0;
}

/* FNV-1a, then a finaliser so that the last bytes reach every bit. */
static uint64_t hash_name(struct slice name, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325ULL ^ seed;

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ name.data[i]) * 0x100000001b3ULL;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 33;
}

void event_uuid_named(struct slice name, char ret_id[EVENT_UUID_BYTES])
{
    uint64_t halves[2] = {hash_name(name, 0), hash_name(name, 0x9e3779b97f4a7c15ULL)};
    uint8_t bytes[16];

    for (int i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(halves[i / 8] >> (56 - 8 * (i % 8)));
    bytes[6] = (uint8_t)(0x80 | (bytes[6] & 0x0f));
    bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));
    format_uuid(bytes, ret_id);
}

/* Whether it is not all hexadecimal digits. */
static inline unsigned is_no_hex(const char *s, unsigned len)
{
    static const bool is_hex[256] = {
        ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
        ['8'] = 1, ['9'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1,
    };
    unsigned bad = 0;

    for (unsigned i = 0; i < len; i++)
        bad |= !is_hex[(uint8_t)s[i]];
    return bad;
}

bool event_is_uuid(const char *s)
{
    if (!s || strlen(s) != EVENT_UUID_BYTES - 1)
        return false;
    if (s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-')
        return false;
    return !(is_no_hex(s, 8) | is_no_hex(s + 9, 4) | is_no_hex(s + 14, 4) | is_no_hex(s + 19, 4) |
             is_no_hex(s + 24, 12));
}

uint32_t event_part(const char *agent_instance)
{
    return (uint32_t)(hash_name(slice_str(agent_instance), 0) % EVENT_PARTS);
}
