/* SPDX-License-Identifier: Apache-2.0 */
/* Errors by type, summed over buckets, workloads and lanes. */
#include "collector/store_priv.h"
#include "collector/store_query.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#define KEY_BYTES_MAX 1024
/* Types come from the outside; what is beyond is in the calls' errors only. */
#define SUMS_MAX 20000

struct sum {
    uint64_t calls;
    struct store_series_name name; /* points into key */
    const char *type;
    UT_hash_handle hh;
    size_t key_len;
    char key[]; /* texts, each with its NUL */
};

static size_t make_key(char *key, const char *const texts[5])
{
    size_t len = 0;

    for (int i = 0; i < 5; i++) {
        size_t n = strnlen(texts[i], KEY_BYTES_MAX / 5 - 1);

        memcpy(key + len, texts[i], n);
        key[len + n] = '\0';
        len += n + 1;
    }
    return len;
}

static struct sum *sum_new(const char *key, size_t key_len)
{
    struct sum *sum = calloc(1, sizeof(*sum) + key_len);
    const char **const texts[] = {&sum->type, &sum->name.org, &sum->name.feature,
                                  &sum->name.provider, &sum->name.model};
    const char *at;

    if (!sum)
        return NULL;
    memcpy(sum->key, key, key_len);
    sum->key_len = key_len;
    at = sum->key;
    for (int i = 0; i < 5; i++) {
        *texts[i] = at;
        at += strlen(at) + 1;
    }
    return sum;
}

static int add(struct sum **sums, const struct tally_item *item, const char *const name[4])
{
    const char *const texts[] = {item->name, name[0], name[1], name[2], name[3]};
    char key[KEY_BYTES_MAX];
    size_t key_len = make_key(key, texts);
    struct sum *sum;

    HASH_FIND(hh, *sums, key, key_len, sum);
    if (!sum && HASH_COUNT(*sums) >= SUMS_MAX)
        return 0;
    if (!sum) {
        sum = sum_new(key, key_len);
        if (!sum)
            return -ENOMEM;
        HASH_ADD_KEYPTR(hh, *sums, sum->key, sum->key_len, sum);
    }
    sum->calls += item->count;
    return 0;
}

static int add_row(struct sum **sums, struct db_stmt *stmt)
{
    const char *const name[] = {db_text(stmt, 1), db_text(stmt, 2), db_text(stmt, 3),
                                db_text(stmt, 4)};
    struct tally tally = {0};
    int r = store_pass_damage(tally_decode_merge(&tally, db_blob(stmt, 0)));

    for (uint32_t i = 0; i < tally.count && r == 0; i++)
        r = add(sums, &tally.items[i], name);
    tally_fini(&tally);
    return r;
}

/* The most calls first, then by name. */
static int by_calls(const struct sum *a, const struct sum *b)
{
    size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;

    return a->calls != b->calls ? (a->calls < b->calls ? 1 : -1) : memcmp(a->key, b->key, len);
}

int store_each_error(struct store *s, enum rollup_resolution res, int64_t from_s, int64_t to_s,
                     int (*each)(void *ctx, const struct store_error_row *row), void *ctx)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_QUERY_ERRORS);
    struct sum *sums = NULL, *sum, *next;
    int r;

    db_bind_int(stmt, 1, rollup_seconds[res]);
    db_bind_int(stmt, 2, from_s);
    db_bind_int(stmt, 3, to_s);
    while ((r = db_step(stmt)) > 0) {
        r = add_row(&sums, stmt);
        if (r < 0)
            break;
    }
    HASH_SORT(sums, by_calls);
    HASH_ITER(hh, sums, sum, next)
    {
        struct store_error_row row = {.type = sum->type, .calls = sum->calls, .name = sum->name};

        if (r == 0)
            r = each(ctx, &row);
        HASH_DEL(sums, sum);
        free(sum);
    }
    return r;
}
