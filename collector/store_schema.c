/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables, and how a file of an older version becomes one of this version.
 *
 * A new database is made at the newest version. Only SQLite files exist at the
 * versions 1 and 2; a step and its number are one transaction.
 */
#include "collector/store_priv.h"

#include "collector/tally.h"

#include <errno.h>
#include <stdio.h>

#define ROLLUP_SUMS                                                                                \
    "calls BIGINT NOT NULL, errors BIGINT NOT NULL, retries BIGINT NOT NULL,"                      \
    " synthetic BIGINT NOT NULL, input BIGINT NOT NULL, cached_input BIGINT NOT NULL,"             \
    " cache_write BIGINT NOT NULL, output BIGINT NOT NULL, reasoning BIGINT NOT NULL,"             \
    " input_total BIGINT NOT NULL, output_total BIGINT NOT NULL, input_unknown BIGINT NOT NULL,"   \
    " output_unknown BIGINT NOT NULL, cost_unknown BIGINT NOT NULL,"                               \
    " tokens_estimated BIGINT NOT NULL, cost_low BIGINT NOT NULL, cost_expected BIGINT NOT NULL,"  \
    " cost_high BIGINT NOT NULL, cost_squares DOUBLE PRECISION NOT NULL"

/* error_types and usage are tallies, latency, ttft and added sketches. */
/* Which revisions of a cell, summed over its lanes, were told last. A table of its own: the rows
 * that lanes write are not written once more by the judge. */
#define ROLLUP_TOLD                                                                                \
    "CREATE TABLE rollup_told(seconds BIGINT NOT NULL, bucket BIGINT NOT NULL,"                    \
    "  series BIGINT NOT NULL, revision BIGINT NOT NULL,"                                          \
    "  PRIMARY KEY(seconds, bucket, series))$END;"

static const char schema_now[] =
    "CREATE TABLE number(name TEXT NOT NULL, lane BIGINT NOT NULL, value BIGINT NOT NULL,"
    "  PRIMARY KEY(name, lane))$END;"
    /* Which numbers of (part, instance) are there. */
    "CREATE TABLE seq_interval(part BIGINT NOT NULL, instance TEXT NOT NULL, lo BIGINT NOT NULL,"
    "  hi BIGINT NOT NULL, PRIMARY KEY(part, instance, lo))$END;"
    "CREATE TABLE series(id $ID, org TEXT NOT NULL, feature TEXT NOT NULL,"
    "  provider TEXT NOT NULL, model TEXT NOT NULL, workload TEXT NOT NULL,"
    "  UNIQUE(org, feature, provider, model, workload));"
    "CREATE TABLE rollup(seconds BIGINT NOT NULL, bucket BIGINT NOT NULL,"
    "  series BIGINT NOT NULL, lane BIGINT NOT NULL, revision BIGINT NOT NULL,  " ROLLUP_SUMS ","
    "  latency BYTEA NOT NULL, ttft BYTEA NOT NULL, added BYTEA NOT NULL,"
    "  error_types TEXT NOT NULL, usage TEXT NOT NULL,"
    "  PRIMARY KEY(seconds, bucket, series, lane))$END;" ROLLUP_TOLD
    "CREATE TABLE gap(seconds BIGINT NOT NULL, bucket BIGINT NOT NULL, lane BIGINT NOT NULL,"
    "  org TEXT NOT NULL, workload TEXT NOT NULL, provider TEXT NOT NULL, reason TEXT NOT NULL,"
    "  connections BIGINT NOT NULL, calls_in_flight BIGINT NOT NULL, events_lost BIGINT NOT NULL,"
    "  PRIMARY KEY(seconds, bucket, lane, org, workload, provider, reason))$END;"
    "CREATE TABLE coverage(seconds BIGINT NOT NULL, bucket BIGINT NOT NULL, lane BIGINT NOT NULL,"
    "  org TEXT NOT NULL, workload TEXT NOT NULL, provider TEXT NOT NULL,"
    "  seen BIGINT NOT NULL, metered BIGINT NOT NULL,"
    "  PRIMARY KEY(seconds, bucket, lane, org, workload, provider))$END;"
    /* Which revision of it was told last. */
    "CREATE TABLE coverage_told(seconds BIGINT NOT NULL, bucket BIGINT NOT NULL,"
    "  org TEXT NOT NULL, workload TEXT NOT NULL, provider TEXT NOT NULL,"
    "  revision BIGINT NOT NULL, PRIMARY KEY(seconds, bucket, org, workload, provider))$END;"
    "CREATE TABLE unpriced(bucket BIGINT NOT NULL, lane BIGINT NOT NULL, org TEXT NOT NULL,"
    "  provider TEXT NOT NULL, model TEXT NOT NULL, basis TEXT NOT NULL, calls BIGINT NOT NULL,"
    "  PRIMARY KEY(bucket, lane, org, provider, model, basis))$END;"
    "CREATE TABLE call_block(id $ID, lane BIGINT NOT NULL, first_ns BIGINT NOT NULL,"
    "  last_ns BIGINT NOT NULL, calls BIGINT NOT NULL, payload BYTEA NOT NULL);"
    "CREATE INDEX call_block_last ON call_block(last_ns);"
    "CREATE TABLE malformed(stream_seq BIGINT PRIMARY KEY, subject TEXT NOT NULL,"
    "  reason TEXT NOT NULL, bytes BIGINT NOT NULL, payload BYTEA NOT NULL);"
    /* published: 0 waits, 1 is, 2 was given up. */
    "CREATE TABLE alert(seq $ID, id TEXT NOT NULL UNIQUE,"
    "  fingerprint TEXT NOT NULL, status BIGINT NOT NULL, org TEXT NOT NULL, kind TEXT NOT NULL,"
    "  at_ns BIGINT NOT NULL, published BIGINT NOT NULL, payload BYTEA NOT NULL,"
    "  routed BIGINT NOT NULL);"
    "CREATE INDEX alert_fingerprint ON alert(fingerprint);"
    "CREATE INDEX alert_unpublished ON alert(seq) WHERE published = 0;"
    "CREATE INDEX alert_unrouted ON alert(seq) WHERE routed = 0;"
    "CREATE INDEX alert_at ON alert(at_ns);"
    /* What is to be sent, and what could not be; what was is gone. */
    "CREATE TABLE letter(id $ID, receiver TEXT NOT NULL, alert BIGINT NOT NULL,"
    "  fingerprint TEXT NOT NULL, attempts BIGINT NOT NULL, next_ms BIGINT NOT NULL,"
    "  dead BIGINT NOT NULL, error TEXT NOT NULL, UNIQUE(receiver, alert));"
    "CREATE INDEX letter_waiting ON letter(receiver, fingerprint, alert) WHERE dead = 0;"
    /* The newest transition of each episode that a receiver knows to be active. */
    "CREATE TABLE told(receiver TEXT NOT NULL, fingerprint TEXT NOT NULL, alert BIGINT NOT NULL,"
    "  PRIMARY KEY(receiver, fingerprint))$END;"
    "CREATE INDEX told_fingerprint ON told(fingerprint);"
    /* Buckets that changed since the judge looked. */
    "CREATE TABLE touched(lane BIGINT NOT NULL, seconds BIGINT NOT NULL, bucket BIGINT NOT NULL,"
    "  revision BIGINT NOT NULL, PRIMARY KEY(lane, seconds, bucket))$END;"
    "CREATE TABLE lane_state(lane BIGINT PRIMARY KEY, watermark_ns BIGINT NOT NULL)$END;"
    /* What the detectors knew when the minutes before at_s were closed. */
    "CREATE TABLE baseline_state(at_s BIGINT NOT NULL, name TEXT NOT NULL, payload BYTEA NOT NULL,"
    "  PRIMARY KEY(at_s, name));"
    "CREATE TABLE collector(id TEXT PRIMARY KEY, seen_ms BIGINT NOT NULL,"
    "  joined_ms BIGINT NOT NULL)$END;"
    "CREATE TABLE lease(lane BIGINT PRIMARY KEY, owner TEXT NOT NULL, epoch BIGINT NOT NULL)$END;"
    /* Every value of a dimension that an organisation ever had; told: the judge knows it. The
     * other names are those of the first call. */
    "CREATE TABLE seen(org TEXT NOT NULL, dimension BIGINT NOT NULL, value TEXT NOT NULL,"
    "  first_s BIGINT NOT NULL, feature TEXT NOT NULL, provider TEXT NOT NULL,"
    "  model TEXT NOT NULL, told BIGINT NOT NULL, PRIMARY KEY(org, dimension, value))$END;"
    "CREATE INDEX seen_untold ON seen(first_s) WHERE told = 0;"
    "CREATE TABLE silence(id TEXT PRIMARY KEY, org TEXT NOT NULL, feature TEXT NOT NULL,"
    "  provider TEXT NOT NULL, model TEXT NOT NULL, severity TEXT NOT NULL, rule TEXT NOT NULL,"
    "  from_s BIGINT NOT NULL, until_s BIGINT NOT NULL, planned BIGINT NOT NULL,"
    "  comment TEXT NOT NULL)$END;"
    "CREATE TABLE feedback(fingerprint TEXT PRIMARY KEY, verdict TEXT NOT NULL,"
    "  at_s BIGINT NOT NULL)$END;"
    /* What the rules of the file knew when the minutes before at_s were closed. */
    "CREATE TABLE rule_state(name TEXT PRIMARY KEY, at_s BIGINT NOT NULL,"
    "  payload BYTEA NOT NULL);";

static const char schema_1[] =
    "CREATE TABLE unpriced(bucket INTEGER NOT NULL, org TEXT NOT NULL, provider TEXT NOT NULL,"
    "  model TEXT NOT NULL, basis TEXT NOT NULL, calls INTEGER NOT NULL,"
    "  PRIMARY KEY(bucket, org, provider, model, basis)) WITHOUT ROWID;";

/* The tables of version 2 step aside. */
static const char schema_2_aside[] =
    "ALTER TABLE number RENAME TO old_number; ALTER TABLE stream RENAME TO old_stream;"
    "ALTER TABLE seq_interval RENAME TO old_seq_interval;"
    "ALTER TABLE series RENAME TO old_series; ALTER TABLE rollup RENAME TO old_rollup;"
    "ALTER TABLE rollup_error RENAME TO old_rollup_error; ALTER TABLE gap RENAME TO old_gap;"
    "ALTER TABLE coverage RENAME TO old_coverage; ALTER TABLE unpriced RENAME TO old_unpriced;"
    "ALTER TABLE call RENAME TO old_call; ALTER TABLE malformed RENAME TO old_malformed;"
    "ALTER TABLE alert RENAME TO old_alert; DROP INDEX call_end; DROP INDEX alert_fingerprint;"
    "DROP INDEX alert_unpublished;";

#define OLD_SUMS                                                                                   \
    "calls, errors, 0, synthetic, input, cached_input, cache_write, output, reasoning,"            \
    " input_total, output_total, input_unknown, output_unknown, cost_unknown, tokens_estimated,"   \
    " cost_low, cost_expected, cost_high, cost_squares"
#define RESOLUTIONS "(SELECT 60 AS s UNION ALL SELECT 3600 UNION ALL SELECT 86400)"

/* Version 2 told no source of tokens: usage begins empty. What it had is published
 * as far as it ever will be. A sum that no integer holds would be an error, for ever. */
static const char schema_2_copy[] =
    "INSERT INTO number SELECT name, 0, value FROM old_number;"
    "INSERT INTO seq_interval SELECT part, instance, lo, hi FROM old_seq_interval"
    "  JOIN old_stream ON old_stream.id = stream;"
    "INSERT INTO series SELECT id, org, feature, provider, model, workload FROM old_series;"
    "INSERT INTO rollup SELECT seconds, bucket, series, 0, revision, " OLD_SUMS ","
    "  coalesce(latency, x''), coalesce(ttft, x''), coalesce(added, x''), '', '' FROM old_rollup;"
    "INSERT INTO rollup_told SELECT seconds, bucket, series, revision FROM old_rollup;"
    "INSERT INTO gap SELECT s, bucket - bucket % s, 0, org, workload, provider, reason,"
    "  sum(min(connections, 1 << 40)), sum(min(calls_in_flight, 1 << 40)),"
    "  sum(min(events_lost, 1 << 40)) FROM old_gap, " RESOLUTIONS
    "  GROUP BY 1, 2, org, workload, provider, reason;"
    "INSERT INTO coverage SELECT s, bucket - bucket % s, 0, org, workload, provider,"
    "  sum(min(seen, 1 << 40)), sum(min(metered, 1 << 40)) FROM old_coverage, " RESOLUTIONS
    "  GROUP BY 1, 2, org, workload, provider;"
    "INSERT INTO unpriced SELECT bucket, 0, org, provider, model, basis, calls FROM old_unpriced;"
    "INSERT INTO malformed SELECT stream_seq, subject, reason, bytes, x'' FROM old_malformed;"
    /* Long known: the numbers are those of enum alerting_dimension. */
    "INSERT INTO seen SELECT DISTINCT org, 0, model, 0, '', '', '', 1 FROM old_series;"
    "INSERT INTO seen SELECT DISTINCT org, 1, provider, 0, '', '', '', 1 FROM old_series;"
    "INSERT INTO seen SELECT DISTINCT org, 3, feature, 0, '', '', '', 1 FROM old_series;"
    "INSERT INTO alert SELECT row, id, fingerprint, status, org, kind, at_ns, published, payload,"
    "  1 FROM old_alert;";

static const char schema_2_drop[] =
    "DROP TABLE old_number; DROP TABLE old_stream; DROP TABLE old_seq_interval;"
    "DROP TABLE old_series; DROP TABLE old_rollup; DROP TABLE old_rollup_error;"
    "DROP TABLE old_gap; DROP TABLE old_coverage; DROP TABLE old_unpriced; DROP TABLE old_call;"
    "DROP TABLE old_malformed; DROP TABLE old_alert;";

static const char schema_3[] =
    ROLLUP_TOLD "INSERT INTO rollup_told SELECT seconds, bucket, series,"
                "  CAST(sum(published) AS BIGINT) FROM rollup WHERE published > 0"
                "  GROUP BY seconds, bucket, series; ALTER TABLE rollup DROP COLUMN published;";

/* --- 2 to now --- */

struct error_cell {
    int64_t seconds, bucket, series;
    struct tally tally;
};

static int put_errors(struct db *db, struct error_cell *cell)
{
    struct db_stmt *put = db_stmt(db, STMT_OLD_ERRORS_PUT);
    struct buf text;
    int r;

    if (cell->tally.count == 0)
        return 0;
    buf_init(&text, TALLY_ENCODED_MAX);
    r = tally_encode(&cell->tally, &text);
    if (r == 0) {
        db_bind_slice(put, 1, buf_slice(&text));
        db_bind_int(put, 2, cell->seconds);
        db_bind_int(put, 3, cell->bucket);
        db_bind_int(put, 4, cell->series);
        r = db_run(put);
    }
    buf_fini(&text);
    tally_fini(&cell->tally);
    return r;
}

static int convert_errors(struct db *db)
{
    CLEAN_STMT struct db_stmt *rows = db_stmt(db, STMT_OLD_ERRORS);
    struct error_cell cell = {0};
    int r;

    while ((r = db_step(rows)) > 0) {
        int64_t key[] = {db_int(rows, 0), db_int(rows, 1), db_int(rows, 2)};

        if (key[0] != cell.seconds || key[1] != cell.bucket || key[2] != cell.series) {
            r = put_errors(db, &cell);
            cell.seconds = key[0];
            cell.bucket = key[1];
            cell.series = key[2];
        }
        if (r >= 0)
            r = tally_add(&cell.tally, db_text(rows, 3), (uint64_t)db_int(rows, 4));
        if (r < 0)
            break;
    }
    if (r == 0)
        r = put_errors(db, &cell);
    tally_fini(&cell.tally);
    return r;
}

static int put_block(struct db *db, struct call_block *block)
{
    struct db_stmt *put = db_stmt(db, STMT_OLD_CALLS_PUT);
    struct buf packed;
    int r;

    if (block->calls == 0)
        return 0;
    buf_init(&packed, CALL_BLOCK_ENCODED_MAX);
    r = call_block_encode(block, &packed);
    if (r == 0) {
        db_bind_int(put, 1, (int64_t)block->first_ns);
        db_bind_int(put, 2, (int64_t)block->last_ns);
        db_bind_int(put, 3, block->calls);
        db_bind_blob(put, 4, buf_slice(&packed));
        r = db_run(put);
    }
    buf_fini(&packed);
    call_block_reset(block);
    return r;
}

static int convert_calls(struct db *db)
{
    CLEAN_STMT struct db_stmt *rows = db_stmt(db, STMT_OLD_CALLS);
    struct call_block block;
    int r;

    call_block_init(&block);
    while ((r = db_step(rows)) > 0) {
        uint64_t end_ns = (uint64_t)db_int(rows, 0);

        r = call_block_add(&block, end_ns, db_blob(rows, 1));
        if (r == -ENOSPC) {
            r = put_block(db, &block);
            if (r == 0)
                r = call_block_add(&block, end_ns, db_blob(rows, 1));
            /* One that no block has room for is left out: it must not keep all the others. */
            if (r == -ENOSPC)
                r = 0;
        }
        if (r < 0)
            break;
    }
    if (r == 0)
        r = put_block(db, &block);
    call_block_fini(&block);
    return r;
}

static int from_2(struct db *db)
{
    int r = db_exec(db, schema_2_aside);

    if (r == 0)
        r = db_exec(db, schema_now);
    if (r == 0)
        r = db_exec(db, schema_2_copy);
    if (r == 0)
        r = convert_errors(db);
    if (r == 0)
        r = convert_calls(db);
    if (r == 0)
        r = db_exec(db, schema_2_drop);
    return r;
}

static int from_1(struct db *db)
{
    return db_exec(db, schema_1);
}

static int from_3(struct db *db)
{
    return db_exec(db, schema_3);
}

/* steps[n] brings version n forward. */
static const struct step {
    int (*run)(struct db *db);
    int to;
} steps[STORE_SCHEMA_VERSION] = {
    [1] = {from_1, 2},
    [2] = {from_2, STORE_SCHEMA_VERSION},
    [3] = {from_3, 4},
};

static int migrate_locked(struct db *db, bool *ret_is_moved)
{
    int version = 0;
    int r = db_lock_schema(db);

    /* Another process may have done it meanwhile. */
    if (r == 0)
        r = db_get_version(db, &version);
    if (r == 0 && (version < 0 || version > STORE_SCHEMA_VERSION))
        r = -ENOTSUP;
    if (r < 0 || version == STORE_SCHEMA_VERSION)
        return r;
    *ret_is_moved = version > 0;
    if (version == 0)
        r = db_exec(db, schema_now);
    for (; r == 0 && version > 0 && version < STORE_SCHEMA_VERSION; version = steps[version].to)
        r = steps[version].run(db);
    return r < 0 ? r : db_set_version(db, STORE_SCHEMA_VERSION);
}

int store_migrate(struct db *db, struct db_error_text *ret_error)
{
    bool is_moved = false;
    int version = 0;
    int r = db_get_version(db, &version);

    if (r < 0 || version == STORE_SCHEMA_VERSION)
        return r;
    r = db_begin(db);
    if (r < 0)
        return r;
    r = migrate_locked(db, &is_moved);
    if (r == 0)
        r = db_commit(db);
    if (r < 0) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%s",
                 r == -ENOTSUP ? "written by a newer version" : db_error(db));
        db_rollback(db);
        return r;
    }
    /* The old tables leave room that would stay unused, and pages that cannot be given back. */
    return is_moved && !db_is_shared(db) ? db_exec(db, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
                                         : 0;
}
