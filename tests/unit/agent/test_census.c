/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/census.c */
/* The kernel's maps are played by this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/capture.h"
#include "agent/census.h"
#include "agent/identity.h"

#include <errno.h>
#include <string.h>

#define S 1000000000ull
#define ROWS_MAX 4

struct capture {
    struct capture_row rows[ROWS_MAX];
    unsigned count;
    struct lectr_meta meta, before;
};

struct lectr_meta *capture_meta(struct capture *c)
{
    return &c->meta;
}

const struct lectr_meta *capture_meta_before(const struct capture *c)
{
    return &c->before;
}

void capture_census_each(struct capture *c, capture_row_fn fn, void *user)
{
    for (unsigned i = c->count; i-- > 0;) {
        struct capture_row row = c->rows[i];

        fn(user, &row);
    }
}

static struct capture_row *row_of(struct capture *c, const struct lectr_census_key *key)
{
    for (unsigned i = 0; i < c->count; i++)
        if (memcmp(&c->rows[i].key, key, sizeof(*key)) == 0)
            return &c->rows[i];
    return NULL;
}

int capture_told_put(struct capture *c, const struct lectr_census_key *key,
                     const struct lectr_told *told)
{
    struct capture_row *row = row_of(c, key);

    if (!row)
        return -ENOENT;
    row->told = *told;
    return 0;
}

int capture_told_get(struct capture *c, const struct lectr_census_key *key,
                     struct lectr_told *ret_told)
{
    struct capture_row *row = row_of(c, key);

    if (!row)
        return -ENOENT;
    *ret_told = row->told;
    return 0;
}

void capture_census_drop(struct capture *c, const struct lectr_census_key *key)
{
    struct capture_row *row = row_of(c, key);

    if (row)
        *row = c->rows[--c->count];
}

void capture_provider_name(struct capture *c, uint32_t provider, char ret_name[32])
{
    (void)c;
    snprintf(ret_name, 32, "p%u", provider);
}

void identity_resolve(struct identity *id, uint64_t cgroup_id, uint64_t netns_cookie, uint32_t pid,
                      uint32_t uid, struct caller *ret_caller)
{
    (void)id;
    (void)pid;
    (void)uid;
    *ret_caller = (struct caller){.cgroup_id = cgroup_id, .netns_cookie = netns_cookie};
}

/* ---- a stage ---- */

struct stage {
    struct capture capture;
    struct census *census;
    struct ipc_census sent[512];
    unsigned sent_count;
    int refuse; /* what sending returns instead */
    uint64_t now;
};

static struct stage stage;

static int on_send(void *user, const struct ipc_msg *msg)
{
    (void)user;
    assert_int_equal(msg->type, IPC_CENSUS);
    if (stage.refuse)
        return stage.refuse;
    assert_true(stage.sent_count < 512);
    stage.sent[stage.sent_count++] = msg->census;
    return 0;
}

static struct census_clock now(void)
{
    return (struct census_clock){.mono_ns = stage.now, .wall_ns = 1000000 * S + stage.now};
}

static int set_up(void **state)
{
    (void)state;
    memset(&stage, 0, sizeof(stage));
    stage.now = 100 * S;
    stage.capture.meta.epoch[0] = 17;
    stage.capture.before.helper_wall_ns = now().wall_ns - 60 * S;
    stage.capture.count = 1;
    stage.capture.rows[0].key =
        (struct lectr_census_key){.cgroup_id = 5, .netns_cookie = 6, .provider = 7};
    stage.capture.rows[0].seen.first_ns = 90 * S;
    stage.capture.rows[0].seen.last_ns = 90 * S;
    return census_new(&stage.capture, NULL, now(), &stage.census);
}

static int tear_down(void **state)
{
    (void)state;
    census_free(&stage.census);
    return 0;
}

/* Another helper begins where this one stopped. */
static void new_helper(void)
{
    census_free(&stage.census);
    assert_int_equal(census_new(&stage.capture, NULL, now(), &stage.census), 0);
}

static void poll_times(int times)
{
    for (int i = 0; i < times; i++) {
        stage.now += S / 2;
        census_poll(stage.census, now(), on_send, NULL);
    }
}

static void ack_all(void)
{
    for (unsigned i = 0; i < stage.sent_count; i++)
        census_ack(stage.census, stage.sent[i].id);
}

static uint64_t told(const char *reason)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < stage.sent_count; i++)
        if (strcmp(stage.sent[i].reason, reason) == 0)
            sum += stage.sent[i].connections;
    return sum;
}

static uint64_t *count(enum lectr_verdict v)
{
    return (uint64_t *)&stage.capture.rows[0].seen.count[v];
}

static void tells_each_connection_once(void **state)
{
    (void)state;
    *count(LECTR_SEEN) = 5;
    *count(LECTR_STEERED) = 3;
    *count(LECTR_NO_LISTENER) = 2;
    poll_times(4);
    /* Not acknowledged: under way, not sent again. */
    assert_int_equal(stage.sent_count, 3);
    ack_all();
    *count(LECTR_SEEN) = 9;
    *count(LECTR_STEERED) = 7;
    poll_times(1);
    ack_all();
    poll_times(4);
    assert_int_equal(told(""), 9);
    assert_int_equal(told("steered"), 7);
    assert_int_equal(told("no_listener"), 2);
    assert_int_equal(told("agent_down"), 0);
    assert_string_equal(stage.sent[0].provider, "p7");
    assert_int_equal(stage.sent[0].caller.cgroup_id, 5);
}

static void windows_join(void **state)
{
    (void)state;
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 1;
    poll_times(1);
    ack_all();
    assert_int_equal(stage.sent[0].start_unix_ns, 1000000 * S + 90 * S);
    assert_int_equal(stage.sent[0].end_unix_ns, now().wall_ns);
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 2;
    poll_times(1);
    assert_int_equal(stage.sent[2].start_unix_ns, stage.sent[0].end_unix_ns);
}

/* What nobody decided on while no helper lived is told as agent_down. */
static void undecided_is_agent_down(void **state)
{
    (void)state;
    *count(LECTR_SEEN) = 10;
    *count(LECTR_STEERED) = 6;
    poll_times(5);
    ack_all();
    poll_times(5);
    assert_int_equal(told(""), 10);
    assert_int_equal(told("steered"), 6);
    assert_int_equal(told("agent_down"), 4);
    for (unsigned i = 0; i < stage.sent_count; i++)
        if (strcmp(stage.sent[i].reason, "agent_down") == 0)
            assert_int_equal(stage.sent[i].start_unix_ns, 1000000 * S + 90 * S);
}

/* A connection that is just being decided on is not undecided. */
static void connections_under_way_are_let_be(void **state)
{
    (void)state;
    for (int i = 1; i < 50; i++) {
        *count(LECTR_SEEN) = (uint64_t)i;
        *count(LECTR_STEERED) = (uint64_t)i - (i % 3 != 0);
        poll_times(1);
        ack_all();
    }
    assert_int_equal(told("agent_down"), 0);
}

static void steady_traffic_does_not_hide_undecided(void **state)
{
    (void)state;
    *count(LECTR_SEEN) = 4;
    for (int i = 0; i < 20; i++) {
        *count(LECTR_SEEN) += 100;
        *count(LECTR_STEERED) += 100;
        poll_times(1);
        ack_all();
    }
    assert_int_equal(told("agent_down"), 4);
    assert_int_equal(told(""), 4 + 2000);
}

/* The proxy died with the row, or the helper did: the same row goes again. */
static void resent_rows_are_the_same(void **state)
{
    struct ipc_census first;

    (void)state;
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 5;
    poll_times(1);
    first = stage.sent[0];
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 8;
    census_proxy_changed(stage.census);
    poll_times(1);
    assert_string_equal(stage.sent[2].gap_id, first.gap_id);
    assert_int_equal(stage.sent[2].connections, first.connections);
    assert_int_equal(stage.sent[2].end_unix_ns, first.end_unix_ns);
    new_helper();
    poll_times(1);
    assert_string_equal(stage.sent[4].gap_id, first.gap_id);
    assert_int_equal(stage.sent[4].connections, first.connections);
    /* Only now is it done, and the rest follows as another row. */
    census_ack(stage.census, stage.sent[4].id);
    poll_times(1);
    assert_int_equal(stage.sent_count, 7);
    assert_int_equal(stage.sent[6].connections, 3);
    assert_string_not_equal(stage.sent[6].gap_id, first.gap_id);
}

static void what_cannot_be_sent_is_offered_again(void **state)
{
    (void)state;
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 5;
    stage.refuse = -EAGAIN;
    poll_times(3);
    stage.refuse = 0;
    poll_times(1);
    ack_all();
    poll_times(1);
    assert_int_equal(told(""), 5);
    census_ack(stage.census, 0);
    census_ack(stage.census, 424242);
}

/* The acknowledgement was lost, or the proxy could not say yet: the same again. */
static void what_waits_long_is_sent_again(void **state)
{
    struct ipc_census first;

    (void)state;
    *count(LECTR_SEEN) = 5;
    *count(LECTR_NO_LISTENER) = 5;
    poll_times(1);
    first = stage.sent[0];
    *count(LECTR_SEEN) = *count(LECTR_NO_LISTENER) = 9;
    poll_times(9);
    assert_int_equal(stage.sent_count, 2);
    stage.refuse = -EAGAIN;
    poll_times(1);
    stage.refuse = 0;
    poll_times(1);
    assert_int_equal(stage.sent_count, 4);
    assert_string_equal(stage.sent[2].gap_id, first.gap_id);
    assert_int_equal(stage.sent[2].connections, first.connections);
    assert_int_equal(stage.sent[2].end_unix_ns, first.end_unix_ns);
    poll_times(9);
    assert_int_equal(stage.sent_count, 4);
    poll_times(1);
    assert_int_equal(stage.sent_count, 6);
    /* It is done by any of the answers, and by the others no more than that. */
    census_ack(stage.census, stage.sent[2].id);
    census_ack(stage.census, stage.sent[0].id);
    poll_times(1);
    assert_int_equal(stage.sent_count, 7);
    census_ack(stage.census, stage.sent[4].id);
    assert_string_not_equal(stage.sent[6].gap_id, first.gap_id);
    assert_int_equal(stage.sent[6].connections, 4);
    census_ack(stage.census, stage.sent[6].id);
    poll_times(1);
    assert_int_equal(stage.sent_count, 7);
}

/* Steered, and its proxy died before taking it. */
static void what_no_proxy_took_is_told_once(void **state)
{
    struct capture_row *row = &stage.capture.rows[0];

    (void)state;
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 10;
    row->taken = 7;
    /* With a proxy there they are still to be taken. */
    poll_times(10);
    ack_all();
    assert_int_equal(told("agent_died"), 0);
    census_proxy_ended(stage.census, now());
    census_proxy_changed(stage.census);
    census_before_steering(stage.census);
    stage.now += S;
    poll_times(1);
    assert_int_equal(told("agent_died"), 3);
    assert_int_equal(stage.sent[stage.sent_count - 1].start_unix_ns, now().wall_ns - 3 * S / 2);
    /* Not acknowledged, and the helper dies too: the same row again. */
    new_helper();
    census_before_steering(stage.census);
    stage.sent_count = 0;
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 15;
    row->taken = 12;
    poll_times(1);
    assert_int_equal(told("agent_died"), 3);
    ack_all();
    poll_times(5);
    assert_int_equal(told("agent_died"), 3);
    /* The next proxy leaves one. */
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 16;
    census_before_steering(stage.census);
    poll_times(2);
    assert_int_equal(told("agent_died"), 4);
}

/* A row with a connection in the queue is needed when its proxy dies. */
static void rows_with_something_to_take_stay(void **state)
{
    (void)state;
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 1;
    poll_times(1);
    ack_all();
    stage.now += 2 * 3600 * S;
    poll_times(1);
    assert_int_equal(stage.capture.count, 1);
    census_before_steering(stage.census);
    poll_times(1);
    ack_all();
    poll_times(1);
    assert_int_equal(told("agent_died"), 1);
    assert_int_equal(stage.capture.count, 0);
}

static void idle_rows_are_dropped_once_told(void **state)
{
    (void)state;
    *count(LECTR_SEEN) = *count(LECTR_STEERED) = 1;
    stage.capture.rows[0].taken = 1;
    poll_times(1);
    stage.now += 2 * 3600 * S;
    poll_times(1);
    assert_int_equal(stage.capture.count, 1); /* not acknowledged */
    ack_all();
    poll_times(1);
    assert_int_equal(stage.capture.count, 0);
}

static void ids(void **state)
{
    const uint64_t epoch[2] = {1, 2};
    const struct lectr_census_key key = {.cgroup_id = 5, .netns_cookie = 6, .provider = 7};
    char a[37], b[37];

    (void)state;
    census_gap_id((const void *)epoch, &key, 9, 1, 0, 5, a);
    census_gap_id((const void *)epoch, &key, 9, 1, 0, 5, b);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '8');
    assert_non_null(strchr("89ab", a[19]));
    census_gap_id((const void *)epoch, &key, 10, 1, 0, 5, b);
    assert_string_not_equal(a, b);
    census_gap_id((const void *)epoch, &key, 9, 2, 0, 5, b);
    assert_string_not_equal(a, b);
    census_gap_id((const void *)epoch, &key, 9, 1, 0, 6, b);
    assert_string_not_equal(a, b);
    assert_null(census_reason(LECTR_OWN));
    assert_null(census_reason(LECTR_NOT_PROVIDER));
    assert_null(census_reason(LECTR_TOLD__COUNT));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(tells_each_connection_once),
        T(windows_join),
        T(undecided_is_agent_down),
        T(connections_under_way_are_let_be),
        T(steady_traffic_does_not_hide_undecided),
        T(resent_rows_are_the_same),
        T(what_cannot_be_sent_is_offered_again),
        T(what_waits_long_is_sent_again),
        T(what_no_proxy_took_is_told_once),
        T(rows_with_something_to_take_stay),
        T(idle_rows_are_dropped_once_told),
        T(ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
