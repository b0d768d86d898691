/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/bus_ref.c */
#include "collector/bus_ref.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_ref(const char *reply, const char *consumer, uint64_t stream, uint64_t delivery,
                       uint64_t pending)
{
    struct bus_ref ref;

    assert_int_equal(bus_ref_parse(reply, &ref), 0);
    assert_true(slice_eq(ref.consumer, slice_str(consumer)));
    assert_int_equal(ref.stream_seq, stream);
    assert_int_equal(ref.delivery_seq, delivery);
    assert_int_equal(ref.time_ns, 1700000000123456789);
    assert_int_equal(ref.pending, pending);
}

static void test_both_forms(void **state)
{
    (void)state;
    assert_ref("$JS.ACK.LECTR.lectr-collector-a.1.1042.17.1700000000123456789.3",
               "lectr-collector-a", 1042, 17, 3);
    assert_ref("$JS.ACK.hub.ACCHASH.LECTR.c-12-b.2.9.8.1700000000123456789.0", "c-12-b", 9, 8, 0);
    assert_ref("$JS.ACK._.ACCHASH.LECTR.c.1.9.8.1700000000123456789.0.random", "c", 9, 8, 0);
}

static void test_others_are_refused(void **state)
{
    static const char *const replies[] = {
        "",
        "$JS.ACK.",
        "$JS.ACK.LECTR.c.1.2.3.4",
        "$JS.ACK.LECTR.c.1.2.3.4.5.6",
        "$JS.ACK.LECTR.c.1..3.4.5",
        "$JS.ACK.LECTR.c.1.2.x.4.5",
        "$JS.ACK.LECTR.c.1.99999999999999999999.3.4.5",
        "$JS.ACK.LECTR.c.1.2.3.x.5",
        "$JS.ACK.LECTR.c.1.2.3.4.",
        "$JS.FC.LECTR.c.1.2.3.4.5",
        "_INBOX.abc.0.1",
    };
    struct bus_ref ref;

    (void)state;
    assert_int_equal(bus_ref_parse(NULL, &ref), -EINVAL);
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        assert_int_equal(bus_ref_parse(replies[i], &ref), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms),
        cmocka_unit_test(test_others_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
