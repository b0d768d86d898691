/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/text.h"

#include <strings.h>

static size_t utf8_len(const uint8_t *p, size_t left)
{
    size_t need = p[0] < 0x80                   ? 1
                  : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                  : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                  : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                                : 0;

    if (need == 0 || need > left)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return need;
}

void text_copy(char *ret_text, size_t size, struct slice s)
{
    size_t out = 0;

    for (size_t i = 0; i < s.len && out + 1 < size;) {
        size_t n = utf8_len(s.data + i, s.len - i);

        if (n > 1) {
            if (out + n + 1 > size)
                break;
            memcpy(ret_text + out, s.data + i, n);
            out += n;
            i += n;
            continue;
        }
        ret_text[out++] = n == 1 && s.data[i] >= 0x20 && s.data[i] != 0x7f ? (char)s.data[i] : '?';
        i++;
    }
    if (size)
        ret_text[out] = '\0';
}

bool text_match(const char *pattern, struct slice s)
{
    size_t len = strlen(pattern);

    if (len && pattern[0] == '*')
        return s.len >= len - 1 && slice_eq_nocase(slice_of(pattern + 1, len - 1),
                                                   slice_of(s.data + (s.len - (len - 1)), len - 1));
    if (len && pattern[len - 1] == '*')
        return s.len >= len - 1 &&
               slice_eq_nocase(slice_of(pattern, len - 1), slice_of(s.data, len - 1));
    return slice_eq_nocase(slice_of(pattern, len), s);
}
