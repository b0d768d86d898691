/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ctl/ctl.h"

#include "collector/text.h"

#include <errno.h>

/* A column as wide as that is of no use to anybody. */
#define NAME_BYTES 1024

static int clean_string(json_t *value)
{
    char name[NAME_BYTES];

    text_copy(name, sizeof(name), json_string_value(value));
    return json_string_set(value, name) == 0 ? 0 : -ENOMEM;
}

int clean_names(json_t *value)
{
    const char *key;
    json_t *inner;
    size_t i;
    int r = 0;

    if (json_is_string(value))
        return clean_string(value);
    json_object_foreach(value, key, inner)
    {
        r = r < 0 ? r : clean_names(inner);
    }
    json_array_foreach(value, i, inner)
    {
        r = r < 0 ? r : clean_names(inner);
    }
    return r;
}

/* What may act on a terminal though JSON lets it pass: DEL, and C1 as U+0080..U+009F. */
static size_t unsafe(const unsigned char *p, size_t left, unsigned *ret_code)
{
    if (*p == 0x7f) {
        *ret_code = *p;
        return 1;
    }
    if (left < 2 || p[0] != 0xc2 || p[1] >= 0xa0)
        return 0;
    *ret_code = p[1];
    return 2;
}

int clean_print(FILE *to, struct slice json)
{
    const unsigned char *p = json.data, *end = p + json.len, *run = p;

    while (p < end) {
        unsigned code;
        size_t len = unsafe(p, (size_t)(end - p), &code);

        if (len == 0) {
            p++;
            continue;
        }
        fwrite(run, 1, (size_t)(p - run), to);
        fprintf(to, "\\u%04x", code);
        p += len;
        run = p;
    }
    fwrite(run, 1, (size_t)(end - run), to);
    return ferror(to) ? -EIO : 0;
}
