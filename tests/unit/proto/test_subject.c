// SPDX-License-Identifier: Apache-2.0
/* LINK: */
#include "proto/subject.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void each_type_has_its_subject(void **state)
{
    char s[SUBJECT_BYTES];

    (void)state;
    assert_int_equal(subject_call("acme", "openai", 63, s), 0);
    assert_string_equal(s, "lectr.v1.call.acme.openai.63");
    assert_int_equal(subject_gap("acme", "openai", 7, s), 0);
    assert_string_equal(s, "lectr.v1.gap.acme.openai.7");
    assert_int_equal(subject_coverage("acme", "", 0, s), 0);
    assert_string_equal(s, "lectr.v1.coverage.acme.=.0");
    assert_int_equal(subject_alert("acme", "cost.spike", s), 0);
    assert_string_equal(s, "lectr.v1.alert.acme.cost=2Espike");
    assert_int_equal(subject_cloudevent("acme", "cost", s), 0);
    assert_string_equal(s, "lectr.v1.cloudevent.acme.cost");
    assert_int_equal(subject_rollup("acme", "1m", s), 0);
    assert_string_equal(s, "lectr.v1.rollup.acme.1m");
    assert_int_equal(subject_call("acme", "openai", EVENT_PARTS, s), -EINVAL);
}

static void names_are_escaped(void **state)
{
    static const struct {
        const char *name, *token;
    } cases[] = {
        {"plain-Name_09", "plain-Name_09"},
        {"", "="},
        {NULL, "="},
        {"=", "=3D"},
        {"a.b", "a=2Eb"},
        {"*", "=2A"},
        {">", "=3E"},
        {"a b\t", "a=20b=09"},
        {"\xc3\xa9", "=C3=A9"},
        {"$JS", "=24JS"},
        {"=3D", "=3D3D"},
    };
    char token[SUBJECT_TOKEN_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(subject_token(cases[i].name, token), 0);
        assert_string_equal(token, cases[i].token);
    }
}

static void length_is_bounded(void **state)
{
    char name[SUBJECT_NAME_BYTES + 2], s[SUBJECT_BYTES];
    struct subject parsed;

    (void)state;
    memset(name, '.', sizeof(name));
    name[SUBJECT_NAME_BYTES] = '\0';
    assert_int_equal(subject_call(name, name, 63, s), 0);
    assert_int_equal(subject_parse(s, &parsed), 0);
    assert_string_equal(parsed.org, name);
    assert_string_equal(parsed.name, name);
    name[SUBJECT_NAME_BYTES] = '.';
    name[SUBJECT_NAME_BYTES + 1] = '\0';
    strcpy(s, "untouched");
    assert_int_equal(subject_gap(name, "", 0, s), -ENAMETOOLONG);
    assert_int_equal(subject_alert("acme", name, s), -ENAMETOOLONG);
    assert_string_equal(s, "untouched");
}

/* Every single byte, as org and as name: legal, and read back as it was. */
static void every_byte_comes_back(void **state)
{
    char s[SUBJECT_BYTES];
    struct subject parsed;

    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        char org[] = {'x', (char)byte, '\0'}, kind[] = {(char)byte, '\0'};

        assert_int_equal(subject_alert(org, kind, s), 0);
        for (const char *c = s; *c; c++)
            assert_true(*c > ' ' && *c < 127 && *c != '*' && *c != '>');
        assert_int_equal(subject_parse(s, &parsed), 0);
        assert_int_equal(parsed.type, EVENT_ALERT);
        assert_string_equal(parsed.org, org);
        assert_string_equal(parsed.name, kind);
    }
}

static void part_comes_back(void **state)
{
    char s[SUBJECT_BYTES];
    struct subject parsed;

    (void)state;
    for (uint32_t part = 0; part < EVENT_PARTS; part++) {
        assert_int_equal(subject_call("", "groq", part, s), 0);
        assert_int_equal(subject_parse(s, &parsed), 0);
        assert_int_equal(parsed.type, EVENT_CALL);
        assert_string_equal(parsed.org, "");
        assert_string_equal(parsed.name, "groq");
        assert_int_equal(parsed.part, part);
    }
}

/* As agents before the lanes built them. */
static void the_short_form_is_read(void **state)
{
    struct subject parsed;

    (void)state;
    assert_int_equal(subject_parse("lectr.v1.gap.acme", &parsed), 0);
    assert_int_equal(parsed.type, EVENT_GAP);
    assert_string_equal(parsed.org, "acme");
    assert_string_equal(parsed.name, "");
    assert_false(parsed.has_part);
    assert_int_equal(subject_parse("lectr.v1.coverage.acme.groq.12", &parsed), 0);
    assert_string_equal(parsed.name, "groq");
    assert_true(parsed.has_part);
    assert_int_equal(parsed.part, 12);
}

/* What collectors share, by part; what they told themselves is nobody's. */
static void each_subject_has_its_lane(void **state)
{
    static const struct {
        const char *subject;
        int lane;
    } cases[] = {
        {"lectr.v1.call.acme.openai.0", 0},
        {"lectr.v1.call.acme.openai.63", 63},
        {"lectr.v1.gap.acme.openai.7", 7},
        {"lectr.v1.coverage.acme.groq.12", 12},
        {"lectr.v1.call.acme.openai.64", 0},
        {"lectr.v1.call.acme.openai.007", 0},
        {"lectr.v1.call.acme.openai.", 0},
        {"lectr.v1.call.acme.openai.1x", 0},
        {"lectr.v1.gap.acme", 0},
        {"", 0},
        {"lectr.v1.alert.acme.cost", -1},
        {"lectr.v1.rollup.acme.1m", -1},
        {"lectr.v1.cloudevent.acme.errors", -1},
        {"lectr.v1.rollups.acme.3", 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(subject_lane(cases[i].subject), cases[i].lane);
}

static void only_the_canonical_form_is_read(void **state)
{
    static const char *const wrong[] = {
        "",
        ".",
        "lectr",
        "lectr.v1",
        "lectr.v1.call",
        "lectr.v2.gap.acme",
        "lectr.v1.gap",
        "lectr.v1.gap.",
        "lectr.v1.gap..",
        "lectr.v1.gap.acme.",
        "lectr.v1.gap.acme.x",
        "lectr.v1.gap.acme.x.64",
        "lectr.v1.gap.acme.x.1.2",
        "lectr.v1.call.acme",
        ".lectr.v1.gap.acme",
        "lectr.v1.gapp.acme",
        "lectr.v1.GAP.acme",
        "lectr.v1.call.acme.openai",
        "lectr.v1.call.acme.openai.64",
        "lectr.v1.call.acme.openai.-1",
        "lectr.v1.call.acme.openai.07",
        "lectr.v1.call.acme.openai.",
        "lectr.v1.call.acme..7",
        "lectr.v1.call.acme.openai.7.8",
        "lectr.v1.call.acme.openai.999999999999",
        "lectr.v1.gap.a=2e",
        "lectr.v1.gap.a=2",
        "lectr.v1.gap.a=",
        "lectr.v1.gap.=41",
        "lectr.v1.gap.=00",
        "lectr.v1.gap.a b",
        "lectr.v1.gap.==",
        "lectr.v1.gap.*",
        "lectr.v1.gap.\xc3\xa9",
        "lectr.v1.alert.acme",
        "lectr.v1.gap.0123456789012345678901234567890123456789012345678901234567890123x",
    };
    struct subject parsed = {.part = 77};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (subject_parse(wrong[i], &parsed) != -EINVAL)
            fail_msg("was read: %s", wrong[i]);
    assert_int_equal(parsed.part, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_has_its_subject),
        cmocka_unit_test(names_are_escaped),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(part_comes_back),
        cmocka_unit_test(the_short_form_is_read),
        cmocka_unit_test(each_subject_has_its_lane),
        cmocka_unit_test(only_the_canonical_form_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
