/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Length of the character at `p`, 0 when it is no shortest-form UTF-8. */
static size_t utf8_length(const unsigned char *p)
{
    size_t n = p[0] < 0x80             ? 1
               : (p[0] & 0xe0) == 0xc0 ? 2
               : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code = n == 1 ? p[0] : p[0] & (0x7fu >> n);

    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    if (n && (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
        return 0;
    return n;
}

static bool is_control(const unsigned char *p, size_t n)
{
    return (n == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

static void copy_clean(char *to, size_t size, const char *from)
{
    const unsigned char *p = (const unsigned char *)(from ? from : "");
    size_t used = 0;

    while (*p) {
        size_t n, out;
        bool bad;

        if (*p >= 0x20 && *p < 0x7f && used + 2 <= size) {
            to[used++] = (char)*p++;
            continue;
        }
        n = utf8_length(p);
        bad = n == 0 || is_control(p, n);
        out = bad ? 1 : n;
        if (used + out + 1 > size)
            break;
        if (bad)
            to[used] = '?';
        else
            memcpy(to + used, p, n);
        used += out;
        p += n ? n : 1;
    }
    to[used] = '\0';
}

/* Whether a byte is no printable ASCII: above 0x7e or below 0x20. */
static inline uint64_t odd_bits(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);

    return (word | (word + ones) | (word - 0x20 * ones)) & 0x80 * ones;
}

static bool is_plain(const char *text, size_t len)
{
    uint64_t word, odd = 0;

    if (len < sizeof(word)) {
        for (size_t i = 0; i < len; i++)
            odd |= (unsigned char)(text[i] - 0x20) >= 0x5f;
        return !odd;
    }
    for (size_t i = 0; i < len - sizeof(word); i += sizeof(word)) {
        memcpy(&word, text + i, sizeof(word));
        odd |= odd_bits(word);
    }
    memcpy(&word, text + len - sizeof(word), sizeof(word));
    return !(odd | odd_bits(word));
}

void text_copy(char *to, size_t size, const char *from)
{
    size_t len = from && size ? strnlen(from, size) : size;

    /* Nearly all that comes is. */
    if (len < size && is_plain(from, len)) {
        memcpy(to, from, len);
        to[len] = '\0';
        return;
    }
    copy_clean(to, size, from);
}

void text_copy_url(char *to, size_t size, const char *url)
{
    size_t used = 0;

    for (const char *p = url; *p && used + 1 < size;) {
        const char *host = strstr(p, "://");
        size_t len = strcspn(p, ",");
        const char *end = p + len, *at;

        host = host && host < end ? host + 3 : p;
        at = memrchr(host, '@', (size_t)(end - host));
        for (; p < host && used + 1 < size; p++)
            to[used++] = *p;
        for (p = at ? at + 1 : host; p < end + (*end == ',') && used + 1 < size; p++)
            to[used++] = *p;
    }
    to[used] = '\0';
}
