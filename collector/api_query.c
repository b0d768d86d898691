/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/api_query.h"

#include "collector/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S INT64_C(86400)
#define SPAN_MAX_S (3660 * DAY_S)

int api_span(const char *text, int64_t *ret_seconds)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', DAY_S}, {'w', 7 * DAY_S}};
    const size_t digits = strspn(text, "0123456789");
    const int64_t n = digits && digits <= 9 ? strtol(text, NULL, 10) : 0;

    for (size_t i = 0; n && i < sizeof(units) / sizeof(units[0]); i++)
        if (text[digits] == units[i].unit && text[digits + 1] == '\0' &&
            n <= SPAN_MAX_S / units[i].seconds) {
            *ret_seconds = n * units[i].seconds;
            return 0;
        }
    return -EINVAL;
}

int api_number(const char *text, int64_t max, int64_t *ret_number)
{
    const size_t digits = strspn(text, "0123456789");
    long long n = digits && digits <= 15 && !text[digits] ? strtoll(text, NULL, 10) : -1;

    if (n < 0 || n > max)
        return -EINVAL;
    *ret_number = n;
    return 0;
}

int api_finish(json_t *root, struct buf *out)
{
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    int r = text ? buf_append_str(out, text) : -ENOMEM;

    if (r == 0)
        r = buf_append_str(out, "\n");
    free(text);
    json_decref(root);
    return r;
}

int api_complain(struct buf *out, const char *parameter, const char *problem)
{
    char name[64], text[256];
    json_t *root;
    int r;

    text_copy(name, sizeof(name), parameter);
    snprintf(text, sizeof(text), "%s%s%s", name, name[0] ? ": " : "", problem);
    root = json_pack("{s:s}", "error", text);
    if (name[0])
        json_object_set_new(root, "parameter", json_string(name));
    buf_reset(out); /* what was written until here is no answer */
    r = api_finish(root, out);
    return r < 0 ? r : -EINVAL;
}

static bool is_known(const struct api_route *route, struct slice name)
{
    for (int i = 0; i < API_PARAMS_MAX && route->params[i]; i++)
        if (slice_eq(name, slice_str(route->params[i])))
            return true;
    return false;
}

static int check_param(const struct api_route *route, const struct api_param *params, unsigned i,
                       struct buf *out)
{
    char name[64] = "";

    memcpy(name, params[i].name.data,
           params[i].name.len < sizeof(name) ? params[i].name.len : sizeof(name) - 1);
    if (!is_known(route, params[i].name))
        return api_complain(out, name, "there is no such parameter here");
    if (memchr(params[i].value.data, 0, params[i].value.len))
        return api_complain(out, name, "has a NUL in it");
    for (unsigned k = 0; k < i; k++)
        if (slice_eq(params[k].name, params[i].name))
            return api_complain(out, name, "is given twice");
    return 0;
}

int api_check_params(const struct api_route *route, const struct api_param *params, unsigned count,
                     struct buf *out)
{
    int r = 0;

    for (unsigned i = 0; i < count && r == 0 && !route->is_loose; i++)
        r = check_param(route, params, i, out);
    return r;
}
