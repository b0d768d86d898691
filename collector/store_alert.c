/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_priv.h"

#include "proto/base/cleanup.h"

#include <errno.h>
#include <string.h>

#define ACTIVE_AT_ONCE 1000

int store_add_alert(struct store *s, const struct store_alert *alert)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_ALERT_ADD);

    db_bind_text(stmt, 1, alert->id);
    db_bind_text(stmt, 2, alert->fingerprint);
    db_bind_int(stmt, 3, alert->status);
    db_bind_text(stmt, 4, alert->org);
    db_bind_text(stmt, 5, alert->kind);
    db_bind_int(stmt, 6, alert->at_ns);
    db_bind_blob(stmt, 7, alert->payload);
    return db_run(stmt);
}

int store_each_alert_row(struct db_stmt *stmt,
                         int (*each)(void *ctx, const struct store_alert *alert), void *ctx)
{
    int r;

    while ((r = db_step(stmt)) > 0) {
        struct store_alert alert = {
            .id = db_text(stmt, 0),
            .fingerprint = db_text(stmt, 1),
            .status = db_int(stmt, 2),
            .org = db_text(stmt, 3),
            .kind = db_text(stmt, 4),
            .at_ns = db_int(stmt, 5),
            .payload = db_blob(stmt, 6),
            .row = db_int(stmt, 7),
        };

        r = each(ctx, &alert);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_unpublished_alert(struct store *s, int64_t after_row, unsigned limit,
                                 int (*each)(void *ctx, const struct store_alert *alert), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_ALERT_UNPUBLISHED);

    db_bind_int(stmt, 1, limit);
    db_bind_int(stmt, 2, after_row);
    return store_each_alert_row(stmt, each, ctx);
}

int store_count_unpublished_alerts(struct store *s, uint64_t *ret_count)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_ALERT_WAITING);
    int r = db_step(stmt);

    if (r > 0)
        *ret_count = (uint64_t)db_int(stmt, 0);
    return r < 0 ? r : 0;
}

/* Rows are only added, so that there is none to lock. Who waits for a table has his turn, however
 * many writers there are; in SQLite the transaction is the only one anyway. */
int store_lock_alerts(struct store *s)
{
    return db_is_shared(s->db) ? db_exec(s->db, "LOCK TABLE alert IN SHARE ROW EXCLUSIVE MODE") : 0;
}

int store_last_alert(struct store *s, const char *fingerprint,
                     int (*each)(void *ctx, const struct store_alert *alert), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_ALERT_LAST);

    db_bind_text(stmt, 1, fingerprint);
    return store_each_alert_row(stmt, each, ctx);
}

static int set_published(struct store *s, int64_t row, int how)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_ALERT_PUBLISHED);

    db_bind_int(stmt, 1, row);
    db_bind_int(stmt, 2, how);
    return db_run(stmt);
}

int store_set_alert_published(struct store *s, int64_t row)
{
    return set_published(s, row, 1);
}

int store_set_alert_given_up(struct store *s, int64_t row)
{
    return set_published(s, row, 2);
}

int store_each_alert(struct store *s, int64_t since_ns, bool active_only, unsigned limit,
                     int (*each)(void *ctx, const struct store_alert *alert), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt =
        db_stmt(s->db, active_only ? STMT_ALERT_ACTIVE : STMT_ALERT_LIST);

    db_bind_int(stmt, 1, since_ns);
    db_bind_int(stmt, 2, limit);
    return store_each_alert_row(stmt, each, ctx);
}

/* --- all that are active --- */

struct part {
    int (*each)(void *ctx, const struct store_alert *alert);
    void *ctx;
    char *last; /* fingerprint */
    unsigned count;
};

static int tell_part(void *ctx, const struct store_alert *alert)
{
    struct part *p = ctx;

    free(p->last);
    p->last = strdup(alert->fingerprint);
    p->count++;
    return p->last ? p->each(p->ctx, alert) : -ENOMEM;
}

/* Where a part ends is told by the episode: its transitions may be others by then. */
static int each_part(struct store *s, struct part *p)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_ALERT_ACTIVE_AFTER);
    CLEAN_FREE char *after = TAKE_PTR(p->last);

    p->count = 0;
    db_bind_text(stmt, 1, after ? after : "");
    db_bind_int(stmt, 2, ACTIVE_AT_ONCE);
    return store_each_alert_row(stmt, tell_part, p);
}

int store_each_active(struct store *s, int (*each)(void *ctx, const struct store_alert *alert),
                      void *ctx)
{
    struct part part = {.each = each, .ctx = ctx};
    int r;

    do
        r = each_part(s, &part);
    while (r == 0 && part.count == ACTIVE_AT_ONCE);
    free(part.last);
    return r;
}
