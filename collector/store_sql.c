/* SPDX-License-Identifier: Apache-2.0 */
/* Schema and statements: the only SQL of the collector. */
#include "collector/store_priv.h"

/* store_schema[n] brings version n to n + 1. Only ever appended to. */
const char *const store_schema[STORE_SCHEMA_VERSION] = {
    "CREATE TABLE number(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE stream(id INTEGER PRIMARY KEY, instance TEXT NOT NULL, part INTEGER NOT NULL,"
    "  UNIQUE(instance, part));"
    "CREATE TABLE seq_interval(stream INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL,"
    "  PRIMARY KEY(stream, lo)) WITHOUT ROWID;"
    "CREATE TABLE series(id INTEGER PRIMARY KEY, org TEXT NOT NULL, feature TEXT NOT NULL,"
    "  provider TEXT NOT NULL, model TEXT NOT NULL, workload TEXT NOT NULL,"
    "  UNIQUE(org, feature, provider, model, workload));"
    "CREATE TABLE rollup(seconds INTEGER NOT NULL, bucket INTEGER NOT NULL,"
    "  series INTEGER NOT NULL, calls INTEGER NOT NULL, errors INTEGER NOT NULL,"
    "  synthetic INTEGER NOT NULL, input INTEGER NOT NULL, cached_input INTEGER NOT NULL,"
    "  cache_write INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,"
    "  input_total INTEGER NOT NULL, output_total INTEGER NOT NULL,"
    "  input_unknown INTEGER NOT NULL, output_unknown INTEGER NOT NULL,"
    "  cost_unknown INTEGER NOT NULL, tokens_estimated INTEGER NOT NULL,"
    "  cost_low INTEGER NOT NULL, cost_expected INTEGER NOT NULL, cost_high INTEGER NOT NULL,"
    "  cost_squares REAL NOT NULL, revision INTEGER NOT NULL,"
    "  latency BLOB, ttft BLOB, added BLOB,"
    "  PRIMARY KEY(seconds, bucket, series)) WITHOUT ROWID;"
    "CREATE TABLE rollup_error(seconds INTEGER NOT NULL, bucket INTEGER NOT NULL,"
    "  series INTEGER NOT NULL, type TEXT NOT NULL, calls INTEGER NOT NULL,"
    "  PRIMARY KEY(seconds, bucket, series, type)) WITHOUT ROWID;"
    "CREATE TABLE gap(bucket INTEGER NOT NULL, org TEXT NOT NULL, workload TEXT NOT NULL,"
    "  provider TEXT NOT NULL, reason TEXT NOT NULL, connections INTEGER NOT NULL,"
    "  calls_in_flight INTEGER NOT NULL, events_lost INTEGER NOT NULL,"
    "  PRIMARY KEY(bucket, org, workload, provider, reason)) WITHOUT ROWID;"
    "CREATE TABLE coverage(bucket INTEGER NOT NULL, org TEXT NOT NULL, workload TEXT NOT NULL,"
    "  provider TEXT NOT NULL, seen INTEGER NOT NULL, metered INTEGER NOT NULL,"
    "  PRIMARY KEY(bucket, org, workload, provider)) WITHOUT ROWID;"
    "CREATE TABLE call(instance TEXT NOT NULL, part INTEGER NOT NULL, seq INTEGER NOT NULL,"
    "  end_ns INTEGER NOT NULL, payload BLOB NOT NULL,"
    "  PRIMARY KEY(instance, part, seq)) WITHOUT ROWID;"
    "CREATE INDEX call_end ON call(end_ns);"
    "CREATE TABLE malformed(stream_seq INTEGER PRIMARY KEY, subject TEXT NOT NULL,"
    "  reason TEXT NOT NULL, bytes INTEGER NOT NULL);"
    "CREATE TABLE alert(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    "  fingerprint TEXT NOT NULL, status INTEGER NOT NULL, org TEXT NOT NULL, kind TEXT NOT NULL,"
    "  at_ns INTEGER NOT NULL, published INTEGER NOT NULL, payload BLOB NOT NULL);"
    "CREATE INDEX alert_fingerprint ON alert(fingerprint);"
    "CREATE INDEX alert_unpublished ON alert(row) WHERE published = 0;",
    "CREATE TABLE unpriced(bucket INTEGER NOT NULL, org TEXT NOT NULL, provider TEXT NOT NULL,"
    "  model TEXT NOT NULL, basis TEXT NOT NULL, calls INTEGER NOT NULL,"
    "  PRIMARY KEY(bucket, org, provider, model, basis)) WITHOUT ROWID;",
};

#define CELL_COLUMNS                                                                               \
    "calls, errors, synthetic, input, cached_input, cache_write, output, reasoning, input_total, " \
    "output_total, input_unknown, output_unknown, cost_unknown, tokens_estimated, cost_low, "      \
    "cost_expected, cost_high, cost_squares, latency, ttft, added"
#define ALERT_COLUMNS "id, fingerprint, status, org, kind, at_ns, payload, row"

const char *const store_sql[STMT__COUNT] = {
    [STMT_BEGIN] = "BEGIN IMMEDIATE",
    [STMT_COMMIT] = "COMMIT",
    [STMT_ROLLBACK] = "ROLLBACK",
    [STMT_NUMBER_GET] = "SELECT value FROM number WHERE name = ?1",
    [STMT_NUMBER_SET] = "INSERT INTO number(name, value) VALUES(?1, ?2)"
                        " ON CONFLICT(name) DO UPDATE SET value = ?2",
    [STMT_NUMBER_ADD] = "INSERT INTO number(name, value) VALUES(?1, ?2)"
                        " ON CONFLICT(name) DO UPDATE SET value = value + ?2",
    [STMT_STREAM_GET] = "SELECT id FROM stream WHERE instance = ?1 AND part = ?2",
    [STMT_STREAM_ADD] = "INSERT INTO stream(instance, part) VALUES(?1, ?2)",
    [STMT_INTERVAL_AT] = "SELECT lo, hi FROM seq_interval WHERE stream = ?1 AND lo <= ?2"
                         " ORDER BY lo DESC LIMIT 1",
    [STMT_INTERVAL_ADD] = "INSERT INTO seq_interval(stream, lo, hi) VALUES(?1, ?2, ?3)",
    [STMT_INTERVAL_EXTEND] = "UPDATE seq_interval SET hi = ?3 WHERE stream = ?1 AND lo = ?2",
    [STMT_INTERVAL_DELETE] = "DELETE FROM seq_interval WHERE stream = ?1 AND lo = ?2",
    [STMT_LOSS] = "SELECT count(*), coalesce(sum(got), 0), coalesce(sum(top - got), 0) FROM"
                  " (SELECT sum(hi - lo + 1) AS got, max(hi) AS top FROM seq_interval"
                  "  GROUP BY stream)",
    [STMT_HOLES] = "SELECT instance, part, first, last FROM (SELECT stream,"
                   "  coalesce(lag(hi) OVER (PARTITION BY stream ORDER BY lo), 0) + 1 AS first,"
                   "  lo - 1 AS last FROM seq_interval) JOIN stream ON stream.id = stream"
                   " WHERE first <= last ORDER BY stream.id, first LIMIT ?1",
    [STMT_SERIES_GET] = "SELECT id FROM series WHERE org = ?1 AND feature = ?2 AND provider = ?3"
                        " AND model = ?4 AND workload = ?5",
    [STMT_SERIES_ADD] = "INSERT INTO series(org, feature, provider, model, workload)"
                        " VALUES(?1, ?2, ?3, ?4, ?5)",
    [STMT_SERIES_COUNT] = "SELECT count(*) FROM series",
    [STMT_CELL_GET] = "SELECT " CELL_COLUMNS ", revision FROM rollup"
                      " WHERE seconds = ?1 AND bucket = ?2 AND series = ?3",
    [STMT_CELL_PUT] = "INSERT OR REPLACE INTO rollup(" CELL_COLUMNS ", revision, seconds, bucket,"
                      " series) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
                      " ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)",
    [STMT_CELL_ERROR_ADD] = "INSERT INTO rollup_error(seconds, bucket, series, type, calls)"
                            " VALUES(?1, ?2, ?3, ?4, ?5)"
                            " ON CONFLICT DO UPDATE SET calls = calls + ?5",
    [STMT_CELL_ERRORS_COUNT] = "SELECT count(*), coalesce(sum(type = ?4), 0) FROM rollup_error"
                               " WHERE seconds = ?1 AND bucket = ?2 AND series = ?3",
    [STMT_GAP_ADD] = "INSERT INTO gap(bucket, org, workload, provider, reason, connections,"
                     " calls_in_flight, events_lost) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                     " ON CONFLICT DO UPDATE SET connections = connections + ?6,"
                     " calls_in_flight = calls_in_flight + ?7, events_lost = events_lost + ?8",
    [STMT_COVERAGE_ADD] = "INSERT INTO coverage(bucket, org, workload, provider, seen, metered)"
                          " VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
                          " ON CONFLICT DO UPDATE SET seen = seen + ?5, metered = metered + ?6",
    [STMT_UNPRICED_ADD] = "INSERT INTO unpriced(bucket, org, provider, model, basis, calls)"
                          " VALUES(?1, ?2, ?3, ?4, ?5, 1)"
                          " ON CONFLICT DO UPDATE SET calls = calls + 1",
    [STMT_UNPRICED_COUNT] = "SELECT count(*), coalesce(sum(org = ?2 AND provider = ?3 AND"
                            " model = ?4 AND basis = ?5), 0) FROM unpriced WHERE bucket = ?1",
    [STMT_CALL_ADD] = "INSERT OR IGNORE INTO call(instance, part, seq, end_ns, payload)"
                      " VALUES(?1, ?2, ?3, ?4, ?5)",
    [STMT_MALFORMED_ADD] = "INSERT OR IGNORE INTO malformed(stream_seq, subject, reason, bytes)"
                           " VALUES(?1, ?2, ?3, ?4)",
    [STMT_MALFORMED_TRIM] = "DELETE FROM malformed WHERE stream_seq <= (SELECT stream_seq FROM"
                            " malformed ORDER BY stream_seq DESC LIMIT 1 OFFSET ?1)",
    [STMT_PRUNE_CELLS] = "DELETE FROM rollup WHERE seconds = ?1 AND bucket < ?2",
    [STMT_PRUNE_ERRORS] = "DELETE FROM rollup_error WHERE seconds = ?1 AND bucket < ?2",
    [STMT_PRUNE_GAPS] = "DELETE FROM gap WHERE bucket < ?1",
    [STMT_PRUNE_COVERAGE] = "DELETE FROM coverage WHERE bucket < ?1",
    [STMT_PRUNE_UNPRICED] = "DELETE FROM unpriced WHERE bucket < ?1",
    [STMT_PRUNE_CALLS] = "DELETE FROM call WHERE end_ns < ?1",
    [STMT_ALERT_ADD] = "INSERT OR IGNORE INTO alert(id, fingerprint, status, org, kind, at_ns,"
                       " published, payload) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
    [STMT_ALERT_UNPUBLISHED] = "SELECT " ALERT_COLUMNS " FROM alert WHERE published = 0"
                               " ORDER BY row LIMIT ?1",
    [STMT_ALERT_PUBLISHED] = "UPDATE alert SET published = 1 WHERE row = ?1",
    [STMT_ALERT_LIST] = "SELECT " ALERT_COLUMNS " FROM alert WHERE at_ns >= ?1"
                        " ORDER BY row DESC LIMIT ?2",
    [STMT_ALERT_ACTIVE] = "SELECT " ALERT_COLUMNS " FROM alert WHERE at_ns >= ?1 AND row IN"
                          " (SELECT max(row) FROM alert GROUP BY fingerprint) AND status != 3"
                          " ORDER BY row DESC LIMIT ?2",
    [STMT_QUERY_CELLS] = "SELECT " CELL_COLUMNS ", bucket, org, feature, provider, model, workload"
                         " FROM rollup JOIN series ON series.id = rollup.series"
                         " WHERE seconds = ?1 AND bucket >= ?2 AND bucket < ?3"
                         " ORDER BY bucket",
    [STMT_QUERY_ERRORS] = "SELECT type, sum(calls), org, feature, provider, model FROM rollup_error"
                          " JOIN series ON series.id = rollup_error.series"
                          " WHERE seconds = ?1 AND bucket >= ?2 AND bucket < ?3"
                          " GROUP BY type, org, feature, provider, model ORDER BY 2 DESC",
    [STMT_QUERY_GAPS] = "SELECT org, workload, provider, reason, sum(connections),"
                        " sum(calls_in_flight), sum(events_lost) FROM gap"
                        " WHERE bucket >= ?1 AND bucket < ?2 GROUP BY 1, 2, 3, 4",
    [STMT_QUERY_COVERAGE] = "SELECT org, workload, provider, sum(seen), sum(metered) FROM coverage"
                            " WHERE bucket >= ?1 AND bucket < ?2 GROUP BY 1, 2, 3",
    [STMT_QUERY_UNPRICED] = "SELECT org, provider, model, basis, sum(calls) FROM unpriced"
                            " WHERE bucket >= ?1 AND bucket < ?2 GROUP BY 1, 2, 3, 4"
                            " ORDER BY 5 DESC, 1, 2, 3, 4 LIMIT ?3",
    [STMT_QUERY_CALLS] = "SELECT payload, end_ns FROM call WHERE end_ns >= ?1 AND end_ns < ?2"
                         " ORDER BY end_ns DESC LIMIT ?3",
    [STMT_QUERY_SPAN] = "SELECT min(bucket), max(bucket) FROM rollup WHERE seconds = ?1",
    [STMT_QUERY_REVISED] = "SELECT bucket, series, revision, org, feature, provider, model,"
                           " workload, calls, errors, input_total, output_total, cached_input,"
                           " max(input_unknown, output_unknown), cost_low, cost_expected,"
                           " cost_high, cost_unknown FROM rollup JOIN series"
                           " ON series.id = rollup.series WHERE seconds = 60 AND bucket = ?1",
};
