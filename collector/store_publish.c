/* SPDX-License-Identifier: Apache-2.0 */
/* What was told of the roll-ups, and what was not. */
#include "collector/store_publish.h"
#include "collector/store_priv.h"

#include <errno.h>
#include <stdio.h>

int store_each_changed(struct store *s, const struct store_changed *which,
                       int (*each)(void *ctx, const struct store_bucket *bucket), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_CHANGED_EACH);
    int r;

    db_bind_int(stmt, 1, which->closed_s);
    db_bind_int(stmt, 2, which->limit);
    db_bind_int(stmt, 3, which->with_held ? STORE_LANE_HELD : 0);
    db_bind_int(stmt, 4, which->after.seconds);
    db_bind_int(stmt, 5, which->after.bucket);
    while ((r = db_step(stmt)) > 0) {
        struct store_bucket bucket = {(uint32_t)db_int(stmt, 0), db_int(stmt, 1)};

        r = each(ctx, &bucket);
        if (r < 0)
            return r;
    }
    return r;
}

static void bind_bucket(struct db_stmt *stmt, int index, const struct store_bucket *bucket)
{
    db_bind_int(stmt, index, bucket->seconds);
    db_bind_int(stmt, index + 1, bucket->bucket);
}

int store_each_touch_of(struct store *s, const struct store_bucket *bucket,
                        int (*each)(void *ctx, const struct store_touched *touched), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_TOUCHED_BUCKET);
    int r;

    bind_bucket(stmt, 1, bucket);
    while ((r = db_step(stmt)) > 0) {
        struct store_touched touched = {.lane = db_int(stmt, 0),
                                        .seconds = bucket->seconds,
                                        .bucket = bucket->bucket,
                                        .revision = db_int(stmt, 1)};

        r = each(ctx, &touched);
        if (r < 0)
            return r;
    }
    return r;
}

/* A cell under way: the lanes of one series follow each other. */
struct merging {
    struct rollup_cell cell;
    bool is_begun;
    int64_t revision, told;
    char org[256], feature[256], provider[256], model[256], workload[256];
};

static void begin_cell(struct merging *m, struct db_stmt *stmt)
{
    const int at = STORE_CELL_COLUMNS + 4;
    const struct {
        char *to;
        size_t size;
    } names[] = {{m->org, sizeof(m->org)},
                 {m->feature, sizeof(m->feature)},
                 {m->provider, sizeof(m->provider)},
                 {m->model, sizeof(m->model)},
                 {m->workload, sizeof(m->workload)}};

    rollup_cell_reset(&m->cell);
    m->cell.series = db_int(stmt, STORE_CELL_COLUMNS);
    m->is_begun = true;
    m->revision = 0;
    m->told = db_int(stmt, STORE_CELL_COLUMNS + 3);
    for (int i = 0; i < 5; i++)
        snprintf(names[i].to, names[i].size, "%s", db_text(stmt, at + i));
}

static int add_lane(struct merging *m, struct db_stmt *stmt)
{
    m->revision += db_int(stmt, STORE_CELL_COLUMNS + 2);
    return store_read_cell(stmt, &m->cell);
}

static int end_cell(struct merging *m, int (*each)(void *ctx, const struct store_untold_cell *cell),
                    void *ctx)
{
    if (!m->is_begun)
        return 0;
    return each(ctx, &(struct store_untold_cell){
                         .name = {m->org, m->feature, m->provider, m->model, m->workload},
                         .cell = &m->cell,
                         .revision = m->revision,
                         .told = m->told,
                     });
}

int store_each_untold_cell(struct store *s, const struct store_bucket *bucket, int64_t after_series,
                           unsigned limit,
                           int (*each)(void *ctx, const struct store_untold_cell *cell), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_UNTOLD_CELLS);
    struct merging m = {.cell = {.seconds = bucket->seconds, .bucket = bucket->bucket}};
    int r;

    bind_bucket(stmt, 1, bucket);
    db_bind_int(stmt, 3, limit);
    db_bind_int(stmt, 4, after_series);
    while ((r = db_step(stmt)) > 0) {
        r = 0;
        if (!m.is_begun || db_int(stmt, STORE_CELL_COLUMNS) != m.cell.series) {
            r = end_cell(&m, each, ctx);
            begin_cell(&m, stmt);
        }
        if (r == 0)
            r = add_lane(&m, stmt);
        if (r < 0)
            break;
    }
    if (r == 0)
        r = end_cell(&m, each, ctx);
    rollup_cell_fini(&m.cell);
    return r;
}

int store_set_cell_told(struct store *s, const struct store_bucket *bucket, int64_t series,
                        int64_t revision)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_CELL_TOLD);

    bind_bucket(stmt, 1, bucket);
    db_bind_int(stmt, 3, series);
    db_bind_int(stmt, 4, revision);
    return db_run(stmt);
}

int store_each_coverage_part(struct store *s, const struct store_bucket *bucket,
                             int (*each)(void *ctx, const struct store_coverage_part *part),
                             void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_COVERAGE_PARTS);
    int r;

    bind_bucket(stmt, 1, bucket);
    while ((r = db_step(stmt)) > 0) {
        struct store_coverage_part part = {
            .org = db_text(stmt, 0),
            .workload = db_text(stmt, 1),
            .provider = db_text(stmt, 2),
            .kind = (int)db_int(stmt, 3),
            .reason = db_text(stmt, 4),
        };

        if (part.kind == COVERAGE_SEEN) {
            part.seen = (uint64_t)db_int(stmt, 5);
            part.metered = (uint64_t)db_int(stmt, 6);
        } else if (part.kind == COVERAGE_GAP) {
            part.connections = (uint64_t)db_int(stmt, 5);
            part.calls_in_flight = (uint64_t)db_int(stmt, 6);
            part.events_lost = (uint64_t)db_int(stmt, 7);
        } else {
            part.told = db_int(stmt, 5);
        }
        r = each(ctx, &part);
        if (r < 0)
            return r;
    }
    return r;
}

int store_set_coverage_told(struct store *s, const struct store_bucket *bucket, const char *org,
                            const char *workload, const char *provider, int64_t revision)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_COVERAGE_TOLD);

    bind_bucket(stmt, 1, bucket);
    db_bind_text(stmt, 3, org);
    db_bind_text(stmt, 4, workload);
    db_bind_text(stmt, 5, provider);
    db_bind_int(stmt, 6, revision);
    return db_run(stmt);
}
