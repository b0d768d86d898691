/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ctl/ctl.h"

#include "collector/text.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_S 30L

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    /* A short count makes curl give up. */
    return buf_append(ctx, slice_of(data, size * count)) < 0 ? 0 : size * count;
}

/* The collector says {"error":…}; what else is on that port may say anything. */
static void print_refusal(const struct ctl_options *o, long status, struct slice body)
{
    char text[512];
    json_t *root = json_loadb((const char *)body.data, body.len, 0, NULL);
    const char *error = json_string_value(json_object_get(root, "error"));
    char *raw = error ? NULL : strndup((const char *)body.data, body.len);

    text_copy(text, sizeof(text), error ? error : raw);
    fprintf(stderr, "lectrctl: %s answered %ld: %s\n", o->collector, status, text);
    free(raw);
    json_decref(root);
}

static void complain(const struct ctl_options *o, CURLcode code, long status, struct slice body)
{
    if (code == CURLE_WRITE_ERROR)
        fprintf(stderr, "lectrctl: %s: the answer is longer than %d MiB\n", o->collector,
                FETCH_BYTES_MAX / 1024 / 1024);
    else if (code != CURLE_OK)
        fprintf(stderr, "lectrctl: %s: %s\n", o->collector, curl_easy_strerror(code));
    else
        print_refusal(o, status, body);
}

static int fetch_text(const struct ctl_options *o, const char *path_and_query, struct buf *out)
{
    CURL *curl = curl_easy_init();
    char url[1024];
    long status = 0;
    CURLcode code;

    if (!curl)
        return -ENOMEM;
    snprintf(url, sizeof(url), "%s%s", o->collector, path_and_query);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (code == CURLE_OK && status == 200)
        return 0;
    complain(o, code, status, buf_slice(out));
    return code == CURLE_COULDNT_CONNECT ? -ECONNREFUSED : -EIO;
}

/* The answer as text, and as the object that it is. */
static int fetch(const struct ctl_options *o, const char *path_and_query, struct buf *out,
                 json_t **ret_root)
{
    json_error_t error = {.text = "it is no object"};
    json_t *root;
    int r = fetch_text(o, path_and_query, out);

    if (r < 0)
        return r;
    root = json_loadb((const char *)out->data, out->len, 0, &error);
    if (!json_is_object(root)) {
        char text[sizeof(error.text)];

        text_copy(text, sizeof(text), error.text);
        fprintf(stderr, "lectrctl: the answer cannot be read: %s\n", text);
        json_decref(root);
        return -EBADMSG;
    }
    *ret_root = root;
    return 0;
}

int fetch_json(const struct ctl_options *o, const char *path_and_query, json_t **ret_root)
{
    struct buf text;
    json_t *root = NULL;
    int r;

    buf_init(&text, FETCH_BYTES_MAX);
    r = fetch(o, path_and_query, &text, &root);
    buf_fini(&text);
    if (r == 0 && !o->json)
        r = clean_names(root);
    if (r < 0)
        json_decref(root);
    else
        *ret_root = root;
    return r;
}

int fetch_print(const struct ctl_options *o, const char *path_and_query)
{
    struct buf text;
    json_t *root = NULL;
    int r;

    buf_init(&text, FETCH_BYTES_MAX);
    r = fetch(o, path_and_query, &text, &root);
    if (r == 0)
        r = clean_print(stdout, buf_slice(&text));
    buf_fini(&text);
    json_decref(root);
    return r;
}
