/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TABLE_ROWS_MAX 20000

struct table {
    unsigned columns;
    char alignment[TABLE_COLUMNS_MAX + 1];
    size_t widths[TABLE_COLUMNS_MAX];
    char **cells; /* rows * columns */
    unsigned rows, capacity;
};

int table_new(const char *alignment, struct table **ret_table)
{
    struct table *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    t->columns = (unsigned)strnlen(alignment, TABLE_COLUMNS_MAX);
    memcpy(t->alignment, alignment, t->columns);
    *ret_table = t;
    return 0;
}

void table_free(struct table **table)
{
    if (!*table)
        return;
    for (unsigned i = 0; i < (*table)->rows * (*table)->columns; i++)
        free((*table)->cells[i]);
    free((*table)->cells);
    free(*table);
    *table = NULL;
}

/* Characters, not bytes. */
static size_t text_width(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static int grow(struct table *t)
{
    unsigned capacity = t->capacity ? 2 * t->capacity : 64;
    char **cells;

    if (t->rows < t->capacity)
        return 0;
    if (t->rows >= TABLE_ROWS_MAX)
        return -ENOSPC;
    cells = realloc(t->cells, (size_t)capacity * t->columns * sizeof(*cells));
    if (!cells)
        return -ENOMEM;
    t->cells = cells;
    t->capacity = capacity;
    return 0;
}

int table_add(struct table *t, const char *const *cells)
{
    char **row;
    int r = grow(t);

    if (r < 0)
        return r;
    row = t->cells + (size_t)t->rows * t->columns;
    for (unsigned c = 0; c < t->columns; c++) {
        row[c] = strdup(cells[c]);
        if (!row[c]) {
            while (c > 0)
                free(row[--c]);
            return -ENOMEM;
        }
    }
    for (unsigned c = 0; c < t->columns; c++)
        if (text_width(row[c]) > t->widths[c])
            t->widths[c] = text_width(row[c]);
    t->rows++;
    return 0;
}

static void print_spaces(size_t n)
{
    printf("%*s", (int)n, "");
}

void table_print(const struct table *t)
{
    for (unsigned r = 0; r < t->rows; r++) {
        for (unsigned c = 0; c < t->columns; c++) {
            const char *cell = t->cells[(size_t)r * t->columns + c];
            size_t fill = t->widths[c] - text_width(cell);
            bool is_last = c + 1 == t->columns;

            if (t->alignment[c] == 'r')
                print_spaces(fill);
            fputs(cell, stdout);
            if (t->alignment[c] != 'r' && !is_last)
                print_spaces(fill);
            fputs(is_last ? "\n" : "  ", stdout);
        }
    }
}
