/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/bus.c collector/bus_batch.c collector/bus_consumer.c collector/bus_pull.c
 * collector/bus_ref.c */
/* What happens to the stream and the consumer behind a collector's back, where lanes are shared. */
#include "tests/unit/collector/bus_server.h"

/* Somebody who administers the stream. */
struct admin {
    natsConnection *connection;
    jsCtx *js;
};

static struct admin admin_open(void)
{
    struct admin a = {0};

    assert_int_equal(natsConnection_ConnectTo(&a.connection, url), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&a.js, a.connection, NULL), NATS_OK);
    return a;
}

static void admin_close(struct admin *a)
{
    jsCtx_Destroy(a->js);
    natsConnection_Destroy(a->connection);
}

static void delete_stream(void)
{
    struct admin a = admin_open();

    assert_int_equal(js_DeleteStream(a.js, "LECTR", NULL, NULL), NATS_OK);
    admin_close(&a);
}

static struct bus_state state_of(const struct bus *b)
{
    struct bus_state state;

    bus_get_state(b, &state);
    return state;
}

static void test_made_anew_while_it_is_read(void **state)
{
    struct bus *b = open_shared("one");
    int64_t made_ns;

    (void)state;
    publish(b, 3, 1, 100);
    assert_int_equal(bus_look(b), 0);
    made_ns = bus_stream_made(b);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    expect(b, 3, 1, 100, true);
    delete_stream();
    publish(b, 3, 1, 150);
    expect(b, 3, 1, 150, true);
    assert_true(bus_stream_made(b) > made_ns);
    assert_int_equal(bus_position(b, 3).seq, 150);
    assert_int_equal(state_of(b).cuts, 1);
    /* Now it is made by the one who reads, and empty when its consumer is made. */
    delete_stream();
    while (state_of(b).cuts < 2)
        expect_nothing(b);
    publish(b, 3, 1, 10);
    expect(b, 3, 1, 10, true);
    bus_close(&b);
}

/* A lane that is attached just then: what waits from the old stream is nobody's place in the new
 * one. */
static void test_made_anew_before_a_lane_is_attached(void **state)
{
    struct bus *b = open_shared("one");
    struct bus_batch *batch = NULL;

    (void)state;
    publish(b, 3, 1, 100);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    expect(b, 3, 1, 10, true);
    delete_stream();
    publish(b, 3, 1, 5);
    publish(b, 5, 1, 200);
    assert_int_equal(bus_look(b), 0);
    assert_int_equal(bus_attach(b, 5, at(0)), 0);
    bus_fetch_more(b, 100, 100);
    assert_int_equal(bus_position(b, 3).seq, 0);
    while (bus_position(b, 5).seq < 205) {
        assert_int_equal(bus_fetch(b, 100, 1000, &batch), 0);
        bus_ack(b, batch, 3);
        bus_ack(b, batch, 5);
    }
    assert_int_equal(bus_position(b, 3).seq, 205);
    bus_close(&b);
}

static void copy_tree(const char *from, const char *to)
{
    char command[256];

    snprintf(command, sizeof(command), "rm -rf %s/%s && cp -a %s/%s %s/%s", root, to, root, from,
             root, to);
    assert_int_equal(system(command), 0);
}

/* Of the stream as a machine that lost its power has it: 40 messages, of 60 that were there. */
static void lose_end(void)
{
    server_stop();
    copy_tree("early", "jetstream");
    server_start();
}

static struct bus *take_sixty(struct bus_position *ret_position)
{
    struct bus *b = open_shared("one");

    publish(b, 3, 1, 40);
    server_end(SIGTERM);
    copy_tree("jetstream", "early");
    server_start();
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    expect(b, 3, 1, 40, true);
    publish(b, 3, 41, 60);
    expect(b, 3, 41, 20, true);
    *ret_position = bus_position(b, 3);
    assert_int_equal(ret_position->seq, 60);
    assert_true(ret_position->time_ns > 0);
    return b;
}

/* The numbers 41 to 100 stand for other messages than they did. */
static void test_an_end_that_was_lost_and_is_there_again(void **state)
{
    struct bus_position taken;
    struct bus *b = take_sixty(&taken), *other;

    (void)state;
    bus_close(&b);
    lose_end();
    other = open_shared("other");
    publish(other, 3, 1041, 1100);
    assert_int_equal(bus_attach(other, 3, taken), 0);
    expect(other, 3, 1, 40, false);
    expect(other, 3, 1041, 60, false);
    assert_int_equal(state_of(other).cuts, 1);
    bus_close(&other);
}

static void test_an_end_that_was_lost_under_a_reader(void **state)
{
    struct bus_position taken;
    struct bus *b = take_sixty(&taken), *other;

    (void)state;
    lose_end();
    other = open_shared("other");
    publish(other, 3, 1041, 1100);
    bus_close(&other);
    expect(b, 3, 1, 40, false);
    expect(b, 3, 1041, 60, false);
    assert_int_equal(state_of(b).cuts, 1);
    bus_close(&b);
}

/* A lane whose place is found wrong on the way: the others go on, it begins anew, and what was
 * fetched meanwhile is not stored as its place. */
static void test_a_place_that_is_wrong_on_the_way(void **state)
{
    struct bus *b = open_shared("one");
    struct bus_batch *batch = NULL;
    unsigned of_five = 0;
    bool is_found = false;

    (void)state;
    publish(b, 3, 1, 50);
    publish(b, 5, 1, 50);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    assert_int_equal(bus_attach(b, 5, (struct bus_position){80, 12345}), 0);
    while (of_five < 50) {
        assert_int_equal(bus_fetch(b, 100, 1000, &batch), 0);
        for (int i = 0; i < bus_batch_count(batch); i++)
            if (bus_batch_at(batch, i)->lane == 5)
                assert_int_equal(number_of(bus_batch_at(batch, i)), ++of_five);
        if (!is_found) {
            is_found = state_of(b).cuts > 0;
            assert_int_equal(bus_position(b, 5).seq, is_found ? 0 : 80);
        }
        bus_ack(b, batch, 3);
        bus_ack(b, batch, 5);
    }
    assert_int_equal(bus_position(b, 5).seq, 100);
    bus_close(&b);
}

/* One process, two lanes: the one that is ahead keeps its place while the other catches up. */
static void test_places_of_two_lanes(void **state)
{
    struct bus *b = open_shared("one");

    (void)state;
    publish(b, 3, 1, 100);
    publish(b, 5, 1, 100);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    assert_int_equal(bus_attach(b, 5, at(150)), 0);
    expect(b, 3, 1, 60, true);
    assert_int_equal(bus_position(b, 3).seq, 60);
    assert_int_equal(bus_position(b, 5).seq, 150);
    expect(b, 3, 61, 40, true);
    expect(b, 5, 51, 50, true);
    assert_int_equal(bus_position(b, 3).seq, 200);
    bus_close(&b);
}

/* As the limits of a stream do. */
static void test_gone_before_it_was_taken(void **state)
{
    struct bus *b = open_shared("one");
    struct admin a = admin_open();

    (void)state;
    publish(b, 3, 1, 100);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    expect(b, 3, 1, 30, true);
    bus_detach(b, 3);
    assert_int_equal(js_PurgeStream(a.js, "LECTR", NULL, NULL), NATS_OK);
    assert_int_equal(bus_look(b), 0);
    assert_int_equal(bus_attach(b, 3, at(30)), 0);
    publish(b, 3, 101, 110);
    expect(b, 3, 101, 10, true);
    assert_int_equal(state_of(b).gone, 70);
    assert_int_equal(state_of(b).cuts, 0);
    /* All that was taken may go. */
    assert_int_equal(js_PurgeStream(a.js, "LECTR", NULL, NULL), NATS_OK);
    bus_give_back(b, 3);
    publish(b, 3, 111, 120);
    expect(b, 3, 111, 10, true);
    assert_int_equal(state_of(b).gone, 70);
    admin_close(&a);
    bus_close(&b);
}

/* By an administrator, or by the server for want of requests while a batch took long. */
static void test_the_consumer_is_deleted(void **state)
{
    struct bus *b = open_shared("one");
    struct admin a = admin_open();

    (void)state;
    publish(b, 3, 1, 100);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    expect(b, 3, 1, 50, true);
    assert_int_equal(js_DeleteConsumer(a.js, "LECTR", "collector-one-a", NULL, NULL), NATS_OK);
    publish(b, 3, 101, 200);
    expect(b, 3, 51, 150, true);
    /* Once more, when nobody waits that could be told, as after a pause. */
    expect_nothing(b);
    for (unsigned i = 0; i < b->reader.requests_count; i++)
        b->reader.requests[i] = (struct request){.id = 0, .deadline_ns = 1};
    b->reader.heard_ns = 0;
    assert_int_equal(js_DeleteConsumer(a.js, "LECTR", "collector-one-b", NULL, NULL), NATS_OK);
    publish(b, 3, 201, 300);
    expect(b, 3, 201, 100, true);
    admin_close(&a);
    bus_close(&b);
}

/* Requests are taken, and nothing comes. */
static void test_the_consumer_is_deaf(void **state)
{
    struct bus *b = open_shared("one");
    struct admin a = admin_open();

    (void)state;
    publish(b, 3, 1, 50);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    expect(b, 3, 1, 50, true);
    expect_nothing(b);
    for (unsigned i = 0; i < b->reader.requests_count; i++)
        b->reader.requests[i] = (struct request){.id = 0, .left = 1, .deadline_ns = UINT64_MAX};
    assert_int_equal(js_DeleteConsumer(a.js, "LECTR", "collector-one-a", NULL, NULL), NATS_OK);
    publish(b, 3, 51, 60);
    expect_nothing(b);
    b->reader.delivered_ns = 0;
    expect(b, 3, 51, 10, true);
    /* Silence is not taken for it where there is nothing. */
    b->reader.delivered_ns = 0;
    expect_nothing(b);
    assert_true(b->reader.is_ready);
    admin_close(&a);
    bus_close(&b);
}

static void restart_denying(const char *subject)
{
    FILE *f;

    server_end(SIGTERM);
    snprintf(server_config, sizeof(server_config), "%s/server.conf", root);
    f = fopen(server_config, "we");
    assert_non_null(f);
    fprintf(f,
            "authorization { users: [ { user: u, password: p, permissions: { publish: { deny:"
            " [ \"%s\" ] } } } ] }\n",
            subject);
    fclose(f);
    snprintf(url, sizeof(url), "nats://u:p@127.0.0.1:%u", port);
    server_start();
}

/* -EACCES with the subject, sooner or later. */
static void expect_denied(const char *subject)
{
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    struct bus *b = open_shared("one");
    struct bus_batch *batch = NULL;
    int r = bus_attach(b, 3, at(0));

    while (r == 0) {
        assert_true(clock_mono_ns() < until_ns);
        r = bus_fetch(b, 10, 100, &batch);
    }
    assert_int_equal(r, -EACCES);
    assert_non_null(strstr(bus_error(b), subject));
    bus_close(&b);
}

static void test_what_is_not_allowed_is_named(void **state)
{
    struct bus *b = open_shared("one");

    (void)state;
    publish(b, 3, 1, 10);
    bus_close(&b);
    restart_denying("$JS.API.CONSUMER.DURABLE.CREATE.>");
    expect_denied("$JS.API.CONSUMER.DURABLE.CREATE.LECTR.collector-one-a");
    restart_denying("$JS.API.CONSUMER.MSG.NEXT.>");
    expect_denied("$JS.API.CONSUMER.MSG.NEXT.LECTR.collector-one-a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_anew_while_it_is_read, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_made_anew_before_a_lane_is_attached, bus_setup,
                                        bus_teardown),
        cmocka_unit_test_setup_teardown(test_an_end_that_was_lost_and_is_there_again, bus_setup,
                                        bus_teardown),
        cmocka_unit_test_setup_teardown(test_an_end_that_was_lost_under_a_reader, bus_setup,
                                        bus_teardown),
        cmocka_unit_test_setup_teardown(test_a_place_that_is_wrong_on_the_way, bus_setup,
                                        bus_teardown),
        cmocka_unit_test_setup_teardown(test_places_of_two_lanes, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_gone_before_it_was_taken, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_the_consumer_is_deleted, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_the_consumer_is_deaf, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_allowed_is_named, bus_setup, bus_teardown),
    };

    if (system("command -v nats-server >/dev/null") != 0) {
        printf("SKIP test_bus_stream: nats-server is not installed\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
