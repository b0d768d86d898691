/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/db_pg_many.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* One value may come on top of a column that is nearly full. */
#define COLUMN_BYTES_MAX ((size_t)64 * 1024 * 1024)

/* An array's head: dimensions, has NULLs, type, rows, number of the first. */
enum { HEAD_ROWS = 3, HEAD_WORDS = 5 };

static const struct {
    uint32_t oid;
    const char *name;
} kinds[] = {
    [DB_INT] = {20, "BIGINT"},
    [DB_REAL] = {701, "DOUBLE PRECISION"},
    [DB_TEXT] = {25, "TEXT"},
    [DB_BLOB] = {17, "BYTEA"},
};

int pg_many_new(struct pg_many **ret_many)
{
    struct pg_many *m = calloc(1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    for (unsigned i = 0; i < DB_PARAMS_MAX; i++)
        buf_init(&m->columns[i], COLUMN_BYTES_MAX);
    *ret_many = m;
    return 0;
}

void pg_many_free(struct pg_many **many)
{
    if (!*many)
        return;
    for (unsigned i = 0; i < DB_PARAMS_MAX; i++)
        buf_fini(&(*many)->columns[i]);
    free(*many);
    *many = NULL;
}

static int name_columns(struct buf *sql, unsigned count)
{
    int r = buf_append_str(sql, ") AS many(");

    for (unsigned i = 0; i < count && r == 0; i++)
        r = buf_printf(sql, "%scolumn%u", i ? ", " : "", i + 1);
    return r < 0 ? r : buf_append_str(sql, ")");
}

int pg_many_translate(const char *sql, const struct db_value *params, unsigned count,
                      struct buf *ret_sql)
{
    const char *values = strstr(sql, "VALUES(");
    const char *end = values ? strchr(values, ')') : NULL;
    int r;

    if (!end)
        return -EINVAL;
    r = buf_append(ret_sql, slice_of(sql, (size_t)(values - sql)));
    if (r == 0)
        r = buf_append_str(ret_sql, "SELECT * FROM unnest(");
    for (unsigned i = 0; i < count && r == 0; i++)
        r = params[i].type == DB_NULL ? -EINVAL
                                      : buf_printf(ret_sql, "%s$%u::%s[]", i ? ", " : "", i + 1,
                                                   kinds[params[i].type].name);
    if (r == 0)
        r = name_columns(ret_sql, count);
    if (r == 0)
        r = buf_append_str(ret_sql, end + 1);
    return r < 0 ? r : buf_append(ret_sql, slice_of("", 1));
}

static int begin_column(struct buf *column, enum db_type type)
{
    const uint32_t head[HEAD_WORDS] = {htobe32(1), 0, htobe32(kinds[type].oid), 0, htobe32(1)};

    return buf_append(column, slice_of(head, sizeof(head)));
}

static int add_value(struct buf *column, const struct db_value *v)
{
    const bool is_number = v->type == DB_INT || v->type == DB_REAL;
    const uint32_t len = htobe32(is_number ? 8 : (uint32_t)v->bytes.len);
    uint64_t bits;
    int r = buf_append(column, slice_of(&len, sizeof(len)));

    if (r < 0 || !is_number)
        return r < 0 ? r : buf_append(column, v->bytes);
    memcpy(&bits, v->type == DB_REAL ? (const void *)&v->real : &v->number, sizeof(bits));
    bits = htobe64(bits);
    return buf_append(column, slice_of(&bits, sizeof(bits)));
}

int pg_many_add(struct pg_many *m, const struct db_value *params, unsigned count)
{
    int r = m->rows && count != m->columns_count ? -EINVAL : 0;

    for (unsigned i = 0; i < count && r == 0; i++) {
        if (params[i].type == DB_NULL || (m->rows && params[i].type != m->types[i]))
            return -EINVAL;
        m->types[i] = params[i].type;
        if (!m->rows)
            r = begin_column(&m->columns[i], params[i].type);
        if (r == 0)
            r = add_value(&m->columns[i], &params[i]);
    }
    m->columns_count = count;
    m->rows++;
    return r;
}

bool pg_many_is_full(const struct pg_many *m)
{
    for (unsigned i = 0; i < m->columns_count; i++)
        if (m->columns[i].len >= PG_MANY_BYTES)
            return true;
    return m->rows >= PG_MANY_ROWS;
}

struct slice pg_many_column(struct pg_many *m, unsigned column)
{
    const uint32_t rows = htobe32(m->rows);

    memcpy(m->columns[column].data + HEAD_ROWS * sizeof(rows), &rows, sizeof(rows));
    return buf_slice(&m->columns[column]);
}

void pg_many_reset(struct pg_many *m)
{
    for (unsigned i = 0; i < DB_PARAMS_MAX; i++)
        buf_reset(&m->columns[i]);
    m->rows = m->columns_count = 0;
}
