/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/estimate_store.c agent/estimate.c agent/estimate_file.c agent/text.c */
#include "agent/estimate_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/lectr-estimates-XXXXXX";
static char learned[64];

static int make_dir(void **state)
{
    char path[64];

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/estimates", dir);
    snprintf(learned, sizeof(learned), "%s/estimates/learned", dir);
    return mkdir(path, 0700);
}

static int remove_dir(void **state)
{
    char path[64];

    (void)state;
    (void)unlink(learned);
    snprintf(path, sizeof(path), "%s/estimates", dir);
    (void)rmdir(path);
    return rmdir(dir);
}

static int syncs;

/* Instead of libc's: who saves must not wait for a disk. */
int fsync(int fd)
{
    (void)fd;
    syncs++;
    return 0;
}

static void teach(struct estimator *e, int calls)
{
    const struct estimate_key key = {"openai.chat", "openai", "gpt-4o"};
    struct estimate_sizes z = {.request_whole = true, .streaming = true};
    struct estimate_report r = {.input_tokens = opt_u64(30), .output_tokens = opt_u64(80)};

    z.request.milliunits[EXTENT_TEXT] = 20000;
    z.answer.milliunits[EXTENT_TEXT] = 40000;
    for (int i = 0; i < calls; i++)
        estimator_learn(e, &key, &z, &r);
}

static uint32_t entries(const struct estimate_store *s)
{
    struct estimator_stats stats;

    estimator_stats(s->estimator, &stats);
    return stats.entries;
}

static void what_was_learned_survives(void **state)
{
    static struct estimate_store s;

    (void)state;
    assert_int_equal(estimate_store_open(&s, dir, "/nonexistent"), 0);
    assert_int_equal(s.refused, 0);
    assert_int_equal(entries(&s), 1);
    /* Nothing learned: nothing written. */
    assert_int_equal(estimate_store_save(&s), 0);
    assert_int_equal(access(learned, F_OK), -1);
    teach(s.estimator, 3);
    estimate_store_close(&s);
    assert_int_equal(syncs, 0);
    assert_int_equal(estimate_store_open(&s, dir, "/nonexistent"), 0);
    assert_true(entries(&s) > 1);
    estimate_store_close(&s);
}

static void a_damaged_file_is_refused_and_replaced(void **state)
{
    static struct estimate_store s;
    FILE *f = fopen(learned, "r+");

    (void)state;
    assert_non_null(f);
    fseek(f, 60, SEEK_SET);
    fputs("damage", f);
    fclose(f);
    assert_int_equal(estimate_store_open(&s, dir, "agent/estimates.prior"), 0);
    assert_int_equal(s.refused, 1);
    assert_true(entries(&s) > 20); /* the shipped prior */
    teach(s.estimator, 1);
    estimate_store_close(&s);
    assert_int_equal(estimate_store_open(&s, dir, "/nonexistent"), 0);
    assert_int_equal(s.refused, 0);
    assert_true(entries(&s) > 20);
    estimate_store_close(&s);
}

static void a_folder_that_cannot_be_written_is_counted(void **state)
{
    static struct estimate_store s;

    (void)state;
    assert_int_equal(estimate_store_open(&s, "/nonexistent", "/nonexistent"), 0);
    teach(s.estimator, 1);
    assert_true(estimate_store_save(&s) < 0);
    assert_int_equal(s.failed, 1);
    estimate_store_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_learned_survives),
        cmocka_unit_test(a_damaged_file_is_refused_and_replaced),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_counted),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
