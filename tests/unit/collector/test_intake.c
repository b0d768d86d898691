/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: @store collector/intake.c collector/ingest.c collector/region.c collector/seqs.c
 * collector/recent.c collector/cells.c collector/series.c collector/aside.c collector/guard.c
 * collector/hash.c collector/config.c collector/places.c collector/yamlread.c collector/sightings.c
 * collector/again.c */
#include "collector/intake.h"
#include "collector/again.h"
#include "collector/store_lane.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "proto/subject.h"
#include "tests/harness/stores.h"

#include <errno.h>

#define INSTANCES 5
#define MESSAGES 3000
#define LOST_EVERY 97 /* every so many is never sent */
#define SPAN_S (3 * 3600)

#define SET(m, field, value) ((m)->has_##field = true, (m)->field = (value))

struct letter {
    char subject[SUBJECT_BYTES];
    uint8_t bytes[512];
    size_t len;
    uint32_t part;
};

struct totals {
    uint64_t calls, input, errors, unpriced, seen, lost;
    int64_t nanousd;
};

static struct letter letters[MESSAGES];
static unsigned letters_count;
static struct totals sent;
static struct config *config;
static uint64_t random_state;

static uint64_t random_below(uint64_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % bound;
}

static char *name_of(const char *kind, uint64_t number, char *ret_name, size_t size)
{
    snprintf(ret_name, size, "%s-%llu", kind, (unsigned long long)number);
    return ret_name;
}

static void pack(struct letter *l, const ProtobufCMessage *message)
{
    assert_int_equal(event_pack(message, l->bytes, sizeof(l->bytes), &l->len), 0);
}

static void write_call(struct letter *l, char *instance, uint32_t part, uint64_t seq,
                       uint64_t end_ns)
{
    Lectr__V1__Call c = LECTR__V1__CALL__INIT;
    Lectr__V1__Feature feature = LECTR__V1__FEATURE__INIT;
    Lectr__V1__Usage usage = LECTR__V1__USAGE__INIT, *list[] = {&usage};
    Lectr__V1__Cost cost = LECTR__V1__COST__INIT;
    Lectr__V1__Latency latency = LECTR__V1__LATENCY__INIT;
    char id[EVENT_UUID_BYTES], value[32], model[32];
    uint64_t tokens = 1 + random_below(5000);
    bool is_priced = random_below(10) > 0, is_error = random_below(20) == 0;

    assert_int_equal(event_uuid7(end_ns, id), 0);
    c.id = id;
    c.agent_instance = instance;
    SET(&c, part, part);
    SET(&c, seq, seq);
    SET(&c, start_time_unix_nano, end_ns - 1000);
    SET(&c, end_time_unix_nano, end_ns);
    c.org = (char *)"acme";
    c.provider = (char *)"openai";
    c.model_requested = name_of("model", random_below(4), model, sizeof(model));
    c.feature = &feature;
    feature.value = name_of("feature", random_below(6), value, sizeof(value));
    usage.kind = (char *)"input";
    SET(&usage, count, tokens);
    c.usage = list;
    c.n_usage = 1;
    SET(&c, input_tokens_total, tokens);
    c.cost = &cost;
    cost.basis = (char *)(is_priced ? "table" : "unknown_model");
    if (is_priced)
        SET(&cost, expected_nanousd, (int64_t)tokens * 3);
    c.latency = &latency;
    SET(&latency, total_us, 1000 + random_below(1000000));
    SET(&c, status_code, is_error ? 500 : 200);
    assert_int_equal(subject_call("acme", "openai", part, l->subject), 0);
    pack(l, &c.base);
    sent.calls++;
    sent.input += tokens;
    sent.errors += is_error;
    sent.unpriced += !is_priced;
    sent.nanousd += is_priced ? (int64_t)tokens * 3 : 0;
}

static void write_coverage(struct letter *l, char *instance, uint32_t part, uint64_t seq,
                           uint64_t end_ns)
{
    Lectr__V1__Coverage c = LECTR__V1__COVERAGE__INIT;
    char id[EVENT_UUID_BYTES];

    assert_int_equal(event_uuid7(end_ns, id), 0);
    c.id = id;
    c.agent_instance = instance;
    SET(&c, part, part);
    SET(&c, seq, seq);
    SET(&c, start_time_unix_nano, end_ns);
    SET(&c, end_time_unix_nano, end_ns);
    SET(&c, seen_connections, 1 + random_below(9));
    c.org = (char *)"acme";
    c.provider = (char *)"openai";
    assert_int_equal(subject_coverage("acme", "openai", part, l->subject), 0);
    pack(l, &c.base);
    sent.seen += c.seen_connections;
}

/* In the order of time mostly, some of them hours late. */
static void write_letters(uint64_t now_ns)
{
    char instances[INSTANCES][EVENT_UUID_BYTES];
    uint64_t seq[INSTANCES] = {0};

    sent = (struct totals){0};
    letters_count = 0;
    for (unsigned i = 0; i < INSTANCES; i++)
        assert_int_equal(event_uuid7(now_ns + i, instances[i]), 0);
    for (unsigned i = 0; i < MESSAGES; i++) {
        unsigned k = (unsigned)random_below(INSTANCES);
        uint64_t at_s = random_below(20) ? (uint64_t)i * SPAN_S / MESSAGES : random_below(SPAN_S);
        uint64_t end_ns = now_ns - (2 * SPAN_S - at_s) * NSEC_PER_SEC;
        struct letter *l = &letters[letters_count];

        seq[k]++;
        /* The last ones are sent: a hole is what has something behind it. */
        if (i % LOST_EVERY == 0 && i < MESSAGES - 300) {
            sent.lost++;
            continue;
        }
        l->part = event_part(instances[k]);
        if (random_below(15) == 0)
            write_coverage(l, instances[k], l->part, seq[k], end_ns);
        else
            write_call(l, instances[k], l->part, seq[k], end_ns);
        letters_count++;
    }
}

/* --- a collector --- */

struct collector {
    struct store *store;
    struct intake *intake;
};

static void start(struct collector *c)
{
    assert_int_equal(store_open(stores_where, &c->store), 0);
    assert_int_equal(intake_new(config, c->store, &c->intake), 0);
    for (unsigned lane = 0; lane < store_lanes(c->store); lane++)
        assert_int_equal(intake_take_lane(c->intake, lane), 0);
}

static void end(struct collector *c)
{
    intake_free(&c->intake);
    store_close(&c->store);
}

static void give(struct collector *c, unsigned first, unsigned count)
{
    intake_begin(c->intake);
    for (unsigned i = first; i < first + count; i++) {
        const struct letter *l = &letters[i];

        assert_int_equal(intake_message(c->intake,
                                        &(struct intake_message){
                                            .subject = l->subject,
                                            .data = slice_of(l->bytes, l->len),
                                            .stream_seq = i + 1,
                                            .lane = (unsigned)store_lane_of(c->store, l->part)}),
                         0);
    }
    assert_int_equal(intake_prepare(c->intake), 0);
}

enum fate { STORED, ROLLED_BACK_EARLY, ROLLED_BACK_LATE, KILLED_EARLY, KILLED_LATE, NOT_ACKED };

/* True when the messages need not come again. */
static bool meet(struct collector *c, enum fate fate)
{
    if (fate == ROLLED_BACK_EARLY) {
        intake_roll_back(c->intake);
        return false;
    }
    if (fate != KILLED_EARLY) {
        assert_int_equal(store_begin(c->store), 0);
        assert_int_equal(intake_write(c->intake), 0);
    }
    if (fate == ROLLED_BACK_LATE) {
        store_rollback(c->store);
        intake_roll_back(c->intake);
        return false;
    }
    if (fate == KILLED_EARLY || fate == KILLED_LATE) {
        end(c);
        start(c);
        return false;
    }
    assert_int_equal(store_commit(c->store), 0);
    intake_commit(c->intake);
    return fate == STORED;
}

/* --- what is stored --- */

static int add_cell(void *ctx, const struct store_series_name *name, const struct rollup_cell *cell)
{
    struct totals *t = ctx;

    (void)name;
    assert_int_equal(cell->latency.count, cell->sums.calls);
    t->calls += cell->sums.calls;
    t->input += cell->sums.input_total;
    t->errors += cell->sums.errors;
    t->unpriced += cell->sums.cost_unknown;
    t->nanousd += cell->sums.cost_expected_nanousd;
    return 0;
}

static int add_coverage(void *ctx, const struct store_coverage_row *row)
{
    struct totals *t = ctx;

    t->seen += row->seen;
    return 0;
}

static int add_unpriced(void *ctx, const struct store_unpriced_row *row)
{
    *(uint64_t *)ctx += row->calls;
    return 0;
}

static int count_call(void *ctx, struct slice payload)
{
    assert_true(payload.len > 0);
    ++*(uint64_t *)ctx;
    return 0;
}

static void assert_all_is_there(struct store *s)
{
    struct store_loss loss;
    uint64_t unpriced = 0, calls = 0, unreadable = 0;

    for (int i = 0; i < ROLLUP__COUNT; i++) {
        struct totals stored = {0};

        assert_int_equal(
            store_each_cell(s, (enum rollup_resolution)i, 0, INT32_MAX, add_cell, &stored), 0);
        assert_int_equal(
            store_each_coverage(s, (enum rollup_resolution)i, 0, INT32_MAX, add_coverage, &stored),
            0);
        stored.lost = sent.lost;
        assert_memory_equal(&stored, &sent, sizeof(sent));
    }
    assert_int_equal(store_loss(s, &loss), 0);
    assert_int_equal(loss.missing, sent.lost);
    assert_int_equal(loss.received, letters_count);
    assert_int_equal(store_each_unpriced(s, 0, INT32_MAX, 1000, add_unpriced, &unpriced), 0);
    assert_int_equal(unpriced, sent.unpriced);
    assert_int_equal(store_each_call(s, 0, INT64_MAX, MESSAGES, count_call, &calls, &unreadable),
                     0);
    assert_int_equal(unreadable, 0);
    assert_int_equal(calls, sent.calls);
}

static void test_exactly_once_whatever_happens(void **state)
{
    struct collector c = {0};
    unsigned done = 0;

    (void)state;
    STORES_NEEDED();
    random_state = 7;
    write_letters(clock_wall_ns());
    start(&c);
    while (done < letters_count) {
        unsigned rest = letters_count - done, count = 1 + (unsigned)random_below(120);
        /* some of what is stored already comes again */
        unsigned again = (unsigned)random_below(done < 40 ? done + 1 : 40);
        enum fate fate = random_below(3) ? STORED : (enum fate)random_below(NOT_ACKED + 1);

        count = count < rest ? count : rest;
        give(&c, done - again, again + count);
        if (meet(&c, fate))
            done += count;
    }
    assert_all_is_there(c.store);
    end(&c);
}

/* What is no message of ours is kept aside, once, and the rest of the batch is stored. */
static int count_malformed(void *ctx, const struct store_malformed *m)
{
    assert_true(slice_eq(m->payload, slice_str("no call at all")));
    ++*(unsigned *)ctx;
    return 0;
}

static void test_malformed_is_kept_aside(void **state)
{
    const struct intake_message bad = {.subject = "lectr.v1.call.acme.openai.3",
                                       .data = slice_str("no call at all"),
                                       .stream_seq = 900000};
    struct collector c = {0};
    struct intake_counts counts;
    unsigned malformed = 0;

    (void)state;
    STORES_NEEDED();
    random_state = 8;
    write_letters(clock_wall_ns());
    start(&c);
    for (int i = 0; i < 2; i++) {
        give(&c, 0, 10);
        assert_int_equal(intake_message(c.intake, &bad), 0);
        intake_get_counts(c.intake, &counts);
        assert_int_equal(counts.malformed, 1);
        assert_int_equal(counts.duplicates, i == 0 ? 0 : 10);
        meet(&c, STORED);
    }
    assert_int_equal(store_each_malformed(c.store, 0, 10, count_malformed, &malformed), 0);
    assert_int_equal(malformed, 1);
    end(&c);
}

static int count_any(void *ctx, const struct store_malformed *m)
{
    (void)m;
    ++*(unsigned *)ctx;
    return 0;
}

/* An older version kept aside what this one understands: it is counted once, whatever comes again.
 */
static void test_malformed_is_tried_again(void **state)
{
    const struct letter *l = &letters[5];
    struct collector c = {0};
    struct store_loss loss;
    uint64_t taken = 0;
    unsigned left = 0;

    (void)state;
    STORES_NEEDED();
    random_state = 9;
    write_letters(clock_wall_ns());
    start(&c);
    assert_int_equal(
        store_add_malformed(c.store, 0,
                            &(struct store_malformed){.stream_seq = 6,
                                                      .subject = l->subject,
                                                      .reason = "of a later version",
                                                      .bytes = l->len,
                                                      .payload = slice_of(l->bytes, l->len)}),
        0);
    assert_int_equal(store_add_malformed(c.store, 0,
                                         &(struct store_malformed){.stream_seq = 7,
                                                                   .subject = "lectr.v1.nonsense",
                                                                   .reason = "nonsense",
                                                                   .bytes = 1,
                                                                   .payload = slice_str("x")}),
                     0);
    assert_int_equal(again_malformed(&(struct again){c.intake, c.store, UINT64_MAX}, &taken), 0);
    assert_int_equal(taken, 1);
    assert_int_equal(store_each_malformed(c.store, 0, 10, count_any, &left), 0);
    assert_int_equal(left, 1);
    give(&c, 0, 10);
    meet(&c, STORED);
    assert_int_equal(store_loss(c.store, &loss), 0);
    assert_int_equal(loss.received, 10);
    end(&c);
}

/* What no retention would ever delete waits until its time has come. */
static void test_events_of_the_future_wait(void **state)
{
    uint64_t now_ns = clock_wall_ns(), taken = 0;
    struct collector c = {0};
    struct intake_counts counts;
    struct store_loss loss;
    unsigned left = 0;

    (void)state;
    STORES_NEEDED();
    random_state = 10;
    write_letters(now_ns);
    for (unsigned i = 0; i < 2; i++)
        write_call(&letters[i], (char *)"0190b5a0-0000-7000-8000-000000000001", letters[0].part,
                   i + 1, now_ns + (i ? 23 : 25) * UINT64_C(3600) * NSEC_PER_SEC);
    start(&c);
    give(&c, 0, 2);
    intake_get_counts(c.intake, &counts);
    assert_int_equal(counts.malformed, 1);
    meet(&c, STORED);
    assert_int_equal(store_loss(c.store, &loss), 0);
    assert_int_equal(loss.received, 1);
    assert_int_equal(store_each_malformed(c.store, 0, 10, count_any, &left), 0);
    assert_int_equal(left, 1);
    /* It is still too early. */
    assert_int_equal(again_malformed(&(struct again){c.intake, c.store, UINT64_MAX}, &taken), 0);
    assert_int_equal(taken, 0);
    left = 0;
    assert_int_equal(store_each_malformed(c.store, 0, 10, count_any, &left), 0);
    assert_int_equal(left, 1);
    end(&c);
}

static int setup_config(void **state)
{
    struct config_error error;

    (void)state;
    return config_load(NULL, &config, &error);
}

static int setup_sqlite(void **state)
{
    return setup_config(state) < 0 ? -1 : stores_setup_sqlite(state);
}

static int setup_postgres(void **state)
{
    return setup_config(state) < 0 ? -1 : stores_setup_postgres(state);
}

static int teardown(void **state)
{
    config_free(&config);
    return stores_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_exactly_once_whatever_happens, stores_empty),
        cmocka_unit_test_teardown(test_malformed_is_kept_aside, stores_empty),
        cmocka_unit_test_teardown(test_malformed_is_tried_again, stores_empty),
        cmocka_unit_test_teardown(test_events_of_the_future_wait, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, setup_sqlite, teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, setup_postgres, teardown);
}
