/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/bus.c collector/bus_batch.c collector/bus_consumer.c collector/bus_pull.c
 * collector/bus_ref.c */
/* Lanes against a real server: in order, nothing passed over, whatever is killed or lost. */
#include "collector/bus_priv.h"
#include "tests/unit/collector/bus_server.h"

#define NUMBERS_MAX 2000

static void test_what_is_not_acked_comes_again_first(void **state)
{
    struct bus *b = open_bus();

    (void)state;
    publish(b, 3, 1, 500);
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    expect(b, 0, 1, 200, true);
    expect(b, 0, 201, 300, false);
    bus_close(&b);
    b = open_bus();
    publish(b, 3, 501, 510);
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    expect(b, 0, 201, 310, true);
    bus_close(&b);
    b = open_bus();
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    expect_nothing(b);
    /* All is acked: silence is no reason to make the consumer anew. */
    b->reader.delivered_ns = 0;
    expect_nothing(b);
    assert_true(b->reader.is_ready);
    publish(b, 3, 511, 520);
    expect(b, 0, 511, 10, true);
    bus_close(&b);
}

static void test_given_back(void **state)
{
    struct bus *b = open_bus();

    (void)state;
    publish(b, 3, 1, 50);
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    expect(b, 0, 1, 50, false);
    bus_give_back(b, 0);
    publish(b, 3, 51, 60);
    expect(b, 0, 1, 60, true);
    bus_give_back(b, 0);
    expect_nothing(b);
    bus_close(&b);
}

static void test_server_is_killed(void **state)
{
    struct bus *b = open_bus();

    (void)state;
    publish(b, 3, 1, 300);
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    expect(b, 0, 1, 100, true);
    expect(b, 0, 101, 50, false);
    server_stop();
    server_start();
    /* Those that were not acked, and the rest. */
    expect(b, 0, 101, 200, true);
    publish(b, 3, 301, 400);
    expect(b, 0, 301, 100, true);
    bus_close(&b);
}

static void test_parts_are_lanes(void **state)
{
    struct bus *b = open_shared("host.example-7");

    (void)state;
    publish(b, 3, 1, 100);
    publish(b, 5, 1, 100);
    publish(b, 33, 1, 100);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    expect(b, 3, 1, 100, true);
    expect_passed(b, 300);
    /* From its own beginning, and nothing of the other twice. */
    assert_int_equal(bus_attach(b, 33, at(0)), 0);
    expect(b, 33, 1, 100, true);
    bus_detach(b, 3);
    publish(b, 3, 101, 110);
    publish(b, 33, 101, 110);
    expect(b, 33, 101, 10, true);
    expect_passed(b, 320);
    assert_int_equal(bus_attach(b, 3, at(100)), 0);
    expect(b, 3, 101, 10, true);
    expect_passed(b, 320);
    bus_give_back(b, 3);
    expect_passed(b, 320);
    publish(b, 5, 101, 101);
    expect_passed(b, 321);
    bus_close(&b);
}

/* What one fetched and did not store the other gets, from the position that was stored. */
static void test_lanes_change_hands(void **state)
{
    struct bus *one, *other, *one_more;

    (void)state;
    one = open_shared("one");
    other = open_shared("other");
    one_more = open_shared("one-more");
    publish(one, 1, 1, 50);
    publish(one, 2, 1, 50);
    assert_int_equal(bus_attach(one, 1, at(0)), 0);
    assert_int_equal(bus_attach(other, 2, at(0)), 0);
    expect(one, 1, 1, 30, true);
    expect(one, 1, 31, 20, false);
    expect(other, 2, 1, 50, true);
    bus_close(&one);
    assert_int_equal(bus_attach(other, 1, at(30)), 0);
    expect(other, 1, 31, 20, true);
    publish(other, 2, 51, 60);
    expect(other, 2, 51, 10, true);
    assert_int_equal(bus_look(one_more), 0);
    assert_true(bus_stream_made(other) > 0);
    assert_true(bus_stream_made(other) == bus_stream_made(one_more));
    bus_close(&one_more);
    bus_close(&other);
}

/* The stream lost its end, and counts on from before the position that was stored. */
static void test_a_position_beyond_the_stream_is_none(void **state)
{
    struct bus *b = open_shared("one");

    (void)state;
    publish(b, 3, 1, 40);
    assert_int_equal(bus_attach(b, 3, at(1000)), 0);
    expect(b, 3, 1, 40, true);
    publish(b, 3, 41, 60);
    expect(b, 3, 41, 20, true);
    bus_close(&b);
}

static int64_t count_consumers(void)
{
    natsConnection *connection = NULL;
    jsStreamInfo *info = NULL;
    jsCtx *js = NULL;
    int64_t count;

    assert_int_equal(natsConnection_ConnectTo(&connection, url), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    assert_int_equal(js_GetStreamInfo(&info, js, "LECTR", NULL, NULL), NATS_OK);
    count = info->State.Consumers;
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    return count;
}

/* Those that versions before had for each part go. */
static void test_consumers_of_parts_go(void **state)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    struct bus *b = open_shared("one");

    (void)state;
    publish(b, 3, 1, 10);
    assert_int_equal(natsConnection_ConnectTo(&connection, url), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    for (unsigned i = 0; i < BUS_LANES; i++) {
        char name[32], filter[32];
        jsConsumerConfig config;

        jsConsumerConfig_Init(&config);
        snprintf(name, sizeof(name), "collector-%u-%s", i, i % 2 ? "b" : "a");
        snprintf(filter, sizeof(filter), "lectr.v1.*.*.*.%u", i);
        config.Durable = name;
        config.FilterSubject = filter;
        config.AckPolicy = js_AckAll;
        assert_int_equal(js_AddConsumer(NULL, js, "LECTR", &config, NULL, NULL), NATS_OK);
    }
    assert_int_equal(count_consumers(), BUS_LANES);
    assert_int_equal(bus_attach(b, 3, at(0)), 0);
    expect(b, 3, 1, 10, true);
    assert_int_equal(count_consumers(), 1);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    bus_close(&b);
    assert_int_equal(count_consumers(), 0);
}

/* Two that believe the lane is theirs: what is on its way to one when the other takes over is
 * given to the other. (Who may store it is the lease's concern.) */
static void test_two_on_one_lane_lose_nothing(void **state)
{
    static bool seen[NUMBERS_MAX + 1];
    struct bus *two[] = {open_bus(), open_bus()};
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;
    unsigned left = NUMBERS_MAX, turn = 0;

    (void)state;
    publish(two[0], 3, 1, NUMBERS_MAX);
    assert_int_equal(bus_attach(two[0], 0, at(0)), 0);
    assert_int_equal(bus_attach(two[1], 0, at(0)), 0);
    while (left > 0) {
        struct bus *b = two[turn++ % 2];
        struct bus_batch *batch = NULL;

        assert_true(clock_mono_ns() < until_ns);
        if (bus_fetch(b, 70, 20, &batch) < 0)
            continue;
        for (int i = 0; i < bus_batch_count(batch); i++) {
            unsigned number = number_of(bus_batch_at(batch, i));

            left -= !seen[number];
            seen[number] = true;
        }
        bus_ack(b, batch, 0);
        bus_batch_free(b);
    }
    bus_close(&two[0]);
    bus_close(&two[1]);
}

static void fill(struct bus *b, struct bus_batch *batch, int count)
{
    uint64_t until_ns = clock_mono_ns() + WAIT_MS * NSEC_PER_MSEC;

    while (bus_batch_count(batch) < count) {
        assert_true(clock_mono_ns() < until_ns);
        bus_fetch_more(b, count - bus_batch_count(batch), 50);
    }
}

/* What a batch had at first stays where it was while more is added; one ack is for all of it. */
static void test_a_batch_grows(void **state)
{
    struct bus *b = open_bus();
    struct bus_batch *batch = NULL;
    const char *subject;

    (void)state;
    publish(b, 3, 1, 3000);
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    while (!batch || bus_batch_count(batch) == 0)
        assert_int_equal(bus_fetch(b, 10, WAIT_MS, &batch), 0);
    subject = bus_batch_at(batch, 0)->subject;
    fill(b, batch, 2500);
    assert_int_equal(bus_batch_count(batch), 2500);
    assert_ptr_equal(bus_batch_at(batch, 0)->subject, subject);
    for (int i = 0; i < 2500; i++)
        assert_int_equal(number_of(bus_batch_at(batch, i)), i + 1);
    bus_ack(b, batch, 0);
    bus_batch_free(b);
    expect(b, 0, 2501, 500, false);
    bus_close(&b);
    b = open_bus();
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    expect(b, 0, 2501, 500, true);
    bus_close(&b);
}

/* Messages as large as the server takes them: whole, and no more of them than a batch may have
 * bytes. */
static void test_large_messages(void **state)
{
    const size_t len = 1024 * 1024 - 64; /* and the header */
    const int all = (int)(BUS_BATCH_BYTES / len) + 6;
    CLEAN_FREE char *text = malloc(len);
    struct bus *b = open_bus();
    char subject[SUBJECT_BYTES], id[16];
    int got = 0;

    (void)state;
    assert_int_equal(bus_ensure_stream(b), 0);
    assert_int_equal(subject_call("acme", "openai", 3, subject), 0);
    for (int i = 0; i < all; i++) {
        memset(text, 'a' + i % 26, len);
        snprintf(id, sizeof(id), "%d", i);
        assert_int_equal(bus_publish(b, subject, id, slice_of(text, len)), 0);
    }
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    while (got < all) {
        struct bus_batch *batch = NULL;
        int count = 0;

        assert_int_equal(bus_fetch(b, all, WAIT_MS, &batch), 0);
        do {
            count = bus_batch_count(batch);
            bus_fetch_more(b, all, 100);
        } while (bus_batch_count(batch) > count);
        assert_true(count <= (int)(BUS_BATCH_BYTES / len));
        for (int i = 0; i < count; i++, got++) {
            const struct slice data = bus_batch_at(batch, i)->data;

            assert_int_equal(data.len, len);
            assert_int_equal(data.data[0], 'a' + got % 26);
            assert_int_equal(data.data[len - 1], 'a' + got % 26);
        }
        bus_ack(b, batch, 0);
    }
    assert_int_equal(got, all);
    /* No more of them were asked for at a time, for none of them was too large. */
    assert_true(b->reader.bytes_max <= BUS_AHEAD_BYTES / REQUESTS_MAX);
    bus_close(&b);
}

/* The consumer that versions before the lanes used. */
static void make_old_consumer(uint64_t acked)
{
    natsConnection *connection = NULL;
    natsSubscription *subscription = NULL;
    jsCtx *js = NULL;
    jsSubOptions options;

    assert_int_equal(natsConnection_ConnectTo(&connection, url), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    jsSubOptions_Init(&options);
    options.Stream = "LECTR";
    options.ManualAck = true;
    options.Config.AckPolicy = js_AckExplicit;
    assert_int_equal(
        js_PullSubscribe(&subscription, js, SUBJECT_ALL, "collector", NULL, &options, NULL),
        NATS_OK);
    while (acked > 0) {
        natsMsgList list = {0};

        assert_int_equal(natsSubscription_Fetch(&list, subscription, (int)acked, 1000, NULL),
                         NATS_OK);
        for (int i = 0; i < list.Count; i++)
            assert_int_equal(natsMsg_AckSync(list.Msgs[i], NULL, NULL), NATS_OK);
        acked -= (uint64_t)list.Count;
        natsMsgList_Destroy(&list);
    }
    natsSubscription_Destroy(subscription);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
}

static void test_goes_on_where_the_old_consumer_was(void **state)
{
    struct bus *b = open_bus();

    (void)state;
    publish(b, 3, 1, 100);
    make_old_consumer(40);
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    expect(b, 0, 41, 60, true);
    bus_close(&b);
    b = open_bus();
    assert_int_equal(bus_attach(b, 0, at(0)), 0);
    expect_nothing(b);
    bus_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_not_acked_comes_again_first, bus_setup,
                                        bus_teardown),
        cmocka_unit_test_setup_teardown(test_given_back, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_server_is_killed, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_parts_are_lanes, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_lanes_change_hands, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_consumers_of_parts_go, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_a_position_beyond_the_stream_is_none, bus_setup,
                                        bus_teardown),
        cmocka_unit_test_setup_teardown(test_two_on_one_lane_lose_nothing, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_goes_on_where_the_old_consumer_was, bus_setup,
                                        bus_teardown),
        cmocka_unit_test_setup_teardown(test_a_batch_grows, bus_setup, bus_teardown),
        cmocka_unit_test_setup_teardown(test_large_messages, bus_setup, bus_teardown),
    };

    if (system("command -v nats-server >/dev/null") != 0) {
        printf("SKIP test_bus: nats-server is not installed\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
