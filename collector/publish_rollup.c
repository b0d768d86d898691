/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/publish_rollup.h"

#include "collector/rollup_pack.h"
#include "collector/store_publish.h"
#include "collector/text.h"
#include "proto/base/clock.h"
#include "proto/subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BUCKETS_AT_ONCE 64
#define LOOK_EVERY_NS (200 * NSEC_PER_MSEC)
/* Whoever takes in a backlog changes the same buckets over and over: telling what was told before
 * has a fifth of the time, so that it does not take the store from the intake. */
#define REVISING_PAUSE 4
#define FLUSH_WAIT_MS 5000
#define MINUTE_S 60

struct cell_mark {
    struct store_bucket bucket;
    int64_t series, revision;
};

struct coverage_mark {
    struct store_bucket bucket;
    char org[64], workload[160], provider[64];
    int64_t revision;
};

/* What is written when the server has the messages of a turn. */
struct marks {
    struct cell_mark *cells;
    struct coverage_mark *coverages;
    struct store_touched *touches;
    unsigned cells_count, coverages_count, touches_count;
    unsigned cells_capacity, coverages_capacity, touches_capacity;
};

struct publish_rollup {
    struct store *store;
    struct rollup_packer *packer;
    struct bus *bus; /* of the turn */
    struct store_bucket buckets[BUCKETS_AT_ONCE];
    unsigned buckets_count;
    struct store_bucket bucket; /* under way */
    struct marks marks;
    unsigned sent, revised;              /* of the turn */
    struct coverage_mark row;            /* coverage under way; org "" = none */
    struct rollup_pack_coverage gathers; /* of this row */
    uint64_t next_mono_ns;
    int64_t told_s; /* minutes before it were told; 0 = no turn yet */
    unsigned late;  /* minutes touched after that */
    int64_t late_from_s;
    struct publish_rollup_stats stats;
};

static const struct window {
    uint32_t seconds;
    const char *name;
} windows[] = {{60, "1m"}, {3600, "1h"}, {86400, "1d"}};

int publish_rollup_new(struct store *store, struct publish_rollup **ret_publish)
{
    struct publish_rollup *p = calloc(1, sizeof(*p));
    int r = p ? rollup_packer_new(&p->packer) : -ENOMEM;

    if (r == 0) {
        p->store = store;
        *ret_publish = TAKE_PTR(p);
    }
    publish_rollup_free(&p);
    return r;
}

void publish_rollup_free(struct publish_rollup **publish)
{
    struct publish_rollup *p = *publish;

    if (!p)
        return;
    rollup_packer_free(&p->packer);
    free(p->marks.cells);
    free(p->marks.coverages);
    free(p->marks.touches);
    free(p);
    *publish = NULL;
}

void publish_rollup_get_stats(const struct publish_rollup *p,
                              struct publish_rollup_stats *ret_stats)
{
    *ret_stats = p->stats;
}

/* Room for one more of `size` bytes. */
static int grow(void *list, unsigned count, unsigned *capacity, size_t size)
{
    void *items, *old;

    if (count < *capacity)
        return 0;
    memcpy(&old, list, sizeof(old));
    items = realloc(old, (2 * *capacity + 64) * size);
    if (!items)
        return -ENOMEM;
    memcpy(list, &items, sizeof(items));
    *capacity = 2 * *capacity + 64;
    return 0;
}

#define GROW(marks, name)                                                                          \
    grow(&(marks)->name, (marks)->name##_count, &(marks)->name##_capacity, sizeof(*(marks)->name))

static int note_bucket(void *ctx, const struct store_bucket *bucket)
{
    struct publish_rollup *p = ctx;

    p->buckets[p->buckets_count++] = *bucket;
    return 0;
}

static int note_touch(void *ctx, const struct store_touched *touched)
{
    struct marks *m = &((struct publish_rollup *)ctx)->marks;
    int r = GROW(m, touches);

    if (r == 0)
        m->touches[m->touches_count++] = *touched;
    return r;
}

static int send(struct publish_rollup *p, const char *org, const char *id, int64_t revision,
                struct slice packed)
{
    char subject[SUBJECT_BYTES], message_id[EVENT_UUID_BYTES + 32];
    const char *window = "";
    int r;

    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
        if (windows[i].seconds == p->bucket.seconds)
            window = windows[i].name;
    r = subject_rollup(org, window, subject);
    if (r < 0)
        return r;
    snprintf(message_id, sizeof(message_id), "%s-%lld", id, (long long)revision);
    p->sent++;
    return bus_publish_async(p->bus, subject, message_id, packed);
}

/* --- cells --- */

static int mark_cell(struct publish_rollup *p, const struct store_untold_cell *cell)
{
    int r = GROW(&p->marks, cells);

    if (r == 0)
        p->marks.cells[p->marks.cells_count++] =
            (struct cell_mark){p->bucket, cell->cell->series, cell->revision};
    return r;
}

static int send_cell(void *ctx, const struct store_untold_cell *cell)
{
    struct publish_rollup *p = ctx;
    const struct rollup_pack_key key = {
        .seconds = p->bucket.seconds,
        .bucket = p->bucket.bucket,
        .org = cell->name.org,
        .feature = cell->name.feature,
        .provider = cell->name.provider,
        .model = cell->name.model,
        .workload = cell->name.workload,
    };
    char id[EVENT_UUID_BYTES];
    struct slice packed;
    int r = rollup_pack_cell(p->packer, &key, (uint64_t)cell->revision, cell->cell, &packed, id);

    p->revised += cell->told > 0;
    if (r == 0)
        r = send(p, cell->name.org, id, cell->revision, packed);
    return r < 0 ? r : mark_cell(p, cell);
}

/* --- coverage --- */

static int end_row(struct publish_rollup *p)
{
    struct coverage_mark *row = &p->row;
    const struct rollup_pack_key key = {
        .seconds = p->bucket.seconds,
        .bucket = p->bucket.bucket,
        .org = row->org,
        .provider = row->provider,
        .workload = row->workload,
    };
    int64_t revision = (int64_t)rollup_pack_coverage_revision(&p->gathers);
    bool is_news = row->org[0] && revision > row->revision && p->sent < PUBLISH_ROLLUPS_MAX;
    char id[EVENT_UUID_BYTES];
    struct slice packed;
    int r;

    p->revised += is_news && row->revision;
    if (!is_news)
        return 0;
    r = rollup_pack_coverage(p->packer, &key, (uint64_t)revision, &p->gathers, &packed, id);
    if (r == 0)
        r = send(p, row->org, id, revision, packed);
    if (r == 0)
        r = GROW(&p->marks, coverages);
    if (r < 0)
        return r;
    row->revision = revision;
    p->marks.coverages[p->marks.coverages_count++] = *row;
    return 0;
}

static int gather_part(void *ctx, const struct store_coverage_part *part)
{
    struct publish_rollup *p = ctx;
    struct coverage_mark *row = &p->row;
    int r = 0;

    if (strcmp(row->org, part->org) != 0 || strcmp(row->workload, part->workload) != 0 ||
        strcmp(row->provider, part->provider) != 0) {
        r = end_row(p);
        *row = (struct coverage_mark){.bucket = p->bucket};
        p->gathers = (struct rollup_pack_coverage){0};
        text_copy(row->org, sizeof(row->org), part->org);
        text_copy(row->workload, sizeof(row->workload), part->workload);
        text_copy(row->provider, sizeof(row->provider), part->provider);
    }
    if (part->kind == COVERAGE_GAP)
        rollup_pack_add_gap(&p->gathers, part->reason, part->connections, part->calls_in_flight,
                            part->events_lost);
    if (part->kind == COVERAGE_TOLD)
        row->revision = part->told;
    if (part->kind == COVERAGE_SEEN) {
        p->gathers.is_seen = true;
        p->gathers.seen = part->seen;
        p->gathers.metered = part->metered;
    }
    return r;
}

static int send_coverage(struct publish_rollup *p)
{
    int r;

    p->row.org[0] = '\0';
    r = store_each_coverage_part(p->store, &p->bucket, gather_part, p);
    return r < 0 ? r : end_row(p);
}

/* --- a turn --- */

/* What touched the bucket is read first: who touches it later is not forgotten. A bucket that
 * does not fit into this turn waits with its touches. */
static int tell_bucket(struct publish_rollup *p)
{
    unsigned touches = p->marks.touches_count;
    int r = store_each_touch_of(p->store, &p->bucket, note_touch, p);

    if (r < 0 || !p->bus)
        return r;
    r = store_each_untold_cell(p->store, &p->bucket, PUBLISH_ROLLUPS_MAX - p->sent, send_cell, p);
    if (r == 0 && p->sent < PUBLISH_ROLLUPS_MAX)
        r = send_coverage(p);
    if (p->sent >= PUBLISH_ROLLUPS_MAX)
        p->marks.touches_count = touches;
    return r;
}

static int write_marks(struct publish_rollup *p)
{
    const struct marks *m = &p->marks;
    int r = 0;

    for (unsigned i = 0; i < m->cells_count && r == 0; i++) {
        const struct cell_mark *c = &m->cells[i];

        r = store_set_cell_told(p->store, &c->bucket, c->series, c->revision);
    }
    for (unsigned i = 0; i < m->coverages_count && r == 0; i++) {
        const struct coverage_mark *c = &m->coverages[i];

        r = store_set_coverage_told(p->store, &c->bucket, c->org, c->workload, c->provider,
                                    c->revision);
    }
    for (unsigned i = 0; i < m->touches_count && r == 0; i++)
        r = store_clear_touched(p->store, &m->touches[i]);
    return r;
}

static int keep_marks(struct publish_rollup *p)
{
    int r = store_begin(p->store);

    if (r < 0)
        return r;
    r = write_marks(p);
    if (r == 0)
        r = store_commit(p->store);
    if (r < 0)
        store_rollback(p->store);
    return r;
}

static void note_late(struct publish_rollup *p)
{
    int64_t told_s = p->told_s;

    for (unsigned i = 0; i < p->marks.touches_count; i++) {
        const struct store_touched *t = &p->marks.touches[i];

        if (t->seconds != MINUTE_S)
            continue;
        if (t->bucket >= p->told_s) {
            told_s = t->bucket + MINUTE_S > told_s ? t->bucket + MINUTE_S : told_s;
            continue;
        }
        if (p->late++ == 0 || t->bucket < p->late_from_s)
            p->late_from_s = t->bucket;
    }
    p->told_s = told_s;
}

unsigned publish_rollup_take_late(struct publish_rollup *p, int64_t *ret_from_s)
{
    unsigned late = p->late;

    *ret_from_s = p->late_from_s;
    p->late = 0;
    return late;
}

static void plan_next_turn(struct publish_rollup *p, uint64_t began_ns)
{
    const uint64_t ended_ns = clock_mono_ns();
    uint64_t rest_ns = 0;

    /* More waits: as fast as it may go. */
    if (p->sent >= PUBLISH_ROLLUPS_MAX || p->buckets_count == BUCKETS_AT_ONCE)
        p->next_mono_ns = began_ns + p->sent * NSEC_PER_SEC / PUBLISH_ROLLUPS_PER_S;
    if (p->sent)
        rest_ns = (ended_ns - began_ns) * REVISING_PAUSE * p->revised / p->sent;
    if (p->next_mono_ns < ended_ns + rest_ns)
        p->next_mono_ns = ended_ns + rest_ns;
}

int publish_rollup_turn(struct publish_rollup *p, struct bus *bus, int64_t closed_s)
{
    uint64_t now_ns = clock_mono_ns();
    int r;

    if (closed_s == 0 || now_ns < p->next_mono_ns)
        return 0;
    p->next_mono_ns = now_ns + LOOK_EVERY_NS;
    p->bus = bus;
    if (p->told_s == 0)
        p->told_s = closed_s - 2 * MINUTE_S;
    p->sent = p->revised = p->buckets_count = 0;
    p->marks.cells_count = p->marks.coverages_count = p->marks.touches_count = 0;
    r = store_each_changed(p->store, closed_s, BUCKETS_AT_ONCE, note_bucket, p);
    for (unsigned i = 0; i < p->buckets_count && r == 0 && p->sent < PUBLISH_ROLLUPS_MAX; i++) {
        p->bucket = p->buckets[i];
        r = tell_bucket(p);
    }
    if (r < 0 || p->buckets_count == 0)
        return r;
    if (p->sent)
        r = bus_flush(bus, FLUSH_WAIT_MS);
    if (r == 0)
        r = keep_marks(p);
    if (r < 0)
        return r;
    note_late(p);
    p->stats.told += p->sent;
    p->stats.revised += p->revised;
    plan_next_turn(p, now_ns);
    return 0;
}
