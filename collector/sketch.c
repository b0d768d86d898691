/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/sketch.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ENCODING_VERSION 1
/* Of one bucket when decoded: totals stay far from an overflow. */
#define COUNT_MAX (UINT64_C(1) << 48)

static const double gamma_ratio = (1.0 + SKETCH_RELATIVE_ERROR) / (1.0 - SKETCH_RELATIVE_ERROR);

static uint32_t bucket_of(double value)
{
    double index;

    if (value <= 1.0)
        return 0;
    /* The tolerance keeps exact bucket bounds in their own bucket. */
    index = ceil(log(value) / log(gamma_ratio) - 1e-9);
    return index >= SKETCH_BUCKETS - 1 ? SKETCH_BUCKETS - 1 : (uint32_t)index;
}

/* Integers need no logarithm: a table tells where to look, the buckets' last integers the rest. */
#define FINE_BITS 5 /* after the leading one: two or three buckets */
#define PLACES (44 << FINE_BITS)

static struct {
    uint64_t last[SKETCH_BUCKETS]; /* the largest integer of the bucket or of those before it */
    uint16_t first[PLACES];        /* the bucket of the place's smallest integer */
} table;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

/* Leading bit, then the bits that follow it: a larger value is in no smaller place. */
static uint32_t place_of(uint64_t value)
{
    unsigned top = 63 - (unsigned)__builtin_clzll(value);
    uint64_t fine = top > FINE_BITS ? value >> (top - FINE_BITS) : value << (FINE_BITS - top);

    return top << FINE_BITS | (uint32_t)(fine & ((1u << FINE_BITS) - 1));
}

/* By bucket_of() itself, so that both always agree. */
static void make_table(void)
{
    uint32_t bucket = 0;

    for (uint32_t i = 0; i < SKETCH_BUCKETS - 1; i++) {
        uint64_t last = (uint64_t)pow(gamma_ratio, i);

        while (bucket_of((double)last) > i)
            last--;
        while (bucket_of((double)(last + 1)) <= i)
            last++;
        table.last[i] = last;
    }
    table.last[SKETCH_BUCKETS - 1] = UINT64_MAX;
    for (uint32_t place = 0; place < PLACES; place++) {
        unsigned top = place >> FINE_BITS;
        uint64_t fine = (place & ((1u << FINE_BITS) - 1)) | 1u << FINE_BITS;
        uint64_t least = top > FINE_BITS ? fine << (top - FINE_BITS) : fine >> (FINE_BITS - top);

        while (least > table.last[bucket])
            bucket++;
        table.first[place] = (uint16_t)bucket;
    }
}

static uint32_t bucket_of_integer(uint64_t value)
{
    uint32_t bucket;

    if (value <= 1)
        return 0;
    pthread_once(&table_once, make_table);
    if (value > table.last[SKETCH_BUCKETS - 2])
        return SKETCH_BUCKETS - 1;
    bucket = table.first[place_of(value)];
    while (value > table.last[bucket])
        bucket++;
    return bucket;
}

double sketch_bucket_value(uint32_t index)
{
    if (index == 0)
        return 1.0;
    return 2.0 * pow(gamma_ratio, index) / (gamma_ratio + 1.0);
}

void sketch_fini(struct sketch *s)
{
    free(s->few);
    *s = (struct sketch){0};
}

void sketch_reset(struct sketch *s)
{
    if (s->places)
        memset(s->bins, 0, s->places * sizeof(*s->bins));
    s->few_count = 0;
    s->count = 0;
    s->sum = 0;
}

size_t sketch_bytes(const struct sketch *s)
{
    return s->places ? s->places * sizeof(*s->bins) : s->few_room * sizeof(*s->few);
}

/* --- places --- */

static void swap_for_bins(struct sketch *s, uint64_t *bins, uint32_t first, uint32_t places)
{
    if (s->places)
        memcpy(bins + (s->first - first), s->bins, s->places * sizeof(*bins));
    for (uint32_t i = 0; i < s->few_count; i++)
        bins[s->few[i].bucket - first] = s->few[i].calls;
    free(s->few);
    s->bins = bins;
    s->first = (uint16_t)first;
    s->places = (uint16_t)places;
    s->few_count = s->few_room = 0;
}

/* Makes buckets first..last addressable. */
static int cover(struct sketch *s, uint32_t first, uint32_t last)
{
    bool is_few = !s->places;
    uint32_t from = is_few && s->few_count ? s->few[0].bucket : s->first;
    uint32_t to = is_few && s->few_count ? s->few[s->few_count - 1].bucket
                                         : (uint32_t)s->first + s->places - 1;
    uint64_t *bins;

    if (s->places || s->few_count) {
        if (!is_few && first >= from && last <= to)
            return 0;
        first = from < first ? from : first;
        last = to > last ? to : last;
    }
    bins = calloc(last - first + 1, sizeof(*bins));
    if (!bins)
        return -ENOMEM;
    swap_for_bins(s, bins, first, last - first + 1);
    return 0;
}

/* As cover(), with room for the next ones beyond. */
static int cover_more(struct sketch *s, uint32_t index)
{
    uint32_t more = s->places / 2;
    uint32_t first = index, last = index;

    if (index < s->first)
        first = index > more ? index - more : 0;
    else if (s->places && index + more < SKETCH_BUCKETS)
        last = index + more;
    return cover(s, first, last);
}

/* --- few --- */

/* Rooms that waste nothing of what the allocator hands out: 3, 7, 15, 31. */
#define FEW_MAX 31

static int room_for_few(struct sketch *s, uint32_t count)
{
    uint32_t room = s->few_room;
    struct sketch_bin *few;

    if (count <= room)
        return 0;
    while (room < count)
        room = room ? 2 * room + 1 : 3;
    few = realloc(s->few, room * sizeof(*few));
    if (!few)
        return -ENOMEM;
    s->few = few;
    s->few_room = (uint16_t)room;
    return 0;
}

/* The first one that is not below. */
static uint32_t place_in_few(const struct sketch *s, uint32_t bucket)
{
    uint32_t low = 0, high = s->few_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (s->few[middle].bucket < bucket)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* There is room. */
static void add_to_few(struct sketch *s, uint32_t bucket, uint32_t calls)
{
    uint32_t at = place_in_few(s, bucket);

    if (at < s->few_count && s->few[at].bucket == bucket) {
        s->few[at].calls += calls;
        return;
    }
    memmove(s->few + at + 1, s->few + at, (s->few_count - at) * sizeof(*s->few));
    s->few[at] = (struct sketch_bin){.bucket = bucket, .calls = calls};
    s->few_count++;
}

/* Do so many more buckets, so many more calls leave it a list? */
static bool stays_few(const struct sketch *s, uint32_t buckets, uint64_t calls)
{
    return !s->places && s->few_count + buckets <= FEW_MAX && calls <= UINT32_MAX &&
           s->count + calls <= UINT32_MAX;
}

static int add_calls(struct sketch *s, uint32_t bucket, uint64_t calls)
{
    int r;

    if (calls == 0)
        return 0;
    if (stays_few(s, 1, calls)) {
        r = room_for_few(s, s->few_count + 1u);
        if (r == 0)
            add_to_few(s, bucket, (uint32_t)calls);
    } else {
        r = bucket >= s->first && bucket - s->first < s->places ? 0 : cover_more(s, bucket);
        if (r == 0)
            s->bins[bucket - s->first] += calls;
    }
    s->count += r == 0 ? calls : 0;
    return r;
}

/* --- all of it --- */

int sketch_add(struct sketch *s, uint64_t value)
{
    int r = add_calls(s, bucket_of_integer(value), 1);

    s->sum += r == 0 ? value : 0;
    return r;
}

bool sketch_walk(const struct sketch *s, struct sketch_walk *w)
{
    if (!s->places) {
        if (w->next >= s->few_count)
            return false;
        w->bucket = s->few[w->next].bucket;
        w->calls = s->few[w->next++].calls;
        return true;
    }
    while (w->next < s->places && !s->bins[w->next])
        w->next++;
    if (w->next >= s->places)
        return false;
    w->bucket = s->first + w->next;
    w->calls = s->bins[w->next++];
    return true;
}

/* What adding `from` cannot do without. */
static int make_room(struct sketch *into, const struct sketch *from)
{
    if (from->places)
        return cover(into, from->first, (uint32_t)from->first + from->places - 1);
    if (stays_few(into, from->few_count, from->count))
        return room_for_few(into, (uint32_t)into->few_count + from->few_count);
    return cover(into, from->few[0].bucket, from->few[from->few_count - 1].bucket);
}

int sketch_merge(struct sketch *into, const struct sketch *from)
{
    int r;

    if (from->count == 0)
        return 0;
    r = make_room(into, from);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < from->places; i++)
        into->bins[from->first + i - into->first] += from->bins[i];
    for (uint32_t i = 0; i < from->few_count; i++)
        if (into->places)
            into->bins[from->few[i].bucket - into->first] += from->few[i].calls;
        else
            add_to_few(into, from->few[i].bucket, from->few[i].calls);
    into->count += from->count;
    into->sum += from->sum;
    return 0;
}

double sketch_quantile(const struct sketch *s, double q)
{
    struct sketch_walk w = {0};
    uint64_t rank, seen = 0;

    if (s->count == 0)
        return 0.0;
    rank = (uint64_t)(q * (double)(s->count - 1));
    while (sketch_walk(s, &w)) {
        seen += w.calls;
        if (seen > rank)
            break;
    }
    return sketch_bucket_value(w.bucket);
}

uint64_t sketch_count_above(const struct sketch *s, double bound)
{
    uint32_t limit = bucket_of(bound);
    struct sketch_walk w = {0};
    uint64_t above = 0;

    while (sketch_walk(s, &w))
        if (w.bucket > limit)
            above += w.calls;
    return above;
}

#define VARINT_BYTES_MAX 10

static size_t put_varint(uint8_t *to, uint64_t v)
{
    size_t n = 0;

    do {
        to[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v);
    return n;
}

static uint64_t get_varint(struct cursor *c)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = cursor_u8(c);

        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    c->failed = true;
    return 0;
}

int sketch_encode(const struct sketch *s, struct buf *b)
{
    uint8_t bytes[512];
    struct sketch_walk w = {0};
    uint32_t previous = 0;
    size_t len;
    int r = 0;

    if (s->count == 0)
        return 0;
    len = put_varint(bytes, ENCODING_VERSION);
    len += put_varint(bytes + len, s->sum);
    while (r == 0 && sketch_walk(s, &w)) {
        if (len > sizeof(bytes) - 2 * VARINT_BYTES_MAX) {
            r = buf_append(b, slice_of(bytes, len));
            len = 0;
        }
        len += put_varint(bytes + len, w.bucket - previous);
        len += put_varint(bytes + len, w.calls);
        previous = w.bucket;
    }
    return r < 0 ? r : buf_append(b, slice_of(bytes, len));
}

/* `into` NULL: looks only. */
static int decode(struct slice data, struct sketch *into)
{
    struct cursor c = cursor_of(data);
    uint64_t index = 0, sum;
    bool first = true;

    if (get_varint(&c) != ENCODING_VERSION)
        return -EBADMSG;
    sum = get_varint(&c);
    while (c.rest.len && !c.failed) {
        uint64_t step = get_varint(&c), count = get_varint(&c);
        int r;

        /* A bucket told twice could exceed what one may hold. */
        if (c.failed || (step == 0 && !first) || step >= SKETCH_BUCKETS || count > COUNT_MAX)
            return -EBADMSG;
        first = false;
        index += step;
        if (index >= SKETCH_BUCKETS)
            return -EBADMSG;
        r = into ? add_calls(into, (uint32_t)index, count) : 0;
        if (r < 0)
            return r;
    }
    if (c.failed)
        return -EBADMSG;
    if (into)
        into->sum += sum;
    return 0;
}

int sketch_decode_merge(struct sketch *into, struct slice data)
{
    int r;

    if (data.len == 0)
        return 0;
    r = decode(data, NULL);
    return r < 0 ? r : decode(data, into);
}
