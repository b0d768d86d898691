/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: collector/ctl/clean.c collector/ctl/cells.c collector/text.c */
#include "collector/ctl/ctl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void names_do_nothing_to_a_terminal(void **state)
{
    json_t *root = json_pack("{s:s, s:[s, {s:s}], s:i}", "feature",
                             "\x1b[2J\xc2\x9b"
                             "31m\r\n\x7f\xc3\xa9",
                             "list", "\x07", "deep", "a\tb", "calls", 7);

    (void)state;
    assert_int_equal(clean_names(root), 0);
    assert_string_equal(cell_name(root, "feature"), "?[2J?31m???\xc3\xa9");
    assert_string_equal(json_string_value(json_array_get(json_object_get(root, "list"), 0)), "?");
    assert_string_equal(cell_name(json_array_get(json_object_get(root, "list"), 1), "deep"), "a?b");
    assert_int_equal(cell_int(root, "calls"), 7);
    json_decref(root);
}

static void a_name_is_no_wider_than_a_screen_has_use_for(void **state)
{
    char wide[100000];
    json_t *root;

    (void)state;
    memset(wide, 'w', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    root = json_pack("{s:s}", "model", wide);
    assert_int_equal(clean_names(root), 0);
    assert_true(strlen(cell_name(root, "model")) < 2000);
    json_decref(root);
}

static void json_is_printed_as_it_is_but_for_controls(void **state)
{
    static const char in[] = "{\"a\":\"\xc2\x9b[2J\x7f\xc2\xa0\xc3\xa9\",\n \"b\":1.10}";
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    (void)state;
    assert_non_null(f);
    assert_int_equal(clean_print(f, slice_str(in)), 0);
    fclose(f);
    assert_string_equal(text, "{\"a\":\"\\u009b[2J\\u007f\xc2\xa0\xc3\xa9\",\n \"b\":1.10}");
    free(text);
}

static void a_time_beyond_all_years_is_unknown(void **state)
{
    char cell[CELL_BYTES] = "left over";

    (void)state;
    cell_time(INT64_MAX, cell);
    assert_string_equal(cell, "?");
    cell_time(0, cell);
    assert_string_equal(cell, "1970-01-01 00:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_do_nothing_to_a_terminal),
        cmocka_unit_test(a_name_is_no_wider_than_a_screen_has_use_for),
        cmocka_unit_test(json_is_printed_as_it_is_but_for_controls),
        cmocka_unit_test(a_time_beyond_all_years_is_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
