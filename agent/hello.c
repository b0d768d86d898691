/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hello.h"

#include <stdlib.h>

enum {
    RECORD_HANDSHAKE = 22,
    MESSAGE_CLIENT_HELLO = 1,
    RECORD_MAX = 16384 + 256,
    TYPES_MAX = 64,

    VERSION_SSL3 = 0x0300,
    VERSION_TLS12 = 0x0303,
    VERSION_TLS13 = 0x0304,

    EXT_SERVER_NAME = 0,
    EXT_GROUPS = 10,
    EXT_POINT_FORMATS = 11,
    EXT_SIGNATURE_ALGORITHMS = 13,
    EXT_ALPN = 16,
    EXT_PADDING = 21,
    EXT_PRE_SHARED_KEY = 41,
    EXT_EARLY_DATA = 42,
    EXT_VERSIONS = 43,
    EXT_COOKIE = 44,
    EXT_ECH = 0xfe0d,
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
    /* FNV-1a by 16-bit units is enough: an attacker who collides only changes
     * whether the own connections are metered. */
    return (hash ^ value) * 0x100000001b3ULL;
}

/* RFC 8701 values differ from connection to connection. */
static bool is_grease(uint16_t value)
{
    return (value & 0x0f0f) == 0x0a0a && (value >> 8) == (value & 0xff);
}

static uint64_t mix_list16(uint64_t hash, struct slice list)
{
    struct cursor c = cursor_of(list);

    while (c.rest.len >= 2) {
        uint16_t value = cursor_be16(&c);

        if (!is_grease(value))
            hash = mix(hash, value);
    }
    return mix(hash, 0x10000);
}

/* A host name in lower case, or empty when it is none. */
static void read_sni(struct slice body, char ret_sni[256])
{
    struct cursor c = cursor_of(body);
    struct cursor list = cursor_of(cursor_take(&c, cursor_be16(&c)));
    uint8_t type = cursor_u8(&list);
    struct slice name = cursor_take(&list, cursor_be16(&list));
    char sni[256];

    if (c.failed || list.failed || type != 0 || name.len == 0 || name.len > 253)
        return;
    for (size_t i = 0; i < name.len; i++) {
        char ch = (char)name.data[i];

        if (ch >= 'A' && ch <= 'Z')
            ch = (char)(ch - 'A' + 'a');
        if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '.' ||
              ch == '_'))
            return;
        sni[i] = ch;
    }
    sni[name.len] = '\0';
    if (sni[0] == '.' || sni[name.len - 1] == '.')
        return;
    memcpy(ret_sni, sni, name.len + 1);
}

/* False when the list is malformed or longer than can be mirrored. */
static bool read_alpn(struct slice body, struct hello *hello)
{
    struct cursor c = cursor_of(body);
    struct slice list = cursor_take(&c, cursor_be16(&c));
    struct cursor names = cursor_of(list);

    if (c.failed || list.len == 0 || list.len > HELLO_ALPN_MAX)
        return false;
    while (names.rest.len > 0) {
        if (cursor_take(&names, cursor_u8(&names)).len == 0 || names.failed)
            return false;
    }
    memcpy(hello->alpn, list.data, list.len);
    hello->alpn_len = (uint16_t)list.len;
    return true;
}

static void read_versions(struct slice body, struct hello *hello)
{
    struct cursor c = cursor_of(body);
    struct cursor list = cursor_of(cursor_take(&c, cursor_u8(&c)));

    while (list.rest.len >= 2) {
        uint16_t version = cursor_be16(&list);

        if (is_grease(version) || version < VERSION_SSL3 || version > VERSION_TLS13)
            continue;
        if (hello->version_min == 0 || version < hello->version_min)
            hello->version_min = version;
        if (version > hello->version_max)
            hello->version_max = version;
    }
}

struct extensions {
    uint16_t types[TYPES_MAX];
    unsigned types_count;
    uint64_t hash; /* of the values that tell stacks apart */
    bool bad;
};

static void read_extension(uint16_t type, struct slice body, struct hello *hello,
                           struct extensions *ext)
{
    switch (type) {
    case EXT_SERVER_NAME:
        read_sni(body, hello->sni);
        break;
    case EXT_ALPN:
        if (!read_alpn(body, hello))
            ext->bad = true;
        break;
    case EXT_ECH:
        hello->ech = true;
        break;
    case EXT_VERSIONS:
        hello->version_min = hello->version_max = 0;
        read_versions(body, hello);
        if (body.len >= 1)
            ext->hash = mix_list16(ext->hash, slice_of(body.data + 1, body.len - 1));
        break;
    case EXT_GROUPS:
    case EXT_SIGNATURE_ALGORITHMS:
        if (body.len >= 2)
            ext->hash = mix_list16(ext->hash, slice_of(body.data + 2, body.len - 2));
        break;
    case EXT_PADDING:
    case EXT_PRE_SHARED_KEY:
    case EXT_EARLY_DATA:
    case EXT_COOKIE:
        return; /* come and go between connections of one client */
    default:
        break;
    }
    if (!is_grease(type) && ext->types_count < TYPES_MAX)
        ext->types[ext->types_count++] = type;
}

static int compare_types(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* GREASE ECH (as browsers send it to everybody) cannot be told from the real
 * one; both mean that the name in clear may not be the true one. */
static bool parse_message(struct slice message, struct hello *ret_hello)
{
    struct hello hello = {0};
    struct extensions ext = {.hash = 0xcbf29ce484222325ULL};
    struct cursor c = cursor_of(message);
    uint16_t version = cursor_be16(&c);
    struct slice suites;

    cursor_take(&c, 32);
    cursor_take(&c, cursor_u8(&c));
    suites = cursor_take(&c, cursor_be16(&c));
    cursor_take(&c, cursor_u8(&c));
    if (c.failed || suites.len == 0)
        return false;
    hello.version_max = version < VERSION_TLS12 ? version : VERSION_TLS12;
    ext.hash = mix_list16(mix(ext.hash, version), suites);
    if (c.rest.len > 0) {
        struct cursor list = cursor_of(cursor_take(&c, cursor_be16(&c)));

        if (c.failed)
            return false;
        while (list.rest.len > 0) {
            uint16_t type = cursor_be16(&list);
            struct slice body = cursor_take(&list, cursor_be16(&list));

            if (list.failed)
                return false;
            read_extension(type, body, &hello, &ext);
        }
    }
    if (ext.bad)
        return false;
    qsort(ext.types, ext.types_count, sizeof(ext.types[0]), compare_types);
    for (unsigned i = 0; i < ext.types_count; i++)
        ext.hash = mix(ext.hash, ext.types[i]);
    hello.tls12_or_newer = hello.version_max >= VERSION_TLS12;
    hello.fingerprint = ext.hash;
    *ret_hello = hello;
    return true;
}

/* Copies the handshake bytes of the records in `bytes` to `scratch`. */
static enum hello_result gather(struct slice bytes, uint8_t *scratch, size_t *ret_len)
{
    struct cursor c = cursor_of(bytes);
    size_t len = 0;

    for (;;) {
        uint8_t type;
        uint16_t version, size;
        struct slice part;

        if (c.rest.len == 0)
            break;
        type = c.rest.data[0];
        if (type != RECORD_HANDSHAKE)
            return HELLO_NOT_TLS;
        if (c.rest.len >= 2 && c.rest.data[1] != 3)
            return HELLO_NOT_TLS;
        if (c.rest.len < 5)
            break;
        cursor_u8(&c);
        version = cursor_be16(&c);
        size = cursor_be16(&c);
        (void)version;
        if (size == 0 || size > RECORD_MAX)
            return HELLO_NOT_TLS;
        part = cursor_take(&c, size < c.rest.len ? size : c.rest.len);
        memcpy(scratch + len, part.data, part.len);
        len += part.len;
        if (part.len < size)
            break;
        if (len >= 4) {
            size_t want = 4 + ((size_t)scratch[1] << 16 | (size_t)scratch[2] << 8 | scratch[3]);

            if (len >= want)
                break;
        }
    }
    *ret_len = len;
    return HELLO_OK;
}

static enum hello_result parse(struct slice bytes, uint8_t *scratch, struct hello *ret_hello)
{
    bool full = bytes.len >= HELLO_MAX_BYTES;
    size_t len, want;

    if (full)
        bytes.len = HELLO_MAX_BYTES;
    if (gather(bytes, scratch, &len) != HELLO_OK)
        return HELLO_NOT_TLS;
    if (len >= 1 && scratch[0] != MESSAGE_CLIENT_HELLO)
        return HELLO_NOT_TLS;
    if (len < 4)
        return full ? HELLO_NOT_TLS : HELLO_MORE;
    want = (size_t)scratch[1] << 16 | (size_t)scratch[2] << 8 | scratch[3];
    if (want > HELLO_MAX_BYTES - 9)
        return HELLO_NOT_TLS;
    if (len - 4 < want)
        return full ? HELLO_NOT_TLS : HELLO_MORE;
    return parse_message(slice_of(scratch + 4, want), ret_hello) ? HELLO_OK : HELLO_NOT_TLS;
}

enum hello_result hello_parse(struct slice bytes, struct hello *ret_hello)
{
    uint8_t scratch[HELLO_MAX_BYTES];
    enum hello_result result = parse(bytes, scratch, ret_hello);

    /* What was taken for a record may have been anything. */
    explicit_bzero(scratch, bytes.len < sizeof(scratch) ? bytes.len : sizeof(scratch));
    return result;
}
