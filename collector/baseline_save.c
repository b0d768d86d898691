/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/baseline.h"
#include "collector/first_day.h"

#include <errno.h>
#include <string.h>

#define VERSION 4u
#define WEEK_HOURS 168
#define STARTS_BYTES (SHIFT_STARTS * sizeof(struct shift_start))

/* Of the same program on the same kind of machine, or learned anew. */
struct header {
    uint32_t version;
    uint32_t bytes; /* of the struct: another one is another version */
    uint8_t has_first, has_fine, has_week, first_has_hour;
    uint16_t entries, unused;
};

static int append(struct buf *into, const void *data, size_t len)
{
    return buf_append(into, slice_of(data, len));
}

int baseline_save(const struct baseline *b, struct buf *into)
{
    const struct first_day *f = b->first;
    struct header h = {
        .version = VERSION,
        .bytes = sizeof(*b),
        .has_first = f != NULL,
        .has_fine = b->fine != NULL,
        .has_week = b->of_week != NULL,
        .first_has_hour = f && f->hour,
        .entries = f ? f->count : 0,
    };
    struct baseline flat = *b;
    struct first_day flat_first;
    int r = append(into, &h, sizeof(h));

    flat.calls = NULL;
    flat.first = NULL;
    flat.fine = NULL;
    flat.of_week = NULL;
    flat.shift.starts = NULL;
    if (r == 0)
        r = append(into, &flat, sizeof(flat));
    if (r == 0 && b->of_week)
        r = append(into, b->of_week, WEEK_HOURS);
    if (r == 0 && b->of_week)
        r = append(into, b->shift.starts, STARTS_BYTES);
    if (r == 0 && b->fine)
        r = append(into, b->fine, sizeof(*b->fine));
    if (r < 0 || !f)
        return r;
    flat_first = *f;
    flat_first.entries = flat_first.hour = NULL;
    r = append(into, &flat_first, sizeof(flat_first));
    if (r == 0 && f->count)
        r = append(into, f->entries, f->count * sizeof(*f->entries));
    if (r == 0 && f->hour)
        r = append(into, f->hour, 60 * sizeof(*f->hour));
    return r;
}

/* --- loading --- */

/* A copy of the next `len` bytes, in room for at least `room`; NULL in ret_copy for neither. */
static int take_to(struct cursor *c, size_t len, size_t room, void *ret_copy)
{
    struct slice s = cursor_take(c, len);
    void *copy;

    if (c->failed)
        return -EPROTO;
    room = room > len ? room : len;
    copy = room ? malloc(room) : NULL;
    if (room && !copy)
        return -ENOMEM;
    if (len)
        memcpy(copy, s.data, len);
    memcpy(ret_copy, &copy, sizeof(copy));
    return 0;
}

static int take(struct cursor *c, size_t len, void *ret_copy)
{
    return take_to(c, len, 0, ret_copy);
}

static int load_first(struct cursor *c, const struct header *h, struct first_day **ret_first)
{
    struct first_day *f = NULL;
    int r = take(c, sizeof(*f), &f);

    if (r < 0)
        return r;
    *ret_first = f;
    f->entries = f->hour = NULL;
    if (f->count != h->entries || f->hours > FIRST_DAY_HOURS_MAX)
        return -EPROTO;
    for (unsigned i = 0, place = 0; i < f->hours; i++) {
        place += f->by_minute >> i & 1 ? 60 : 2;
        if (place > f->count && i + 1u < f->hours)
            return -EPROTO;
    }
    r = take_to(c, f->count * sizeof(*f->entries), FIRST_DAY_ENTRIES_LEAST * sizeof(*f->entries),
                &f->entries);
    return r == 0 && h->first_has_hour ? take(c, 60 * sizeof(*f->hour), &f->hour) : r;
}

static int load_parts(struct cursor *c, const struct header *h, struct baseline *b)
{
    int r = h->has_week ? take(c, WEEK_HOURS, &b->of_week) : 0;

    if (r == 0 && h->has_week)
        r = take(c, STARTS_BYTES, &b->shift.starts);
    if (r == 0 && h->has_fine)
        r = take(c, sizeof(*b->fine), &b->fine);
    if (r == 0 && h->has_first)
        r = load_first(c, h, &b->first);
    /* What baseline_learn takes for granted. */
    if (r == 0 && (c->rest.len > 0 || (b->fitted_hour && (!b->of_week || b->first)) ||
                   (!b->fitted_hour && b->last_minute && !b->first)))
        r = -EPROTO;
    return r;
}

int baseline_load(struct slice bytes, const struct baseline *calls, struct baseline **ret_baseline)
{
    struct cursor c = cursor_of(bytes);
    struct slice head = cursor_take(&c, sizeof(struct header));
    struct baseline *b = NULL;
    struct header h;
    int r;

    if (c.failed)
        return -EPROTO;
    memcpy(&h, head.data, sizeof(h));
    if (h.version != VERSION || h.bytes != sizeof(*b))
        return -EPROTO;
    r = take(&c, sizeof(*b), &b);
    if (r < 0)
        return r;
    b->calls = calls;
    b->first = NULL;
    b->fine = NULL;
    b->of_week = NULL;
    b->shift.starts = NULL;
    r = load_parts(&c, &h, b);
    if (r < 0) {
        baseline_free(&b);
        return r;
    }
    *ret_baseline = b;
    return 0;
}
