/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/region.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What stands around the region; `fixed`: the name as it is says it. */
static const struct form {
    const char *before, *after;
    const char *fixed;
} forms[] = {
    {"bedrock-runtime.", ".amazonaws.com", NULL},
    {"bedrock-runtime-fips.", ".amazonaws.com", NULL},
    {"bedrock-runtime.", ".amazonaws.com.cn", NULL},
    {"bedrock-mantle.", ".api.aws", NULL},
    {"aiplatform.googleapis.com", "", "global"},
    {"aiplatform.", ".rep.googleapis.com", NULL},
    {"", "-aiplatform.googleapis.com", NULL},
    {"", ".api.openai.com", NULL},
    {"", ".api.x.ai", NULL},
    {"", ".api.cognitive.microsoft.com", NULL},
    {"", ".inference.heroku.com", NULL},
    {"", ".dashscope.aliyuncs.com", NULL},
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
        size_t before = strlen(f->before), after = strlen(f->after);

        if (len < before + after || strncmp(host, f->before, before) != 0 ||
            strcmp(host + len - after, f->after) != 0)
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
