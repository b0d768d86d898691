/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/webhook.h"

#include "collector/text.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_MS_MAX 10000

struct post {
    CURL *easy; /* NULL: free */
    struct curl_slist *headers;
    uint8_t *body;
    uint64_t tag;
    size_t answer_bytes;
    char answer[WEBHOOK_TEXT_BYTES];
    char error[CURL_ERROR_SIZE];
};

struct webhook {
    CURLM *multi;
    unsigned at_once, under_way;
    struct post posts[];
};

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

int webhook_new(unsigned at_once, struct webhook **ret_webhook)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct webhook *w = calloc(1, sizeof(*w) + at_once * sizeof(w->posts[0]));

    if (!w)
        return -ENOMEM;
    pthread_once(&once, init_curl);
    w->at_once = at_once;
    w->multi = curl_multi_init();
    if (!w->multi) {
        free(w);
        return -ENOMEM;
    }
    curl_multi_setopt(w->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)at_once);
    *ret_webhook = w;
    return 0;
}

static void end_post(struct webhook *w, struct post *p)
{
    if (!p->easy)
        return;
    curl_multi_remove_handle(w->multi, p->easy);
    curl_easy_cleanup(p->easy);
    curl_slist_free_all(p->headers);
    free(p->body);
    memset(p, 0, sizeof(*p));
    w->under_way--;
}

void webhook_free(struct webhook **webhook)
{
    struct webhook *w = *webhook;

    if (!w)
        return;
    for (unsigned i = 0; i < w->at_once; i++)
        end_post(w, &w->posts[i]);
    curl_multi_cleanup(w->multi);
    free(w);
    *webhook = NULL;
}

unsigned webhook_under_way(const struct webhook *w)
{
    return w->under_way;
}

void webhook_wake(struct webhook *w)
{
    curl_multi_wakeup(w->multi);
}

/* Keeps the first words; a short count makes curl break off. */
static size_t take_answer(char *data, size_t one, size_t bytes, void *ctx)
{
    struct post *p = ctx;
    size_t kept = p->answer_bytes < sizeof(p->answer) - 1 ? p->answer_bytes : sizeof(p->answer) - 1;
    size_t room = sizeof(p->answer) - 1 - kept;

    (void)one;
    memcpy(p->answer + kept, data, bytes < room ? bytes : room);
    p->answer_bytes += bytes;
    return p->answer_bytes > WEBHOOK_ANSWER_BYTES_MAX ? 0 : bytes;
}

static int add_header(struct post *p, const char *line)
{
    struct curl_slist *list;

    if (strpbrk(line, "\r\n"))
        return -EINVAL;
    list = curl_slist_append(p->headers, line);
    if (!list)
        return -ENOMEM;
    p->headers = list;
    return 0;
}

static int copy_post(struct post *p, const struct webhook_post *post)
{
    int r = add_header(p, "Expect:"); /* no round trip before a small body */

    for (unsigned i = 0; i < post->headers_count && r == 0; i++)
        r = add_header(p, post->headers[i]);
    if (r < 0)
        return r;
    p->body = malloc(post->body.len + 1);
    if (!p->body)
        return -ENOMEM;
    memcpy(p->body, post->body.len ? post->body.data : (const uint8_t *)"", post->body.len);
    return 0;
}

#define OPTION(option, value) (ok = ok && curl_easy_setopt(p->easy, option, value) == CURLE_OK)

static int set_options(struct post *p, const struct webhook_post *post)
{
    long connect_ms = post->timeout_ms < CONNECT_MS_MAX ? (long)post->timeout_ms : CONNECT_MS_MAX;
    bool ok = true;

    OPTION(CURLOPT_URL, post->url);
    OPTION(CURLOPT_PROTOCOLS_STR, "http,https");
    OPTION(CURLOPT_FOLLOWLOCATION, 0L);
    OPTION(CURLOPT_NOSIGNAL, 1L);
    OPTION(CURLOPT_TIMEOUT_MS, (long)post->timeout_ms);
    OPTION(CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    OPTION(CURLOPT_USERAGENT, "lectr-collector/" LECTR_VERSION);
    OPTION(CURLOPT_POST, 1L);
    OPTION(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.len);
    OPTION(CURLOPT_POSTFIELDS, p->body);
    OPTION(CURLOPT_HTTPHEADER, p->headers);
    OPTION(CURLOPT_WRITEFUNCTION, take_answer);
    OPTION(CURLOPT_WRITEDATA, p);
    OPTION(CURLOPT_ERRORBUFFER, p->error);
    OPTION(CURLOPT_PRIVATE, p);
    if (post->ca_file && post->ca_file[0])
        OPTION(CURLOPT_CAINFO, post->ca_file);
    return ok ? 0 : -EINVAL;
}

int webhook_start(struct webhook *w, const struct webhook_post *post, uint64_t tag)
{
    struct post *p = w->posts;
    int r;

    if (w->under_way == w->at_once)
        return -EBUSY;
    while (p->easy)
        p++;
    p->easy = curl_easy_init();
    if (!p->easy)
        return -ENOMEM;
    w->under_way++;
    p->tag = tag;
    r = copy_post(p, post);
    if (r == 0)
        r = set_options(p, post);
    if (r == 0 && curl_multi_add_handle(w->multi, p->easy) != CURLM_OK)
        r = -EIO;
    if (r < 0)
        end_post(w, p);
    return r;
}

static void fill_result(struct post *p, CURLcode code, struct webhook_result *ret_result)
{
    bool was_long = code == CURLE_WRITE_ERROR && p->answer_bytes > WEBHOOK_ANSWER_BYTES_MAX;
    curl_off_t after_s = 0;
    long status = 0;

    memset(ret_result, 0, sizeof(*ret_result));
    curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(p->easy, CURLINFO_RETRY_AFTER, &after_s);
    if (code == CURLE_OK || was_long) {
        ret_result->status = (unsigned)status;
        text_copy(ret_result->text, sizeof(ret_result->text), p->answer);
    } else {
        bool names_url = strstr(p->error, "://");

        text_copy(ret_result->text, sizeof(ret_result->text),
                  p->error[0] && !names_url ? p->error : curl_easy_strerror(code));
    }
    if (after_s > 0)
        ret_result->retry_after_s =
            after_s < WEBHOOK_RETRY_AFTER_MAX_S ? (uint32_t)after_s : WEBHOOK_RETRY_AFTER_MAX_S;
}

static bool tell_done(struct webhook *w,
                      void (*done)(void *ctx, uint64_t tag, const struct webhook_result *result),
                      void *ctx)
{
    bool any = false;
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(w->multi, &left))) {
        struct webhook_result result;
        struct post *p = NULL;
        uint64_t tag;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&p);
        fill_result(p, message->data.result, &result);
        tag = p->tag;
        end_post(w, p);
        done(ctx, tag, &result);
        any = true;
    }
    return any;
}

void webhook_turn(struct webhook *w, uint32_t wait_ms,
                  void (*done)(void *ctx, uint64_t tag, const struct webhook_result *result),
                  void *ctx)
{
    int running = 0;

    curl_multi_perform(w->multi, &running);
    if (tell_done(w, done, ctx))
        return;
    curl_multi_poll(w->multi, NULL, 0, (int)wait_ms, NULL);
    curl_multi_perform(w->multi, &running);
    tell_done(w, done, ctx);
}

static char *take_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;

    return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

void webhook_place(const char *url, char ret_place[WEBHOOK_PLACE_BYTES])
{
    CURLU *parsed = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;

    snprintf(ret_place, WEBHOOK_PLACE_BYTES, "(not a URL)");
    if (parsed && url && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK) {
        scheme = take_part(parsed, CURLUPART_SCHEME);
        host = take_part(parsed, CURLUPART_HOST);
        port = take_part(parsed, CURLUPART_PORT);
    }
    if (scheme && host)
        snprintf(ret_place, WEBHOOK_PLACE_BYTES, "%.8s://%.240s%s%.6s", scheme, host,
                 port ? ":" : "", port ? port : "");
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parsed);
}
