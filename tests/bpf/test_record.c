/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: tests/bpf/stage.c agent/capture.c agent/capture_names.c agent/bpffs.c agent/netns.c
 * agent/cgroup.c */
/* What goes to the proxy with a steered connection, and what it counts by it. */
#include "tests/bpf/stage.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* ---- tests ---- */

/* The record is there before the connection is accepted. */
static void the_original_destination_is_on_record(void **state)
{
    long page = sysconf(_SC_PAGESIZE);
    uint32_t bytes = capture_origins_bytes(st.capture);
    const uint8_t *ring;
    const uint64_t *produced;
    struct lectr_origin o;
    struct result r;

    (void)state;
    ring = mmap(NULL, (size_t)page + bytes, PROT_READ, MAP_SHARED, capture_origins_fd(st.capture),
                page);
    assert_true(ring != MAP_FAILED);
    produced = (const void *)ring;
    assert_int_equal(*produced, 0);
    resolve("api.example-ai.test", PROVIDER_IP);
    r = connect_out();
    assert_int_equal(*produced, 8 + sizeof(o));
    memcpy(&o, ring + page + 8, sizeof(o));
    assert_int_equal(o.netns_cookie, st.cookie);
    assert_int_equal(o.cgroup_id, st.cgroup_id);
    assert_int_equal(o.family, LECTR_AF_INET);
    assert_int_equal(o.dport, 443);
    assert_int_equal(o.sport, r.local_port);
    assert_int_equal(o.pid, getpid());
    assert_memory_equal(o.daddr, "\xc6\x33\x64\x07\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_memory_equal(o.saddr, "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    munmap((void *)(uintptr_t)ring, (size_t)page + bytes);
}

/* The last record of the ring; its header must be of that size. */
static struct lectr_origin last_record(void)
{
    long page = sysconf(_SC_PAGESIZE);
    uint32_t bytes = capture_origins_bytes(st.capture);
    struct lectr_origin o;
    uint8_t *ring = mmap(NULL, (size_t)page + bytes, PROT_READ, MAP_SHARED,
                         capture_origins_fd(st.capture), page);
    uint64_t produced;

    assert_true(ring != MAP_FAILED);
    memcpy(&produced, ring, sizeof(produced));
    assert_true(produced >= 8 + sizeof(o) && produced < bytes);
    memcpy(&o, ring + page + produced - sizeof(o), sizeof(o));
    munmap(ring, (size_t)page + bytes);
    return o;
}

static void another_address_of_the_name_goes_along(void **state)
{
    uint8_t other6[16], other4[16] = {198, 51, 100, 8};
    struct lectr_origin o;

    (void)state;
    inet_pton(AF_INET6, "2001:db8::7", other6);
    /* Of another name: none of this one's. */
    resolve("api.example-ai.test", PROVIDER_IP);
    connect_out();
    assert_int_equal(last_record().alt_family, 0);
    /* The same family, if there is no other. */
    resolve("api.example-ai.test", "198.51.100.8");
    connect_out();
    o = last_record();
    assert_int_equal(o.alt_family, LECTR_AF_INET);
    assert_memory_equal(o.alt_daddr, other4, 16);
    resolve("API.example-ai.test", "2001:db8::7");
    connect_out();
    o = last_record();
    assert_int_equal(o.alt_family, LECTR_AF_INET6);
    assert_memory_equal(o.alt_daddr, other6, 16);
    assert_memory_equal(o.daddr, "\xc6\x33\x64\x07\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

static void put_taken(void *user, const struct capture_row *row)
{
    *(uint64_t *)user = row->taken;
}

static void drop_row(void *user, const struct capture_row *row)
{
    (void)user;
    capture_census_drop(st.capture, &row->key);
}

/* What a proxy counts by the record's slot is counted for the census row. */
static void taken_connections_are_counted(void **state)
{
    size_t bytes = (LECTR_CENSUS_MAX + 1) * sizeof(uint64_t);
    uint64_t *taken =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, capture_taken_fd(st.capture), 0);
    uint64_t got = 99;
    uint16_t slot;

    (void)state;
    assert_true((void *)taken != MAP_FAILED);
    resolve("api.example-ai.test", PROVIDER_IP);
    connect_out();
    slot = last_record().slot;
    assert_in_range(slot, 1, LECTR_CENSUS_MAX);
    capture_census_each(st.capture, put_taken, &got);
    assert_int_equal(got, 0);
    taken[slot]++;
    connect_out();
    assert_int_equal(last_record().slot, slot);
    taken[slot]++;
    capture_census_each(st.capture, put_taken, &got);
    assert_int_equal(got, 2);
    /* A row that is dropped leaves its slot clean, and to others in time. */
    capture_census_each(st.capture, drop_row, NULL);
    assert_int_equal(taken[slot], 0);
    connect_out();
    assert_int_not_equal(last_record().slot, slot);
    assert_int_not_equal(last_record().slot, 0);
    munmap(taken, bytes);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_original_destination_is_on_record),
        T(another_address_of_the_name_goes_along),
        T(taken_connections_are_counted),
    };
    int r;

    if (geteuid() != 0) {
        puts("SKIP - attaching programs needs root");
        return 0;
    }
    r = build_stage();
    if (r < 0) {
        printf("SKIP - no cgroup and namespaces of its own: %s\n", strerror(-r));
        return 0;
    }
    r = cmocka_run_group_tests(tests, NULL, NULL);
    strike_stage();
    return r;
}
