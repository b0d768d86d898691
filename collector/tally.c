/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/tally.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A name and who has it: tallies that are merged share theirs. */
struct shared {
    atomic_uint users;
    uint32_t len;
    char text[];
};

static struct shared *shared_of(const char *name)
{
    return (struct shared *)(void *)((char *)(uintptr_t)name - offsetof(struct shared, text));
}

static const char *new_name(const char *text)
{
    size_t len = strlen(text);
    struct shared *s = malloc(sizeof(*s) + len + 1);

    if (!s)
        return NULL;
    atomic_init(&s->users, 1);
    s->len = (uint32_t)len;
    memcpy(s->text, text, len + 1);
    return s->text;
}

static const char *use_name(const char *name)
{
    atomic_fetch_add_explicit(&shared_of(name)->users, 1, memory_order_relaxed);
    return name;
}

static void drop_name(const char *name)
{
    struct shared *s = shared_of(name);

    if (atomic_fetch_sub_explicit(&s->users, 1, memory_order_acq_rel) == 1)
        free(s);
}

void tally_fini(struct tally *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        drop_name(t->items[i].name);
    free(t->items);
    *t = (struct tally){0};
}

static int compare(const char *a, const char *b)
{
    return a == b ? 0 : strcmp(a, b);
}

/* The place of the name, or where it belongs. */
static uint32_t find(const struct tally *t, const char *name, bool *ret_found)
{
    uint32_t low = 0, high = t->count;

    *ret_found = false;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = compare(t->items[mid].name, name);

        if (order == 0) {
            *ret_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a > INT64_MAX || b > INT64_MAX - a ? INT64_MAX : a + b;
}

/* Takes `name`, which may be NULL for want of memory, also when it fails. */
static int insert(struct tally *t, uint32_t at, const char *name, uint64_t by)
{
    struct tally_item *items = name ? realloc(t->items, (t->count + 1) * sizeof(*items)) : NULL;

    if (!items) {
        if (name)
            drop_name(name);
        return -ENOMEM;
    }
    t->items = items;
    memmove(&items[at + 1], &items[at], (t->count - at) * sizeof(*items));
    items[at] = (struct tally_item){.name = name, .count = plus(0, by)};
    t->count++;
    return 0;
}

/* The last place is kept for TALLY_OTHER. */
static bool has_room(const struct tally *t, const char *name)
{
    bool has_other;

    if (t->count + 1 < TALLY_NAMES_MAX || strcmp(name, TALLY_OTHER) == 0)
        return true;
    find(t, TALLY_OTHER, &has_other);
    return t->count + !has_other < TALLY_NAMES_MAX;
}

static int add_other(struct tally *t, uint64_t by)
{
    bool found;
    uint32_t at = find(t, TALLY_OTHER, &found);

    if (!found)
        return insert(t, at, new_name(TALLY_OTHER), by);
    t->items[at].count = plus(t->items[at].count, by);
    return 0;
}

/* Half a character is not left behind by the cut. */
static void clean_name(const char *name, char *ret_clean)
{
    size_t len = strnlen(name, TALLY_NAME_BYTES_MAX);

    if (name[len])
        while (len > 0 && ((unsigned char)name[len] & 0xc0) == 0x80)
            len--;
    for (size_t i = 0; i < len; i++)
        ret_clean[i] = (unsigned char)name[i] < 0x20 ? '?' : name[i];
    ret_clean[len] = '\0';
}

int tally_add_at(struct tally *t, const char *name, uint64_t by, uint8_t *place)
{
    char clean[TALLY_NAME_BYTES_MAX + 1];
    bool found = *place < t->count && strcmp(t->items[*place].name, name) == 0;
    uint32_t at = found ? *place : find(t, name, &found);

    /* What is there is clean. */
    if (found) {
        t->items[at].count = plus(t->items[at].count, by);
        *place = (uint8_t)at;
        return 0;
    }
    clean_name(name, clean);
    at = find(t, clean, &found);
    if (!found)
        return has_room(t, clean) ? insert(t, at, new_name(clean), by) : add_other(t, by);
    t->items[at].count = plus(t->items[at].count, by);
    return 0;
}

int tally_add(struct tally *t, const char *name, uint64_t by)
{
    uint8_t place = 0;

    return tally_add_at(t, name, by, &place);
}

/* Both are sorted: a name's place is not before that of the one before it. */
int tally_merge(struct tally *into, const struct tally *from)
{
    uint32_t at = 0;
    int r = 0;

    for (uint32_t i = 0; i < from->count && r == 0; i++) {
        const struct tally_item *item = &from->items[i];
        int order = 1;

        while (at < into->count && (order = compare(into->items[at].name, item->name)) < 0)
            at++;
        if (at < into->count && order == 0)
            into->items[at].count = plus(into->items[at].count, item->count);
        else if (has_room(into, item->name))
            r = insert(into, at, use_name(item->name), item->count);
        else
            r = add_other(into, item->count);
    }
    return r;
}

uint64_t tally_get(const struct tally *t, const char *name)
{
    bool found;
    uint32_t at = find(t, name, &found);

    return found ? t->items[at].count : 0;
}

uint64_t tally_sum(const struct tally *t)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < t->count; i++)
        sum = plus(sum, t->items[i].count);
    return sum;
}

/* "TAB count NL", at the end of `ret_text`. */
static struct slice count_text(uint64_t count, char ret_text[24])
{
    char *at = ret_text + 24;

    *--at = '\n';
    do {
        *--at = (char)('0' + count % 10);
        count /= 10;
    } while (count);
    *--at = '\t';
    return slice_of(at, (size_t)(ret_text + 24 - at));
}

int tally_encode(const struct tally *t, struct buf *b)
{
    char text[24];
    int r = 0;

    for (uint32_t i = 0; i < t->count && r == 0; i++) {
        const char *name = t->items[i].name;

        r = buf_append(b, slice_of(name, shared_of(name)->len));
        if (r == 0)
            r = buf_append(b, count_text(t->items[i].count, text));
    }
    return r;
}

/* Digits only, at most INT64_MAX. */
static int read_count(struct slice digits, uint64_t *ret_count)
{
    uint64_t count = 0;

    if (digits.len == 0 || digits.len > 19)
        return -EBADMSG;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return -EBADMSG;
        count = count * 10 + (digits.data[i] - '0');
    }
    if (count > INT64_MAX)
        return -EBADMSG;
    *ret_count = count;
    return 0;
}

static int read_line(struct tally *into, struct slice line)
{
    const uint8_t *tab = memchr(line.data, '\t', line.len);
    char name[TALLY_NAME_BYTES_MAX + 1];
    uint64_t count = 0;
    size_t len;
    int r;

    if (!tab)
        return -EBADMSG;
    len = (size_t)(tab - line.data);
    if (len > TALLY_NAME_BYTES_MAX || memchr(line.data, '\0', len))
        return -EBADMSG;
    memcpy(name, line.data, len);
    name[len] = '\0';
    r = read_count(slice_of(tab + 1, line.len - len - 1), &count);
    return r < 0 ? r : tally_add(into, name, count);
}

static int decode(struct tally *into, struct slice text)
{
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len;
        int r;

        if (!end)
            return -EBADMSG;
        len = (size_t)(end - text.data);
        r = read_line(into, slice_of(text.data, len));
        if (r < 0)
            return r;
        text = slice_of(end + 1, text.len - len - 1);
    }
    return 0;
}

int tally_decode_merge(struct tally *into, struct slice text)
{
    struct tally told = {0};
    int r;

    /* Nothing is there that half of a text could be mixed with. */
    if (into->count == 0) {
        r = decode(into, text);
        if (r == -EBADMSG)
            tally_fini(into);
        return r;
    }
    r = decode(&told, text);
    if (r == 0)
        r = tally_merge(into, &told);
    tally_fini(&told);
    return r;
}
