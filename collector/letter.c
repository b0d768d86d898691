/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/letter.h"

#include "collector/alertmanager.h"
#include "collector/cloudevent.h"
#include "collector/pagerduty.h"
#include "collector/sign.h"
#include "collector/slack.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define URL_MAX 4096
#define HEADER_MAX 8192
#define ALERTMANAGER_PATH "/api/v2/alerts"

/* What the writers of bodies share. */
struct draft {
    const struct alerting_receiver *to;
    const struct notice *notices;
    size_t count;
    uint64_t wall_ns;
    struct letter *letter;
};

static int fail(struct letter *l, int error, const char *what, const char *detail)
{
    snprintf(l->error, sizeof(l->error), "%s%s%.120s", what, detail[0] ? ": " : "", detail);
    return error;
}

/* The file's first line. `field` is what the settings call it. */
static int read_secret(struct letter *l, const char *field, const char *path, struct buf *out)
{
    CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t bytes[LETTER_SECRET_MAX + 1];
    ssize_t n = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : -1;
    size_t len;
    int r = 0;

    if (n < 0)
        return fail(l, -errno, field, strerror(errno));
    for (len = 0; len < (size_t)n && bytes[len] != '\n' && bytes[len] != '\r'; len++)
        ;
    if (len == 0 || len > LETTER_SECRET_MAX || memchr(bytes, '\0', len))
        r = fail(l, -EINVAL, field, "is empty, too long or no text");
    if (r == 0)
        r = buf_append(out, slice_of(bytes, len));
    explicit_bzero(bytes, sizeof(bytes));
    return r;
}

/* A line of its own, ended for curl. */
static struct buf *next_header(struct letter *l)
{
    return l->count < LETTER_HEADERS_MAX ? &l->headers[l->count++] : NULL;
}

static int add_header(struct letter *l, const char *name, const char *value)
{
    struct buf *line = next_header(l);

    return line ? buf_printf(line, "%s: %s", name, value) : -E2BIG;
}

static int add_secret_header(struct letter *l, const char *name, const char *before,
                             const char *field, const char *path)
{
    struct buf *line = next_header(l);
    int r = line ? buf_printf(line, "%s: %s", name, before) : -E2BIG;

    return r < 0 ? r : read_secret(l, field, path, line);
}

static int write_webhook(const struct draft *d)
{
    return cloudevent_format(d->notices[0].alert, &d->letter->body);
}

static int write_alertmanager(const struct draft *d)
{
    return alertmanager_format(d->notices, d->count, d->wall_ns + LETTER_VALID_S * NSEC_PER_SEC,
                               &d->letter->body);
}

static int write_slack(const struct draft *d)
{
    return slack_format(&d->notices[0], &d->letter->body);
}

static int write_pagerduty(const struct draft *d)
{
    struct buf key;
    int r;

    buf_init(&key, LETTER_SECRET_MAX + 1);
    r = read_secret(d->letter, "routing_key_file", d->to->routing_key_file, &key);
    if (r == 0)
        r = buf_append(&key, slice_of((const uint8_t *)"", 1));
    if (r == 0)
        r = pagerduty_format(&d->notices[0], (const char *)key.data, &d->letter->body);
    buf_fini(&key);
    return r;
}

static const struct type {
    const char *name, *content_type;
    const char *url;  /* when the settings have none */
    const char *path; /* that the URL ends with */
    bool is_state;
    int (*write)(const struct draft *draft);
} types[] = {
    [ALERTING_WEBHOOK] = {"webhook", CLOUDEVENT_CONTENT_TYPE, "", "", false, write_webhook},
    [ALERTING_ALERTMANAGER] = {"alertmanager", "application/json", "", ALERTMANAGER_PATH, true,
                               write_alertmanager},
    [ALERTING_SLACK] = {"slack", "application/json; charset=utf-8", "", "", false, write_slack},
    [ALERTING_PAGERDUTY] = {"pagerduty", "application/json", PAGERDUTY_URL, "", true,
                            write_pagerduty},
};

const char *letter_type_name(enum alerting_receiver_type type)
{
    return types[type].name;
}

bool letter_is_state(enum alerting_receiver_type type)
{
    return types[type].is_state;
}

/* The URL with the path that its type has, unless it is there already. */
static int write_url(const struct draft *d)
{
    const struct type *type = &types[d->to->type];
    struct buf *url = &d->letter->url;
    size_t path_len = strlen(type->path);
    int r = d->to->url_file ? read_secret(d->letter, "url_file", d->to->url_file, url)
                            : buf_append_str(url, d->to->url ? d->to->url : type->url);

    if (r == 0 && path_len > 0 &&
        (url->len < path_len || memcmp(url->data + url->len - path_len, type->path, path_len))) {
        while (url->len > 0 && url->data[url->len - 1] == '/')
            url->len--;
        r = buf_append_str(url, type->path);
    }
    return r < 0 ? r : buf_append(url, slice_of((const uint8_t *)"", 1));
}

static int write_signature(const struct draft *d)
{
    char signature[SIGN_BYTES];
    struct buf secret;
    int r;

    if (!d->to->secret_file)
        return 0;
    buf_init(&secret, LETTER_SECRET_MAX);
    r = read_secret(d->letter, "secret_file", d->to->secret_file, &secret);
    if (r == 0)
        r = sign_body(buf_slice(&secret), d->wall_ns / NSEC_PER_SEC, buf_slice(&d->letter->body),
                      signature);
    buf_fini(&secret);
    return r < 0 ? r : add_header(d->letter, SIGN_HEADER, signature);
}

static int write_headers(const struct draft *d)
{
    const struct alerting_receiver *to = d->to;
    int r = add_header(d->letter, "Content-Type", types[to->type].content_type);

    if (r == 0 && to->bearer_file)
        r = add_secret_header(d->letter, "Authorization", "Bearer ", "bearer_file",
                              to->bearer_file);
    for (unsigned i = 0; i < to->headers_count && r == 0; i++) {
        const struct alerting_header *h = &to->headers[i];

        r = h->value_file ? add_secret_header(d->letter, h->name, "", "value_file", h->value_file)
                          : add_header(d->letter, h->name, h->value ? h->value : "");
    }
    return r;
}

static int end_lines(struct letter *l)
{
    int r = 0;

    for (unsigned i = 0; i < l->count && r == 0; i++) {
        r = buf_append(&l->headers[i], slice_of((const uint8_t *)"", 1));
        l->lines[i] = (const char *)l->headers[i].data;
    }
    return r;
}

int letter_write(const struct alerting_receiver *to, const struct notice *notices, size_t count,
                 uint64_t wall_ns, struct letter *ret_letter)
{
    const struct draft d = {to, notices, count, wall_ns, ret_letter};
    int r;

    memset(ret_letter, 0, sizeof(*ret_letter));
    buf_init(&ret_letter->url, URL_MAX);
    buf_init(&ret_letter->body, LETTER_BODY_MAX);
    for (unsigned i = 0; i < LETTER_HEADERS_MAX; i++)
        buf_init(&ret_letter->headers[i], HEADER_MAX);
    r = write_url(&d);
    if (r == 0)
        r = write_headers(&d);
    if (r == 0)
        r = types[to->type].write(&d);
    if (r == 0)
        r = write_signature(&d);
    if (r == 0)
        r = end_lines(ret_letter);
    if (r < 0 && !ret_letter->error[0])
        fail(ret_letter, r, "cannot be written", strerror(-r));
    return r;
}

void letter_fini(struct letter *letter)
{
    buf_fini(&letter->url);
    buf_fini(&letter->body);
    for (unsigned i = 0; i < LETTER_HEADERS_MAX; i++)
        buf_fini(&letter->headers[i]);
}

struct webhook_post letter_post(const struct letter *letter, const struct alerting_receiver *to)
{
    return (struct webhook_post){
        .url = (const char *)letter->url.data,
        .ca_file = to->ca_file,
        .headers = letter->lines,
        .headers_count = letter->count,
        .body = buf_slice(&letter->body),
        .timeout_ms = to->timeout_ms,
    };
}

bool letter_may_quote(const struct alerting_receiver *to, const char *answer)
{
    const char *host = to->url ? strstr(to->url, "://") : NULL;
    const char *path = host ? strchr(host + 3, '/') : NULL;

    if (to->url_file || to->bearer_file || to->routing_key_file)
        return false;
    for (unsigned i = 0; i < to->headers_count; i++)
        if (to->headers[i].value_file || to->headers[i].value)
            return false;
    /* A query may be a secret, and so is what stands before the host: it is sent as a header. */
    if (host && strpbrk(host, "?@"))
        return false;
    return !path || strlen(path) < 2 || !strstr(answer, path);
}
