/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/publish_rollup.h"

#include "collector/courier.h"
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
/* Messages of a turn that are sent one by one. */
#define CAREFUL_MAX 200
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
    struct store_bucket held[BUCKETS_AT_ONCE];
    unsigned held_count;
    unsigned cells_count, coverages_count, touches_count;
    unsigned cells_capacity, coverages_capacity, touches_capacity;
};

struct publish_rollup {
    struct store *store;
    struct rollup_packer *packer;
    struct courier courier;
    struct bus *bus; /* of the turn */
    unsigned max;    /* messages of the turn */
    struct store_changed changed;
    struct store_bucket buckets[BUCKETS_AT_ONCE];
    unsigned buckets_count;
    struct store_bucket bucket; /* under way */
    int64_t series;             /* the last one of it that was looked at */
    unsigned cells;             /* looked at since the last query */
    bool is_held;               /* something of it is not told */
    struct marks marks;
    unsigned sent, revised, given_up;    /* of the turn */
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
        p->changed = (struct store_changed){.with_held = true, .limit = BUCKETS_AT_ONCE};
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
    ret_stats->subjects_held = p->courier.hold.count;
}

void publish_rollup_note_taken(struct publish_rollup *p)
{
    hold_note_taken(&p->courier.hold);
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

/* -EAGAIN: it waits. 0 also for what is given up: for the store that is the same as told. */
static int send(struct publish_rollup *p, const char *org, const char *id, int64_t revision,
                struct slice packed)
{
    char subject[SUBJECT_BYTES], message_id[EVENT_UUID_BYTES + 32];
    enum hold_verdict verdict;
    const char *window = "";
    int r;

    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
        if (windows[i].seconds == p->bucket.seconds)
            window = windows[i].name;
    r = subject_rollup(org, window, subject);
    snprintf(message_id, sizeof(message_id), "%s-%lld", id, (long long)revision);
    verdict = r < 0 ? HOLD_GIVE_UP : courier_send(&p->courier, subject, message_id, packed);
    p->sent += verdict == HOLD_GO;
    p->given_up += verdict == HOLD_GIVE_UP;
    if (verdict == HOLD_GO || verdict == HOLD_GIVE_UP)
        return 0;
    p->is_held = true;
    return -EAGAIN;
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
    int r;

    if (p->courier.failure)
        return -ECANCELED;
    p->series = cell->cell->series;
    p->cells++;
    r = rollup_pack_cell(p->packer, &key, (uint64_t)cell->revision, cell->cell, &packed, id);
    if (r == 0)
        r = send(p, cell->name.org, id, cell->revision, packed);
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    p->revised += cell->told > 0;
    return mark_cell(p, cell);
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
    bool is_news = row->org[0] && revision > row->revision && p->sent < p->max;
    char id[EVENT_UUID_BYTES];
    struct slice packed;
    int r;

    if (!is_news)
        return 0;
    if (p->courier.failure)
        return -ECANCELED;
    r = rollup_pack_coverage(p->packer, &key, (uint64_t)revision, &p->gathers, &packed, id);
    if (r == 0)
        r = send(p, row->org, id, revision, packed);
    if (r == 0)
        r = GROW(&p->marks, coverages);
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    p->revised += row->revision > 0;
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

static int tell_cells(struct publish_rollup *p)
{
    unsigned limit;
    int r;

    p->series = 0;
    do {
        limit = p->max - p->sent;
        p->cells = 0;
        r = store_each_untold_cell(p->store, &p->bucket, p->series, limit, send_cell, p);
    } while (r == 0 && p->cells == limit && p->sent < p->max);
    return r;
}

/* Nothing of it waits but what is held, which another touch keeps. */
static void end_bucket(struct publish_rollup *p, unsigned touches)
{
    struct marks *m = &p->marks;
    unsigned kept = touches;
    bool is_marked = false;

    for (unsigned i = touches; i < m->touches_count && p->is_held; i++) {
        if (m->touches[i].lane == STORE_LANE_HELD)
            is_marked = true;
        else
            m->touches[kept++] = m->touches[i];
    }
    if (!p->is_held)
        return;
    m->touches_count = kept;
    if (!is_marked)
        m->held[m->held_count++] = p->bucket;
}

/* What touched the bucket is read first: who touches it later is not forgotten. A bucket that
 * does not fit into this turn waits with its touches. */
static int tell_bucket(struct publish_rollup *p)
{
    unsigned touches = p->marks.touches_count;
    int r = store_each_touch_of(p->store, &p->bucket, note_touch, p);

    if (r < 0 || !p->bus)
        return r;
    p->is_held = false;
    r = tell_cells(p);
    if (r == 0 && p->sent < p->max)
        r = send_coverage(p);
    if (p->sent >= p->max || p->courier.failure) {
        p->marks.touches_count = touches;
        return r < 0 ? r : -ECANCELED;
    }
    if (r == 0)
        end_bucket(p, touches);
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
    for (unsigned i = 0; i < m->held_count && r == 0; i++)
        r = store_touch(p->store, STORE_LANE_HELD, m->held[i].seconds, m->held[i].bucket);
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

        if (t->seconds != MINUTE_S || t->lane == STORE_LANE_HELD)
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

static void plan_next_turn(struct publish_rollup *p, uint64_t took_ns)
{
    const uint64_t now_ns = p->courier.now_ns;
    uint64_t next_ns = now_ns + LOOK_EVERY_NS, rest_ns = 0;

    /* More waits: as fast as it may go. */
    if (p->sent >= p->max || p->buckets_count == BUCKETS_AT_ONCE)
        next_ns = now_ns + p->sent * NSEC_PER_SEC / PUBLISH_ROLLUPS_PER_S;
    if (p->sent)
        rest_ns = took_ns * REVISING_PAUSE * p->revised / p->sent;
    if (next_ns < now_ns + took_ns + rest_ns)
        next_ns = now_ns + took_ns + rest_ns;
    p->next_mono_ns = next_ns;
}

/* Those of which something is held are passed, until the courier may have another verdict. */
static void begin_turn(struct publish_rollup *p, struct bus *bus, int64_t closed_s, uint64_t now_ns)
{
    p->next_mono_ns = now_ns + LOOK_EVERY_NS;
    p->bus = bus;
    courier_begin(&p->courier, bus, now_ns);
    p->max = courier_is_careful(&p->courier) ? CAREFUL_MAX : PUBLISH_ROLLUPS_MAX;
    if (p->told_s == 0)
        p->told_s = closed_s - 2 * MINUTE_S;
    p->sent = p->revised = p->given_up = p->buckets_count = 0;
    p->marks.cells_count = p->marks.coverages_count = p->marks.touches_count = 0;
    p->marks.held_count = 0;
    p->changed.closed_s = closed_s;
    p->changed.with_held |= courier_is_due(&p->courier);
}

static int tell_buckets(struct publish_rollup *p)
{
    unsigned done = 0;
    int r = store_each_changed(p->store, &p->changed, note_bucket, p);

    while (r == 0 && done < p->buckets_count) {
        p->bucket = p->buckets[done];
        r = tell_bucket(p);
        done += r == 0;
    }
    if (r < 0 && r != -ECANCELED)
        return r;
    /* Another look from the start, when all of them were seen. */
    if (done == p->buckets_count && done < BUCKETS_AT_ONCE) {
        p->changed.after = (struct store_bucket){0};
        p->changed.with_held = p->courier.is_news;
        p->courier.is_news = false;
    } else if (p->changed.with_held && done) {
        p->changed.after = p->buckets[done - 1];
    }
    return 0;
}

int publish_rollup_turn(struct publish_rollup *p, struct bus *bus, int64_t closed_s,
                        uint64_t now_ns)
{
    const uint64_t began_ns = clock_mono_ns();
    int r;

    if (closed_s == 0 || now_ns < p->next_mono_ns)
        return 0;
    begin_turn(p, bus, closed_s, now_ns);
    r = tell_buckets(p);
    if (r < 0 || p->buckets_count == 0)
        return r;
    r = courier_end(&p->courier, FLUSH_WAIT_MS);
    if (r == 0)
        r = keep_marks(p);
    if (r < 0) {
        p->changed.with_held = true;
        p->changed.after = (struct store_bucket){0};
        return r;
    }
    note_late(p);
    p->stats.told += p->sent;
    p->stats.revised += p->revised;
    p->stats.given_up += p->given_up;
    plan_next_turn(p, clock_mono_ns() - began_ns);
    return p->courier.failure;
}
