/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_priv.h"

#include "collector/store_query.h"

static enum store_stmt statement_of(const struct store_series_name *scope)
{
    return scope->model      ? STMT_SHARES_MODEL
           : scope->feature  ? STMT_SHARES_FEATURE
           : scope->provider ? STMT_SHARES_PROVIDER
                             : STMT_SHARES_ORG;
}

static struct db_stmt *bind(struct store *s, enum rollup_resolution res, int64_t bucket,
                            const struct store_series_name *scope)
{
    struct db_stmt *stmt = db_stmt(s->db, statement_of(scope));

    db_bind_int(stmt, 1, rollup_seconds[res]);
    db_bind_int(stmt, 2, bucket);
    db_bind_text(stmt, 3, scope->org);
    if (scope->model) {
        db_bind_text(stmt, 4, scope->feature);
        db_bind_text(stmt, 5, scope->provider);
        db_bind_text(stmt, 6, scope->model);
    } else if (scope->feature || scope->provider) {
        db_bind_text(stmt, 4, scope->feature ? scope->feature : scope->provider);
    }
    return stmt;
}

int store_each_share(struct store *s, enum rollup_resolution res, int64_t bucket,
                     const struct store_series_name *scope,
                     int (*each)(void *ctx, const struct store_series_name *name,
                                 const struct rollup_sums *sums),
                     void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = bind(s, res, bucket, scope);
    int r;

    while ((r = db_step(stmt)) > 0) {
        const struct store_series_name name = {
            .org = db_text(stmt, 0),
            .feature = db_text(stmt, 1),
            .provider = db_text(stmt, 2),
            .model = db_text(stmt, 3),
            .workload = db_text(stmt, 4),
        };
        const struct rollup_sums sums = {
            .calls = (uint64_t)db_int(stmt, 5),
            .errors = (uint64_t)db_int(stmt, 6),
            .input_total = (uint64_t)db_int(stmt, 7),
            .output_total = (uint64_t)db_int(stmt, 8),
            .cost_unknown = (uint64_t)db_int(stmt, 9),
            .cost_expected_nanousd = db_int(stmt, 10),
        };

        r = each(ctx, &name, &sums);
        if (r < 0)
            return r;
    }
    return r;
}
