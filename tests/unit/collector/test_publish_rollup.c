/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/publish_rollup.c collector/rollup_pack.c collector/courier.c collector/hold.c
 * @store */
#include "collector/publish_rollup.h"
#include "collector/store_publish.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "tests/harness/stores.h"

#include <errno.h>
#include <unistd.h>
#include <stdio.h>

#define NOON_S INT64_C(1767268800)
#define LATER_S (NOON_S + 7 * INT64_C(86400))

/* --- a server that keeps what it gets, once for each id --- */

struct told {
    char subject[64], id[128];
    uint8_t bytes[2048];
    size_t len;
};

static struct told told[4096];
static unsigned told_count; /* kept */
static unsigned told_again; /* of an id that was there */
static int flush_result;
static const char *denied; /* beginning of the subjects that are */
static bool is_away;
static bool has_unanswered;
static unsigned tries_alone, slow_us;
static uint64_t now_ns;

static bool is_denied(const char *subject)
{
    return is_away || (denied && strncmp(subject, denied, strlen(denied)) == 0);
}

const char *bus_error(const struct bus *b)
{
    (void)b;
    return "";
}

int bus_publish(struct bus *b, const char *subject, const char *id, struct slice data)
{
    tries_alone++;
    return is_denied(subject) ? -ETIMEDOUT : bus_publish_async(b, subject, id, data);
}

int bus_publish_async(struct bus *b, const char *subject, const char *id, struct slice data)
{
    (void)b;
    usleep(slow_us);
    if (is_denied(subject)) {
        has_unanswered = true;
        return 0;
    }
    for (unsigned i = 0; i < told_count; i++)
        if (strcmp(told[i].id, id) == 0) {
            told_again++;
            return 0;
        }
    assert_true(told_count < 4096 && data.len <= sizeof(told[0].bytes));
    snprintf(told[told_count].subject, sizeof(told[0].subject), "%s", subject);
    snprintf(told[told_count].id, sizeof(told[0].id), "%s", id);
    memcpy(told[told_count].bytes, data.data, data.len);
    told[told_count++].len = data.len;
    return 0;
}

int bus_flush(struct bus *b, uint32_t wait_ms)
{
    (void)b;
    (void)wait_ms;
    if (has_unanswered) {
        has_unanswered = false;
        return -ETIMEDOUT;
    }
    return flush_result;
}

static struct bus *const some_bus = (struct bus *)told;

struct sums {
    unsigned messages;
    uint64_t calls, revision, seen, gaps;
};

/* As a subscriber adds up: of each roll-up the highest revision. */
static struct sums add_up(const char *subject)
{
    struct sums sums = {0};

    for (unsigned i = 0; i < told_count; i++) {
        CLEAN_EVENT ProtobufCMessage *message = NULL;
        const Lectr__V1__Rollup *m;
        bool is_newest = true;

        if (strcmp(told[i].subject, subject) != 0)
            continue;
        assert_int_equal(event_unpack(EVENT_ROLLUP, slice_of(told[i].bytes, told[i].len), &message),
                         0);
        m = (const Lectr__V1__Rollup *)(const void *)message;
        for (unsigned k = 0; k < told_count; k++)
            if (strncmp(told[k].id, m->id, strlen(m->id)) == 0 &&
                strtoull(told[k].id + strlen(m->id) + 1, NULL, 10) > m->revision)
                is_newest = false;
        sums.messages++;
        if (!is_newest)
            continue;
        sums.calls += m->calls;
        sums.revision = m->revision;
        if (m->coverage) {
            sums.seen += m->coverage->seen_connections;
            for (size_t k = 0; k < m->coverage->n_gaps; k++)
                sums.gaps += m->coverage->gaps[k]->connections;
        }
    }
    return sums;
}

/* --- a writer of one lane, as the owner of it writes: whole cells --- */

static void write_calls(struct store *s, int64_t lane, int64_t minute_s, int64_t series,
                        uint64_t calls)
{
    assert_int_equal(store_begin(s), 0);
    for (int i = 0; i < ROLLUP__COUNT; i++) {
        struct rollup_cell cell = {.seconds = rollup_seconds[i],
                                   .bucket = minute_s - minute_s % rollup_seconds[i],
                                   .series = series};
        int64_t revision = 0;

        assert_int_equal(store_load_cell(s, lane, &cell, &revision), 0);
        cell.sums.calls += calls;
        assert_int_equal(store_put_cell(s, lane, &cell, revision + 1), 0);
        assert_int_equal(store_touch(s, lane, cell.seconds, cell.bucket), 0);
        rollup_cell_fini(&cell);
    }
    assert_int_equal(store_commit(s), 0);
}

static int64_t add_series_of(struct store *s, const char *org, const char *feature)
{
    const struct store_series_name name = {org, feature, "openai", "gpt-4o", "shop/web"};
    int64_t series = 0;

    assert_int_equal(store_add_series(s, &name, &series), 0);
    return series;
}

static int64_t add_series(struct store *s, const char *feature)
{
    return add_series_of(s, "acme", feature);
}

/* Until a turn has nothing to tell; a new process each time, as after a crash. */
static void tell_all(struct store *s, int64_t closed_s)
{
    for (unsigned before = UINT32_MAX; before != told_count + told_again;) {
        struct publish_rollup *p = NULL;

        before = told_count + told_again;
        assert_int_equal(publish_rollup_new(s, &p), 0);
        assert_int_equal(publish_rollup_turn(p, some_bus, closed_s, now_ns), 0);
        publish_rollup_free(&p);
    }
}

static struct store *open_store(void)
{
    struct store *s = NULL;

    told_count = told_again = 0;
    flush_result = 0;
    denied = NULL;
    is_away = has_unanswered = false;
    tries_alone = slow_us = 0;
    now_ns = 1000 * NSEC_PER_SEC;
    assert_int_equal(store_open(stores_where, &s), 0);
    return s;
}

static int count_touched(void *ctx, const struct store_touched *touched)
{
    (void)touched;
    (*(unsigned *)ctx)++;
    return 0;
}

static unsigned touched(struct store *s)
{
    unsigned count = 0;

    assert_int_equal(store_each_touched(s, 100000, count_touched, &count), 0);
    return count;
}

static void closed_buckets_are_told_once(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    int64_t series;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    series = add_series(s, "search");
    write_calls(s, 0, NOON_S, series, 2);
    write_calls(s, 0, NOON_S + 60, series, 3);
    tell_all(s, NOON_S + 60);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1m").calls, 2);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1h").messages, 0);
    tell_all(s, NOON_S + 3600);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1m").calls, 5);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1h").calls, 5);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1d").messages, 0);
    tell_all(s, LATER_S);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1d").calls, 5);
    assert_int_equal(told_count, 4);
    assert_int_equal(told_again, 0);
    assert_int_equal(touched(s), 0);
}

/* Only the cells that changed, whole, with a higher revision. */
static void late_calls_are_revisions(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup_stats stats;
    struct publish_rollup *p = NULL;
    struct sums minute;
    int64_t series[3];

    (void)state;
    STORES_NEEDED();
    s = open_store();
    for (int i = 0; i < 3; i++) {
        char name[] = {(char)('a' + i), '\0'};

        series[i] = add_series(s, name);
        write_calls(s, 0, NOON_S, series[i], 10);
    }
    tell_all(s, LATER_S);
    assert_int_equal(told_count, 9);
    write_calls(s, 0, NOON_S, series[1], 1);
    assert_int_equal(publish_rollup_new(s, &p), 0);
    assert_int_equal(publish_rollup_turn(p, some_bus, LATER_S, now_ns), 0);
    publish_rollup_get_stats(p, &stats);
    publish_rollup_free(&p);
    assert_int_equal(stats.told, 3);
    assert_int_equal(stats.revised, 3);
    assert_int_equal(told_count, 12);
    minute = add_up("lectr.v1.rollup.acme.1m");
    assert_int_equal(minute.messages, 4);
    assert_int_equal(minute.calls, 31);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1d").calls, 31);
}

/* The server has the messages, the store does not know it yet. */
static void a_crash_before_the_marks_tells_the_same_again(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    int64_t series;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    series = add_series(s, "search");
    write_calls(s, 0, NOON_S, series, 2);
    flush_result = -EIO;
    assert_int_equal(publish_rollup_new(s, &p), 0);
    assert_int_equal(publish_rollup_turn(p, some_bus, LATER_S, now_ns), -EIO);
    publish_rollup_free(&p);
    assert_int_equal(told_count, 3);
    assert_int_equal(touched(s), 3);
    flush_result = 0;
    tell_all(s, LATER_S);
    assert_int_equal(told_count, 3);
    assert_int_equal(told_again, 3);
    assert_int_equal(touched(s), 0);
}

static void lanes_are_one_roll_up(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct sums minute;
    int64_t series;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    series = add_series(s, "search");
    write_calls(s, 3, NOON_S, series, 2);
    write_calls(s, 3, NOON_S, series, 2);
    write_calls(s, 17, NOON_S, series, 5);
    tell_all(s, LATER_S);
    minute = add_up("lectr.v1.rollup.acme.1m");
    assert_int_equal(minute.messages, 1);
    assert_int_equal(minute.calls, 9);
    assert_int_equal(minute.revision, 3);
    write_calls(s, 17, NOON_S, series, 1);
    tell_all(s, LATER_S);
    minute = add_up("lectr.v1.rollup.acme.1m");
    assert_int_equal(minute.calls, 10);
    assert_int_equal(minute.revision, 4);
}

static void take_turn(struct publish_rollup *p, int64_t closed_s)
{
    now_ns += NSEC_PER_SEC; /* looks at the store are less far apart */
    assert_int_equal(publish_rollup_turn(p, some_bus, closed_s, now_ns), 0);
}

/* Whoever judges hears nothing of other collectors' calls but what they touch. */
static void late_minutes_are_noticed(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    int64_t series, from_s = 0;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    series = add_series(s, "search");
    write_calls(s, 3, NOON_S, series, 1);
    write_calls(s, 5, NOON_S, series, 1);
    write_calls(s, 3, NOON_S - 300, series, 1);
    assert_int_equal(publish_rollup_new(s, &p), 0);
    take_turn(p, NOON_S + 60);
    /* From before the start. */
    assert_int_equal(publish_rollup_take_late(p, &from_s), 1);
    assert_int_equal(from_s, NOON_S - 300);
    write_calls(s, 3, NOON_S + 60, series, 1);
    take_turn(p, NOON_S + 120);
    assert_int_equal(publish_rollup_take_late(p, &from_s), 0);
    write_calls(s, 5, NOON_S + 60, series, 1);
    write_calls(s, 5, NOON_S, series, 1);
    take_turn(p, NOON_S + 120);
    assert_int_equal(publish_rollup_take_late(p, &from_s), 2);
    assert_int_equal(from_s, NOON_S);
    assert_int_equal(publish_rollup_take_late(p, &from_s), 0);
    publish_rollup_free(&p);
}

static void more_than_a_turn_takes_turns(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    struct publish_rollup_stats stats;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    for (int i = 0; i < PUBLISH_ROLLUPS_MAX / 2; i++) {
        char name[32];

        snprintf(name, sizeof(name), "feature%d", i);
        write_calls(s, 0, NOON_S, add_series(s, name), 1);
    }
    assert_int_equal(publish_rollup_new(s, &p), 0);
    assert_int_equal(publish_rollup_turn(p, some_bus, LATER_S, now_ns), 0);
    publish_rollup_get_stats(p, &stats);
    publish_rollup_free(&p);
    assert_int_equal(stats.told, PUBLISH_ROLLUPS_MAX);
    assert_true(touched(s) > 0);
    tell_all(s, LATER_S);
    assert_int_equal(told_count, 3 * (PUBLISH_ROLLUPS_MAX / 2));
    assert_int_equal(told_again, 0);
    assert_int_equal(touched(s), 0);
}

static struct record coverage_at(enum record_kind kind, uint64_t connections)
{
    return (struct record){.kind = kind,
                           .org = "acme",
                           .provider = "openai",
                           .workload = "shop/web",
                           .reason = "ech",
                           .end_ns = (uint64_t)NOON_S * NSEC_PER_SEC,
                           .seen = connections,
                           .metered = connections / 2,
                           .connections = connections};
}

static void coverage_is_told_and_revised(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct record seen = coverage_at(RECORD_COVERAGE, 10), gap = coverage_at(RECORD_GAP, 4);
    struct sums minute;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(store_add_gap(s, 0, &gap), 0);
    assert_int_equal(store_touch(s, 0, 60, NOON_S), 0);
    assert_int_equal(store_commit(s), 0);
    tell_all(s, LATER_S);
    minute = add_up("lectr.v1.rollup.acme.1m");
    assert_int_equal(minute.messages, 1);
    assert_int_equal(minute.gaps, 4);
    assert_int_equal(store_begin(s), 0);
    assert_int_equal(store_add_coverage(s, 0, &seen), 0);
    assert_int_equal(store_touch(s, 0, 60, NOON_S), 0);
    assert_int_equal(store_commit(s), 0);
    tell_all(s, LATER_S);
    minute = add_up("lectr.v1.rollup.acme.1m");
    assert_int_equal(minute.messages, 2);
    assert_int_equal(minute.gaps, 4);
    assert_int_equal(minute.seen, 10);
    /* Touched by something else: nothing to tell. */
    assert_int_equal(store_touch(s, 0, 60, NOON_S), 0);
    tell_all(s, LATER_S);
    assert_int_equal(told_count, 2);
    assert_int_equal(told_again, 0);
}

static void without_a_bus_nothing_waits(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    write_calls(s, 0, NOON_S, add_series(s, "search"), 2);
    assert_int_equal(publish_rollup_new(s, &p), 0);
    assert_int_equal(publish_rollup_turn(p, NULL, LATER_S, now_ns), 0);
    publish_rollup_free(&p);
    assert_int_equal(told_count, 0);
    assert_int_equal(touched(s), 0);
}

/* A turn that may fail: whether it does is not asked here. */
static void step(struct publish_rollup *p, uint64_t seconds)
{
    int r;

    now_ns += seconds * NSEC_PER_SEC;
    r = publish_rollup_turn(p, some_bus, LATER_S, now_ns);
    assert_true(r == 0 || r == -ETIMEDOUT);
}

/* More buckets than a turn looks at, in each of which something is denied; and more of it in
 * one bucket than a turn has messages. */
static void what_is_denied_holds_up_nothing_else(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    struct publish_rollup_stats stats;
    int64_t mine, theirs;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    denied = "lectr.v1.rollup.evil.";
    theirs = add_series_of(s, "evil", "x");
    for (int i = 0; i < 300; i++) {
        char name[32];

        snprintf(name, sizeof(name), "many%d", i);
        write_calls(s, 0, NOON_S, add_series_of(s, "evil", name), 1);
    }
    mine = add_series(s, "search");
    for (int i = 0; i < 100; i++) {
        write_calls(s, 0, NOON_S + 60 * i, theirs, 1);
        write_calls(s, 0, NOON_S + 60 * i, mine, 1);
    }
    assert_int_equal(publish_rollup_new(s, &p), 0);
    for (int i = 0; i < 12; i++)
        step(p, 1);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1m").calls, 100);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1h").calls, 100);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1d").calls, 100);
    /* and goes on so */
    write_calls(s, 0, NOON_S, mine, 1);
    step(p, 1);
    step(p, 1);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1m").calls, 101);
    publish_rollup_get_stats(p, &stats);
    assert_int_equal(stats.given_up, 0);
    assert_int_equal(stats.subjects_held, 3);
    publish_rollup_free(&p);
    /* Another process, when it is allowed: nothing was lost. */
    denied = NULL;
    now_ns += 1000 * NSEC_PER_SEC;
    tell_all(s, LATER_S);
    assert_int_equal(add_up("lectr.v1.rollup.evil.1m").calls, 400);
    assert_int_equal(add_up("lectr.v1.rollup.evil.1d").calls, 400);
    assert_int_equal(touched(s), 0);
}

static void what_was_denied_is_told_later_by_the_same(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    int64_t mine, theirs;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    denied = "lectr.v1.rollup.evil.";
    theirs = add_series_of(s, "evil", "x");
    mine = add_series(s, "search");
    for (int i = 0; i < 100; i++) {
        write_calls(s, 0, NOON_S + 60 * i, theirs, 1);
        write_calls(s, 0, NOON_S + 60 * i, mine, 1);
    }
    assert_int_equal(publish_rollup_new(s, &p), 0);
    for (int i = 0; i < 12; i++)
        step(p, 1);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1m").calls, 100);
    denied = NULL;
    for (int i = 0; i < 40; i++)
        step(p, 5);
    assert_int_equal(add_up("lectr.v1.rollup.evil.1m").calls, 100);
    assert_int_equal(add_up("lectr.v1.rollup.evil.1d").calls, 100);
    assert_int_equal(touched(s), 0);
    publish_rollup_free(&p);
}

static void what_stays_denied_is_given_up(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    struct publish_rollup_stats stats;
    int64_t mine, theirs;
    unsigned tries;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    denied = "lectr.v1.rollup.evil.";
    theirs = add_series_of(s, "evil", "x");
    mine = add_series(s, "search");
    assert_int_equal(publish_rollup_new(s, &p), 0);
    for (int i = 0; i < 50; i++) {
        write_calls(s, 0, NOON_S + 60 * i, theirs, 1);
        write_calls(s, 0, NOON_S + 60 * i, mine, 1);
        for (int k = 0; k < 8; k++)
            step(p, k % 4 ? 1 : 100);
    }
    publish_rollup_get_stats(p, &stats);
    assert_true(stats.given_up > 0);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1m").calls, 50);
    assert_int_equal(add_up("lectr.v1.rollup.evil.1m").calls, 0);
    assert_int_equal(touched(s), 0);
    /* Then it costs a try now and then. */
    tries = tries_alone;
    for (int i = 0; i < 20; i++) {
        write_calls(s, 0, NOON_S + 60 * i, theirs, 1);
        step(p, 1);
    }
    assert_true(tries_alone - tries < 10);
    publish_rollup_free(&p);
}

static void nothing_is_lost_while_nats_is_away(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    struct publish_rollup_stats stats;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    is_away = true;
    write_calls(s, 0, NOON_S, add_series(s, "search"), 2);
    write_calls(s, 0, NOON_S, add_series_of(s, "other", "search"), 2);
    assert_int_equal(publish_rollup_new(s, &p), 0);
    for (int i = 0; i < 500; i++)
        step(p, 20);
    is_away = false;
    for (int i = 0; i < 10; i++)
        step(p, 20);
    publish_rollup_get_stats(p, &stats);
    assert_int_equal(stats.given_up, 0);
    assert_int_equal(add_up("lectr.v1.rollup.acme.1d").calls, 2);
    assert_int_equal(add_up("lectr.v1.rollup.other.1m").calls, 2);
    assert_int_equal(touched(s), 0);
    publish_rollup_free(&p);
}

static void change_all(struct store *s, const int64_t *series, int count)
{
    for (int i = 0; i < count; i++)
        write_calls(s, 0, NOON_S, series[i], 1);
}

/* After what had been told before there is a rest four times as long as it took: nothing is told
 * in that time. What is told for the first time is not slowed down. */
static void revisions_leave_the_store_to_others(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    int64_t series[50];

    (void)state;
    STORES_NEEDED();
    s = open_store();
    for (int i = 0; i < 50; i++) {
        char name[32];

        snprintf(name, sizeof(name), "feature%d", i);
        series[i] = add_series(s, name);
        write_calls(s, 0, NOON_S, series[i], 1);
    }
    assert_int_equal(publish_rollup_new(s, &p), 0);
    step(p, 0);
    assert_int_equal(told_count, 150);
    slow_us = 2000; /* 0.3 s at the least, and 1.2 s of rest */
    change_all(s, series, 50);
    step(p, 3600);
    assert_int_equal(told_count, 300);
    change_all(s, series, 50);
    now_ns += 1499 * NSEC_PER_MSEC;
    step(p, 0);
    assert_int_equal(told_count, 300);
    step(p, 3600);
    assert_int_equal(told_count, 450);
    publish_rollup_free(&p);
}

/* As long as it took, or until the next look: what is told for the first time has no rest. */
static void what_is_new_is_told_without_rest(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct publish_rollup *p = NULL;
    uint64_t began_ns;
    int64_t series;

    (void)state;
    STORES_NEEDED();
    s = open_store();
    series = add_series(s, "search");
    write_calls(s, 0, NOON_S, series, 1);
    assert_int_equal(publish_rollup_new(s, &p), 0);
    slow_us = 300000;
    began_ns = clock_mono_ns();
    step(p, 0);
    now_ns += clock_mono_ns() - began_ns;
    slow_us = 0;
    write_calls(s, 0, NOON_S + 86400, series, 1);
    step(p, 0);
    assert_int_equal(told_count, 6);
    publish_rollup_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(closed_buckets_are_told_once, stores_empty),
        cmocka_unit_test_teardown(late_calls_are_revisions, stores_empty),
        cmocka_unit_test_teardown(a_crash_before_the_marks_tells_the_same_again, stores_empty),
        cmocka_unit_test_teardown(lanes_are_one_roll_up, stores_empty),
        cmocka_unit_test_teardown(late_minutes_are_noticed, stores_empty),
        cmocka_unit_test_teardown(more_than_a_turn_takes_turns, stores_empty),
        cmocka_unit_test_teardown(coverage_is_told_and_revised, stores_empty),
        cmocka_unit_test_teardown(without_a_bus_nothing_waits, stores_empty),
        cmocka_unit_test_teardown(what_is_denied_holds_up_nothing_else, stores_empty),
        cmocka_unit_test_teardown(what_was_denied_is_told_later_by_the_same, stores_empty),
        cmocka_unit_test_teardown(what_stays_denied_is_given_up, stores_empty),
        cmocka_unit_test_teardown(nothing_is_lost_while_nats_is_away, stores_empty),
        cmocka_unit_test_teardown(revisions_leave_the_store_to_others, stores_empty),
        cmocka_unit_test_teardown(what_is_new_is_told_without_rest, stores_empty),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
