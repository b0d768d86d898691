/* SPDX-License-Identifier: Apache-2.0 */
/* The steering decision, run in the kernel. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual" /* generated */
#include "tests/bpf/steer.skel.h"
#pragma GCC diagnostic pop

#include "bpf/steer.bpf.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PACKET_BYTES 128

static struct steer *skel;

static int run(const struct bpf_program *prog, const void *input, size_t bytes)
{
    uint8_t packet[PACKET_BYTES] = {0};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));

    assert_true(bytes <= sizeof(packet));
    memcpy(packet, input, bytes);
    assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts), 0);
    assert_int_not_equal(opts.retval, 1000);
    return (int)opts.retval;
}

static int decide(const struct steer_facts *facts)
{
    return run(skel->progs.run_decide, facts, sizeof(*facts));
}

/* All that it takes to be steered. */
static const struct steer_facts good = {
    .tcp = 1,
    .port_listed = 1,
    .provider_known = 1,
    .consent = 1,
    .alive = 1,
    .netns_known = 1,
    .route = 1,
    .ring_room = 1,
};

/* The same by its port alone. */
static const struct steer_facts in_clear = {
    .tcp = 1,
    .clear_port = 1,
    .consent = 1,
    .alive = 1,
    .netns_known = 1,
    .route = 1,
    .ring_room = 1,
};

#define CLEAR_BUT(field, value)                                                                    \
    ({                                                                                             \
        struct steer_facts f_ = in_clear;                                                          \
        f_.field = (value);                                                                        \
        f_;                                                                                        \
    })

#define GOOD_BUT(field, value)                                                                     \
    ({                                                                                             \
        struct steer_facts f_ = good;                                                              \
        f_.field = (value);                                                                        \
        f_;                                                                                        \
    })

static void table(void **state)
{
    const struct {
        const char *what;
        struct steer_facts facts;
        enum lectr_verdict verdict;
    } rows[] = {
        {"everything in place", good, LECTR_STEERED},
        {"IPv6 with a route", GOOD_BUT(ipv6, 1), LECTR_STEERED},
        {"not TCP", GOOD_BUT(tcp, 0), LECTR_NOT_PROVIDER},
        {"to loopback", GOOD_BUT(to_loopback, 1), LECTR_NOT_PROVIDER},
        {"in clear, at any address", in_clear, LECTR_STEERED},
        {"in clear, to loopback", CLEAR_BUT(to_loopback, 1), LECTR_STEERED},
        {"in clear, where nobody listens", CLEAR_BUT(unserved, 1), LECTR_NOT_PROVIDER},
        {"in clear, without consent", CLEAR_BUT(consent, 0), LECTR_NOT_PROVIDER},
        {"in clear, our own socket", CLEAR_BUT(own, 1), LECTR_OWN},
        {"in clear, not TCP", CLEAR_BUT(tcp, 0), LECTR_NOT_PROVIDER},
        {"in clear, agent silent", CLEAR_BUT(alive, 0), LECTR_AGENT_DOWN},
        {"another port", GOOD_BUT(port_listed, 0), LECTR_NOT_PROVIDER},
        {"an address that was not learned", GOOD_BUT(provider_known, 0), LECTR_NOT_PROVIDER},
        {"our own socket", GOOD_BUT(own, 1), LECTR_OWN},
        {"no consent", GOOD_BUT(consent, 0), LECTR_NO_CONSENT},
        {"bound to a device", GOOD_BUT(device_bound, 1), LECTR_DEVICE_BOUND},
        {"bound to an address, or marked", GOOD_BUT(bound_source, 1), LECTR_BOUND_SOURCE},
        {"agent silent", GOOD_BUT(alive, 0), LECTR_AGENT_DOWN},
        {"namespace not met", GOOD_BUT(netns_known, 0), LECTR_NO_LISTENER},
        {"loopback down", GOOD_BUT(route, 0), LECTR_NO_LISTENER},
        {"ring nearly full", GOOD_BUT(ring_room, 0), LECTR_OVERLOAD},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int got = decide(&rows[i].facts);

        if (got != (int)rows[i].verdict)
            fail_msg("%s: got %d, expected %d", rows[i].what, got, (int)rows[i].verdict);
    }
}

static void ipv6_without_a_route_is_told_apart(void **state)
{
    struct steer_facts f = good;

    (void)state;
    f.ipv6 = 1;
    f.route = 0;
    assert_int_equal(decide(&f), LECTR_NO_ROUTE);
}

static void mode_all_is_for_those_who_consent(void **state)
{
    struct steer_facts f = good;

    (void)state;
    f.mode_all = 1;
    f.provider_known = 0;
    assert_int_equal(decide(&f), LECTR_STEERED);
    f.consent = 0;
    assert_int_equal(decide(&f), LECTR_NOT_PROVIDER);
    f.provider_known = 1;
    assert_int_equal(decide(&f), LECTR_NO_CONSENT);
}

/* A connection of Lectr's own is never steered nor counted, whatever else is so. */
static void own_comes_first(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 1u << 15; bits++) {
        struct steer_facts f = {.own = 1};
        uint8_t *fields = &f.to_loopback;

        f.tcp = bits & 1;
        for (unsigned i = 0; i < 14; i++)
            fields[i] = (bits >> (i + 1)) & 1;
        assert_int_equal(decide(&f), LECTR_OWN);
    }
}

/* Over every combination of facts: what is steered has all it takes. */
static void nothing_is_steered_that_should_not_be(void **state)
{
    unsigned steered = 0, by_port = 0;

    (void)state;
    for (unsigned bits = 0; bits < 1u << 16; bits++) {
        struct steer_facts f = {0};
        uint8_t *fields = (uint8_t *)&f;

        for (unsigned i = 0; i < 16; i++)
            fields[i] = (bits >> i) & 1;
        if (decide(&f) != LECTR_STEERED)
            continue;
        steered++;
        assert_true(f.tcp && f.consent && f.alive && f.netns_known && f.route && f.ring_room);
        assert_false(f.own || f.device_bound || f.bound_source);
        if (f.clear_port && !f.unserved)
            by_port++;
        else
            assert_true(f.port_listed && (f.provider_known || f.mode_all) && !f.to_loopback);
    }
    /* By name: 3 of (clear_port, unserved) but the one that goes by port, times 3
     * of (provider_known, mode_all) times 2 of ipv6. By port: 2^5 of what does not
     * matter then (to_loopback, port_listed, provider_known, mode_all, ipv6). */
    assert_int_equal(by_port, 32);
    assert_int_equal(steered, 3 * 6 + 32);
}

struct alive_input {
    struct lectr_beat beat;
    uint64_t now_ns, stale_ns;
};

static void heartbeats(void **state)
{
    const struct {
        const char *what;
        struct alive_input in;
        int alive;
    } rows[] = {
        {"both fresh", {{.proxy_ns = 900, .helper_ns = 950}, 1000, 500}, 1},
        {"proxy stale", {{.proxy_ns = 400, .helper_ns = 950}, 1000, 500}, 0},
        {"helper stale", {{.proxy_ns = 900, .helper_ns = 500}, 1000, 500}, 0},
        {"exactly stale", {{.proxy_ns = 500, .helper_ns = 501}, 1000, 500}, 0},
        {"just not", {{.proxy_ns = 501, .helper_ns = 501}, 1000, 500}, 1},
        {"shedding", {{.proxy_ns = 900, .helper_ns = 950, .shed = 1}, 1000, 500}, 0},
        {"proxy sheds", {{.proxy_ns = 900, .helper_ns = 950, .proxy_shed = 1}, 1000, 500}, 0},
        {"proxy never seen", {{.proxy_ns = 0, .helper_ns = 10}, 100, 500}, 0},
        {"helper never seen", {{.proxy_ns = 10, .helper_ns = 0}, 100, 500}, 0},
        {"written after now", {{.proxy_ns = 1001, .helper_ns = 1002}, 1000, 500}, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (run(skel->progs.run_alive, &rows[i].in, sizeof(rows[i].in)) != rows[i].alive)
            fail_msg("%s", rows[i].what);
}

struct listener_input {
    struct lectr_own own;
    uint32_t has_own, state, generation, pad;
};

static void only_our_living_listener(void **state)
{
    const struct {
        const char *what;
        struct listener_input in;
        int ours;
    } rows[] = {
        {"ours", {{7, 1}, 1, 10, 7, 0}, 1},
        {"foreign", {{7, 1}, 0, 10, 7, 0}, 0},
        {"of another generation", {{6, 1}, 1, 10, 7, 0}, 0},
        {"an upstream socket of ours", {{7, 0}, 1, 10, 7, 0}, 0},
        {"established", {{7, 1}, 1, 1, 7, 0}, 0},
        {"time-wait", {{7, 1}, 1, 6, 7, 0}, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (run(skel->progs.run_listener, &rows[i].in, sizeof(rows[i].in)) != rows[i].ours)
            fail_msg("%s", rows[i].what);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
    (void)level;
    (void)fmt;
    (void)args;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(ipv6_without_a_route_is_told_apart),
        cmocka_unit_test(mode_all_is_for_those_who_consent),
        cmocka_unit_test(own_comes_first),
        cmocka_unit_test(nothing_is_steered_that_should_not_be),
        cmocka_unit_test(heartbeats),
        cmocka_unit_test(only_our_living_listener),
    };
    int r;

    libbpf_set_print(quiet);
    if (geteuid() != 0) {
        puts("SKIP - running programs in the kernel needs root");
        return 0;
    }
    skel = steer__open_and_load();
    if (!skel) {
        puts("the wrapper program was refused by the kernel");
        return 1;
    }
    r = cmocka_run_group_tests(tests, NULL, NULL);
    steer__destroy(skel);
    return r;
}
