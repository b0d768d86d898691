/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/estimate_impl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAGIC "lectr-estimates 1\n"
#define CELL_NUMBERS (ESTIMATE_FEATURES + ESTIMATE_COV + 3)

/* FNV-1a: against damage, not against malice. */
static uint64_t checksum(const char *text, size_t len)
{
    uint64_t sum = 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (uint8_t)text[i]) * 0x100000001b3ULL;
    return sum;
}

static void cell_numbers(const struct cell *c, double *ret)
{
    memcpy(ret, c->mean, sizeof(c->mean));
    memcpy(ret + ESTIMATE_FEATURES, c->cov, sizeof(c->cov));
    ret += ESTIMATE_FEATURES + ESTIMATE_COV;
    ret[0] = c->noise;
    ret[1] = c->weight;
    ret[2] = c->reports;
}

int estimator_save(const struct estimator *e, char **ret_text, size_t *ret_len)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    if (!f)
        return -ENOMEM;
    fputs(MAGIC "factor", f);
    for (int k = 0; k < ESTIMATE_CLASSES; k++)
        for (int level = 0; level < ESTIMATE_LEVELS; level++)
            fprintf(f, " %.6g", e->factor[k][level]);
    fputc('\n', f);
    for (uint32_t i = 0; i < e->count; i++) {
        const struct entry *entry = &e->entries[i];

        fprintf(f, "%s\t", entry->name);
        for (int k = 0; k < 2; k++)
            fprintf(f, " %.6g %.6g %.6g %.6g", entry->hidden[k].calls, entry->hidden[k].hits,
                    entry->hidden[k].mean, entry->hidden[k].square);
        for (int k = 0; k < ESTIMATE_CLASSES; k++) {
            double n[CELL_NUMBERS];

            cell_numbers(&entry->cells[k], n);
            for (int j = 0; j < CELL_NUMBERS; j++)
                fprintf(f, " %.6g", n[j]);
        }
        fputc('\n', f);
    }
    if (fflush(f) || ferror(f)) {
        fclose(f);
        free(text);
        return -ENOMEM;
    }
    fprintf(f, "sum %016llx\n", (unsigned long long)checksum(text, len));
    if (fclose(f)) {
        free(text);
        return -ENOMEM;
    }
    *ret_text = text;
    *ret_len = len;
    return 0;
}

/* The next number of the line, within its bounds. */
static bool take(const char **at, double low, double high, double *ret)
{
    char *end;
    double d;

    while (**at == ' ' || **at == '\t')
        (*at)++;
    if (**at == '\n' || !**at)
        return false;
    d = strtod(*at, &end);
    if (end == *at || !isfinite(d) || d < low || d > high)
        return false;
    *at = end;
    *ret = d;
    return true;
}

static bool take_cell(const char **at, struct cell *c)
{
    bool ok = true;

    for (int i = 0; ok && i < ESTIMATE_FEATURES; i++)
        ok = take(at, -1e6, 1e6, &c->mean[i]);
    for (int i = 0; ok && i < ESTIMATE_COV; i++)
        ok = take(at, -1e8, 1e8, &c->cov[i]);
    for (int i = 0; ok && i < ESTIMATE_FEATURES; i++)
        ok = c->cov[i * (i + 1) / 2 + i] >= 0;
    return ok && take(at, 1e-9, 100, &c->noise) && take(at, 1, 1000, &c->weight) &&
           take(at, 0, 1e7, &c->reports);
}

static bool take_entry(const char **at, struct entry *entry)
{
    const char *tab = strchr(*at, '\t'), *end = strchr(*at, '\n');
    size_t len;
    bool ok = true;

    if (!tab || !end || tab > end)
        return false;
    len = (size_t)(tab - *at);
    if (!len || len >= sizeof(entry->name))
        return false;
    memset(entry, 0, sizeof(*entry));
    memcpy(entry->name, *at, len);
    *at = tab;
    for (int k = 0; ok && k < 2; k++)
        ok = take(at, 0, 1e6, &entry->hidden[k].calls) &&
             take(at, 0, 1e6, &entry->hidden[k].hits) && take(at, 0, 20, &entry->hidden[k].mean) &&
             take(at, 0, 100, &entry->hidden[k].square);
    for (int k = 0; ok && k < ESTIMATE_CLASSES; k++)
        ok = take_cell(at, &entry->cells[k]);
    if (!ok || **at != '\n')
        return false;
    (*at)++;
    return true;
}

static int load(struct estimator *e, const char *text, size_t len)
{
    const char *at = text + strlen(MAGIC), *sum;
    char expected[32];

    if (len < 32 || strncmp(text, MAGIC, strlen(MAGIC)) != 0 || memchr(text, 0, len))
        return -EBADMSG;
    sum = text + len - 21; /* "sum ", 16 digits, newline */
    snprintf(expected, sizeof(expected), "sum %016llx\n",
             (unsigned long long)checksum(text, len - 21));
    if (strcmp(sum, expected) != 0)
        return -EBADMSG;
    if (strncmp(at, "factor", 6) != 0)
        return -EBADMSG;
    at += 6;
    for (int k = 0; k < ESTIMATE_CLASSES * ESTIMATE_LEVELS; k++)
        if (!take(&at, 0.1, 10, &e->factor[k / ESTIMATE_LEVELS][k % ESTIMATE_LEVELS]))
            return -EBADMSG;
    if (*at++ != '\n')
        return -EBADMSG;
    e->count = 0;
    while (at < sum) {
        if (e->count >= ESTIMATE_ENTRIES_MAX || !take_entry(&at, &e->entries[e->count]))
            return -EBADMSG;
        e->count++;
    }
    return e->count && strcmp(e->entries[0].name, "*") == 0 ? 0 : -EBADMSG;
}

int estimator_load(struct estimator *e, struct slice text)
{
    struct estimator *fresh = NULL;
    char *copy;
    int r;

    if (text.len > ESTIMATE_FILE_MAX_BYTES)
        return -EBADMSG;
    r = estimator_new(&fresh);
    if (r)
        return r;
    copy = malloc(text.len + 1);
    if (!copy) {
        estimator_free(&fresh);
        return -ENOMEM;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    r = load(fresh, copy, text.len);
    free(copy);
    if (!r) {
        struct entry *entries = e->entries;

        e->entries = fresh->entries;
        e->count = fresh->count;
        memcpy(e->factor, fresh->factor, sizeof(e->factor));
        fresh->entries = entries;
    }
    estimator_free(&fresh);
    return r;
}
