/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/region.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What stands around the region; `fixed`: the name as it is says it. */
#define FORM(before, after, fixed)                                                                 \
    {                                                                                              \
        before, after, sizeof(before) - 1, sizeof(after) - 1, fixed                                \
    }

static const struct form {
    const char *before, *after;
    size_t before_len, after_len;
    const char *fixed;
} forms[] = {
    FORM("bedrock-runtime.", ".amazonaws.com", NULL),
    FORM("bedrock-runtime-fips.", ".amazonaws.com", NULL),
    FORM("bedrock-runtime.", ".amazonaws.com.cn", NULL),
    FORM("bedrock-mantle.", ".api.aws", NULL),
    FORM("aiplatform.googleapis.com", "", "global"),
    FORM("aiplatform.", ".rep.googleapis.com", NULL),
    FORM("", "-aiplatform.googleapis.com", NULL),
    FORM("", ".api.openai.com", NULL),
    FORM("", ".api.x.ai", NULL),
    FORM("", ".api.cognitive.microsoft.com", NULL),
    FORM("", ".inference.heroku.com", NULL),
    FORM("", ".dashscope.aliyuncs.com", NULL),
};

/* One label that may be a region: letters, digits and dashes. */
static bool is_label(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", text[i]))
            return false;
    return len > 0;
}

void region_of_host(const char *host, char *ret_region, size_t size)
{
    size_t len = host ? strlen(host) : 0;

    ret_region[0] = '\0';
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const struct form *f = &forms[i];
        size_t before = f->before_len, after = f->after_len;

        if (len < before + after || memcmp(host, f->before, before) != 0 ||
            memcmp(host + len - after, f->after, after) != 0)
            continue;
        if (f->fixed && len == before)
            snprintf(ret_region, size, "%s", f->fixed);
        else if (!f->fixed && is_label(host + before, len - before - after) &&
                 len - before - after < size)
            snprintf(ret_region, size, "%.*s", (int)(len - before - after), host + before);
        if (ret_region[0])
            return;
    }
}
