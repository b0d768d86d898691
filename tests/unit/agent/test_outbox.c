// SPDX-License-Identifier: Apache-2.0
/* LINK: agent/outbox.c agent/spool.c agent/folder.c agent/segment.c */
#include "agent/config.h"
#include "agent/outbox.h"
#include "proto/base/clock.h"
#include "proto/subject.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

static char state_dir[64], org[] = "acme";
static struct config config;

static int setup(void **state)
{
    (void)state;
    snprintf(state_dir, sizeof(state_dir), "/tmp/lectr-outbox-XXXXXX");
    config = (struct config){
        .org = org,
        .state_dir = state_dir,
        .spool = {.limit_bytes = 4 * SEGMENT_MIN_BYTES, .segment_bytes = SEGMENT_MIN_BYTES},
    };
    return mkdtemp(state_dir) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(state_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static struct outbox *open_outbox(void)
{
    struct outbox *o = NULL;

    assert_int_equal(outbox_open(&config, &o), 0);
    return o;
}

static int append_call(struct outbox *o)
{
    Lectr__V1__Call call = LECTR__V1__CALL__INIT;
    static char provider[] = "openai";

    call.provider = provider;
    return outbox_call(o, &call);
}

/* The next record, decoded and acked; NULL when there is none. */
static ProtobufCMessage *take(struct outbox *o, struct subject *ret_subject)
{
    ProtobufCMessage *message = NULL;
    struct spool_record r;

    if (!spool_take(outbox_spool(o), UINT64_MAX, &r))
        return NULL;
    assert_int_equal(subject_parse(r.record.subject, ret_subject), 0);
    assert_int_equal(event_unpack(ret_subject->type, r.record.payload, &message), 0);
    assert_true(spool_ack(outbox_spool(o), r.instance, r.record.seq));
    return message;
}

static void one_sequence_numbers_all(void **state)
{
    Lectr__V1__Gap gap = LECTR__V1__GAP__INIT;
    Lectr__V1__Coverage coverage = LECTR__V1__COVERAGE__INIT;
    struct outbox *o = open_outbox();
    struct outbox_counts counts;

    (void)state;
    assert_int_equal(append_call(o), 0);
    assert_int_equal(outbox_gap(o, &gap), 0);
    assert_int_equal(outbox_coverage(o, &coverage), 0);
    assert_int_equal(append_call(o), 0);
    assert_int_equal(gap.seq, 2);
    assert_int_equal(coverage.seq, 3);
    for (uint64_t seq = 1; seq <= 4; seq++) {
        struct subject subject;
        CLEAN_EVENT ProtobufCMessage *message = take(o, &subject);
        static const enum event_type types[] = {EVENT_CALL, EVENT_GAP, EVENT_COVERAGE, EVENT_CALL};

        assert_non_null(message);
        assert_int_equal(subject.type, types[seq - 1]);
        assert_string_equal(subject.org, "acme");
        if (subject.type == EVENT_CALL)
            assert_int_equal(((Lectr__V1__Call *)message)->seq, seq);
    }
    outbox_count(o, &counts);
    assert_int_equal(counts.appended, 4);
    assert_int_equal(counts.dropped, 0);
    outbox_close(&o);
}

static void what_is_missing_is_filled_in(void **state)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    Lectr__V1__Call call = LECTR__V1__CALL__INIT;
    uint64_t before_ns = clock_wall_ns();
    struct outbox *o = open_outbox();
    const Lectr__V1__Call *got;
    struct subject subject;

    (void)state;
    assert_int_equal(outbox_call(o, &call), 0);
    assert_null(call.id);
    message = take(o, &subject);
    got = (Lectr__V1__Call *)message;
    assert_int_equal(got->id[14], '7');
    assert_string_equal(got->agent_instance, outbox_instance(o));
    assert_int_equal(got->part, event_part(outbox_instance(o)));
    assert_int_equal(subject.part, got->part);
    assert_string_equal(got->agent_version, LECTR_VERSION);
    assert_string_equal(got->org, "acme");
    assert_true(got->end_time_unix_nano >= before_ns);
    assert_true(got->end_time_unix_nano <= clock_wall_ns());
    assert_true(got->start_time_unix_nano == got->end_time_unix_nano);
    outbox_close(&o);
}

static void what_is_there_is_kept(void **state)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    Lectr__V1__Call call = LECTR__V1__CALL__INIT;
    char id[] = "018f0000-0000-7000-8000-000000000001", other[] = "o.ther";
    struct outbox *o = open_outbox();
    const Lectr__V1__Call *got;
    struct subject subject;

    (void)state;
    call.id = id;
    call.org = other;
    call.has_start_time_unix_nano = call.has_end_time_unix_nano = true;
    call.start_time_unix_nano = 20;
    call.end_time_unix_nano = 30;
    assert_int_equal(outbox_call(o, &call), 0);
    message = take(o, &subject);
    got = (Lectr__V1__Call *)message;
    assert_string_equal(got->id, id);
    assert_string_equal(got->org, other);
    assert_string_equal(subject.org, other);
    assert_int_equal(got->start_time_unix_nano, 20);
    assert_int_equal(got->end_time_unix_nano, 30);
    outbox_close(&o);
}

/* A clock that stepped back must not make an event nobody accepts. */
static void an_end_before_the_start_is_mended(void **state)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;
    Lectr__V1__Gap gap = LECTR__V1__GAP__INIT;
    struct outbox *o = open_outbox();
    struct subject subject;

    (void)state;
    gap.has_start_time_unix_nano = gap.has_end_time_unix_nano = true;
    gap.start_time_unix_nano = 30;
    gap.end_time_unix_nano = 20;
    assert_int_equal(outbox_gap(o, &gap), 0);
    message = take(o, &subject);
    assert_int_equal(((Lectr__V1__Gap *)message)->start_time_unix_nano, 20);
    outbox_close(&o);
}

static void a_name_becomes_the_same_id_each_time(void **state)
{
    char name[] = "agent_died 42", ids[2][EVENT_UUID_BYTES];
    Lectr__V1__Gap gap = LECTR__V1__GAP__INIT;

    (void)state;
    gap.id = name;
    for (int i = 0; i < 2; i++) {
        struct outbox *o = open_outbox();
        struct subject subject;
        CLEAN_EVENT ProtobufCMessage *message = NULL;

        assert_int_equal(outbox_gap(o, &gap), 0);
        assert_ptr_equal(gap.id, name);
        message = take(o, &subject);
        snprintf(ids[i], sizeof(ids[i]), "%s", ((Lectr__V1__Gap *)message)->id);
        outbox_close(&o);
    }
    assert_string_equal(ids[0], ids[1]);
}

static void a_dropped_event_takes_no_number(void **state)
{
    uint64_t kept = 0, dropped = 0, last_seq = 0, told = 0;
    struct outbox *o = open_outbox();
    ProtobufCMessage *message;
    struct subject subject;

    (void)state;
    while (dropped < 5) {
        int r = append_call(o);

        assert_true(r == 0 || r == -ENOSPC);
        kept += r == 0;
        dropped += r < 0;
        assert_true(kept < 100000);
    }
    outbox_tell_losses(o); /* no room yet */
    while (last_seq < kept / 2 && (message = take(o, &subject))) {
        last_seq = ((Lectr__V1__Call *)message)->seq;
        event_free(&message);
    }
    spool_tend(outbox_spool(o));
    outbox_tell_losses(o);
    outbox_tell_losses(o); /* once is enough */
    assert_int_equal(append_call(o), 0);
    while ((message = take(o, &subject))) {
        last_seq++;
        if (subject.type == EVENT_GAP) {
            const Lectr__V1__Gap *gap = (Lectr__V1__Gap *)message;

            assert_int_equal(gap->seq, last_seq);
            assert_string_equal(gap->reason, "spool_lost");
            told += gap->events_lost;
        } else {
            assert_int_equal(((Lectr__V1__Call *)message)->seq, last_seq);
        }
        event_free(&message);
    }
    assert_int_equal(told, dropped);
    assert_int_equal(last_seq, kept + 2);
    outbox_close(&o);
}

static void what_is_offered_again_is_no_loss(void **state)
{
    struct outbox *o = open_outbox();
    struct outbox_counts counts;
    uint64_t appended = 0, cell = 1;

    (void)state;
    while (append_call(o) == 0)
        appended++;
    for (int i = 0; i < 3; i++) {
        outbox_attempt(o, &cell);
        assert_int_equal(append_call(o), -ENOSPC);
        assert_int_equal(cell, 0);
    }
    outbox_count(o, &counts);
    assert_int_equal(counts.dropped, 1); /* the one that was no attempt */
    /* It is said of one event at a time. */
    assert_int_equal(append_call(o), -ENOSPC);
    outbox_count(o, &counts);
    assert_int_equal(counts.dropped, 2);
    assert_int_equal(counts.appended, appended);
    for (uint64_t i = 0; i < appended; i++) {
        struct spool_record r;

        assert_true(spool_take(outbox_spool(o), UINT64_MAX, &r));
        assert_true(spool_ack(outbox_spool(o), r.instance, r.record.seq));
    }
    spool_tend(outbox_spool(o));
    outbox_attempt(o, &cell);
    assert_int_equal(append_call(o), 0);
    assert_int_equal(cell, appended + 1);
    outbox_close(&o);
}

/* Killed after the gap was appended and before that was noted: the next process
 * tells it again, under the same id. */
static void a_loss_told_twice_has_one_id(void **state)
{
    char ids[2][EVENT_UUID_BYTES], instance[EVENT_UUID_BYTES];
    struct folder_loss before;
    struct outbox *o = open_outbox();
    ProtobufCMessage *message;
    struct subject subject;
    char path[160];

    (void)state;
    spool_note_loss(outbox_spool(o), 1000);
    snprintf(instance, sizeof(instance), "%s", outbox_instance(o));
    snprintf(path, sizeof(path), "%s/spool/%s/loss", state_dir, instance);
    {
        CLEAN_FILE FILE *f = fopen(path, "re");

        assert_int_equal(fread(&before, sizeof(before), 1, f), 1);
    }
    outbox_tell_losses(o);
    message = take(o, &subject);
    snprintf(ids[0], sizeof(ids[0]), "%s", ((Lectr__V1__Gap *)message)->id);
    event_free(&message);
    assert_int_equal(append_call(o), 0); /* so that the folder stays */
    outbox_close(&o);
    {
        CLEAN_FILE FILE *f = fopen(path, "r+e");

        assert_non_null(f);
        assert_int_equal(fwrite(&before, sizeof(before), 1, f), 1);
    }
    o = open_outbox();
    assert_int_equal(spool_adopt(outbox_spool(o)), 0);
    outbox_tell_losses(o);
    ids[1][0] = '\0';
    while ((message = take(o, &subject))) {
        if (subject.type == EVENT_GAP)
            snprintf(ids[1], sizeof(ids[1]), "%s", ((Lectr__V1__Gap *)message)->id);
        event_free(&message);
    }
    assert_string_equal(ids[0], ids[1]);
    outbox_close(&o);
}

static void a_name_that_fits_no_subject_is_dropped_and_told(void **state)
{
    char provider[SUBJECT_NAME_BYTES + 2];
    Lectr__V1__Call call = LECTR__V1__CALL__INIT;
    struct outbox *o = open_outbox();
    struct outbox_counts counts;

    (void)state;
    memset(provider, 'x', sizeof(provider) - 1);
    provider[sizeof(provider) - 1] = '\0';
    call.provider = provider;
    assert_int_equal(outbox_call(o, &call), -ENAMETOOLONG);
    assert_int_equal(append_call(o), 0);
    outbox_count(o, &counts);
    assert_int_equal(counts.appended, 1);
    assert_int_equal(counts.dropped, 1);
    outbox_close(&o);
}

static void *append_many(void *arg)
{
    for (int i = 0; i < 1000; i++)
        if (append_call(arg) < 0)
            abort();
    return NULL;
}

static void threads_share_the_sequence(void **state)
{
    struct outbox *o;
    pthread_t threads[4];
    ProtobufCMessage *message;
    struct subject subject;
    uint64_t seq = 0;

    (void)state;
    config.spool.limit_bytes = 64 << 20;
    o = open_outbox();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append_many, o), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    while ((message = take(o, &subject))) {
        assert_int_equal(((Lectr__V1__Call *)message)->seq, ++seq);
        event_free(&message);
    }
    assert_int_equal(seq, 4000);
    outbox_close(&o);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_sequence_numbers_all),
        T(what_is_missing_is_filled_in),
        T(what_is_there_is_kept),
        T(an_end_before_the_start_is_mended),
        T(a_name_becomes_the_same_id_each_time),
        T(a_dropped_event_takes_no_number),
        T(what_is_offered_again_is_no_loss),
        T(a_loss_told_twice_has_one_id),
        T(a_name_that_fits_no_subject_is_dropped_and_told),
        T(threads_share_the_sequence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
