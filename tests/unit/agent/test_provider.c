/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/provider.c agent/provider_match.c agent/profile.c agent/json.c agent/json_paths.c */
/* LINK: agent/text.c */
#include "agent/profile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

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
                 {"eu-west4-aiplatform.googleapis.com", "vertex"},
                 {"mars-north1-aiplatform.googleapis.com", "vertex"},
                 {"bedrock-runtime.moon-1.amazonaws.com", "bedrock"},
                 {"s3.us-east-1.amazonaws.com", NULL},
                 {"storage.googleapis.com", NULL},
                 {"api.x.ai", "xai"},
                 {"llm:11434", "ollama"},
                 {"[::1]:11434", "ollama"},
                 {"llm:11435", NULL},
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

static const struct {
    const char *host, *method, *path, *operation, *api, *model;
} routes[] = {
    {"api.openai.com", "POST", "/v1/chat/completions", "chat", "openai.chat", ""},
    {"api.openai.com", "POST", "//v1//chat/completions", "chat", "openai.chat", ""},
    {"api.openai.com", "POST", "/v1/responses", "chat", "openai.responses", ""},
    {"api.openai.com", "POST", "/v1/responses/compact", "chat", "openai.responses.compact", ""},
    {"api.openai.com", "GET", "/v1/responses/resp_1", "retrieve", "openai.responses.retrieve", ""},
    {"api.openai.com", "GET", "/v1/models", "models", "openai.models", ""},
    {"api.openai.com", "GET", "/v1/files/f-1/content", "files", "openai.files", ""},
    {"api.openai.com", "GET", "/nobody/knows", "other", "other", ""},
    {"api.groq.com", "POST", "/openai/v1/chat/completions", "chat", "openai.chat", ""},
    {"api.anthropic.com", "POST", "/v1/messages", "chat", "anthropic.messages", ""},
    {"api.anthropic.com", "POST", "/v1/messages/count_tokens", "count_tokens",
     "anthropic.count_tokens", ""},
    {"generativelanguage.googleapis.com", "POST", "/v1beta/models/gemini-x:generateContent", "chat",
     "gemini.generate_content", "gemini-x"},
    {"generativelanguage.googleapis.com", "POST", "/v1/tunedModels/a%2Fb%20c:streamGenerateContent",
     "chat", "gemini.generate_content", "a/b c"},
    {"generativelanguage.googleapis.com", "POST", "/v1beta/openai/chat/completions", "chat",
     "openai.chat", ""},
    {"generativelanguage.googleapis.com", "POST", "/v1beta/models/imagen-4:predict",
     "image_generation", "gemini.predict", "imagen-4"},
    {"us-central1-aiplatform.googleapis.com", "POST",
     "/v1/projects/p/locations/l/publishers/google/models/imagen-4:predict", "image_generation",
     "vertex.predict", "imagen-4"},
    {"aiplatform.googleapis.com", "POST",
     "/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict", "embeddings",
     "vertex.predict", "text-embedding-005"},
    {"us-east5-aiplatform.googleapis.com", "POST",
     "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x@1:streamRawPredict", "chat",
     "anthropic.messages", "claude-x@1"},
    {"aiplatform.eu.rep.googleapis.com", "POST",
     "/v1/projects/p/locations/eu/endpoints/openapi/chat/completions", "chat", "openai.chat", ""},
    {"r.openai.azure.com", "POST", "//openai/deployments/d/chat/completions", "chat", "openai.chat",
     "d"},
    {"r.services.ai.azure.com", "POST", "/anthropic/v1/messages", "chat", "anthropic.messages", ""},
    {"r.cognitiveservices.azure.com", "POST", "/openai/deployments/w/audio/translations",
     "translation", "openai.translations", "w"},
    {"bedrock-runtime.eu-west-1.amazonaws.com", "POST",
     "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2F"
     "x1/converse-stream",
     "chat", "bedrock.converse",
     "arn:aws:bedrock:eu-west-1:000000000000:application-inference-profile/x1"},
    {"bedrock-runtime.us-east-1.amazonaws.com", "POST", "/model/cohere.rerank-v3-5:0/invoke",
     "rerank", "bedrock.invoke", "cohere.rerank-v3-5:0"},
    {"bedrock-runtime.us-east-1.amazonaws.com", "POST",
     "/model/amazon.titan-embed-text-v2:0/invoke", "embeddings", "bedrock.invoke",
     "amazon.titan-embed-text-v2:0"},
    {"bedrock-runtime-fips.us-east-1.amazonaws.com", "POST",
     "/model/stability.stable-image-core-v1:1/invoke", "image_generation", "bedrock.invoke",
     "stability.stable-image-core-v1:1"},
    {"bedrock-mantle.us-east-1.api.aws", "POST", "/openai/v1/responses", "chat", "openai.responses",
     ""},
    {"api.cohere.com", "POST", "/v2/chat", "chat", "cohere.chat_v2", ""},
    {"api.cohere.com", "POST", "/v1/chat", "chat", "cohere.chat_v1", ""},
    {"api.mistral.ai", "POST", "/v1/ocr", "ocr", "mistral.ocr", ""},
    {"api.deepseek.com", "POST", "/anthropic/v1/messages", "chat", "anthropic.messages", ""},
    {"127.0.0.1:11434", "POST", "/api/chat", "chat", "ollama.chat", ""},
    {"gpu.corp.example:8000", "POST", "/v1/completions", "completion", "openai.completions", ""},
};

static void shipped_routes(void **state)
{
    struct provider_set *set = shipped();

    (void)state;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct provider *p = provider_by_host(set, slice_str(routes[i].host));
        struct provider_route route;

        assert_int_equal(
            provider_route(p, slice_str(routes[i].method), slice_str(routes[i].path), &route), 0);
        assert_string_equal(route.operation->operation, routes[i].operation);
        assert_string_equal(profile_api(route.operation), routes[i].api);
        assert_string_equal(route.model, routes[i].model);
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
        {"/m/{model/}/go", "/m/arn:x/y/go", "arn:x/y"},
        {"/m/{model}/go", "/m/arn:x/y/go", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct provider_route route;
        bool fits = profile_path_match(table[i].pattern, slice_str(table[i].path), &route);

        assert_int_equal(fits, table[i].model != NULL);
        if (fits)
            assert_string_equal(route.model, table[i].model);
    }
}

/* Backtracking over a hostile path ends. */
static void hostile_paths_end(void **state)
{
    char path[2000];
    struct provider_route route;

    (void)state;
    memset(path, '/', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_false(profile_path_match("*/*/*/*/*/{model}/x", slice_str(path), &route));
}

static void errors_name_file_line_and_field(void **state)
{
    static const struct {
        const char *yaml, *where, *what;
    } table[] = {
        {"providers:\n  - name: a\n    hostz: [b]\n", "profile:3:", "hostz"},
        {"providers:\n  - hosts: [b]\n", "profile:", "name"},
        {"providers:\n  - name: a\n    routes: [nowhere]\n", "profile:3:", "nowhere"},
        {"providers:\n  - name: a\n    like: nobody\n", "profile:3:", "nobody"},
        {"providers:\n  - name: a\n    plaintext_ports: [x]\n", "profile:3:", "plaintext_ports"},
        {"providers:\n  - name: a\n    plaintext_ports: [70000]\n",
         "profile:3:", "plaintext_ports"},
        {"providers:\n  - name: a\n    headers: {numbers: [{field: no, path: [h]}]}\n",
         "profile:3:", "field"},
        {"families:\n  - id: f\n    answer: {framing: xml}\n", "profile:3:", "framing"},
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

/* No region is certified by its parent domain, which would be everybody's. */
static void parent_domains_are_not_certified(void **state)
{
    static const char *const parents[] = {"*.amazonaws.com", "*.googleapis.com", "*.api.aws"};
    struct provider_set *set = shipped();
    const char *hosts[1024];
    unsigned count = provider_hosts(set, hosts, 1024), azure = 0;

    (void)state;
    assert_in_range(count, 100, 1024);
    for (unsigned i = 0; i < count; i++) {
        azure += strcmp(hosts[i], "*.openai.azure.com") == 0;
        for (size_t k = 0; k < sizeof(parents) / sizeof(parents[0]); k++)
            assert_string_not_equal(hosts[i], parents[k]);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(hosts[i], hosts[k]);
    }
    assert_int_equal(azure, 1);
    provider_set_free(&set);
}

static void every_provider_says_where_its_facts_are_from(void **state)
{
    struct provider_set *set = shipped();

    (void)state;
    for (unsigned i = 0; i < set->file_count; i++)
        for (unsigned k = 0; k < set->files[i]->providers_count; k++)
            if (!set->files[i]->providers[k].docs_count && !set->files[i]->providers[k].like)
                fail_msg("%s has no docs", set->files[i]->providers[k].name);
    provider_set_free(&set);
}

/* What the README promises: a host of a known format needs a few lines. */
static void a_few_lines_make_a_provider(void **state)
{
    static const char yaml[] = "providers:\n"
                               "  - name: mycorp\n"
                               "    like: openai-compatible\n"
                               "    hosts: [llm.corp.example]\n";
    char dir[] = "/tmp/test_provider.XXXXXX", path[64], dirs[128];
    struct provider_set *set = NULL;
    struct provider_error error;
    struct provider_route route;
    const struct provider *p;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/mycorp.yaml", dir);
    snprintf(dirs, sizeof(dirs), PROFILES ":%s:/nonexistent", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(yaml, f);
    fclose(f);
    if (provider_set_load(dirs, &set, &error))
        fail_msg("%s", error.text);
    p = provider_by_host(set, slice_str("llm.corp.example"));
    assert_non_null(p);
    assert_string_equal(provider_name(p), "mycorp");
    assert_int_equal(
        provider_route(p, slice_str("POST"), slice_str("/v1/chat/completions"), &route), 0);
    assert_string_equal(profile_api(route.operation), "openai.chat");
    provider_set_free(&set);
    unlink(path);
    rmdir(dir);
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

/* A flood of paths that nearly fit everything, in many ways. The timer counts the
 * CPU's time: what is bounded takes a hundredth of it. */
static void hostile_paths_cost_little(void **state)
{
    static const struct {
        const char *host, *unit;
    } table[] = {{"bedrock-runtime.us-east-1.amazonaws.com", "/model/a"},
                 {"generativelanguage.googleapis.com", "/a"},
                 {"x.openai.azure.com", "/deployments/a"}};
    const struct itimerval limit = {.it_value = {.tv_sec = 60}}, none = {0};
    struct provider_set *set = shipped();
    struct provider_route route;

    (void)state;
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct provider *p = provider_by_host(set, slice_str(table[i].host));
        size_t len = strlen(table[i].unit);
        char path[2041] = "";

        assert_non_null(p);
        for (size_t at = 0; at + len < sizeof(path) - 3; at += len)
            memcpy(path + at, table[i].unit, len);
        memcpy(path + strlen(path), "/x", 3);
        for (int k = 0; k < 20000; k++)
            (void)!provider_route(p, slice_str("POST"), slice_str(path), &route);
    }
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    provider_set_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_paths_cost_little),
        cmocka_unit_test(shipped_profiles_load),
        cmocka_unit_test(shipped_routes),
        cmocka_unit_test(patterns),
        cmocka_unit_test(hostile_paths_end),
        cmocka_unit_test(errors_name_file_line_and_field),
        cmocka_unit_test(sections_are_inherited),
        cmocka_unit_test(parent_domains_are_not_certified),
        cmocka_unit_test(every_provider_says_where_its_facts_are_from),
        cmocka_unit_test(a_few_lines_make_a_provider),
        cmocka_unit_test(a_missing_folder_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
