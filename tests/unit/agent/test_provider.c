/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/provider.c agent/provider_match.c agent/profile.c agent/json.c agent/json_paths.c */
/* LINK: agent/text.c */
#include "agent/profile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PROFILES "agent/providers"

static struct provider_set *shipped(void)
{
    struct provider_set *set = NULL;
    struct provider_error error;

    if (provider_set_load(PROFILES, &set, &error))
        fail_msg("%s", error.text);
    return set;
}

static void shipped_profiles_load(void **state)
{
    static const struct {
        const char *host, *name;
    } table[] = {{"api.openai.com", "openai"},
                 {"API.OpenAI.com.", "openai"},
                 {"api.anthropic.com", "anthropic"},
                 {"api.groq.com", "groq"},
                 {"generativelanguage.googleapis.com", "gemini"},
                 {"evilapi.openai.com", NULL},
                 {"api.openai.com.evil.example", NULL},
                 {"example.com", NULL},
                 {"", NULL}};
    struct provider_set *set = shipped();
    const char *hosts[2];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct provider *p = provider_by_host(set, slice_str(table[i].host));

        assert_int_equal(p != NULL, table[i].name != NULL);
        if (p)
            assert_string_equal(provider_name(p), table[i].name);
    }
    assert_true(provider_hosts(set, hosts, 2) >= 4);
    provider_set_free(&set);
    assert_null(set);
}

static void shipped_routes(void **state)
{
    static const struct {
        const char *host, *method, *path, *operation, *api, *model;
    } table[] = {
        {"api.openai.com", "POST", "/v1/chat/completions", "chat", "openai.chat", ""},
        {"api.openai.com", "POST", "//v1//chat/completions", "chat", "openai.chat", ""},
        {"api.openai.com", "POST", "/v1/responses", "chat", "openai.responses", ""},
        {"api.openai.com", "POST", "/v1/responses/compact", "chat", "openai.responses.compact", ""},
        {"api.openai.com", "GET", "/v1/responses/resp_1", "retrieve", "openai.responses.retrieve",
         ""},
        {"api.openai.com", "GET", "/v1/models", "models", "openai.models", ""},
        {"api.openai.com", "GET", "/v1/files/f-1/content", "files", "openai.files", ""},
        {"api.openai.com", "GET", "/nobody/knows", "other", "other", ""},
        {"api.groq.com", "POST", "/openai/v1/chat/completions", "chat", "openai.chat", ""},
        {"api.anthropic.com", "POST", "/v1/messages", "chat", "anthropic.messages", ""},
        {"api.anthropic.com", "POST", "/v1/messages/count_tokens", "count_tokens",
         "anthropic.count_tokens", ""},
        {"generativelanguage.googleapis.com", "POST", "/v1beta/models/gemini-x:generateContent",
         "chat", "gemini.generate_content", "gemini-x"},
        {"generativelanguage.googleapis.com", "POST",
         "/v1/tunedModels/a%2Fb%20c:streamGenerateContent", "chat", "gemini.generate_content",
         "a/b c"},
        {"generativelanguage.googleapis.com", "POST", "/v1beta/openai/chat/completions", "chat",
         "openai.chat", ""},
    };
    struct provider_set *set = shipped();

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct provider *p = provider_by_host(set, slice_str(table[i].host));
        struct provider_route route;

        assert_int_equal(
            provider_route(p, slice_str(table[i].method), slice_str(table[i].path), &route), 0);
        assert_string_equal(route.operation->operation, table[i].operation);
        assert_string_equal(profile_api(route.operation), table[i].api);
        assert_string_equal(route.model, table[i].model);
    }
    provider_set_free(&set);
}

static void patterns(void **state)
{
    static const struct {
        const char *pattern, *path, *model; /* NULL: no match */
    } table[] = {
        {"/a", "/a", ""},
        {"/a", "/ab", NULL},
        {"*/x", "/p/q/x", ""},
        {"*/x*", "/x/y", ""},
        {"/{id}/b", "/1/b", ""},
        {"/{id}/b", "/1/2/b", NULL},
        {"/{id}/b", "//b", NULL},
        {"*/{model}:go", "/m/q:go", "q"},
        {"*/{model}:go", "/m/q:stop", NULL},
        {"/{model}", "/a%3Ab", "a:b"},
        {"/{model}", "/%zz", "%zz"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char model[16];
        bool fits =
            profile_path_match(table[i].pattern, slice_str(table[i].path), model, sizeof(model));

        assert_int_equal(fits, table[i].model != NULL);
        if (fits)
            assert_string_equal(model, table[i].model);
    }
}

/* Backtracking over a hostile path ends. */
static void hostile_paths_end(void **state)
{
    char path[2000], model[8];

    (void)state;
    memset(path, '/', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_false(profile_path_match("*/*/*/*/*/{model}/x", slice_str(path), model, sizeof(model)));
}

static void errors_name_file_line_and_field(void **state)
{
    static const struct {
        const char *yaml, *where, *what;
    } table[] = {
        {"providers:\n  - name: a\n    hostz: [b]\n", "profile:3:", "hostz"},
        {"providers:\n  - hosts: [b]\n", "profile:", "name"},
        {"providers:\n  - name: a\n    routes: [nowhere]\n", "profile:3:", "nowhere"},
        {"providers:\n  - name: a\n    hosts: [\"b.*.c\"]\n", "profile:3:", "b.*.c"},
        {"families:\n  - id: f\n    like: g\n", "profile:3:", "g"},
        {"families:\n  - id: f\n    like: f\n", "profile:2:", "itself"},
        {"families:\n  - id: f\n  - id: f\n", "profile:2:", "twice"},
        {"families:\n  - id: f\n    answer:\n      model: [\"a[3]\"]\n", "profile:4:", "a[3]"},
        {"families:\n  - id: f\n    usage:\n      input_total: [inputs]\n", "profile:4:", "inputs"},
        {"families:\n  - id: f\n    usage:\n      numbers: [{field: tokenz, path: [a]}]\n",
         "profile:4:", "field"},
        {"routes:\n  - id: r\n    operations:\n      - {path: /x, operation: o, family: none}\n",
         "profile:4:", "none"},
        {"families: 3\n", "profile:1:", "families"},
        {"families: [\n", "profile:", ""},
        {"", "profile:", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct provider_set *set = NULL;
        struct provider_error error;

        assert_true(provider_set_parse(slice_str(table[i].yaml), &set, &error) < 0);
        assert_null(set);
        if (!strstr(error.text, table[i].where) || !strstr(error.text, table[i].what))
            fail_msg("%s: \"%s\" lacks \"%s\" or \"%s\"", table[i].yaml, error.text, table[i].where,
                     table[i].what);
    }
}

static void sections_are_inherited(void **state)
{
    static const char yaml[] = "families:\n"
                               "  - id: a\n    like: b\n    request: {model: [n]}\n"
                               "  - id: b\n    like: c\n    answer: {id: [i]}\n"
                               "  - id: c\n    usage: {zero: [output_tokens]}\n";
    struct provider_set *set = NULL;
    struct provider_error error;
    const struct profile_family *a;

    (void)state;
    assert_int_equal(provider_set_parse(slice_str(yaml), &set, &error), 0);
    a = &set->files[0]->families[0];
    assert_string_equal(a->request->model[0], "n");
    assert_string_equal(a->answer->id[0], "i");
    assert_int_equal(a->usage->zero_mask, 1u << SLOT_OUTPUT);
    provider_set_free(&set);
}

static void a_missing_folder_is_said(void **state)
{
    struct provider_set *set = NULL;
    struct provider_error error;

    (void)state;
    assert_int_equal(provider_set_load("/nonexistent", &set, &error), -ENOENT);
    assert_non_null(strstr(error.text, "/nonexistent"));
    assert_null(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_profiles_load),
        cmocka_unit_test(shipped_routes),
        cmocka_unit_test(patterns),
        cmocka_unit_test(hostile_paths_end),
        cmocka_unit_test(errors_name_file_line_and_field),
        cmocka_unit_test(sections_are_inherited),
        cmocka_unit_test(a_missing_folder_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
