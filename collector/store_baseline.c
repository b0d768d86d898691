/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_priv.h"

#include <stdio.h>

static const char last_name[] = "whole"; /* after all numbers */

int store_put_baseline(struct store *s, int64_t at_s, unsigned part, bool is_last,
                       struct slice payload)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_BASELINE_PUT);
    char name[16];

    snprintf(name, sizeof(name), "%08u", part);
    db_bind_int(stmt, 1, at_s);
    db_bind_text(stmt, 2, is_last ? last_name : name);
    db_bind_blob(stmt, 3, payload);
    return db_run(stmt);
}

int store_each_baseline(struct store *s, int64_t at_s, int (*each)(void *ctx, struct slice payload),
                        void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_BASELINE_EACH);
    int r;

    db_bind_int(stmt, 1, at_s);
    while ((r = db_step(stmt)) > 0) {
        r = each(ctx, db_blob(stmt, 1));
        if (r < 0)
            return r;
    }
    return r;
}

int store_find_baselines(struct store *s, int64_t until_s, unsigned limit, int64_t *ret_at_s,
                         unsigned *ret_count)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_BASELINE_NEWEST);
    unsigned count = 0;
    int r;

    db_bind_text(stmt, 1, last_name);
    db_bind_int(stmt, 2, until_s);
    db_bind_int(stmt, 3, limit);
    while ((r = db_step(stmt)) > 0)
        if (count < limit)
            ret_at_s[count++] = db_int(stmt, 0);
    if (r == 0)
        *ret_count = count;
    return r;
}

int store_drop_baselines(struct store *s, int64_t from_s, int64_t to_s)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_BASELINE_DROP);

    db_bind_int(stmt, 1, from_s);
    db_bind_int(stmt, 2, to_s);
    return db_run(stmt);
}
