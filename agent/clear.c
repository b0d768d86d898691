/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/clear.h"

#include <stdbool.h>
#include <string.h>

#define METHOD_MAX 24

static const char preface[] = "PRI * HTTP/2.0\r\n";

/* Up to and without the line's end; false when it is not there yet. */
static bool take_line(struct slice *s, struct slice *ret_line)
{
    const uint8_t *end = s->len ? memchr(s->data, '\n', s->len) : NULL;
    size_t len;

    if (!end)
        return false;
    len = (size_t)(end - s->data);
    *ret_line = slice_of(s->data, len && end[-1] == '\r' ? len - 1 : len);
    *s = slice_of(end + 1, s->len - len - 1);
    return true;
}

/* Whether the bytes begin as a request line does, as far as they go. */
static bool begins_request(struct slice s)
{
    size_t n = 0;

    while (n < s.len && ((s.data[n] >= 'A' && s.data[n] <= 'Z') || s.data[n] == '-'))
        n++;
    if (n == 0 || n > METHOD_MAX)
        return false;
    for (size_t i = n + 1; i < s.len && s.data[i] != '\n'; i++)
        if (s.data[i] < ' ' && s.data[i] != '\r')
            return false;
    return n == s.len || (s.data[n] == ' ' && (n + 1 == s.len || s.data[n + 1] > ' '));
}

static bool is_http1(struct slice line)
{
    static const char version[] = " HTTP/1.";
    const size_t len = sizeof(version) - 1;

    return line.len > len + 1 && memcmp(line.data + line.len - len - 1, version, len) == 0 &&
           line.data[line.len - 1] >= '0' && line.data[line.len - 1] <= '9';
}

static void cut_port(struct slice *host)
{
    size_t n = host->len;

    if (host->len && host->data[0] == '[') {
        const uint8_t *end = memchr(host->data, ']', host->len);

        *host = end ? slice_of(host->data + 1, (size_t)(end - host->data) - 1) : slice_of(NULL, 0);
        return;
    }
    while (n && host->data[n - 1] >= '0' && host->data[n - 1] <= '9')
        n--;
    if (n && host->data[n - 1] == ':')
        host->len = n - 1;
}

/* False: another header. */
static bool read_host(struct slice line, struct clear_head *head)
{
    struct slice value;

    if (!slice_starts_nocase(line, "host:"))
        return false;
    value = slice_of(line.data + 5, line.len - 5);
    while (value.len && (value.data[0] == ' ' || value.data[0] == '\t'))
        value = slice_of(value.data + 1, value.len - 1);
    while (value.len && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
        value.len--;
    cut_port(&value);
    if (value.len >= sizeof(head->host))
        return true;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];

        if (c <= ' ' || c >= 0x7f) {
            head->host[0] = '\0';
            return true;
        }
        head->host[i] = (char)(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c);
    }
    head->host[value.len] = '\0';
    return true;
}

enum clear_result clear_parse(struct slice bytes, struct clear_head *ret_head)
{
    struct clear_head head = {0};
    bool all = bytes.len >= CLEAR_MAX_BYTES;
    struct slice rest = all ? slice_of(bytes.data, CLEAR_MAX_BYTES) : bytes, line;

    if (bytes.len >= sizeof(preface) - 1 && memcmp(bytes.data, preface, sizeof(preface) - 1) == 0) {
        *ret_head = head;
        return CLEAR_HTTP2;
    }
    if (!begins_request(rest))
        return rest.len == 0 ? CLEAR_MORE : CLEAR_NOT_HTTP;
    if (!take_line(&rest, &line))
        return all ? CLEAR_NOT_HTTP : CLEAR_MORE;
    if (!is_http1(line))
        return CLEAR_NOT_HTTP;
    do {
        if (!take_line(&rest, &line)) {
            if (!all)
                return CLEAR_MORE;
            break;
        }
    } while (line.len && !read_host(line, &head));
    *ret_head = head;
    return CLEAR_HTTP1;
}
