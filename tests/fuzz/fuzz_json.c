/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/json.c agent/json_paths.c */
/* Target: json_feed(), json_finish(). Any split of the bytes reports the same. */
#include "agent/json.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t hash, values, documents;
};

static void mix(struct sum *s, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        s->hash = (s->hash ^ p[i]) * 1099511628211ULL;
}

static void on_value(void *user, const struct json_value *v)
{
    struct sum *s = user;

    assert(v->text.len <= JSON_TEXT_MAX && strlen(v->path) < JSON_PATH_MAX);
    s->values++;
    mix(s, &v->field, sizeof(v->field));
    mix(s, &v->type, sizeof(v->type));
    mix(s, v->text.data, v->text.len);
    mix(s, &v->len, sizeof(v->len));
    mix(s, v->path, strlen(v->path));
    mix(s, v->index, sizeof(v->index));
}

static void on_document(void *user)
{
    ((struct sum *)user)->documents++;
}

static bool scan(const struct json_paths *paths, const uint8_t *data, size_t size, size_t piece,
                 bool split, struct sum *ret_sum)
{
    const struct json_events events = {ret_sum, on_value, on_document};
    struct json j;
    bool complete;

    *ret_sum = (struct sum){0};
    json_init(&j, paths, &events, split);
    for (size_t i = 0; i < size; i += piece)
        json_feed(&j, slice_of(data + i, size - i < piece ? size - i : piece));
    json_finish(&j);
    complete = json_complete(&j);
    json_fini(&j);
    return complete;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_paths *paths;
    struct sum whole, pieces;
    bool split = size && data[0] & 1;

    if (!paths) {
        if (json_paths_new(&paths) || json_paths_add(paths, "a", 1, JSON_KEEP) ||
            json_paths_add(paths, "b[].c", 2, JSON_TEST) ||
            json_paths_add(paths, "usage", 3, JSON_SUBTREE) ||
            json_paths_add(paths, "usage.n", 4, JSON_KEEP))
            __builtin_trap();
    }
    if (!size)
        return 0;
    data++;
    size--;
    bool complete = scan(paths, data, size, size + 1, split, &whole);

    for (size_t piece = 1; piece < 8; piece += 2) {
        assert(scan(paths, data, size, piece, split, &pieces) == complete);
        assert(pieces.hash == whole.hash && pieces.values == whole.values &&
               pieces.documents == whole.documents);
    }
    return 0;
}
