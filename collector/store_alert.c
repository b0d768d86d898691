/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_priv.h"

#include <errno.h>

int store_add_alert(struct store *s, const struct store_alert *alert)
{
    sqlite3_stmt *stmt = store_stmt(s, STMT_ALERT_ADD);

    if (!stmt)
        return -EIO;
    store_bind_text(stmt, 1, alert->id);
    store_bind_text(stmt, 2, alert->fingerprint);
    sqlite3_bind_int(stmt, 3, alert->status);
    store_bind_text(stmt, 4, alert->org);
    store_bind_text(stmt, 5, alert->kind);
    sqlite3_bind_int64(stmt, 6, alert->at_ns);
    store_bind_blob(stmt, 7, alert->payload);
    return store_run(stmt);
}

static int each_row(sqlite3_stmt *stmt, int (*each)(void *ctx, const struct store_alert *alert),
                    void *ctx)
{
    int r;

    while ((r = store_step(stmt)) > 0) {
        struct store_alert alert = {
            .id = store_column_text(stmt, 0),
            .fingerprint = store_column_text(stmt, 1),
            .status = sqlite3_column_int(stmt, 2),
            .org = store_column_text(stmt, 3),
            .kind = store_column_text(stmt, 4),
            .at_ns = sqlite3_column_int64(stmt, 5),
            .payload = store_column_blob(stmt, 6),
            .row = sqlite3_column_int64(stmt, 7),
        };

        r = each(ctx, &alert);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_unpublished_alert(struct store *s, unsigned limit,
                                 int (*each)(void *ctx, const struct store_alert *alert), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt = store_stmt(s, STMT_ALERT_UNPUBLISHED);

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, limit);
    return each_row(stmt, each, ctx);
}

int store_set_alert_published(struct store *s, int64_t row)
{
    sqlite3_stmt *stmt = store_stmt(s, STMT_ALERT_PUBLISHED);

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, row);
    return store_run(stmt);
}

int store_each_alert(struct store *s, int64_t since_ns, bool active_only, unsigned limit,
                     int (*each)(void *ctx, const struct store_alert *alert), void *ctx)
{
    CLEAN_STMT sqlite3_stmt *stmt =
        store_stmt(s, active_only ? STMT_ALERT_ACTIVE : STMT_ALERT_LIST);

    if (!stmt)
        return -EIO;
    sqlite3_bind_int64(stmt, 1, since_ns);
    sqlite3_bind_int64(stmt, 2, limit);
    return each_row(stmt, each, ctx);
}
