// SPDX-License-Identifier: Apache-2.0
/* LINK: agent/spool.c agent/folder.c agent/segment.c */
#include "agent/spool.h"

#include "proto/base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#define ONE "018f0000-0000-7000-8000-000000000001"
#define TWO "018f0000-0000-7000-8000-000000000002"
#define THREE "018f0000-0000-7000-8000-000000000003"
#define ALL UINT64_MAX
#define SEGMENT SEGMENT_MIN_BYTES
#define PAYLOAD 1000

static char state_dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(state_dir, sizeof(state_dir), "/tmp/lectr-spool-XXXXXX");
    return mkdtemp(state_dir) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_dir(void **state)
{
    (void)state;
    return nftw(state_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static struct spool *open_spool(const char *instance, uint64_t limit_bytes)
{
    struct spool_options options = {
        .state_dir = state_dir, .limit_bytes = limit_bytes, .segment_bytes = SEGMENT};
    struct spool *s = NULL;

    assert_int_equal(spool_open(&options, instance, &s), 0);
    return s;
}

/* The payload tells its number in every byte, so a torn one is seen. */
static void make_payload(uint64_t seq, uint8_t ret_payload[PAYLOAD])
{
    for (size_t i = 0; i < PAYLOAD; i++)
        ret_payload[i] = (uint8_t)(seq * 31 + i * 7 + (i >> 8));
    memcpy(ret_payload, &seq, sizeof(seq));
}

static int append(struct spool *s, uint64_t seq, bool use_reserve)
{
    uint8_t payload[PAYLOAD];

    make_payload(seq, payload);
    return spool_append(s, seq, "lectr.v1.gap.test", slice_of(payload, PAYLOAD), use_reserve);
}

/* Takes the next record, which must be whole, and returns its number; 0: none. */
static uint64_t take(struct spool *s, const char *instance)
{
    struct spool_record r;
    uint8_t payload[PAYLOAD];

    if (!spool_take(s, ALL, &r))
        return 0;
    assert_string_equal(r.instance, instance);
    assert_string_equal(r.record.subject, "lectr.v1.gap.test");
    make_payload(r.record.seq, payload);
    assert_int_equal(r.record.payload.len, PAYLOAD);
    assert_memory_equal(r.record.payload.data, payload, PAYLOAD);
    return r.record.seq;
}

static struct spool_counts count(struct spool *s)
{
    struct spool_counts c;

    spool_count(s, &c);
    return c;
}

static uint64_t tree_bytes;

static int add_bytes(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)ftw;
    if (type == FTW_F)
        tree_bytes += (uint64_t)st->st_size;
    return 0;
}

static uint64_t bytes_on_disk(void)
{
    tree_bytes = 0;
    assert_int_equal(nftw(state_dir, add_bytes, 16, FTW_PHYS), 0);
    return tree_bytes;
}

static bool has_folder(const char *instance)
{
    char path[192];

    snprintf(path, sizeof(path), "%s/spool/%s", state_dir, instance);
    return access(path, F_OK) == 0;
}

static void records_come_out_as_they_went_in(void **state)
{
    struct spool *s = open_spool(ONE, 4 * SEGMENT);

    (void)state;
    assert_int_equal(take(s, ONE), 0);
    for (uint64_t seq = 1; seq <= 300; seq++)
        assert_int_equal(append(s, seq, false), 0);
    assert_int_equal(count(s).queued, 300);
    for (uint64_t seq = 1; seq <= 300; seq++)
        assert_int_equal(take(s, ONE), seq);
    assert_int_equal(take(s, ONE), 0);
    assert_int_equal(count(s).in_flight, 300);
    for (uint64_t seq = 300; seq >= 1; seq--)
        assert_true(spool_ack(s, ONE, seq));
    assert_false(spool_ack(s, ONE, 7));
    assert_false(spool_ack(s, ONE, 301));
    assert_false(spool_ack(s, TWO, 7));
    assert_int_equal(count(s).in_flight, 0);
    spool_close(&s);
    assert_false(has_folder(ONE));
}

static void sizes_vary(void **state)
{
    static uint8_t payload[EVENT_MAX_BYTES + 1];
    struct spool *s = open_spool(ONE, 16 * SEGMENT);
    struct spool_record r;
    uint64_t seq = 1;

    (void)state;
    for (size_t len = 0; len < 70; len++)
        assert_int_equal(spool_append(s, seq++, "s", slice_of(payload, len), false), 0);
    assert_int_equal(spool_append(s, seq++, "s", slice_of(payload, EVENT_MAX_BYTES), false), 0);
    assert_int_equal(spool_append(s, seq++, "s", slice_of(payload, EVENT_MAX_BYTES), false), 0);
    assert_int_equal(spool_append(s, seq, "s", slice_of(payload, EVENT_MAX_BYTES + 1), false),
                     -EMSGSIZE);
    for (size_t len = 0; len < 70; len++) {
        assert_true(spool_take(s, ALL, &r));
        assert_int_equal(r.record.payload.len, len);
        assert_string_equal(r.record.subject, "s");
    }
    spool_close(&s);
}

static void the_window_bounds_what_is_in_flight(void **state)
{
    struct spool *s = open_spool(ONE, 4 * SEGMENT);
    struct spool_record r;

    (void)state;
    for (uint64_t seq = 1; seq <= 10; seq++)
        assert_int_equal(append(s, seq, false), 0);
    for (int i = 0; i < 3; i++)
        assert_true(spool_take(s, 3, &r));
    assert_false(spool_take(s, 3, &r));
    assert_true(spool_ack(s, ONE, 2));
    assert_true(spool_take(s, 3, &r));
    assert_int_equal(r.record.seq, 4);
    assert_false(spool_take(s, 3, &r));
    spool_close(&s);
}

static void what_failed_is_sent_again_in_order(void **state)
{
    struct spool *s = open_spool(ONE, 4 * SEGMENT);

    (void)state;
    for (uint64_t seq = 1; seq <= 6; seq++)
        assert_int_equal(append(s, seq, false), 0);
    for (uint64_t seq = 1; seq <= 5; seq++)
        assert_int_equal(take(s, ONE), seq);
    assert_true(spool_ack(s, ONE, 3));
    spool_requeue(s, ONE, 4);
    spool_requeue(s, ONE, 2);
    spool_requeue(s, ONE, 3); /* acked already */
    assert_int_equal(take(s, ONE), 2);
    assert_int_equal(take(s, ONE), 4);
    assert_int_equal(take(s, ONE), 6);
    spool_requeue_all(s);
    assert_int_equal(count(s).in_flight, 0);
    /* an answer that comes late counts */
    assert_true(spool_ack(s, ONE, 1));
    assert_int_equal(count(s).in_flight, 0);
    assert_int_equal(take(s, ONE), 2);
    assert_int_equal(take(s, ONE), 4);
    assert_int_equal(take(s, ONE), 5);
    assert_int_equal(take(s, ONE), 6);
    assert_int_equal(take(s, ONE), 0);
    spool_close(&s);
}

static uint64_t fill(struct spool *s, uint64_t seq)
{
    const uint64_t first = seq;

    while (append(s, seq, false) == 0) {
        seq++;
        assert_true(seq < first + 20000); /* or nothing bounds it */
        if (seq % 16 == 0)
            spool_tend(s);
    }
    assert_int_equal(append(s, seq, false), -ENOSPC);
    return seq;
}

static void the_limit_holds_and_acks_make_room(void **state)
{
    const uint64_t limit = 4 * SEGMENT;
    struct spool *s = open_spool(ONE, limit);
    uint64_t seq = 1, acked = 1;

    (void)state;
    for (int round = 0; round < 5; round++) {
        seq = fill(s, seq);
        assert_true(seq - acked > limit / (PAYLOAD + 200));
        assert_true(count(s).bytes <= limit);
        assert_true(bytes_on_disk() <= limit + 4096);
        while (acked < seq) {
            assert_int_equal(take(s, ONE), acked);
            assert_true(spool_ack(s, ONE, acked++));
        }
        spool_tend(s);
    }
    spool_close(&s);
    assert_false(has_folder(ONE));
}

/* A limit of a single segment must not get stuck when it is full. */
static void one_segment_is_enough(void **state)
{
    struct spool *s = open_spool(ONE, SEGMENT);
    uint64_t seq = 1;

    (void)state;
    for (int round = 0; round < 3; round++) {
        uint64_t first = seq, taken;

        seq = fill(s, seq);
        assert_true(seq > first + 50);
        while ((taken = take(s, ONE)))
            assert_true(spool_ack(s, ONE, taken));
        spool_tend(s);
    }
    spool_close(&s);
}

static void no_room_at_all_is_refused(void **state)
{
    struct spool *s = open_spool(ONE, SEGMENT / 2);

    (void)state;
    assert_int_equal(append(s, 1, false), -ENOSPC);
    assert_int_equal(append(s, 1, true), -ENOSPC);
    spool_close(&s);
    assert_false(has_folder(ONE));
}

static void a_full_spool_has_room_to_tell_it(void **state)
{
    struct spool *s = open_spool(ONE, 2 * SEGMENT);
    uint64_t seq = fill(s, 1);

    (void)state;
    assert_int_equal(append(s, seq, false), -ENOSPC);
    assert_int_equal(append(s, seq, true), 0);
    for (uint64_t i = 1; i <= seq; i++)
        assert_int_equal(take(s, ONE), i);
    spool_close(&s);
}

static void what_was_not_acked_is_adopted_under_its_name(void **state)
{
    struct spool *s = open_spool(ONE, 8 * SEGMENT);

    (void)state;
    for (uint64_t seq = 1; seq <= 400; seq++)
        assert_int_equal(append(s, seq, false), 0);
    for (uint64_t seq = 1; seq <= 390; seq++) {
        assert_int_equal(take(s, ONE), seq);
        if (seq != 17)
            assert_true(spool_ack(s, ONE, seq));
    }
    spool_close(&s);
    assert_true(has_folder(ONE));

    s = open_spool(TWO, 8 * SEGMENT);
    assert_int_equal(spool_adopt(s), 0);
    assert_int_equal(count(s).adopted_folders, 1);
    assert_int_equal(take(s, ONE), 17);
    for (uint64_t seq = 391; seq <= 400; seq++)
        assert_int_equal(take(s, ONE), seq);
    assert_int_equal(take(s, ONE), 0);
    assert_true(spool_ack(s, ONE, 17));
    for (uint64_t seq = 391; seq <= 400; seq++)
        assert_true(spool_ack(s, ONE, seq));
    spool_tend(s);
    assert_int_equal(count(s).adopted_folders, 0);
    assert_false(has_folder(ONE));
    assert_true(has_folder(TWO));
    spool_close(&s);
}

static void folders_take_turns(void **state)
{
    struct spool *s = open_spool(ONE, 8 * SEGMENT);
    struct spool_record r;
    bool own = false;

    (void)state;
    for (uint64_t seq = 1; seq <= 20; seq++)
        assert_int_equal(append(s, seq, false), 0);
    spool_close(&s);
    s = open_spool(TWO, 8 * SEGMENT);
    assert_int_equal(spool_adopt(s), 0);
    assert_int_equal(append(s, 1, false), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(spool_take(s, ALL, &r));
        own |= strcmp(r.instance, TWO) == 0;
    }
    assert_true(own);
    spool_close(&s);
}

static void a_living_process_keeps_its_folder(void **state)
{
    struct spool *one = open_spool(ONE, 8 * SEGMENT), *two = open_spool(TWO, 8 * SEGMENT);

    (void)state;
    assert_int_equal(append(one, 1, false), 0);
    assert_int_equal(spool_adopt(two), 0);
    assert_int_equal(count(two).adopted_folders, 0);
    assert_int_equal(take(two, TWO), 0);
    spool_close(&one);
    assert_int_equal(spool_adopt(two), 0);
    assert_int_equal(take(two, ONE), 1);
    spool_close(&two);
}

static void what_was_adopted_counts_against_the_limit(void **state)
{
    struct spool *s = open_spool(ONE, 4 * SEGMENT);
    struct spool_record r;

    (void)state;
    fill(s, 1);
    spool_close(&s);
    s = open_spool(TWO, 4 * SEGMENT);
    assert_int_equal(spool_adopt(s), 0);
    fill(s, 1);
    /* the segment made ready before the adoption is all that is beyond */
    assert_true(bytes_on_disk() <= 5 * SEGMENT + 8192);
    while (spool_take(s, ALL, &r))
        assert_true(spool_ack(s, r.instance, r.record.seq));
    spool_close(&s);
}

static void losses_outlive_the_process_until_told(void **state)
{
    struct spool *s = open_spool(ONE, 4 * SEGMENT);
    struct folder_loss loss;
    const char *instance;

    (void)state;
    assert_false(spool_find_loss(s, &instance, &loss));
    spool_note_loss(s, 100);
    spool_note_loss(s, 200);
    assert_true(spool_find_loss(s, &instance, &loss));
    spool_loss_told(s, instance, &loss);
    assert_false(spool_find_loss(s, &instance, &loss));
    for (uint64_t ns = 300; ns <= 500; ns += 100)
        spool_note_loss(s, ns);
    spool_close(&s);
    assert_true(has_folder(ONE));

    s = open_spool(TWO, 4 * SEGMENT);
    assert_int_equal(spool_adopt(s), 0);
    assert_true(spool_find_loss(s, &instance, &loss));
    assert_string_equal(instance, ONE);
    assert_int_equal(loss.lost_events - loss.told_events, 3);
    assert_int_equal(loss.told_events, 2);
    assert_int_equal(loss.first_wall_ns, 300);
    assert_int_equal(loss.last_wall_ns, 500);
    spool_tend(s);
    assert_true(has_folder(ONE));
    spool_loss_told(s, instance, &loss);
    spool_tend(s);
    assert_false(has_folder(ONE));
    spool_close(&s);
}

static void segment_path(const char *instance, unsigned ordinal, char ret_path[192])
{
    snprintf(ret_path, 192, "%s/spool/%s/%016x.seg", state_dir, instance, ordinal);
}

static void patch(const char *path, off_t offset, uint8_t byte)
{
    CLEAN_FD int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}

static void damage_is_met_with_the_checksum(void **state)
{
    struct spool *s = open_spool(ONE, 8 * SEGMENT);
    char path[192];

    (void)state;
    for (uint64_t seq = 1; seq <= 10; seq++)
        assert_int_equal(append(s, seq, false), 0);
    spool_close(&s);
    segment_path(ONE, 0, path);
    patch(path, 64 + 5 * 1056 + 500, 0xee); /* inside the sixth record */

    s = open_spool(TWO, 8 * SEGMENT);
    assert_int_equal(spool_adopt(s), 0);
    assert_int_equal(count(s).torn, 1);
    for (uint64_t seq = 1; seq <= 5; seq++) {
        assert_int_equal(take(s, ONE), seq);
        assert_true(spool_ack(s, ONE, seq));
    }
    assert_int_equal(take(s, ONE), 0);
    spool_close(&s);
    assert_false(has_folder(ONE));
}

static void write_file(const char *name, const void *bytes, size_t len)
{
    char path[256];
    CLEAN_FD int fd = -1;

    snprintf(path, sizeof(path), "%s/spool/%s/%s", state_dir, ONE, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
}

static void files_that_are_no_segments_do_no_harm(void **state)
{
    struct spool *s = open_spool(TWO, 8 * SEGMENT);
    static uint8_t garbage[5000];
    char path[192];

    (void)state;
    memset(garbage, 0xa5, sizeof(garbage));
    snprintf(path, sizeof(path), "%s/spool/%s", state_dir, ONE);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("0000000000000000.seg", "", 0);
    write_file("0000000000000001.seg", garbage, 10);
    write_file("0000000000000002.seg", garbage, sizeof(garbage));
    write_file("0000000000000003.seg", (uint8_t[4096]){0}, 4096);
    snprintf(path, sizeof(path), "%s/spool/not-a-uuid", state_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(spool_adopt(s), 0);
    assert_int_equal(count(s).torn, 1);
    assert_int_equal(take(s, ONE), 0);
    spool_tend(s);
    assert_false(has_folder(ONE));
    assert_true(has_folder("not-a-uuid"));
    spool_close(&s);
}

/* Appends until it is killed, telling after each one how far it came. */
static void append_until_killed(_Atomic uint64_t *progress)
{
    struct spool_options options = {
        .state_dir = state_dir, .limit_bytes = 64 << 20, .segment_bytes = SEGMENT};
    struct spool *s = NULL;
    uint64_t taken;

    if (spool_open(&options, ONE, &s) < 0)
        _exit(1);
    for (uint64_t seq = 1;; seq++) {
        if (append(s, seq, false) < 0)
            _exit(1);
        *progress = seq;
        /* some are acked, so that segments go away meanwhile */
        if (seq % 8 == 0 && (taken = take(s, ONE)) > 0)
            spool_ack(s, ONE, taken);
        if (seq % 50 == 0)
            spool_tend(s);
        if (seq > 40000)
            pause();
    }
}

static void a_killed_process_leaves_whole_records_only(void **state)
{
    _Atomic uint64_t *progress =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    for (int round = 0; round < 25; round++) {
        uint64_t seq, first, done, expected;
        struct spool *s;
        pid_t child;

        *progress = 0;
        child = fork();
        if (child == 0)
            append_until_killed(progress);
        while (*progress < 1)
            usleep(100);
        usleep((useconds_t)(round * 700));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        done = *progress;

        s = open_spool(TWO, 256 << 20);
        assert_int_equal(spool_adopt(s), 0);
        assert_int_equal(count(s).torn, 0);
        first = expected = take(s, ONE);
        assert_true(first >= 1 && first <= done / 8 + 2);
        for (seq = first; seq; seq = take(s, ONE)) {
            assert_int_equal(seq, expected++);
            assert_true(spool_ack(s, ONE, seq));
        }
        /* all that were appended; at most one more that was not yet told */
        assert_in_range(expected - 1, done, done + 1);
        spool_close(&s);
        assert_false(has_folder(ONE));
    }
    munmap(progress, 4096);
}

static void an_instance_is_never_opened_twice(void **state)
{
    struct spool_options options = {
        .state_dir = state_dir, .limit_bytes = 4 * SEGMENT, .segment_bytes = SEGMENT};
    struct spool *s = open_spool(ONE, 4 * SEGMENT), *again = NULL;

    (void)state;
    assert_int_equal(spool_open(&options, ONE, &again), -EEXIST);
    assert_null(again);
    spool_close(&s);
    options.state_dir = "/proc/none";
    assert_true(spool_open(&options, THREE, &again) < 0);
    assert_null(again);
}

#define T(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

/* The disk is full just then: the folder's name is not left behind. */
static void a_folder_that_cannot_be_made_leaves_nothing(void **state)
{
    struct spool_options options = {
        .state_dir = state_dir, .limit_bytes = 8 * SEGMENT, .segment_bytes = SEGMENT};
    struct rlimit limit, none;
    struct spool *s = NULL;
    char path[128];

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(spool_open(&options, ONE, &s), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    snprintf(path, sizeof(path), "%s/spool", state_dir);
    assert_int_equal(rmdir(path), 0); /* it is empty */
}

/* What a dead process appended last stays known as long as somebody may ask. */
static void the_last_number_outlives_its_segment(void **state)
{
    struct spool_record r;
    struct spool *dead, *s;
    char path[128];
    uint64_t seq = 0;
    int fd;

    (void)state;
    dead = open_spool(ONE, 8 * SEGMENT);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(spool_append(dead, i, "x", slice_str("y"), false), 0);
    spool_close(&dead);
    s = open_spool(TWO, 8 * SEGMENT);
    assert_int_equal(spool_last_seq(s, ONE, &seq), -EAGAIN);
    assert_int_equal(spool_last_seq(s, THREE, &seq), 0);
    assert_int_equal(seq, 0);
    snprintf(path, sizeof(path), "%s/inflight", state_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/inflight/" ONE, state_dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(spool_adopt(s), 0);
    while (spool_take(s, ALL, &r))
        assert_true(spool_ack(s, r.instance, r.record.seq));
    spool_tend(s);
    spool_tend(s);
    assert_int_equal(spool_last_seq(s, ONE, &seq), 0);
    assert_int_equal(seq, 3);
    assert_int_equal(unlink(path), 0);
    spool_tend(s);
    assert_int_equal(spool_last_seq(s, ONE, &seq), 0);
    assert_int_equal(seq, 0); /* gone */
    spool_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(records_come_out_as_they_went_in),
        T(sizes_vary),
        T(the_window_bounds_what_is_in_flight),
        T(what_failed_is_sent_again_in_order),
        T(the_limit_holds_and_acks_make_room),
        T(one_segment_is_enough),
        T(no_room_at_all_is_refused),
        T(a_full_spool_has_room_to_tell_it),
        T(what_was_not_acked_is_adopted_under_its_name),
        T(folders_take_turns),
        T(a_living_process_keeps_its_folder),
        T(what_was_adopted_counts_against_the_limit),
        T(losses_outlive_the_process_until_told),
        T(damage_is_met_with_the_checksum),
        T(files_that_are_no_segments_do_no_harm),
        T(a_killed_process_leaves_whole_records_only),
        T(an_instance_is_never_opened_twice),
        T(a_folder_that_cannot_be_made_leaves_nothing),
        T(the_last_number_outlives_its_segment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
