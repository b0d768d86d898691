/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/bus_ref.h"

#include <errno.h>

#define PREFIX "$JS.ACK."
/* Tokens after the prefix; the longer form may grow at its end. */
#define TOKENS_SHORT 7
#define TOKENS_LONG 9
#define TOKENS_MAX 12

static int take_number(struct slice token, uint64_t *ret_number)
{
    uint64_t n = 0;

    if (token.len == 0 || token.len > 19)
        return -EINVAL;
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] < '0' || token.data[i] > '9')
            return -EINVAL;
        n = n * 10 + (uint64_t)(token.data[i] - '0');
    }
    *ret_number = n;
    return 0;
}

static unsigned split(const char *text, struct slice ret_tokens[TOKENS_MAX])
{
    unsigned count = 0;
    const char *at = text;

    while (count < TOKENS_MAX) {
        const char *dot = strchr(at, '.');

        ret_tokens[count++] = slice_of(at, dot ? (size_t)(dot - at) : strlen(at));
        if (!dot)
            break;
        at = dot + 1;
    }
    return count;
}

int bus_ref_parse(const char *reply, struct bus_ref *ret_ref)
{
    struct slice tokens[TOKENS_MAX];
    struct bus_ref ref;
    unsigned count, first;

    if (!reply || strncmp(reply, PREFIX, strlen(PREFIX)) != 0)
        return -EINVAL;
    count = split(reply + strlen(PREFIX), tokens);
    if (count != TOKENS_SHORT && count < TOKENS_LONG)
        return -EINVAL;
    first = count == TOKENS_SHORT ? 0 : 2;
    ref.consumer = tokens[first + 1];
    if (take_number(tokens[first + 3], &ref.stream_seq) < 0 ||
        take_number(tokens[first + 4], &ref.delivery_seq) < 0 ||
        take_number(tokens[first + 5], &ref.time_ns) < 0 ||
        take_number(tokens[first + 6], &ref.pending) < 0)
        return -EINVAL;
    *ret_ref = ref;
    return 0;
}
