/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

static const char *short_status(const char *status)
{
    const char *prefix = "STATUS_";

    return strncmp(status, prefix, strlen(prefix)) == 0 ? status + strlen(prefix) : status;
}

/* 64-bit numbers are strings in proto3 JSON. */
static json_int_t unix_seconds(const json_t *alert, const char *key)
{
    const char *text = json_string_value(json_object_get(alert, key));

    return text ? strtoll(text, NULL, 10) / 1000000000 : 0;
}

static void print_alert(const json_t *alert)
{
    char when[CELL_BYTES];

    cell_time(unix_seconds(alert, "detected_at_unix_nano"), when);
    printf("%s  %-8s  %-8s  %-12s  %s%s\n", when, short_status(cell_name(alert, "status")),
           cell_name(alert, "severity"), cell_name(alert, "rule"), cell_name(alert, "reason"),
           json_is_true(json_object_get(alert, "synthetic")) ? " (synthetic)" : "");
}

/* One alert on a line. */
static int print_lines(const json_t *list)
{
    const json_t *alert;
    size_t i;
    int r;

    json_array_foreach(list, i, alert)
    {
        char *text = json_dumps(alert, JSON_COMPACT);

        if (!text)
            return -1;
        r = clean_print(stdout, slice_str(text));
        putchar('\n');
        free(text);
        if (r < 0)
            return r;
    }
    return 0;
}

int alerts_run(const struct ctl_options *o)
{
    char query[256];
    json_t *root = NULL;
    const json_t *list, *alert;
    size_t i;
    int r;

    snprintf(query, sizeof(query), "/api/v1/alerts?window=%.64s&active=%d&limit=%u",
             o->window ? o->window : "30d", o->active, o->limit);
    r = fetch_json(o, query, &root);
    list = json_object_get(root, "alerts");
    if (r == 0 && o->json) {
        r = print_lines(list);
    } else if (r == 0) {
        if (json_array_size(list) == 0)
            printf("no alerts\n");
        /* Newest last, as in a log. */
        for (i = json_array_size(list); i > 0; i--) {
            alert = json_array_get(list, i - 1);
            print_alert(alert);
        }
    }
    json_decref(root);
    return r;
}
