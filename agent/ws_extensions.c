/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides say of extensions in the handshake. */
#include "agent/ws.h"

#include <errno.h>

static struct slice trim(struct slice s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = slice_of(s.data + 1, s.len - 1);
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Takes what stands before `mark` off `rest`. No text within quotes holds one
 * in any parameter that is known here. */
static struct slice next_part(struct slice *rest, char mark)
{
    const uint8_t *end = rest->len ? memchr(rest->data, mark, rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->data) : rest->len;
    struct slice part = slice_of(rest->data, len);

    *rest = end ? slice_of(end + 1, rest->len - len - 1) : slice_of(NULL, 0);
    return trim(part);
}

/* 0: not said; 255: no such number. */
static uint8_t window_bits(struct slice value)
{
    unsigned bits = 0;

    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
        value = slice_of(value.data + 1, value.len - 2);
    if (!value.len)
        return 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || i >= 2)
            return 255;
        bits = bits * 10 + (value.data[i] - '0');
    }
    return bits >= 8 && bits <= 15 ? (uint8_t)bits : 255;
}

static void add_parameter(struct ws_extensions *e, struct slice parameter)
{
    struct slice rest = parameter, name = next_part(&rest, '=');
    uint8_t bits = window_bits(trim(rest));

    if (bits == 255)
        e->malformed = true;
    else if (slice_eq_nocase(name, slice_str("server_no_context_takeover")))
        e->server_no_takeover = true;
    else if (slice_eq_nocase(name, slice_str("client_no_context_takeover")))
        e->client_no_takeover = true;
    else if (slice_eq_nocase(name, slice_str("server_max_window_bits")))
        e->server_window_bits = bits;
    else if (slice_eq_nocase(name, slice_str("client_max_window_bits")))
        e->client_window_bits = bits;
    else
        e->malformed = true;
}

void ws_extensions_add(struct ws_extensions *e, struct slice value)
{
    while (value.len) {
        struct slice one = next_part(&value, ','), name = next_part(&one, ';');

        if (!name.len)
            continue;
        if (!slice_eq_nocase(name, slice_str("permessage-deflate"))) {
            e->other = true;
            continue;
        }
        /* An offer may stand several times, with other parameters. */
        e->deflate = true;
        while (one.len)
            add_parameter(e, next_part(&one, ';'));
    }
}

int ws_agree(const struct ws_extensions *offer, const struct ws_extensions *answer,
             struct ws_deflate *ret_client, struct ws_deflate *ret_server)
{
    if (answer->other || answer->malformed || (answer->deflate && !offer->deflate))
        return -EPROTO;
    *ret_client = (struct ws_deflate){
        .on = answer->deflate,
        .takeover = !answer->client_no_takeover,
        .window_bits = answer->client_window_bits ? answer->client_window_bits : 15,
    };
    *ret_server = (struct ws_deflate){
        .on = answer->deflate,
        .takeover = !answer->server_no_takeover,
        .window_bits = answer->server_window_bits ? answer->server_window_bits : 15,
    };
    return 0;
}
