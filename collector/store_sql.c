/* SPDX-License-Identifier: Apache-2.0 */
/* Every statement of the collector, in the dialect of db.h. */
#include "collector/store_priv.h"

#define CELL_COLUMNS                                                                               \
    "calls, errors, retries, synthetic, input, cached_input, cache_write, output, "                \
    "reasoning, input_total, output_total, input_unknown, output_unknown, cost_unknown, "          \
    "tokens_estimated, cost_low, cost_expected, cost_high, cost_squares, latency, ttft, "          \
    "added, error_types, usage"
#define CELL_SETS                                                                                  \
    "calls = excluded.calls, errors = excluded.errors, retries = excluded.retries, "               \
    "synthetic = excluded.synthetic, input = excluded.input, cached_input = "                      \
    "excluded.cached_input, cache_write = excluded.cache_write, output = "                         \
    "excluded.output, reasoning = excluded.reasoning, input_total = "                              \
    "excluded.input_total, output_total = excluded.output_total, input_unknown = "                 \
    "excluded.input_unknown, output_unknown = excluded.output_unknown, cost_unknown = "            \
    "excluded.cost_unknown, tokens_estimated = excluded.tokens_estimated, cost_low = "             \
    "excluded.cost_low, cost_expected = excluded.cost_expected, cost_high = "                      \
    "excluded.cost_high, cost_squares = excluded.cost_squares, latency = "                         \
    "excluded.latency, ttft = excluded.ttft, added = excluded.added, error_types = "               \
    "excluded.error_types, usage = excluded.usage, revision = excluded.revision"
#define ALERT_COLUMNS "id, fingerprint, status, org, kind, at_ns, payload, seq"
/* At the end: how often the end of the same episode has arrived there already. */
#define LETTER_COLUMNS                                                                             \
    "letter.id, receiver, letter.alert, letter.fingerprint, attempts, next_ms, error, alert.id,"   \
    " status, at_ns, payload, (SELECT count(*) FROM alert AS later WHERE"                          \
    " later.fingerprint = letter.fingerprint AND later.seq > letter.alert AND later.status = 3"    \
    " AND later.routed = 1 AND NOT EXISTS (SELECT 1 FROM letter AS its WHERE"                      \
    " its.receiver = letter.receiver AND its.alert = later.seq))"
/* One more column. */
#define SUM(column) ", CAST(sum(" column ") AS BIGINT)"
#define SUM_OR_0(column) ", CAST(coalesce(sum(" column "), 0) AS BIGINT)"

#define STREAMS                                                                                    \
    "(SELECT part" SUM("hi - lo + 1") " AS got, max(hi) AS top FROM seq_interval GROUP BY part, "  \
                                      "instance) AS streams"
/* Whoever can publish can claim the number 2^62: a few such streams are no reason for a sum that no
 * integer holds, and no answer about all the others. */
#define MISSING "CASE WHEN top - got > 1099511627776 THEN 1099511627776 ELSE top - got END"
#define LOSS_SUMS SUM_OR_0("got") SUM_OR_0(MISSING)
#define SUM3(a, b, c) SUM(a) SUM(b) SUM(c)
#define GAP_SUMS SUM3("connections", "calls_in_flight", "events_lost")

/* Cells of one bucket within a scope, summed over the lanes. */
#define SHARES(scope)                                                                              \
    "SELECT org, feature, provider, model, workload" SUM3("calls", "errors", "input_total")        \
        SUM3("output_total", "cost_unknown",                                                       \
             "cost_expected") " FROM series JOIN rollup"                                           \
                              " ON rollup.series = series.id WHERE seconds = ?1 AND bucket = ?2 "  \
                              "AND org = ?3" scope                                                 \
                              " GROUP BY org, feature, provider, model, workload"                  \
                              " ORDER BY feature, provider, model, workload"

/* Not a join: what the planner thinks of new tables makes no other plan of it. */
#define TOLD_REVISION                                                                              \
    "coalesce((SELECT told.revision FROM rollup_told AS told WHERE told.seconds = ?1"              \
    " AND told.bucket = ?2 AND told.series = rollup.series), 0)"

/* ?3 rows at most. */
#define PRUNE(table, key, where)                                                                   \
    "DELETE FROM " table " WHERE (" key ") IN (SELECT " key " FROM " table " WHERE " where         \
    " LIMIT ?3)"
#define PRUNE_BUCKETS "seconds = ?1 AND bucket < ?2 ORDER BY bucket"
#define GAP_KEY "seconds, bucket, lane, org, workload, provider, reason"
#define COVERAGE_KEY "seconds, bucket, lane, org, workload, provider"

const char *const store_sql[STMT__COUNT] = {
    [STMT_NUMBER_GET] = "SELECT CAST(sum(value) AS BIGINT) FROM number WHERE name = ?1",
    [STMT_NUMBER_LANE] = "SELECT value FROM number WHERE name = ?1 AND lane = ?2",
    [STMT_NUMBER_SET] = "INSERT INTO number(name, lane, value) VALUES(?1, ?2, ?3)"
                        " ON CONFLICT(name, lane) DO UPDATE SET value = excluded.value",
    [STMT_NUMBER_PUT] = "$MANY INSERT INTO number(name, lane, value) VALUES(?1, ?2, ?3)"
                        " ON CONFLICT(name, lane) DO UPDATE SET value = excluded.value",
    [STMT_NUMBER_ADD] =
        "INSERT INTO number(name, lane, value) VALUES(?1, ?2, ?3)"
        " ON CONFLICT(name, lane) DO UPDATE SET value = number.value + excluded.value",
    [STMT_INTERVALS_LANE] = "$SCAN SELECT part, instance, lo, hi FROM seq_interval"
                            " WHERE part >= ?1 AND part <= ?2 ORDER BY part, instance, lo",
    [STMT_INTERVALS_STREAM] = "SELECT part, instance, lo, hi FROM seq_interval"
                              " WHERE part = ?1 AND instance = ?2 ORDER BY lo",
    [STMT_INTERVAL_AT] = "SELECT lo, hi FROM seq_interval"
                         " WHERE part = ?1 AND instance = ?2 AND lo <= ?3"
                         " ORDER BY lo DESC LIMIT 1",
    [STMT_INTERVAL_PUT] = "INSERT INTO seq_interval(part, instance, lo, hi) VALUES(?1, ?2, ?3, ?4)"
                          " ON CONFLICT(part, instance, lo) DO UPDATE SET hi = excluded.hi",
    [STMT_INTERVAL_DELETE] = "DELETE FROM seq_interval"
                             " WHERE part = ?1 AND instance = ?2 AND lo = ?3",
    [STMT_LOSS] = "SELECT count(*)" LOSS_SUMS " FROM " STREAMS,
    [STMT_HOLES] = "SELECT instance, part, first_seq, last_seq FROM (SELECT instance, part,"
                   "  coalesce(lag(hi) OVER (PARTITION BY part, instance ORDER BY lo), 0) + 1"
                   "  AS first_seq, lo - 1 AS last_seq FROM seq_interval) AS holes"
                   " WHERE first_seq <= last_seq ORDER BY part, instance, first_seq LIMIT ?1",
    [STMT_NAMES_EACH] =
        "$SCAN SELECT org, feature, provider, model, workload, CAST(1 AS BIGINT) FROM series"
        " WHERE id IN (SELECT series FROM rollup WHERE seconds = 86400 AND bucket >= ?1)"
        " UNION ALL SELECT DISTINCT org, '', provider, '', workload, CAST(0 AS BIGINT)"
        " FROM coverage WHERE seconds = 86400 AND bucket >= ?1"
        " UNION ALL SELECT DISTINCT org, '', provider, '', workload, CAST(0 AS BIGINT)"
        " FROM gap WHERE seconds = 86400 AND bucket >= ?1",
    [STMT_SERIES_GET] = "SELECT id FROM series WHERE org = ?1 AND feature = ?2 AND provider = ?3"
                        " AND model = ?4 AND workload = ?5",
    [STMT_SERIES_ADD] = "INSERT INTO series(org, feature, provider, model, workload)"
                        " VALUES(?1, ?2, ?3, ?4, ?5)"
                        " ON CONFLICT(org, feature, provider, model, workload) DO NOTHING"
                        " RETURNING id",
    [STMT_CELL_GET] = "SELECT " CELL_COLUMNS ", revision FROM rollup"
                      " WHERE seconds = ?1 AND bucket = ?2 AND series = ?3 AND lane = ?4",
    [STMT_CELL_PUT] =
        "$MANY INSERT INTO rollup(" CELL_COLUMNS ", revision, seconds, bucket, series,"
        " lane) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
        " ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)"
        " ON CONFLICT(seconds, bucket, series, lane) DO UPDATE SET " CELL_SETS,
    [STMT_CELLS_LANE] = "$SCAN SELECT " CELL_COLUMNS ", revision, bucket, series FROM rollup"
                        " WHERE seconds = ?1 AND bucket >= ?2 AND bucket < ?3 AND lane = ?4"
                        " ORDER BY bucket, series",
    [STMT_GAP_ADD] = "INSERT INTO gap(seconds, bucket, lane, org, workload, provider, reason,"
                     " connections, calls_in_flight, events_lost)"
                     " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
                     " ON CONFLICT(seconds, bucket, lane, org, workload, provider, reason)"
                     " DO UPDATE SET connections = gap.connections + excluded.connections,"
                     " calls_in_flight = gap.calls_in_flight + excluded.calls_in_flight,"
                     " events_lost = gap.events_lost + excluded.events_lost",
    [STMT_REASONS_EACH] = "SELECT DISTINCT org, reason FROM gap WHERE seconds = 86400"
                          " AND bucket >= ?1 AND reason <> '(other)'",
    [STMT_COVERAGE_ADD] = "INSERT INTO coverage(seconds, bucket, lane, org, workload, provider,"
                          " seen, metered) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                          " ON CONFLICT(seconds, bucket, lane, org, workload, provider)"
                          " DO UPDATE SET seen = coverage.seen + excluded.seen,"
                          " metered = coverage.metered + excluded.metered",
    [STMT_UNPRICED_ADD] = "INSERT INTO unpriced(bucket, lane, org, provider, model, basis, calls)"
                          " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                          " ON CONFLICT(bucket, lane, org, provider, model, basis)"
                          " DO UPDATE SET calls = unpriced.calls + excluded.calls",
    [STMT_UNPRICED_HAS] = "SELECT 1 FROM unpriced WHERE bucket = ?1 AND lane = ?2 AND org = ?3"
                          " AND provider = ?4 AND model = ?5 AND basis = ?6",
    [STMT_UNPRICED_COUNT] = "SELECT count(*) FROM unpriced WHERE bucket = ?1 AND lane = ?2",
    [STMT_CALL_BLOCK_ADD] = "INSERT INTO call_block(lane, first_ns, last_ns, calls, payload)"
                            " VALUES(?1, ?2, ?3, ?4, ?5)",
    [STMT_MALFORMED_ADD] = "INSERT INTO malformed(stream_seq, subject, reason, bytes, payload)"
                           " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(stream_seq) DO NOTHING",
    [STMT_MALFORMED_SAME] = "SELECT 1 FROM malformed WHERE stream_seq = ?1 AND bytes = ?4"
                            " AND (reason = '' OR (subject = ?2 AND payload = ?3))",
    [STMT_MALFORMED_TRIM] =
        "UPDATE malformed SET subject = '', reason = '', payload = ?2 WHERE reason <> ''"
        " AND stream_seq <= (SELECT stream_seq FROM malformed WHERE reason <> ''"
        " ORDER BY stream_seq DESC LIMIT 1 OFFSET ?1)",
    [STMT_MALFORMED_FORGET] = "DELETE FROM malformed WHERE stream_seq <= (SELECT stream_seq FROM"
                              " malformed ORDER BY stream_seq DESC LIMIT 1 OFFSET ?1)",
    [STMT_MALFORMED_EACH] =
        "$BIGSCAN SELECT stream_seq, subject, reason, bytes, payload FROM malformed"
        " WHERE stream_seq > ?1 AND reason <> '' ORDER BY stream_seq LIMIT ?2",
    [STMT_MALFORMED_DELETE] = "DELETE FROM malformed WHERE stream_seq = ?1",
    [STMT_TOUCH] =
        "$MANY INSERT INTO touched(lane, seconds, bucket, revision) VALUES(?1, ?2, ?3, ?4)"
        " ON CONFLICT(lane, seconds, bucket)"
        " DO UPDATE SET revision = touched.revision + 1",
    [STMT_TOUCHED_EACH] = "SELECT lane, seconds, bucket, revision FROM touched"
                          " ORDER BY seconds, bucket, lane LIMIT ?1",
    [STMT_TOUCHED_CLEAR] = "DELETE FROM touched WHERE lane = ?1 AND seconds = ?2 AND bucket = ?3"
                           " AND revision = ?4",
    [STMT_LANE_GET] = "SELECT watermark_ns FROM lane_state WHERE lane = ?1",
    [STMT_LANE_PUT] = "INSERT INTO lane_state(lane, watermark_ns) VALUES(?1, ?2)"
                      " ON CONFLICT(lane) DO UPDATE SET watermark_ns = excluded.watermark_ns",
    [STMT_LANE_EACH] = "SELECT lane, watermark_ns FROM lane_state ORDER BY lane",
    [STMT_PRUNE_CELLS] = PRUNE("rollup", "seconds, bucket, series, lane", PRUNE_BUCKETS),
    [STMT_PRUNE_GAPS] = PRUNE("gap", GAP_KEY, PRUNE_BUCKETS),
    [STMT_PRUNE_COVERAGE] = PRUNE("coverage", COVERAGE_KEY, PRUNE_BUCKETS),
    [STMT_PRUNE_COVERAGE_TOLD] =
        PRUNE("coverage_told", "seconds, bucket, org, workload, provider", PRUNE_BUCKETS),
    [STMT_PRUNE_CELLS_TOLD] = PRUNE("rollup_told", "seconds, bucket, series", PRUNE_BUCKETS),
    [STMT_PRUNE_UNPRICED] = PRUNE("unpriced", "bucket, lane, org, provider, model, basis",
                                  "bucket < ?2 AND ?1 = 60 ORDER BY bucket"),
    [STMT_PRUNE_CALLS] = PRUNE("call_block", "id", "last_ns < ?2 AND ?1 = 0 ORDER BY last_ns"),
    /* An episode that is over, told to everybody. */
    [STMT_PRUNE_ALERTS] =
        PRUNE("alert", "seq",
              "at_ns < ?2 AND ?1 = 0 AND published != 0 AND routed = 1"
              " AND NOT EXISTS (SELECT 1 FROM letter WHERE letter.alert = alert.seq)"
              " AND EXISTS (SELECT 1 FROM alert AS later WHERE later.fingerprint ="
              " alert.fingerprint AND later.status = 3 AND later.seq >= alert.seq)"
              " ORDER BY at_ns"),
    [STMT_PRUNE_SILENCES] = PRUNE("silence", "id", "until_s < ?2 AND ?1 = 0 ORDER BY until_s"),
    [STMT_BLOCKS_SMALL] = "$BIGSCAN SELECT id, lane, payload, last_ns FROM call_block"
                          " WHERE last_ns >= ?1 AND last_ns < ?2 AND calls < ?3"
                          " AND length(payload) < ?5 ORDER BY last_ns LIMIT ?4",
    [STMT_BLOCK_DELETE] = "DELETE FROM call_block WHERE id = ?1",
    [STMT_ALERT_ADD] = "INSERT INTO alert(id, fingerprint, status, org, kind, at_ns,"
                       " published, payload, routed) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0)"
                       " ON CONFLICT(id) DO NOTHING",
    [STMT_ALERT_UNPUBLISHED] = "SELECT " ALERT_COLUMNS " FROM alert WHERE published = 0"
                               " AND seq > ?2 ORDER BY seq LIMIT ?1",
    [STMT_ALERT_WAITING] = "SELECT count(*) FROM alert WHERE published = 0",
    [STMT_ALERT_PUBLISHED] = "UPDATE alert SET published = ?2 WHERE seq = ?1",
    [STMT_ALERT_LIST] = "SELECT " ALERT_COLUMNS " FROM alert WHERE at_ns >= ?1"
                        " ORDER BY seq DESC LIMIT ?2",
    [STMT_ALERT_ACTIVE] = "SELECT " ALERT_COLUMNS " FROM alert WHERE at_ns >= ?1 AND seq IN"
                          " (SELECT max(seq) FROM alert GROUP BY fingerprint) AND status != 3"
                          " ORDER BY seq DESC LIMIT ?2",
    [STMT_ALERT_ACTIVE_AFTER] =
        "SELECT " ALERT_COLUMNS " FROM alert WHERE fingerprint > ?1 AND status != 3 AND NOT EXISTS"
        " (SELECT 1 FROM alert AS later WHERE later.fingerprint = alert.fingerprint"
        " AND later.seq > alert.seq) ORDER BY fingerprint LIMIT ?2",
    [STMT_ALERT_LAST] = "SELECT " ALERT_COLUMNS " FROM alert WHERE fingerprint = ?1"
                        " ORDER BY seq DESC LIMIT 1",
    [STMT_ALERT_UNROUTED] = "SELECT " ALERT_COLUMNS " FROM alert WHERE routed = 0"
                            " ORDER BY seq LIMIT ?1",
    [STMT_ALERT_ROUTED] = "UPDATE alert SET routed = 1 WHERE seq = ?1 AND routed = 0",
    [STMT_LETTER_ADD] =
        "INSERT INTO letter(receiver, alert, fingerprint, attempts, next_ms, dead, error)"
        " SELECT CAST(?1 AS TEXT), CAST(?2 AS BIGINT), CAST(?3 AS TEXT), 0, 0,"
        " CASE WHEN n >= ?4 THEN 1 ELSE 0 END, CASE WHEN n >= ?4 THEN 'too many wait' ELSE '' END"
        " FROM (SELECT count(*) AS n FROM letter WHERE receiver = ?1 AND dead = 0) AS waiting"
        " WHERE 1 = 1 ON CONFLICT(receiver, alert) DO NOTHING",
    [STMT_LETTER_END] = "DELETE FROM letter WHERE id = ?1",
    [STMT_LETTER_PUT] = "UPDATE letter SET attempts = ?2, next_ms = ?3, dead = ?4, error = ?5"
                        " WHERE id = ?1",
    [STMT_LETTERS_DUE] =
        "SELECT " LETTER_COLUMNS " FROM letter JOIN alert ON alert.seq = letter.alert"
        " WHERE receiver = ?1 AND dead = 0 AND (next_ms <= ?2 OR next_ms > ?3) AND NOT EXISTS"
        " (SELECT 1 FROM letter AS earlier WHERE earlier.receiver = letter.receiver AND"
        "  earlier.fingerprint = letter.fingerprint AND earlier.dead = 0 AND"
        "  earlier.alert < letter.alert) ORDER BY letter.alert LIMIT ?4",
    [STMT_LETTERS_DEAD] =
        "SELECT " LETTER_COLUMNS " FROM letter JOIN alert ON alert.seq = letter.alert"
        " WHERE dead = 1 ORDER BY letter.id LIMIT ?1",
    [STMT_LETTERS_TRIM] = "DELETE FROM letter WHERE receiver = ?1 AND dead = 1 AND id <="
                          " (SELECT id FROM letter WHERE receiver = ?1 AND dead = 1"
                          "  ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    [STMT_LETTERS_BURY] = "UPDATE letter SET dead = 1, error = ?2 WHERE receiver = ?1 AND dead = 0",
    [STMT_LETTERS_REVIVE] = "UPDATE letter SET dead = 0, attempts = 0, next_ms = 0, error = ''"
                            " WHERE dead = 1 AND (CAST(?1 AS TEXT) = '' OR receiver = ?1)"
                            " AND (?2 = 0 OR id = ?2)",
    [STMT_LETTERS_COUNT] =
        "SELECT receiver, CAST(sum(1 - dead) AS BIGINT), CAST(sum(dead) AS BIGINT),"
        " coalesce(min(CASE WHEN dead = 0 THEN at_ns END), 0) FROM letter"
        " JOIN alert ON alert.seq = letter.alert GROUP BY receiver",
    [STMT_TOLD_PUT] = "INSERT INTO told(receiver, fingerprint, alert) VALUES(?1, ?2, ?3)"
                      " ON CONFLICT(receiver, fingerprint) DO UPDATE SET alert = excluded.alert",
    [STMT_TOLD_END] = "DELETE FROM told WHERE fingerprint = ?1",
    [STMT_TOLD_GET] = "SELECT alert FROM told WHERE receiver = ?1 AND fingerprint = ?2",
    [STMT_TOLD_EACH] = "SELECT " ALERT_COLUMNS " FROM alert WHERE seq IN"
                       " (SELECT alert FROM told WHERE receiver = ?1 AND alert > ?2)"
                       " ORDER BY seq LIMIT ?3",
    [STMT_QUERY_CELLS] =
        "$SCAN SELECT " CELL_COLUMNS ", bucket, series, org, feature, provider, model,"
        " workload FROM rollup JOIN series ON series.id = rollup.series"
        " WHERE seconds = ?1 AND bucket >= ?2 AND bucket < ?3"
        " ORDER BY bucket, series",
    [STMT_QUERY_ERRORS] = "$SCAN SELECT error_types, org, feature, provider, model FROM rollup"
                          " JOIN series ON series.id = rollup.series"
                          " WHERE seconds = ?1 AND bucket >= ?2 AND bucket < ?3"
                          " AND error_types != ''",
    [STMT_QUERY_GAPS] = "SELECT org, workload, provider, reason" GAP_SUMS " FROM gap"
                        " WHERE seconds = ?1 AND bucket >= ?2 AND bucket < ?3 GROUP BY 1, 2, 3, 4"
                        " ORDER BY 1, 2, 3, 4",
    [STMT_QUERY_COVERAGE] = "SELECT org, workload, provider" SUM("seen")
        SUM("metered") " FROM coverage"
                       " WHERE seconds = ?1 AND bucket >= ?2 AND bucket < ?3 GROUP BY 1, 2, 3"
                       " ORDER BY 1, 2, 3",
    [STMT_QUERY_UNPRICED] = "SELECT org, provider, model, basis" SUM(
        "calls") " FROM unpriced"
                 " WHERE bucket >= ?1 AND bucket < ?2 GROUP BY 1, 2, 3, 4"
                 " ORDER BY 5 DESC, 1, 2, 3, 4 LIMIT ?3",
    [STMT_QUERY_CALLS] = "$BIGSCAN SELECT first_ns, last_ns, payload, calls FROM call_block"
                         " WHERE last_ns >= ?1 AND first_ns < ?2 ORDER BY last_ns DESC",
    [STMT_QUERY_SPAN] = "SELECT (SELECT min(bucket) FROM rollup WHERE seconds = ?1),"
                        " (SELECT max(bucket) FROM rollup WHERE seconds = ?1)",
    [STMT_SHARES_MODEL] = SHARES(" AND feature = ?4 AND provider = ?5 AND model = ?6"),
    [STMT_SHARES_FEATURE] = SHARES(" AND feature = ?4"),
    [STMT_SHARES_PROVIDER] = SHARES(" AND provider = ?4"),
    [STMT_SHARES_ORG] = SHARES(""),
    [STMT_BASELINE_PUT] = "INSERT INTO baseline_state(at_s, name, payload) VALUES(?1, ?2, ?3)"
                          " ON CONFLICT(at_s, name) DO UPDATE SET payload = excluded.payload",
    [STMT_BASELINE_EACH] =
        "$BIGSCAN SELECT name, payload FROM baseline_state WHERE at_s = ?1 ORDER BY name",
    [STMT_BASELINE_NEWEST] = "SELECT at_s FROM baseline_state WHERE name = ?1 AND at_s <= ?2"
                             " ORDER BY at_s DESC LIMIT ?3",
    [STMT_BASELINE_DROP] = "DELETE FROM baseline_state WHERE at_s >= ?1 AND at_s < ?2",
    [STMT_COLLECTOR_SEEN] = "INSERT INTO collector(id, seen_ms, joined_ms)"
                            " VALUES(?1, $NOW_MS, $NOW_MS)"
                            " ON CONFLICT(id) DO UPDATE SET seen_ms = excluded.seen_ms",
    [STMT_COLLECTOR_EACH] = "SELECT id, CASE WHEN seen_ms > $NOW_MS - ?1 THEN 1 ELSE 0 END"
                            " FROM collector ORDER BY joined_ms, id",
    [STMT_COLLECTOR_LEAVE] = "DELETE FROM collector WHERE id = ?1",
    [STMT_COLLECTOR_FORGET] = "DELETE FROM collector WHERE seen_ms < $NOW_MS - ?1 AND id NOT IN"
                              " (SELECT owner FROM lease)",
    [STMT_COLLECTOR_EVICT] = "SELECT count(*)$EVICTED",
    [STMT_LEASE_ADD] = "INSERT INTO lease(lane, owner, epoch) VALUES(?1, '', 0)"
                       " ON CONFLICT(lane) DO NOTHING",
    [STMT_LEASE_EACH] = "SELECT lane, owner, epoch FROM lease ORDER BY lane",
    [STMT_LEASE_HELD] = "SELECT lane, epoch FROM lease WHERE owner = ?1 ORDER BY lane$FOR_SHARE",
    [STMT_LEASE_TAKE] = "UPDATE lease SET owner = ?1, epoch = epoch + 1 WHERE lane IN"
                        " (SELECT lane FROM lease WHERE lane = ?2 AND epoch = ?3$SKIP_BUSY)",
    [STMT_LEASE_RELEASE] = "UPDATE lease SET owner = '' WHERE lane = ?1 AND owner = ?2"
                           " AND epoch = ?3",
    [STMT_SEEN_ADD] = "INSERT INTO seen(org, dimension, value, first_s, feature, provider, model,"
                      " told) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)"
                      " ON CONFLICT(org, dimension, value) DO NOTHING",
    [STMT_SEEN_EACH] = "SELECT org, dimension, value FROM seen",
    [STMT_SEEN_UNTOLD] =
        "SELECT org, dimension, value, first_s, feature, provider, model,"
        " (SELECT min(o.first_s) FROM seen o WHERE o.org = seen.org"
        "  AND o.dimension = seen.dimension)"
        " FROM seen WHERE told = 0 AND first_s < ?1 ORDER BY first_s, org, dimension, value"
        " LIMIT ?2",
    [STMT_SEEN_TOLD] = "UPDATE seen SET told = 1 WHERE org = ?1 AND dimension = ?2 AND value = ?3",
    [STMT_SILENCE_ADD] = "INSERT INTO silence(id, org, feature, provider, model, severity, rule,"
                         " from_s, until_s, planned, comment)"
                         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                         " ON CONFLICT(id) DO UPDATE SET until_s = excluded.until_s",
    [STMT_SILENCE_EACH] = "SELECT id, org, feature, provider, model, severity, rule, from_s,"
                          " until_s, planned, comment FROM silence WHERE until_s > ?1"
                          " ORDER BY until_s DESC, id",
    [STMT_SILENCE_END] = "UPDATE silence SET until_s = ?2 WHERE id = ?1 AND until_s > ?2",
    [STMT_FEEDBACK_PUT] = "INSERT INTO feedback(fingerprint, verdict, at_s) VALUES(?1, ?2, ?3)"
                          " ON CONFLICT(fingerprint) DO UPDATE SET verdict = excluded.verdict,"
                          " at_s = excluded.at_s",
    [STMT_FEEDBACK_GET] = "SELECT verdict FROM feedback WHERE fingerprint = ?1",
    [STMT_RULE_STATE_GET] = "SELECT at_s, payload FROM rule_state WHERE name = ?1",
    [STMT_RULE_STATE_PUT] = "INSERT INTO rule_state(name, at_s, payload) VALUES(?1, ?2, ?3)"
                            " ON CONFLICT(name) DO UPDATE SET at_s = excluded.at_s,"
                            " payload = excluded.payload",
    [STMT_CHANGED_EACH] = "SELECT seconds, bucket FROM touched WHERE bucket + seconds <= ?1"
                          " AND lane >= ?3 AND (seconds > ?4 OR seconds = ?4 AND bucket > ?5)"
                          " GROUP BY seconds, bucket ORDER BY seconds, bucket LIMIT ?2",
    [STMT_TOUCHED_BUCKET] = "SELECT lane, revision FROM touched WHERE seconds = ?1 AND bucket = ?2"
                            " ORDER BY lane",
    [STMT_UNTOLD_CELLS] =
        "SELECT " CELL_COLUMNS ", series, lane, revision, " TOLD_REVISION ", org, feature,"
        " provider, model, workload FROM rollup JOIN series ON series.id = rollup.series"
        " WHERE seconds = ?1 AND bucket = ?2 AND series IN (SELECT series FROM rollup"
        "  WHERE seconds = ?1 AND bucket = ?2 AND series > ?4 GROUP BY series"
        "  HAVING sum(revision) > " TOLD_REVISION " ORDER BY series LIMIT ?3)"
        " ORDER BY series, lane",
    [STMT_CELL_TOLD] = "$MANY INSERT INTO rollup_told(seconds, bucket, series, revision)"
                       " VALUES(?1, ?2, ?3, ?4) ON CONFLICT(seconds, bucket, series)"
                       " DO UPDATE SET revision = excluded.revision",
    /* kinds as in store_publish.h */
    [STMT_COVERAGE_PARTS] =
        "SELECT org, workload, provider, kind, reason, a, b, c FROM ("
        "SELECT org, workload, provider, CAST(0 AS BIGINT) AS kind, '' AS reason" SUM(
            "seen") " AS a" SUM("metered") " AS b, CAST(0 AS BIGINT) AS c FROM coverage WHERE "
                                           "seconds = ?1 AND bucket = ?2"
                                           " GROUP BY org, workload, provider UNION ALL"
                                           " SELECT org, workload, provider, CAST(1 AS BIGINT), "
                                           "reason" GAP_SUMS
                                           " FROM gap WHERE seconds = ?1 AND bucket = ?2"
                                           " GROUP BY org, workload, provider, reason UNION ALL"
                                           " SELECT org, workload, provider, CAST(2 AS BIGINT), "
                                           "'', revision,"
                                           " CAST(0 AS BIGINT), CAST(0 AS BIGINT) FROM "
                                           "coverage_told"
                                           " WHERE seconds = ?1 AND bucket = ?2) AS parts"
                                           " ORDER BY org, workload, provider, kind, reason",
    [STMT_COVERAGE_TOLD] =
        "$MANY INSERT INTO coverage_told(seconds, bucket, org, workload, provider, revision)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(seconds, bucket, org, workload, provider)"
        " DO UPDATE SET revision = excluded.revision",
    [STMT_OLD_ERRORS] = "SELECT seconds, bucket, series, type, calls FROM old_rollup_error"
                        " ORDER BY seconds, bucket, series",
    [STMT_OLD_ERRORS_PUT] = "UPDATE rollup SET error_types = ?1"
                            " WHERE seconds = ?2 AND bucket = ?3 AND series = ?4",
    [STMT_OLD_CALLS] = "SELECT end_ns, payload FROM old_call ORDER BY end_ns",
    [STMT_OLD_CALLS_PUT] = "INSERT INTO call_block(lane, first_ns, last_ns, calls, payload)"
                           " VALUES(0, ?1, ?2, ?3, ?4)",
};
