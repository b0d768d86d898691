/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ctl/ctl.h"

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

static void complain(const struct ctl_options *o, CURLcode code, long status, struct slice body)
{
    if (code != CURLE_OK)
        fprintf(stderr, "lectrctl: %s: %s\n", o->collector, curl_easy_strerror(code));
    else
        fprintf(stderr, "lectrctl: %s answered %ld: %.*s\n", o->collector, status, (int)body.len,
                (const char *)body.data);
}

int fetch_text(const struct ctl_options *o, const char *path_and_query, struct buf *out)
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

int fetch_json(const struct ctl_options *o, const char *path_and_query, json_t **ret_root)
{
    struct buf text;
    json_error_t error;
    json_t *root = NULL;
    int r;

    buf_init(&text, FETCH_BYTES_MAX);
    r = fetch_text(o, path_and_query, &text);
    if (r == 0) {
        root = json_loadb((const char *)text.data, text.len, 0, &error);
        if (!root) {
            fprintf(stderr, "lectrctl: the answer is no JSON: %s\n", error.text);
            r = -EBADMSG;
        }
    }
    buf_fini(&text);
    if (r == 0)
        *ret_root = root;
    return r;
}

int fetch_print(const struct ctl_options *o, const char *path_and_query)
{
    struct buf text;
    int r;

    buf_init(&text, FETCH_BYTES_MAX);
    r = fetch_text(o, path_and_query, &text);
    if (r == 0 && fwrite(text.data, 1, text.len, stdout) != text.len)
        r = -EIO;
    buf_fini(&text);
    return r;
}
