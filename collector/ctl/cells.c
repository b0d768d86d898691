/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ctl/ctl.h"

#include "collector/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void print_count(json_int_t n, char ret_cell[CELL_BYTES])
{
    if (n < 10000)
        snprintf(ret_cell, CELL_BYTES, "%lld", (long long)n);
    else if (n < 1000000)
        snprintf(ret_cell, CELL_BYTES, "%.1fk", (double)n / 1e3);
    else if (n < 1000000000)
        snprintf(ret_cell, CELL_BYTES, "%.2fM", (double)n / 1e6);
    else
        snprintf(ret_cell, CELL_BYTES, "%.2fG", (double)n / 1e9);
}

void cell_count(const json_t *value, char ret_cell[CELL_BYTES])
{
    if (json_is_integer(value))
        print_count(json_integer_value(value), ret_cell);
    else
        strcpy(ret_cell, "?");
}

static void print_usd(double usd, char *ret_text, size_t size)
{
    double size_of = usd < 0 ? -usd : usd;

    snprintf(ret_text, size,
             size_of >= 100    ? "$%.0f"
             : size_of >= 1    ? "$%.2f"
             : size_of >= 0.01 ? "$%.4f"
             : size_of > 0     ? "$%.6f"
                               : "$0",
             usd);
}

static void add_unknown(json_int_t unknown, char ret_cell[CELL_BYTES])
{
    size_t len = strlen(ret_cell);

    if (unknown > 0)
        snprintf(ret_cell + len, CELL_BYTES - len, " +%lld?", (long long)unknown);
}

void cell_usd(const json_t *usd, json_int_t unknown, char ret_cell[CELL_BYTES])
{
    if (!json_is_number(usd)) {
        strcpy(ret_cell, "?");
        return;
    }
    print_usd(json_number_value(usd), ret_cell, CELL_BYTES);
    add_unknown(unknown, ret_cell);
}

void cell_usd_range(const json_t *cost, char ret_cell[CELL_BYTES])
{
    const json_t *low = json_object_get(cost, "low"), *high = json_object_get(cost, "high");
    char from[16], to[16];

    if (!json_is_number(low) || !json_is_number(high)) {
        strcpy(ret_cell, "?");
        return;
    }
    print_usd(json_number_value(low), from, sizeof(from));
    print_usd(json_number_value(high), to, sizeof(to));
    if (strcmp(from, to) == 0)
        strcpy(ret_cell, "exact");
    else
        snprintf(ret_cell, CELL_BYTES, "%s-%s", from, to);
}

void cell_duration(const json_t *us, char ret_cell[CELL_BYTES])
{
    double v = json_number_value(us);

    if (!json_is_number(us))
        strcpy(ret_cell, "?");
    else if (v < 1000)
        snprintf(ret_cell, CELL_BYTES, "%.0f us", v);
    else if (v < 1e6)
        snprintf(ret_cell, CELL_BYTES, "%.0f ms", v / 1e3);
    else
        snprintf(ret_cell, CELL_BYTES, "%.2f s", v / 1e6);
}

void cell_tokens(const json_t *row, char ret_cell[CELL_BYTES])
{
    char in[CELL_BYTES], out[CELL_BYTES];
    json_int_t unknown = cell_int(row, "input_unknown");

    if (cell_int(row, "output_unknown") > unknown)
        unknown = cell_int(row, "output_unknown");
    cell_count(json_object_get(row, "input_tokens"), in);
    cell_count(json_object_get(row, "output_tokens"), out);
    snprintf(ret_cell, CELL_BYTES, "%.14s/%.14s", in, out);
    if (strcmp(in, "?") != 0 || strcmp(out, "?") != 0)
        add_unknown(unknown, ret_cell);
}

void cell_time(json_int_t unix_s, char ret_cell[CELL_BYTES])
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    /* A year that is no int has no date. */
    if (gmtime_r(&t, &tm))
        strftime(ret_cell, CELL_BYTES, "%Y-%m-%d %H:%M", &tm);
    else
        strcpy(ret_cell, "?");
}

const char *cell_name(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));

    return text && *text ? text : "?";
}

json_int_t cell_int(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}
