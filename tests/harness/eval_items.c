/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/eval_items.h"

#include <dirent.h>
#include <stdlib.h>
#include <strings.h>

#define BODY_LIMIT_BYTES (256u * 1024 * 1024)
#define PRINT(b, ...)                                                                              \
    do {                                                                                           \
        if (buf_printf(b, __VA_ARGS__))                                                            \
            eval_die("out of memory");                                                             \
    } while (0)

void eval_die(const char *what)
{
    fprintf(stderr, "estimate_eval: %s\n", what);
    exit(2);
}

static void append(struct buf *b, const void *data, size_t len)
{
    if (buf_append(b, slice_of(data, len)))
        eval_die("out of memory");
}

static void base64_decode(struct buf *b, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int have = 0;

    for (; *text; text++) {
        const char *at = strchr(digits, *text);

        if (!at)
            continue;
        bits = bits << 6 | (uint32_t)(at - digits);
        have += 6;
        if (have >= 8) {
            uint8_t byte = (uint8_t)(bits >> (have - 8));

            have -= 8;
            append(b, &byte, 1);
        }
    }
}

static void body_of(const json_t *message, struct buf *b)
{
    const json_t *text = json_object_get(message, "body");
    const char *base64 = json_string_value(json_object_get(message, "body_base64"));

    buf_init(b, BODY_LIMIT_BYTES);
    if (json_is_string(text))
        append(b, json_string_value(text), json_string_length(text));
    else if (base64)
        base64_decode(b, base64);
}

static void print_headers(struct buf *b, const json_t *message, bool encoded)
{
    const json_t *pair;
    size_t i;

    json_array_foreach(json_object_get(message, "headers"), i, pair)
    {
        const char *name = json_string_value(json_array_get(pair, 0));
        const char *value = json_string_value(json_array_get(pair, 1));

        if (!name || !value || strcasecmp(name, "content-length") == 0 ||
            strcasecmp(name, "transfer-encoding") == 0 || strcasecmp(name, "connection") == 0 ||
            strcasecmp(name, "expect") == 0 ||
            (strcasecmp(name, "content-encoding") == 0 && !encoded))
            continue;
        PRINT(b, "%s: %s\r\n", name, value);
    }
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *n = json_object_get(object, key);

    return json_is_number(n) ? json_number_value(n) : -1;
}

static int repo_of(struct bench *b, const char *name)
{
    for (int i = 0; i < b->repo_count; i++)
        if (strcmp(b->repos[i], name) == 0)
            return i;
    if (b->repo_count == REPOS_MAX)
        eval_die("too many repositories");
    b->repos[b->repo_count] = strdup(name);
    return b->repo_count++;
}

static void item_messages(struct item *it, const json_t *request, const json_t *response)
{
    bool encoded = json_is_true(json_object_get(response, "body_is_encoded"));
    struct buf body;

    body_of(request, &body);
    buf_init(&it->up, BODY_LIMIT_BYTES);
    buf_init(&it->head, BODY_LIMIT_BYTES);
    PRINT(&it->up, "%s %s HTTP/1.1\r\n", text_of(request, "method"), text_of(request, "path"));
    print_headers(&it->up, request, true);
    PRINT(&it->up, "content-length: %zu\r\n\r\n", body.len);
    append(&it->up, body.data, body.len);
    it->request_bytes = (double)body.len;
    buf_fini(&body);
    body_of(response, &it->body);
    it->plain = !encoded;
    PRINT(&it->head, "HTTP/1.1 %d Reason\r\n",
          (int)json_integer_value(json_object_get(response, "status")));
    print_headers(&it->head, response, encoded);
    PRINT(&it->head, "content-length: %zu\r\n\r\n", it->body.len);
}

static void item_add(struct bench *b, const json_t *exchange)
{
    const json_t *truth = json_object_get(exchange, "truth");
    const json_t *request = json_object_get(exchange, "request");
    const json_t *response = json_object_get(exchange, "response");
    const char *operation = text_of(truth, "operation"), *model = text_of(truth, "model_responded");
    struct item *it = &b->items[b->count];
    double reasoning = number_of(truth, "reasoning_tokens");
    bool generates = strcmp(operation, "chat") == 0 || strcmp(operation, "completion") == 0;
    const char *host = text_of(request, "host");

    if (b->count == ITEMS_MAX || !generates || json_is_true(json_object_get(truth, "is_error")) ||
        strcmp(text_of(response, "fidelity"), "derived") == 0 ||
        !provider_by_host(b->open, slice_of(host, strcspn(host, ":"))))
        return;
    memset(it, 0, sizeof(*it));
    snprintf(it->id, sizeof(it->id), "%s", text_of(exchange, "id"));
    snprintf(it->provider, sizeof(it->provider), "%s", text_of(exchange, "provider"));
    snprintf(it->api, sizeof(it->api), "%s", text_of(truth, "api"));
    snprintf(it->model, sizeof(it->model), "%s",
             model[0] ? model : text_of(truth, "model_requested"));
    snprintf(it->host, sizeof(it->host), "%.*s", (int)strcspn(host, ":"), host);
    it->repo = repo_of(b, text_of(json_object_get(exchange, "source"), "repo"));
    it->stream = json_is_true(json_object_get(truth, "streaming"));
    it->usable = json_is_true(json_object_get(truth, "usage_reported")) &&
                 json_is_true(json_object_get(truth, "usage_final"));
    it->input = number_of(truth, "input_tokens_total");
    it->output = number_of(truth, "output_tokens_total");
    it->hidden = reasoning;
    it->tokens = json_incref(json_object_get(b->truth, it->id));
    item_messages(it, request, response);
    b->count++;
}

void eval_load(struct bench *b, const char *folder)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);

    if (count < 0)
        eval_die("cannot read the folder");
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        size_t len = strlen(name);
        char path[4096];
        json_error_t error;
        json_t *exchange;

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        if (name[0] != '.' && names[i]->d_type == DT_DIR) {
            eval_load(b, path);
        } else if (len > 5 && strcmp(name + len - 5, ".json") == 0) {
            exchange = json_load_file(path, JSON_ALLOW_NUL, &error);
            if (json_is_object(exchange) && json_object_get(exchange, "truth"))
                item_add(b, exchange);
            json_decref(exchange);
        }
        free(names[i]);
    }
    free(names);
}
