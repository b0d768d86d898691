/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/sketch.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
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
    free(s->bins);
    *s = (struct sketch){0};
}

void sketch_reset(struct sketch *s)
{
    if (s->bins_count)
        memset(s->bins, 0, s->bins_count * sizeof(*s->bins));
    s->count = 0;
    s->sum = 0;
}

/* Makes buckets first..last addressable. */
static int cover(struct sketch *s, uint32_t first, uint32_t last)
{
    uint64_t *bins;

    if (s->bins_count) {
        if (first >= s->first && last < s->first + s->bins_count)
            return 0;
        if (s->first < first)
            first = s->first;
        if (s->first + s->bins_count - 1 > last)
            last = s->first + s->bins_count - 1;
    }
    bins = calloc(last - first + 1, sizeof(*bins));
    if (!bins)
        return -ENOMEM;
    if (s->bins_count)
        memcpy(bins + (s->first - first), s->bins, s->bins_count * sizeof(*bins));
    free(s->bins);
    s->bins = bins;
    s->first = first;
    s->bins_count = last - first + 1;
    return 0;
}

/* As cover(), with room for the next ones beyond. */
static int cover_more(struct sketch *s, uint32_t index)
{
    uint32_t more = s->bins_count / 2;
    uint32_t first = index, last = index;

    if (index < s->first)
        first = index > more ? index - more : 0;
    else if (index + more < SKETCH_BUCKETS)
        last = index + more;
    return cover(s, first, last);
}

int sketch_add(struct sketch *s, uint64_t value)
{
    uint32_t index = bucket_of_integer(value);
    int r = index - s->first < s->bins_count ? 0 : cover_more(s, index);

    if (r < 0)
        return r;
    s->bins[index - s->first]++;
    s->count++;
    s->sum += value;
    return 0;
}

int sketch_merge(struct sketch *into, const struct sketch *from)
{
    int r;

    if (from->count == 0)
        return 0;
    r = cover(into, from->first, from->first + from->bins_count - 1);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < from->bins_count; i++)
        into->bins[from->first + i - into->first] += from->bins[i];
    into->count += from->count;
    into->sum += from->sum;
    return 0;
}

double sketch_quantile(const struct sketch *s, double q)
{
    uint64_t rank, seen = 0;

    if (s->count == 0)
        return 0.0;
    rank = (uint64_t)(q * (double)(s->count - 1));
    for (uint32_t i = 0; i < s->bins_count; i++) {
        seen += s->bins[i];
        if (seen > rank)
            return sketch_bucket_value(s->first + i);
    }
    return sketch_bucket_value(s->first + s->bins_count - 1);
}

uint64_t sketch_count_above(const struct sketch *s, double bound)
{
    uint32_t limit = bucket_of(bound);
    uint64_t above = 0;

    for (uint32_t i = 0; i < s->bins_count; i++)
        if (s->first + i > limit)
            above += s->bins[i];
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
    uint32_t previous = 0;
    size_t len;
    int r = 0;

    if (s->count == 0)
        return 0;
    len = put_varint(bytes, ENCODING_VERSION);
    len += put_varint(bytes + len, s->sum);
    for (uint32_t i = 0; i < s->bins_count && r == 0; i++) {
        if (s->bins[i] == 0)
            continue;
        if (len > sizeof(bytes) - 2 * VARINT_BYTES_MAX) {
            r = buf_append(b, slice_of(bytes, len));
            len = 0;
        }
        len += put_varint(bytes + len, s->first + i - previous);
        len += put_varint(bytes + len, s->bins[i]);
        previous = s->first + i;
    }
    return r < 0 ? r : buf_append(b, slice_of(bytes, len));
}

int sketch_decode_merge(struct sketch *into, struct slice data)
{
    struct cursor c = cursor_of(data);
    uint64_t index = 0, sum;
    bool first = true;

    if (data.len == 0)
        return 0;
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
        r = cover(into, (uint32_t)index, (uint32_t)index);
        if (r < 0)
            return r;
        into->bins[index - into->first] += count;
        into->count += count;
    }
    if (c.failed)
        return -EBADMSG;
    into->sum += sum;
    return 0;
}
