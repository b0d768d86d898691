/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real server that does not allow some subjects, nor large messages.
 *
 * LINK: @store collector/publish.c collector/publish_alert.c collector/publish_rollup.c
 * LINK: collector/courier.c collector/hold.c collector/rollup_pack.c
 * LINK: collector/cloudevent.c collector/notice.c
 * LINK: collector/bus.c collector/bus_batch.c collector/bus_consumer.c collector/bus_pull.c
 * collector/bus_ref.c
 */
#include "collector/publish.h"
#include "collector/store_lane.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "tests/harness/stores.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>

#define WAIT_NS (120 * NSEC_PER_SEC)
#define NOON_S INT64_C(1767268800)
#define LATER_S (NOON_S + 7 * INT64_C(86400))
#define DENIED_ALERTS 130

static char root[64], url[96];
static unsigned port;
static pid_t server_pid;

static void server_start(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t until_ns = clock_mono_ns() + WAIT_NS;
    char path[96];
    int r = -1;
    FILE *f;

    snprintf(path, sizeof(path), "%s/server.conf", root);
    f = fopen(path, "we");
    assert_non_null(f);
    fprintf(
        f,
        "listen: 127.0.0.1:%u\nlog_file: \"%s/server.log\"\nmax_payload: 4096\n"
        "jetstream { store_dir: \"%s/js\" }\n"
        "authorization { users: [ { user: u, password: p, permissions: {\n"
        "  publish: { deny: [ \"lectr.v1.alert.acme.cost\", \"lectr.v1.rollup.evil.>\" ] } } } ]"
        " }\n",
        port, root, root);
    fclose(f);
    server_pid = fork();
    if (server_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("nats-server", "nats-server", "-c", path, NULL);
        _exit(127);
    }
    while (r < 0) {
        CLEAN_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        r = connect(fd, (struct sockaddr *)&at, sizeof(at));
        assert_true(clock_mono_ns() < until_ns);
        usleep(10000);
    }
}

static int setup(void **state)
{
    snprintf(root, sizeof(root), "/tmp/lectr-denied-XXXXXX");
    if (!mkdtemp(root) || stores_setup_sqlite(state) < 0)
        return -1;
    port = stores_free_port();
    snprintf(url, sizeof(url), "nats://u:p@127.0.0.1:%u", port);
    server_start();
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    if (server_pid > 0) {
        kill(server_pid, SIGKILL);
        waitpid(server_pid, NULL, 0);
    }
    return stores_teardown(state) | nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- what arrives --- */

static const char *const subjects[] = {
    "lectr.v1.alert.acme.errors",
    "lectr.v1.rollup.acme.1m",
    "lectr.v1.rollup.acme.1h",
    "lectr.v1.rollup.acme.1d",
};
#define SUBJECTS (sizeof(subjects) / sizeof(subjects[0]))
static atomic_uint arrived[SUBJECTS], others;

static void count(void *ctx, const struct bus_message *m)
{
    (void)ctx;
    for (size_t i = 0; i < SUBJECTS; i++)
        if (strcmp(m->subject, subjects[i]) == 0) {
            atomic_fetch_add(&arrived[i], 1);
            return;
        }
    atomic_fetch_add(&others, 1);
}

static void add_alerts(struct store *s, const char *kind, int n, struct slice payload)
{
    for (int i = 0; i < n; i++) {
        char id[64];

        snprintf(id, sizeof(id), "%s%d", kind, i);
        assert_int_equal(store_add_alert(s, &(struct store_alert){.id = id,
                                                                  .fingerprint = id,
                                                                  .org = "acme",
                                                                  .kind = kind,
                                                                  .status = 1,
                                                                  .payload = payload}),
                         0);
    }
}

static void write_calls(struct store *s, const char *org, int64_t minute_s)
{
    const struct store_series_name name = {org, "search", "openai", "gpt-4o", "shop/web"};
    int64_t series = 0;

    assert_int_equal(store_begin(s), 0);
    assert_int_equal(store_add_series(s, &name, &series), 0);
    for (int i = 0; i < ROLLUP__COUNT; i++) {
        struct rollup_cell cell = {.seconds = rollup_seconds[i],
                                   .bucket = minute_s - minute_s % rollup_seconds[i],
                                   .series = series};

        cell.sums.calls = 1;
        assert_int_equal(store_put_cell(s, 0, &cell, 1), 0);
        assert_int_equal(store_touch(s, 0, cell.seconds, cell.bucket), 0);
        rollup_cell_fini(&cell);
    }
    assert_int_equal(store_commit(s), 0);
}

static bool is_all_there(void)
{
    static const unsigned expected[SUBJECTS] = {3, 80, 2, 1};

    for (size_t i = 0; i < SUBJECTS; i++)
        if (atomic_load(&arrived[i]) < expected[i])
            return false;
    return true;
}

static void what_is_denied_holds_up_nothing_else(void **state)
{
    CLEAN_STORE struct store *s = NULL;
    struct config config = {.nats = {.publish_rollups = true}};
    const struct bus_settings settings = {.url = url,
                                          .creds = "",
                                          .ca_file = "",
                                          .stream = "LECTR",
                                          .durable = "collector",
                                          .name = "test"};
    static uint8_t large[8192];
    uint64_t until_ns = clock_mono_ns() + WAIT_NS;
    struct bus *bus = NULL, *listener = NULL;
    struct publish *p = NULL;

    (void)state;
    assert_int_equal(bus_open(&settings, &bus, NULL), 0);
    assert_int_equal(bus_open(&settings, &listener, NULL), 0);
    assert_int_equal(bus_ensure_stream(bus), 0);
    assert_int_equal(bus_watch(listener, "lectr.v1.>", count, NULL), 0);
    assert_int_equal(store_open(stores_where, &s), 0);
    assert_int_equal(publish_new(&config, s, &p), 0);
    add_alerts(s, "cost", DENIED_ALERTS, slice_str("?"));
    add_alerts(s, "large", 1, slice_of(large, sizeof(large)));
    add_alerts(s, "errors", 3, slice_str("?"));
    for (int i = 0; i < 80; i++) {
        write_calls(s, "evil", NOON_S + 60 * i);
        write_calls(s, "acme", NOON_S + 60 * i);
    }
    while (!is_all_there() || publish_pending(p) != DENIED_ALERTS + 1) {
        publish_turn(p, bus, LATER_S, clock_mono_ns());
        usleep(20000);
        assert_true(clock_mono_ns() < until_ns);
    }
    assert_int_equal(atomic_load(&others), 0);
    assert_int_equal(publish_given_up(p), 0);
    publish_free(&p);
    bus_close(&listener);
    bus_close(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_is_denied_holds_up_nothing_else, stores_empty),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
