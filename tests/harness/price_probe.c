/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/price.c agent/price_match.c agent/price_rule.c agent/price_table.c agent/price_supplement.c agent/yamldoc.c */
/*
 * Prices lines of standard input, for prices-compare.mjs. Fields, divided by tabs:
 *   provider host operation requested responded tier unix_s rows
 * rows: kind:modality:unit:count, divided by commas. Answers: basis low expected high.
 */
#include "agent/price.h"

#include <string.h>

static char *field(char **rest)
{
    char *text = strsep(rest, "\t");

    return text ? text : *rest;
}

static void set(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

static void read_rows(struct call *call, char *rows)
{
    char *row;

    while ((row = strsep(&rows, ",")) && row[0] && call->usage_count < CALL_USAGE_MAX) {
        struct usage_row *u = &call->usage[call->usage_count++];
        char *count;

        u->kind = strsep(&row, ":");
        u->modality = strsep(&row, ":");
        u->unit = strsep(&row, ":");
        count = row;
        if (count && count[0])
            u->count = opt_u64(strtoull(count, NULL, 10));
    }
}

static void answer(const struct price_table *table, char *line)
{
    struct call call = {.status_code = 200, .outcome = CALL_OK, .usage_reported = true};
    uint64_t unix_s;
    char *text;

    set(call.provider, sizeof(call.provider), field(&line));
    set(call.server_address, sizeof(call.server_address), field(&line));
    call.operation = field(&line);
    set(call.model_requested, sizeof(call.model_requested), field(&line));
    set(call.model_responded, sizeof(call.model_responded), field(&line));
    set(call.service_tier, sizeof(call.service_tier), field(&line));
    text = field(&line);
    unix_s = text ? strtoull(text, NULL, 10) : 0;
    read_rows(&call, field(&line));
    price_call(table, &call, unix_s);
    printf("%s", call.cost.basis);
    if (call.cost.expected_nanousd.known)
        printf("\t%lld\t%lld\t%lld", (long long)call.cost.low_nanousd.value,
               (long long)call.cost.expected_nanousd.value,
               (long long)call.cost.high_nanousd.value);
    putchar('\n');
}

int main(int argc, char **argv)
{
    struct price_table *table = NULL;
    struct price_error error;
    CLEAN_FREE char *line = NULL;
    size_t size = 0;
    ssize_t len;

    if (argc != 2 || price_load(argv[1], &table, &error) < 0) {
        fprintf(stderr, "%s\n", argc == 2 ? error.text : "usage: price_probe prices.json");
        return 2;
    }
    while ((len = getline(&line, &size, stdin)) > 0) {
        line[len - (line[len - 1] == '\n')] = '\0';
        answer(table, line);
    }
    price_table_free(&table);
    return 0;
}
