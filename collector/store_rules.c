/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_rules.h"

#include "collector/store_priv.h"
#include "collector/text.h"
#include "proto/base/buf.h"

#include <errno.h>

int store_add_seen(struct store *s, const struct store_seen *seen)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_SEEN_ADD);

    db_bind_text(stmt, 1, seen->org);
    db_bind_int(stmt, 2, seen->dimension);
    db_bind_text(stmt, 3, seen->value);
    db_bind_int(stmt, 4, seen->first_s);
    db_bind_text(stmt, 5, seen->feature);
    db_bind_text(stmt, 6, seen->provider);
    db_bind_text(stmt, 7, seen->model);
    return db_run(stmt);
}

int store_each_seen(struct store *s, int (*each)(void *ctx, const struct store_seen *seen),
                    void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_SEEN_EACH);
    int r;

    while ((r = db_step(stmt)) > 0) {
        struct store_seen seen = {
            .org = db_text(stmt, 0),
            .dimension = (int)db_int(stmt, 1),
            .value = db_text(stmt, 2),
        };

        r = each(ctx, &seen);
        if (r < 0)
            return r;
    }
    return r;
}

int store_each_untold(struct store *s, int64_t before_s, unsigned limit,
                      int (*each)(void *ctx, const struct store_seen *seen), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_SEEN_UNTOLD);
    int r;

    db_bind_int(stmt, 1, before_s);
    db_bind_int(stmt, 2, limit);
    while ((r = db_step(stmt)) > 0) {
        struct store_seen seen = {
            .org = db_text(stmt, 0),
            .dimension = (int)db_int(stmt, 1),
            .value = db_text(stmt, 2),
            .first_s = db_int(stmt, 3),
            .feature = db_text(stmt, 4),
            .provider = db_text(stmt, 5),
            .model = db_text(stmt, 6),
            .dimension_first_s = db_int(stmt, 7),
        };

        r = each(ctx, &seen);
        if (r < 0)
            return r;
    }
    return r;
}

int store_set_seen_told(struct store *s, const struct store_seen *seen)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_SEEN_TOLD);

    db_bind_text(stmt, 1, seen->org);
    db_bind_int(stmt, 2, seen->dimension);
    db_bind_text(stmt, 3, seen->value);
    return db_run(stmt);
}

int store_add_silence(struct store *s, const struct store_silence *silence)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_SILENCE_ADD);

    db_bind_text(stmt, 1, silence->id);
    db_bind_text(stmt, 2, silence->org);
    db_bind_text(stmt, 3, silence->feature);
    db_bind_text(stmt, 4, silence->provider);
    db_bind_text(stmt, 5, silence->model);
    db_bind_text(stmt, 6, silence->severity);
    db_bind_text(stmt, 7, silence->rule);
    db_bind_int(stmt, 8, silence->from_s);
    db_bind_int(stmt, 9, silence->until_s);
    db_bind_int(stmt, 10, silence->is_planned);
    db_bind_text(stmt, 11, silence->comment);
    return db_run(stmt);
}

int store_each_silence(struct store *s, int64_t after_s,
                       int (*each)(void *ctx, const struct store_silence *silence), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_SILENCE_EACH);
    int r;

    db_bind_int(stmt, 1, after_s);
    while ((r = db_step(stmt)) > 0) {
        struct store_silence silence = {
            .id = db_text(stmt, 0),
            .org = db_text(stmt, 1),
            .feature = db_text(stmt, 2),
            .provider = db_text(stmt, 3),
            .model = db_text(stmt, 4),
            .severity = db_text(stmt, 5),
            .rule = db_text(stmt, 6),
            .from_s = db_int(stmt, 7),
            .until_s = db_int(stmt, 8),
            .is_planned = db_int(stmt, 9) != 0,
            .comment = db_text(stmt, 10),
        };

        r = each(ctx, &silence);
        if (r < 0)
            return r;
    }
    return r;
}

int store_end_silence(struct store *s, const char *id, int64_t now_s)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_SILENCE_END);
    uint64_t rows = 0;
    int r;

    db_bind_text(stmt, 1, id);
    db_bind_int(stmt, 2, now_s);
    r = db_run_counted(stmt, &rows);
    return r < 0 ? r : rows ? 0 : -ENOENT;
}

int store_put_feedback(struct store *s, const char *fingerprint, const char *verdict, int64_t at_s)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_FEEDBACK_PUT);

    db_bind_text(stmt, 1, fingerprint);
    db_bind_text(stmt, 2, verdict);
    db_bind_int(stmt, 3, at_s);
    return db_run(stmt);
}

int store_get_feedback(struct store *s, const char *fingerprint, char *ret_verdict, size_t size)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_FEEDBACK_GET);
    int r;

    db_bind_text(stmt, 1, fingerprint);
    r = db_step(stmt);
    if (r >= 0)
        text_copy(ret_verdict, size, r ? db_text(stmt, 0) : "");
    return r < 0 ? r : 0;
}

int store_get_rule_state(struct store *s, const char *name, int64_t *ret_at_s, struct buf *out)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_RULE_STATE_GET);
    int64_t at_s;
    int r;

    db_bind_text(stmt, 1, name);
    r = db_step(stmt);
    if (r <= 0) {
        *ret_at_s = 0;
        return r;
    }
    at_s = db_int(stmt, 0);
    r = buf_append(out, db_blob(stmt, 1));
    if (r == 0)
        *ret_at_s = at_s;
    return r;
}

int store_put_rule_state(struct store *s, const char *name, int64_t at_s, struct slice payload)
{
    struct db_stmt *stmt = db_stmt(s->db, STMT_RULE_STATE_PUT);

    db_bind_text(stmt, 1, name);
    db_bind_int(stmt, 2, at_s);
    db_bind_blob(stmt, 3, payload);
    return db_run(stmt);
}
