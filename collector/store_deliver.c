/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_deliver.h"

#include "collector/store_priv.h"

#include <errno.h>

int store_each_unrouted_alert(struct store *s, unsigned limit,
                              int (*each)(void *ctx, const struct store_alert *alert), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_ALERT_UNROUTED);

    db_bind_int(stmt, 1, limit);
    return store_each_alert_row(stmt, each, ctx);
}

int store_set_alert_routed(struct store *s, int64_t row, bool *ret_is_mine)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_ALERT_ROUTED);
    uint64_t rows = 0;
    int r;

    db_bind_int(stmt, 1, row);
    r = db_run_counted(stmt, &rows);
    if (r == 0)
        *ret_is_mine = rows > 0;
    return r;
}

int store_add_letter(struct store *s, const char *receiver, const struct store_alert *alert)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LETTER_ADD);

    db_bind_text(stmt, 1, receiver);
    db_bind_int(stmt, 2, alert->row);
    db_bind_text(stmt, 3, alert->fingerprint);
    db_bind_int(stmt, 4, STORE_PENDING_MAX);
    return db_run(stmt);
}

static int each_letter(struct db_stmt *stmt, store_letter_fn *each, void *ctx)
{
    int r;

    while ((r = db_step(stmt)) > 0) {
        const struct store_letter letter = {
            .id = db_int(stmt, 0),
            .receiver = db_text(stmt, 1),
            .alert = db_int(stmt, 2),
            .fingerprint = db_text(stmt, 3),
            .attempts = (uint32_t)db_int(stmt, 4),
            .next_ms = db_int(stmt, 5),
            .error = db_text(stmt, 6),
            .alert_id = db_text(stmt, 7),
            .status = (int)db_int(stmt, 8),
            .at_ns = db_int(stmt, 9),
            .payload = db_blob(stmt, 10),
            .is_outdated = db_int(stmt, 11) > 0,
        };

        r = each(ctx, &letter);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_due_letter(struct store *s, const char *receiver, int64_t now_ms, unsigned limit,
                          store_letter_fn *each, void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_LETTERS_DUE);

    db_bind_text(stmt, 1, receiver);
    db_bind_int(stmt, 2, now_ms);
    db_bind_int(stmt, 3, now_ms + STORE_WAIT_MAX_MS);
    db_bind_int(stmt, 4, limit);
    return each_letter(stmt, each, ctx);
}

int store_end_letter(struct store *s, int64_t id)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LETTER_END);

    db_bind_int(stmt, 1, id);
    return db_run(stmt);
}

int store_put_letter(struct store *s, int64_t id, uint32_t attempts, int64_t next_ms, bool is_dead,
                     const char *error)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LETTER_PUT);

    db_bind_int(stmt, 1, id);
    db_bind_int(stmt, 2, attempts);
    db_bind_int(stmt, 3, next_ms);
    db_bind_int(stmt, 4, is_dead);
    db_bind_text(stmt, 5, error);
    return db_run(stmt);
}

int store_trim_dead(struct store *s, const char *receiver, uint64_t *ret_dropped)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LETTERS_TRIM);

    db_bind_text(stmt, 1, receiver);
    db_bind_int(stmt, 2, STORE_DEAD_MAX);
    return db_run_counted(stmt, ret_dropped);
}

int store_bury_letters(struct store *s, const char *receiver, const char *error)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LETTERS_BURY);

    db_bind_text(stmt, 1, receiver);
    db_bind_text(stmt, 2, error);
    return db_run(stmt);
}

int store_each_dead_letter(struct store *s, unsigned limit, store_letter_fn *each, void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_LETTERS_DEAD);

    db_bind_int(stmt, 1, limit);
    return each_letter(stmt, each, ctx);
}

int store_revive_letters(struct store *s, const char *receiver, int64_t id, uint64_t *ret_count)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_LETTERS_REVIVE);

    db_bind_text(stmt, 1, receiver ? receiver : "");
    db_bind_int(stmt, 2, id);
    return db_run_counted(stmt, ret_count);
}

int store_each_letter_count(struct store *s,
                            int (*each)(void *ctx, const struct store_letter_count *count),
                            void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_LETTERS_COUNT);
    int r;

    while ((r = db_step(stmt)) > 0) {
        const struct store_letter_count count = {
            .receiver = db_text(stmt, 0),
            .pending = (uint64_t)db_int(stmt, 1),
            .dead = (uint64_t)db_int(stmt, 2),
            .oldest_alert_ns = db_int(stmt, 3),
        };

        r = each(ctx, &count);
        if (r < 0)
            return r;
    }
    return r;
}

int store_set_told(struct store *s, const char *receiver, const char *fingerprint,
                   int64_t alert_row)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_TOLD_PUT);

    db_bind_text(stmt, 1, receiver);
    db_bind_text(stmt, 2, fingerprint);
    db_bind_int(stmt, 3, alert_row);
    return db_run(stmt);
}

int store_end_told(struct store *s, const char *fingerprint)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_TOLD_END);

    db_bind_text(stmt, 1, fingerprint);
    return db_run(stmt);
}

int store_is_told(struct store *s, const char *receiver, const char *fingerprint, bool *ret_is)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_TOLD_GET);
    int r;

    db_bind_text(stmt, 1, receiver);
    db_bind_text(stmt, 2, fingerprint);
    r = db_step(stmt);
    if (r < 0)
        return r;
    *ret_is = r > 0;
    return 0;
}

int store_each_told(struct store *s, const char *receiver, int64_t after_row, unsigned limit,
                    int (*each)(void *ctx, const struct store_alert *alert), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_TOLD_EACH);

    db_bind_text(stmt, 1, receiver);
    db_bind_int(stmt, 2, after_row);
    db_bind_int(stmt, 3, limit);
    return store_each_alert_row(stmt, each, ctx);
}
