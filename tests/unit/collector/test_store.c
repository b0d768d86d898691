/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @store */
#include "collector/store.h"
#include "collector/store_deliver.h"
#include "collector/store_prune.h"
#include "collector/store_query.h"
#include "proto/base/clock.h"
#include "tests/harness/stores.h"
#include "tests/unit/collector/store_fill.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define NOON_S INT64_C(1767268800)

static void prune_minutes(struct store *s, int64_t from_s)
{
    const struct store_keep keep = {.from_s = {from_s, 0, 0}};
    uint64_t rows = 0;

    do
        assert_int_equal(store_prune_some(s, &keep, 7, &rows), 0);
    while (rows > 0);
}

static bool claim(struct store *s, const char *instance, uint64_t seq)
{
    bool is_new = false;

    assert_int_equal(store_claim(s, instance, 1, seq, &is_new), 0);
    return is_new;
}

static int add_unpriced(void *ctx, const struct store_unpriced_row *row)
{
    uint64_t *calls = ctx;

    calls[strcmp(row->model, "(other)") == 0] += row->calls;
    return 0;
}

/* Clients name models; what is kept of a minute is bounded, and nothing is lost. */
static void test_unpriced_models_are_bounded(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct record rec = {.org = "acme",
                         .provider = "p",
                         .cost_basis = "unknown_model",
                         .end_ns = (uint64_t)NOON_S * NSEC_PER_SEC};
    uint64_t calls[2] = {0};

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    for (unsigned i = 0; i < 2 * (STORE_UNPRICED_MAX + 50); i++) {
        snprintf(rec.model_billed, sizeof(rec.model_billed), "m%u", i % (STORE_UNPRICED_MAX + 50));
        assert_int_equal(store_add_unpriced(s, 0, &rec, 1), 0);
    }
    assert_int_equal(store_each_unpriced(s, NOON_S, NOON_S + 60, 1000, add_unpriced, calls), 0);
    assert_int_equal(calls[0], 2 * STORE_UNPRICED_MAX);
    assert_int_equal(calls[1], 2 * 50);
    prune_minutes(s, NOON_S + 60);
    calls[0] = 0;
    assert_int_equal(store_each_unpriced(s, NOON_S, NOON_S + 60, 1000, add_unpriced, calls), 0);
    assert_int_equal(calls[0], 0);
}

/* What is told again takes no further place. */
static void test_unpriced_models_take_one_place(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct record rec = {.org = "acme",
                         .provider = "p",
                         .cost_basis = "unknown_model",
                         .end_ns = (uint64_t)NOON_S * NSEC_PER_SEC};
    uint64_t calls[2] = {0};

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    for (unsigned i = 0; i < 3 * 120; i++) {
        snprintf(rec.model_billed, sizeof(rec.model_billed), "m%u", i % 120);
        assert_int_equal(store_add_unpriced(s, 0, &rec, 1), 0);
    }
    for (unsigned i = 120; i < STORE_UNPRICED_MAX + 50; i++) {
        snprintf(rec.model_billed, sizeof(rec.model_billed), "m%u", i);
        assert_int_equal(store_add_unpriced(s, 0, &rec, 1), 0);
    }
    assert_int_equal(store_each_unpriced(s, NOON_S, NOON_S + 60, 1000, add_unpriced, calls), 0);
    assert_int_equal(calls[0], 3 * 120 + STORE_UNPRICED_MAX - 120);
    assert_int_equal(calls[1], 50);
}

/* Any order: a number is new once, and what is left out is counted. */
static void test_claims(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct store_loss loss;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_true(claim(s, "a", 1));
    assert_false(claim(s, "a", 1));
    assert_true(claim(s, "a", 3));
    assert_true(claim(s, "a", 5));
    assert_true(claim(s, "a", 4));
    assert_true(claim(s, "b", 4));
    assert_int_equal(store_loss(s, &loss), 0);
    assert_int_equal(loss.streams, 2);
    assert_int_equal(loss.received, 5);
    assert_int_equal(loss.missing, 1 + 3);
    assert_true(claim(s, "a", 2));
    assert_int_equal(store_loss(s, &loss), 0);
    assert_int_equal(loss.missing, 3);
    for (uint64_t seq = 1; seq <= 5; seq++)
        assert_false(claim(s, "a", seq));
    assert_true(claim(s, "a", 6));
}

struct holes {
    unsigned count;
    uint64_t first, last;
};

static int note_hole(void *ctx, const struct store_hole *hole)
{
    struct holes *h = ctx;

    h->count++;
    h->first = hole->first;
    h->last = hole->last;
    return 0;
}

/* The same, against the plainest possible model, with a seeded shuffle. */
static void test_claims_against_a_model(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    bool there[401] = {false};
    struct store_loss loss;
    uint64_t z = 12345, received = 0, top = 0;
    struct holes holes = {0};

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(store_begin(s), 0);
    for (int i = 0; i < 3000; i++) {
        uint64_t seq;

        z = z * 6364136223846793005ull + 1442695040888963407ull;
        seq = 1 + (z >> 33) % 400;
        assert_int_equal(claim(s, "m", seq), !there[seq]);
        received += !there[seq];
        there[seq] = true;
        top = seq > top ? seq : top;
        if (i == 300) {
            assert_int_equal(store_loss(s, &loss), 0);
            assert_int_equal(loss.received, received);
            assert_int_equal(loss.missing, top - received);
        }
    }
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_loss(s, &loss), 0);
    assert_int_equal(loss.received, received);
    assert_int_equal(loss.missing, top - received);
    assert_int_equal(store_each_hole(s, 1000, note_hole, &holes), 0);
    assert_true(loss.missing == 0 ? holes.count == 0 : holes.count > 0);
}

static struct record call_of(const char *feature, int64_t end_s)
{
    struct record rec = {
        .kind = RECORD_CALL,
        .org = "acme",
        .provider = "openai",
        .model = "gpt-4o",
        .workload = "web",
        .end_ns = (uint64_t)end_s * NSEC_PER_SEC,
        .cost = {.known = true, .low_nanousd = 1, .expected_nanousd = 2, .high_nanousd = 3},
        .latency_us = {.known = true, .value = 5000},
        .tokens = {.input_total = {.known = true, .value = 10}},
        .error_type = "timeout",
    };

    snprintf(rec.feature, sizeof(rec.feature), "%s", feature);
    return rec;
}

static void write_calls(struct store *s, const char *feature, int64_t end_s, unsigned calls)
{
    struct record rec = call_of(feature, end_s);

    fill_calls(s, &rec, calls);
}

struct sum {
    unsigned rows;
    uint64_t calls, latencies, errors, unknown;
    int64_t high;
    char feature[96];
};

static int add_cell(void *ctx, const struct store_series_name *name, const struct rollup_cell *cell)
{
    struct sum *sum = ctx;

    sum->rows++;
    sum->calls += cell->sums.calls;
    sum->latencies += cell->latency.count;
    sum->errors += cell->sums.errors;
    sum->unknown += cell->sums.output_unknown;
    sum->high += cell->sums.cost_high_nanousd;
    snprintf(sum->feature, sizeof(sum->feature), "%s", name->feature);
    return 0;
}

static struct sum sum_of(struct store *s, enum rollup_resolution res)
{
    struct sum sum = {0};

    assert_int_equal(store_each_cell(s, res, 0, INT64_MAX, add_cell, &sum), 0);
    return sum;
}

static int count_error(void *ctx, const struct store_error_row *row)
{
    assert_string_equal(row->type, "timeout");
    *(uint64_t *)ctx += row->calls;
    return 0;
}

static void test_cells_add_up(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct sum sum;
    uint64_t errors = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    write_calls(s, "chat", NOON_S, 3);
    write_calls(s, "chat", NOON_S + 30, 4);
    write_calls(s, "chat", NOON_S + 60, 5);
    sum = sum_of(s, ROLLUP_MINUTE);
    assert_int_equal(sum.rows, 2);
    assert_int_equal(sum.calls, 12);
    sum = sum_of(s, ROLLUP_DAY);
    assert_int_equal(sum.rows, 1);
    assert_int_equal(sum.calls, 12);
    assert_int_equal(sum.latencies, 12);
    assert_int_equal(sum.errors, 12);
    assert_int_equal(sum.unknown, 12);
    assert_int_equal(sum.high, 36);
    assert_int_equal(store_each_error(s, ROLLUP_HOUR, 0, INT64_MAX, count_error, &errors), 0);
    assert_int_equal(errors, 12);
}

static void test_rollback_leaves_nothing(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct store_loss loss;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(store_begin(s), 0);
    assert_true(claim(s, "a", 1));
    write_calls(s, "chat", NOON_S, 3);
    store_rollback(s);
    assert_int_equal(sum_of(s, ROLLUP_MINUTE).rows, 0);
    assert_int_equal(store_loss(s, &loss), 0);
    assert_int_equal(loss.received, 0);
    assert_true(claim(s, "a", 1));
}

/* Killed between or within transactions: numbers and sums agree afterwards. */
static void test_kill_keeps_numbers_and_sums_together(void **state)
{
    (void)state;
    STORES_NEEDED();
    for (unsigned round = 0; round < 15; round++) {
        CLEAN_STORE struct store *s = NULL;
        struct store_loss loss;
        pid_t pid = fork();

        if (pid == 0) {
            struct store *child = NULL;

            if (store_open(stores_where, &child) < 0)
                _exit(1);
            for (uint64_t seq = 1;; seq++) {
                if (store_begin(child) < 0)
                    _exit(1);
                if (claim(child, "k", seq))
                    write_calls(child, "chat", NOON_S + (int64_t)seq, 1);
                if (store_commit(child) < 0)
                    _exit(1);
            }
        }
        assert_true(pid > 0);
        usleep(20000 + 7000 * round);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(store_open(stores_where, &s), 0);
        assert_int_equal(store_loss(s, &loss), 0);
        assert_int_equal(sum_of(s, ROLLUP_MINUTE).calls, loss.received);
        assert_int_equal(sum_of(s, ROLLUP_DAY).calls, loss.received);
        assert_int_equal(loss.missing, 0);
        if (round == 14)
            assert_true(loss.received > 0);
    }
}

static int count_alert(void *ctx, const struct store_alert *alert)
{
    assert_string_equal(alert->kind, "cost");
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned active_alerts(struct store *s)
{
    unsigned n = 0;

    assert_int_equal(store_each_alert(s, 0, true, 10, count_alert, &n), 0);
    return n;
}

static void test_alerts(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct store_alert alert = {.id = "1",
                                .fingerprint = "f",
                                .status = 1,
                                .org = "o",
                                .kind = "cost",
                                .at_ns = 5,
                                .payload = slice_of("xyz", 3)};
    unsigned unpublished = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(store_add_alert(s, &alert), 0);
    assert_int_equal(store_add_alert(s, &alert), 0);
    assert_int_equal(store_each_unpublished_alert(s, 0, 10, count_alert, &unpublished), 0);
    assert_int_equal(unpublished, 1);
    assert_int_equal(active_alerts(s), 1);
    alert.id = "2";
    alert.status = 3;
    assert_int_equal(store_add_alert(s, &alert), 0);
    assert_int_equal(active_alerts(s), 0);
    assert_int_equal(store_set_alert_published(s, 1), 0);
    unpublished = 0;
    assert_int_equal(store_each_unpublished_alert(s, 0, 10, count_alert, &unpublished), 0);
    assert_int_equal(unpublished, 1);
}

static int count_kept(void *ctx, const struct store_malformed *m)
{
    (void)m;
    ++*(unsigned *)ctx;
    return 0;
}

/* Counted once for each place in the stream, kept up to a bound. */
static void test_malformed(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    int64_t counted = 0;
    unsigned kept = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(store_begin(s), 0);
    for (uint64_t i = 1; i <= STORE_MALFORMED_MAX + 50; i++) {
        const struct store_malformed m = {.stream_seq = i,
                                          .subject = "lectr.v1.call.x",
                                          .reason = "bad",
                                          .bytes = 3,
                                          .payload = slice_of("xyz", 3)};

        assert_int_equal(store_add_malformed(s, 0, &m), 0);
        assert_int_equal(store_add_malformed(s, 0, &m), 0);
    }
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_number_get(s, "malformed", &counted), 0);
    assert_int_equal(counted, STORE_MALFORMED_MAX + 50);
    assert_int_equal(store_each_malformed(s, 0, 10000, count_kept, &kept), 0);
    assert_int_equal(kept, STORE_MALFORMED_MAX);
    /* One of a lane that is behind: delivered again it is not counted again. */
    assert_int_equal(store_begin(s), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            store_add_malformed(s, 0,
                                &(struct store_malformed){.stream_seq = 1,
                                                          .subject = "lectr.v1.call.x",
                                                          .reason = "bad",
                                                          .bytes = 3,
                                                          .payload = slice_of("xyz", 3)}),
            0);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_number_get(s, "malformed", &counted), 0);
    assert_int_equal(counted, STORE_MALFORMED_MAX + 50);
}

/* A stream that is made anew counts from one again. */
static void test_malformed_of_another_stream(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct store_malformed m = {.stream_seq = 7,
                                .subject = "lectr.v1.call.x",
                                .reason = "bad",
                                .bytes = 3,
                                .payload = slice_of("xyz", 3)};
    int64_t counted = 0;
    unsigned kept = 0;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(store_begin(s), 0);
    for (int i = 0; i < 2; i++) {
        m.payload = slice_of("xyz", 3);
        assert_int_equal(store_add_malformed(s, 0, &m), 0);
        m.payload = slice_of("xyw", 3);
        assert_int_equal(store_add_malformed(s, 0, &m), 0);
    }
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_number_get(s, "malformed", &counted), 0);
    assert_int_equal(counted, 2);
    assert_int_equal(store_each_malformed(s, 0, 10, count_kept, &kept), 0);
    assert_int_equal(kept, 2);
}

static void add_old_alert(struct store *s, const char *id, const char *fingerprint, int status,
                          bool is_told)
{
    const struct store_alert alert = {.id = id,
                                      .fingerprint = fingerprint,
                                      .status = status,
                                      .org = "acme",
                                      .kind = "cost",
                                      .at_ns = NOON_S * INT64_C(1000000000),
                                      .payload = slice_of("xyz", 3)};
    static int64_t row;
    bool is_mine = false;

    row = strcmp(id, "1") == 0 ? 1 : row + 1;
    assert_int_equal(store_add_alert(s, &alert), 0);
    if (!is_told)
        return;
    assert_int_equal(store_set_alert_published(s, row), 0);
    assert_int_equal(store_set_alert_routed(s, row, &is_mine), 0);
}

static int list_alert(void *ctx, const struct store_alert *alert)
{
    strcat(ctx, alert->id);
    return 0;
}

/* Old alerts go; what is active, or on its way, stays whatever its age. */
static void test_old_alerts_are_pruned(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct store_keep keep = {.alerts_from_s = NOON_S};
    uint64_t rows = 0;
    char left[16] = "";

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    add_old_alert(s, "1", "over", 1, true);
    add_old_alert(s, "2", "over", 3, true);
    assert_int_equal(store_set_alert_given_up(s, 2), 0);
    add_old_alert(s, "3", "active", 3, true);
    add_old_alert(s, "4", "active", 1, true);
    add_old_alert(s, "5", "waits", 1, true);
    add_old_alert(s, "6", "waits", 3, false);
    assert_int_equal(store_prune_some(s, &keep, 10, &rows), 0);
    assert_int_equal(rows, 0);
    keep.alerts_from_s = NOON_S + 1;
    while (store_prune_some(s, &keep, 10, &rows) == 0 && rows)
        ;
    assert_int_equal(store_each_alert(s, 0, false, 10, list_alert, left), 0);
    assert_int_equal(strlen(left), 2);
    assert_non_null(strchr(left, '4'));
    assert_non_null(strchr(left, '6'));
}

static void test_prune(void **state)
{
    CLEAN_STORE struct store *s = NULL;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    write_calls(s, "chat", NOON_S, 1);
    write_calls(s, "chat", NOON_S + 3600, 1);
    prune_minutes(s, NOON_S + 3600);
    assert_int_equal(sum_of(s, ROLLUP_MINUTE).calls, 1);
    assert_int_equal(sum_of(s, ROLLUP_HOUR).calls, 2);
}

/* Several that start at once, on a store that is not there yet: it is made once. */
static void test_opened_by_many_at_once(void **state)
{
    pid_t pids[6];
    CLEAN_STORE struct store *s = NULL;

    (void)state;
    STORES_NEEDED();
    for (int i = 0; i < 6; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct store *child = NULL;
            int r = store_open(stores_where, &child);

            if (r < 0)
                print_message("%d %s\n", r, store_error(NULL));
            _exit(r < 0);
        }
    }
    for (int i = 0; i < 6; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(store_open(stores_where, &s), 0);
    write_calls(s, "chat", NOON_S, 2);
}

static void test_reader_sees_whole_transactions(void **state)
{
    CLEAN_STORE struct store *s = NULL, *reader = NULL;

    (void)state;
    STORES_NEEDED();
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(store_open_reader(stores_where, &reader), 0);
    assert_int_equal(store_begin(s), 0);
    write_calls(s, "chat", NOON_S, 2);
    assert_int_equal(sum_of(reader, ROLLUP_MINUTE).calls, 0);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(sum_of(reader, ROLLUP_MINUTE).calls, 2);
}

static void numbers_of_lanes(void **state)
{
    struct store *s;
    int64_t value = 9;

    (void)state;
    STORES_NEEDED();
    s = NULL;
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(store_number_get_lane(s, 3, "taken", &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(store_number_put_lane(s, 3, "taken", 70), 0);
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(store_number_put_lane(s, 4, "taken", 5), 0);
    assert_int_equal(store_number_put_lane(s, 3, "taken", 71), 0);
    assert_int_equal(store_number_put_lane(s, 3, "time taken", 1), 0);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_number_get_lane(s, 3, "taken", &value), 0);
    assert_int_equal(value, 71);
    assert_int_equal(store_number_get_lane(s, 4, "taken", &value), 0);
    assert_int_equal(value, 5);
    store_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_claims, stores_empty),
        cmocka_unit_test_teardown(test_unpriced_models_are_bounded, stores_empty),
        cmocka_unit_test_teardown(test_unpriced_models_take_one_place, stores_empty),
        cmocka_unit_test_teardown(test_claims_against_a_model, stores_empty),
        cmocka_unit_test_teardown(test_cells_add_up, stores_empty),
        cmocka_unit_test_teardown(test_rollback_leaves_nothing, stores_empty),
        cmocka_unit_test_teardown(test_kill_keeps_numbers_and_sums_together, stores_empty),
        cmocka_unit_test_teardown(test_alerts, stores_empty),
        cmocka_unit_test_teardown(test_malformed, stores_empty),
        cmocka_unit_test_teardown(test_malformed_of_another_stream, stores_empty),
        cmocka_unit_test_teardown(test_old_alerts_are_pruned, stores_empty),
        cmocka_unit_test_teardown(test_prune, stores_empty),
        cmocka_unit_test_teardown(test_opened_by_many_at_once, stores_empty),
        cmocka_unit_test_teardown(test_reader_sees_whole_transactions, stores_empty),
        cmocka_unit_test_teardown(numbers_of_lanes, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
