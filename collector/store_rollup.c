/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch adds beside its cells: series, gaps, coverage, unpriced and malformed. */
#include "collector/store_lane.h"
#include "collector/store_priv.h"

#include "collector/text.h"
#include "proto/base/clock.h"

#include <errno.h>

/* Streams of one name whose malformed messages are told apart, and how far their numbers are. */
#define STREAMS_MAX 8
#define STREAM_STEP (INT64_C(1) << 48)
/* Numbers of malformed messages that stay known, and how often that is looked at. */
#define NUMBERS_MAX 100000
#define FORGET_EVERY 256

/* --- series --- */

static void bind_series(struct db_stmt *stmt, const struct store_series_name *name)
{
    db_bind_text(stmt, 1, name->org);
    db_bind_text(stmt, 2, name->feature);
    db_bind_text(stmt, 3, name->provider);
    db_bind_text(stmt, 4, name->model);
    db_bind_text(stmt, 5, name->workload);
}

/* 1 when it is there. */
static int find_series(struct store *s, const struct store_series_name *name, int64_t *ret_series)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_SERIES_GET);
    int r;

    bind_series(stmt, name);
    r = db_step(stmt);
    if (r > 0)
        *ret_series = db_int(stmt, 0);
    return r;
}

static int create_series(struct store *s, const struct store_series_name *name, int64_t *ret_series)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_SERIES_ADD);
    int64_t series = 0;
    int r, end;

    bind_series(stmt, name);
    r = db_step(stmt);
    if (r <= 0)
        return r;
    series = db_int(stmt, 0);
    end = db_step(stmt);
    if (end < 0)
        return end;
    *ret_series = series;
    return 1;
}

int store_add_series(struct store *s, const struct store_series_name *name, int64_t *ret_series)
{
    int r = find_series(s, name, ret_series);

    if (r == 0)
        r = create_series(s, name, ret_series);
    /* Another writer was quicker. */
    if (r == 0)
        r = find_series(s, name, ret_series);
    return r < 0 ? r : r == 0 ? -EIO : 0;
}

int store_each_name(struct store *s, int64_t since_s,
                    int (*each)(void *ctx, const struct store_series_name *name, bool is_series),
                    void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_NAMES_EACH);
    int r;

    db_bind_int(stmt, 1, since_s - since_s % 86400);
    while ((r = db_step(stmt)) > 0) {
        struct store_series_name name = {
            .org = db_text(stmt, 0),
            .feature = db_text(stmt, 1),
            .provider = db_text(stmt, 2),
            .model = db_text(stmt, 3),
            .workload = db_text(stmt, 4),
        };

        r = each(ctx, &name, db_int(stmt, 5) != 0);
        if (r < 0)
            return r;
    }
    return r;
}

/* --- gaps and coverage --- */

static int64_t bucket_of(const struct record *rec, enum rollup_resolution res)
{
    int64_t end_s = (int64_t)(rec->end_ns / NSEC_PER_SEC);

    return end_s - end_s % rollup_seconds[res];
}

static int add_gap(struct store *s, int64_t lane, const struct record *rec, const char *reason,
                   enum rollup_resolution res)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_GAP_ADD);

    db_bind_int(stmt, 1, rollup_seconds[res]);
    db_bind_int(stmt, 2, bucket_of(rec, res));
    db_bind_int(stmt, 3, lane);
    db_bind_text(stmt, 4, rec->org);
    db_bind_text(stmt, 5, rec->workload);
    db_bind_text(stmt, 6, rec->provider);
    db_bind_text(stmt, 7, reason);
    db_bind_int(stmt, 8, (int64_t)rec->connections);
    db_bind_int(stmt, 9, (int64_t)rec->calls_in_flight);
    db_bind_int(stmt, 10, (int64_t)rec->events_lost);
    return db_run(stmt);
}

static int add_coverage(struct store *s, int64_t lane, const struct record *rec,
                        enum rollup_resolution res)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_COVERAGE_ADD);

    db_bind_int(stmt, 1, rollup_seconds[res]);
    db_bind_int(stmt, 2, bucket_of(rec, res));
    db_bind_int(stmt, 3, lane);
    db_bind_text(stmt, 4, rec->org);
    db_bind_text(stmt, 5, rec->workload);
    db_bind_text(stmt, 6, rec->provider);
    db_bind_int(stmt, 7, (int64_t)rec->seen);
    db_bind_int(stmt, 8, (int64_t)rec->metered);
    return db_run(stmt);
}

int store_add_gap(struct store *s, int64_t lane, const struct record *rec)
{
    const char *reason = NULL;
    int r = store_pass_reason(s, rec, (int64_t)(rec->end_ns / NSEC_PER_SEC), &reason);

    for (int res = 0; res < ROLLUP__COUNT && r == 0; res++)
        r = add_gap(s, lane, rec, reason, (enum rollup_resolution)res);
    return r;
}

int store_add_coverage(struct store *s, int64_t lane, const struct record *rec)
{
    int r = 0;

    for (int res = 0; res < ROLLUP__COUNT && r == 0; res++)
        r = add_coverage(s, lane, rec, (enum rollup_resolution)res);
    return r;
}

/* --- unpriced --- */

static struct db_stmt *bind_unpriced(struct store *s, enum store_stmt which, int64_t lane,
                                     const struct record *rec, const char *model)
{
    struct db_stmt *stmt = db_stmt(s->db, which);

    db_bind_int(stmt, 1, bucket_of(rec, ROLLUP_MINUTE));
    db_bind_int(stmt, 2, lane);
    db_bind_text(stmt, 3, rec->org);
    db_bind_text(stmt, 4, rec->provider);
    db_bind_text(stmt, 5, model);
    db_bind_text(stmt, 6, rec->cost_basis[0] ? rec->cost_basis : "not told");
    return stmt;
}

static int count_unpriced(struct store *s, int64_t bucket, int64_t lane, int64_t *ret_count)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_UNPRICED_COUNT);
    int r;

    db_bind_int(stmt, 1, bucket);
    db_bind_int(stmt, 2, lane);
    r = db_step(stmt);
    if (r <= 0)
        return r < 0 ? r : -EIO;
    *ret_count = db_int(stmt, 0);
    return 0;
}

/* Counting reads all rows of the minute: once for a transaction, then again when what was added
 * since might have filled it up. A full one stays full. */
static int room_of(struct store *s, int64_t bucket, int64_t lane, struct store_room **ret_room)
{
    struct store_room *room =
        &s->rooms[(uint64_t)(bucket / rollup_seconds[ROLLUP_MINUTE] + lane) % STORE_ROOMS];
    int r = 0;

    if (!room->is_known || room->bucket != bucket || room->lane != lane)
        *room = (struct store_room){.bucket = bucket, .lane = lane, .most = STORE_UNPRICED_MAX};
    if (room->most == STORE_UNPRICED_MAX && !room->is_full) {
        r = count_unpriced(s, bucket, lane, &room->most);
        room->is_full = room->most >= STORE_UNPRICED_MAX;
        room->is_known = r == 0;
    }
    *ret_room = room;
    return r;
}

/* Clients name models: what they name must not grow without a bound. */
static int has_place(struct store *s, int64_t lane, const struct record *rec, bool *ret_has_place)
{
    CLEAN_STMT struct db_stmt *has = NULL;
    struct store_room *room = NULL;
    int r = room_of(s, bucket_of(rec, ROLLUP_MINUTE), lane, &room);

    if (r < 0)
        return r;
    if (!room->is_full) {
        room->most++;
        *ret_has_place = true;
        return 0;
    }
    has = bind_unpriced(s, STMT_UNPRICED_HAS, lane, rec, rec->model_billed);
    r = db_step(has);
    *ret_has_place = r > 0;
    return r < 0 ? r : 0;
}

int store_add_unpriced(struct store *s, int64_t lane, const struct record *rec, uint64_t calls)
{
    struct db_stmt *stmt;
    bool has = false;
    int r = has_place(s, lane, rec, &has);

    if (r < 0)
        return r;
    stmt = bind_unpriced(s, STMT_UNPRICED_ADD, lane, rec, has ? rec->model_billed : "(other)");
    db_bind_int(stmt, 7, (int64_t)calls);
    return db_run(stmt);
}

/* --- malformed --- */

/* 1: it was not there; 0: it was; -EEXIST: another has the number. */
static int insert_malformed(struct store *s, int64_t number, const struct store_malformed *m,
                            struct slice kept)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_MALFORMED_ADD);
    char safe[256];
    uint64_t rows = 0;
    int r;

    text_copy(safe, sizeof(safe), m->subject);
    db_bind_int(stmt, 1, number);
    db_bind_text(stmt, 2, safe);
    db_bind_text(stmt, 3, m->reason);
    db_bind_int(stmt, 4, (int64_t)m->bytes);
    db_bind_blob(stmt, 5, kept);
    r = db_run_counted(stmt, &rows);
    if (r < 0 || rows)
        return r < 0 ? r : 1;
    stmt = db_stmt(s->db, STMT_MALFORMED_SAME);
    db_bind_int(stmt, 1, number);
    db_bind_text(stmt, 2, safe);
    db_bind_blob(stmt, 3, kept);
    db_bind_int(stmt, 4, (int64_t)m->bytes);
    r = db_step(stmt);
    db_reset(&stmt);
    return r < 0 ? r : r > 0 ? 0 : -EEXIST;
}

/* Of old ones the number stays: a lane that is behind is delivered its messages again. */
static int trim_malformed(struct store *s, uint64_t stream_seq)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_MALFORMED_TRIM);
    int r;

    db_bind_int(stmt, 1, STORE_MALFORMED_MAX);
    db_bind_blob(stmt, 2, slice_of("", 0));
    r = db_run(stmt);
    if (r < 0 || stream_seq % FORGET_EVERY != 0)
        return r;
    stmt = db_stmt(s->db, STMT_MALFORMED_FORGET);
    db_bind_int(stmt, 1, NUMBERS_MAX);
    return db_run(stmt);
}

int store_add_malformed(struct store *s, int64_t lane, const struct store_malformed *m)
{
    const struct slice kept = slice_of(m->payload.data, m->payload.len < STORE_MALFORMED_BYTES_MAX
                                                            ? m->payload.len
                                                            : STORE_MALFORMED_BYTES_MAX);
    int r = -EEXIST;

    /* A stream that is made anew counts from one again. */
    for (int64_t i = 0; i < STREAMS_MAX && r == -EEXIST; i++)
        r = insert_malformed(s, (int64_t)m->stream_seq + i * STREAM_STEP, m, kept);
    if (r <= 0)
        return r == -EEXIST ? 0 : r;
    r = trim_malformed(s, m->stream_seq);
    return r < 0 ? r : store_number_add_lane(s, lane, "malformed", 1);
}

int store_each_malformed(struct store *s, uint64_t after_seq, unsigned limit,
                         int (*each)(void *ctx, const struct store_malformed *m), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_MALFORMED_EACH);
    int r;

    db_bind_int(stmt, 1, (int64_t)after_seq);
    db_bind_int(stmt, 2, limit);
    while ((r = db_step(stmt)) > 0) {
        struct store_malformed m = {
            .stream_seq = (uint64_t)db_int(stmt, 0),
            .subject = db_text(stmt, 1),
            .reason = db_text(stmt, 2),
            .bytes = (size_t)db_int(stmt, 3),
            .payload = db_blob(stmt, 4),
        };

        r = each(ctx, &m);
        if (r < 0)
            return r;
    }
    return r;
}

int store_remove_malformed(struct store *s, uint64_t stream_seq)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_MALFORMED_DELETE);

    db_bind_int(stmt, 1, (int64_t)stream_seq);
    return db_run(stmt);
}
