/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sdk.h"

#include "agent/header.h"
#include "agent/text.h"

#include <ctype.h>
#include <stdio.h>

#define WORDS_MAX 16 /* of a user agent that are looked at */
#define ATTEMPT_MAX 1000
#define ID_MAX 64

struct product {
    struct slice name, version; /* version may be empty */
};

/* They say where the library runs, not which it is. */
static const char *const runtimes[] = {"Mozilla", "Python", "CPython", "node",
                                       "Node.js", "Java",   "Dart",    "Deno"};

/* The next word outside of (comments); false at the end. */
static bool next_word(struct slice *rest, struct slice *ret_word)
{
    unsigned depth = 0;
    size_t i = 0, from;

    for (; i < rest->len; i++) {
        uint8_t c = rest->data[i];

        if (c == '(')
            depth++;
        else if (c == ')')
            depth -= depth > 0;
        else if (depth == 0 && c != ' ' && c != '\t')
            break;
    }
    from = i;
    while (i < rest->len && rest->data[i] != ' ' && rest->data[i] != '\t')
        i++;
    *ret_word = slice_of(rest->data + from, i - from);
    *rest = slice_of(rest->data + i, rest->len - i);
    return ret_word->len > 0;
}

/* "1.2", "v1.2": the version without its 'v'; empty when it is none. */
static struct slice version_of(struct slice word)
{
    if (word.len > 1 && (word.data[0] == 'v' || word.data[0] == 'V'))
        word = slice_of(word.data + 1, word.len - 1);
    return word.len && isdigit(word.data[0]) ? word : slice_of(NULL, 0);
}

/* "name/version", or a name alone, which may hold slashes. */
static struct product product_of(struct slice word)
{
    struct product p = {.name = word};

    for (size_t i = word.len; i > 1; i--) {
        if (word.data[i - 1] != '/')
            continue;
        p.version = version_of(slice_of(word.data + i, word.len - i));
        if (p.version.len)
            p.name.len = i - 1;
        break;
    }
    return p;
}

static bool is_runtime(const struct product *p)
{
    for (size_t i = 0; i < sizeof(runtimes) / sizeof(runtimes[0]); i++)
        if (slice_eq_nocase(p->name, slice_str(runtimes[i])))
            return true;
    return slice_starts_nocase(p->name, "gl-");
}

static void say(const struct product *p, char *ret_name, size_t size)
{
    char version[32];
    size_t len;

    text_copy(ret_name, size, p->name);
    for (char *c = ret_name; *c; c++)
        if (*c == '/')
            *c = '-';
    len = strlen(ret_name);
    if (!p->version.len || len + 2 >= size)
        return;
    text_copy(version, sizeof(version), p->version);
    snprintf(ret_name + len, size - len, "/%s", version);
}

bool sdk_name(struct slice user_agent, char *ret_name, size_t size)
{
    struct product best = {0}, p = {0};
    struct slice word;
    bool found = false;

    for (unsigned n = 0; n < WORDS_MAX && !found && next_word(&user_agent, &word); n++) {
        p = product_of(word);
        if (!p.version.len) {
            struct slice ahead = user_agent, next;

            if (next_word(&ahead, &next) && version_of(next).len) {
                p.version = version_of(next);
                user_agent = ahead;
            }
        }
        found = !is_runtime(&p);
        if (found || n == 0)
            best = p;
    }
    say(&best, ret_name, size);
    return found;
}

uint32_t sdk_attempt(struct slice value)
{
    static const char mark[] = "attempt=";
    const size_t len = sizeof(mark) - 1;

    for (size_t i = 0; i + len < value.len; i++) {
        struct opt_u64 n;

        if (memcmp(value.data + i, mark, len) != 0)
            continue;
        n = header_number(slice_of(value.data + i + len, value.len - i - len));
        return n.known && n.value <= ATTEMPT_MAX ? (uint32_t)n.value : 0;
    }
    return 0;
}

bool sdk_is_id(struct slice value)
{
    if (value.len == 0 || value.len > ID_MAX)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (!isalnum(value.data[i]) && !memchr("-_.", value.data[i], 3))
            return false;
    return true;
}
