/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/price.c agent/price_match.c agent/price_rule.c agent/price_table.c */
/* LINK: agent/price_supplement.c agent/yamldoc.c */
/*
 * Prices lines of standard input, for prices-compare.mjs. Fields, divided by tabs:
 *   provider host operation requested responded tier unix_s rows
 *   [status outcome usage_reported reported_nanousd raw]
 * rows: kind:modality:unit:count[:model], raw: path=value, both divided by commas.
 * Answers: basis low expected high list; a number that is unknown is "-".
 *
 *   price_probe prices.json [--seconds N]
 *
 * --seconds: prices the lines over and over instead, and says what one costs.
 */
#include "agent/price.h"

#include <string.h>
#include <time.h>

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
        count = strsep(&row, ":");
        if (row)
            set(u->model, sizeof(u->model), row);
        if (count && count[0])
            u->count = opt_u64(strtoull(count, NULL, 10));
    }
}

static void read_raw(struct call *call, char *list)
{
    char *item;

    while ((item = strsep(&list, ",")) && item[0] && call->reported.raw_count < CALL_RAW_MAX) {
        struct usage_raw *raw = &call->reported.raw[call->reported.raw_count++];

        set(raw->path, sizeof(raw->path), strsep(&item, "="));
        set(raw->value, sizeof(raw->value), item);
    }
}

static uint64_t number(const char *text, uint64_t otherwise)
{
    return text && text[0] ? strtoull(text, NULL, 10) : otherwise;
}

struct job {
    struct call call;
    uint64_t unix_s;
    char *line; /* the call's static strings point into it */
};

static void read_job(struct job *job, char *line)
{
    struct call *call = &job->call;
    char *text;

    *job = (struct job){.line = line};
    set(call->provider, sizeof(call->provider), field(&line));
    set(call->server_address, sizeof(call->server_address), field(&line));
    call->operation = field(&line);
    set(call->model_requested, sizeof(call->model_requested), field(&line));
    set(call->model_responded, sizeof(call->model_responded), field(&line));
    set(call->service_tier, sizeof(call->service_tier), field(&line));
    job->unix_s = number(field(&line), 0);
    read_rows(call, field(&line));
    call->status_code = (uint32_t)number(field(&line), 200);
    call->outcome = (enum call_outcome)number(field(&line), CALL_OK);
    call->usage_reported = number(field(&line), 1);
    text = field(&line);
    if (text && text[0])
        call->reported.cost_nanousd = (struct opt_i64){strtoll(text, NULL, 10), true};
    read_raw(call, field(&line));
}

static void print_number(const struct opt_i64 *n)
{
    if (n->known)
        printf("\t%lld", (long long)n->value);
    else
        printf("\t-");
}

static void answer(const struct price_table *table, struct job *job)
{
    price_call(table, &job->call, job->unix_s);
    printf("%s", job->call.cost.basis);
    print_number(&job->call.cost.low_nanousd);
    print_number(&job->call.cost.expected_nanousd);
    print_number(&job->call.cost.high_nanousd);
    print_number(&job->call.cost.list_nanousd);
    putchar('\n');
}

#define JOBS_MAX 20000

static void measure(const struct price_table *table, struct job *jobs, size_t count, long seconds)
{
    clock_t end = clock() + seconds * CLOCKS_PER_SEC, start = clock();
    unsigned long long calls = 0;

    for (; clock() < end; calls += count)
        for (size_t i = 0; i < count; i++)
            price_call(table, &jobs[i].call, jobs[i].unix_s);
    printf("%.2f microseconds a call (%llu calls)\n",
           1e6 * (double)(clock() - start) / CLOCKS_PER_SEC / (double)calls, calls);
}

int main(int argc, char **argv)
{
    long seconds = argc == 4 && strcmp(argv[2], "--seconds") == 0 ? atol(argv[3]) : 0;
    struct job *jobs = calloc(JOBS_MAX, sizeof(*jobs));
    struct price_table *table = NULL;
    struct price_error error;
    size_t size, count = 0;
    ssize_t len;

    if ((argc != 2 && !seconds) || !jobs || price_load(argv[1], &table, &error) < 0) {
        fprintf(stderr, "%s\n",
                argc == 2 ? error.text : "usage: price_probe prices.json [--seconds N]");
        return 2;
    }
    for (char *line = NULL; count < JOBS_MAX && (len = getline(&line, &size, stdin)) > 0;
         line = NULL, count++) {
        line[len - (line[len - 1] == '\n')] = '\0';
        read_job(&jobs[count], line);
    }
    if (seconds)
        measure(table, jobs, count, seconds);
    for (size_t i = 0; i < count; i++) {
        if (!seconds)
            answer(table, &jobs[i]);
        free(jobs[i].line);
    }
    free(jobs);
    price_table_free(&table);
    return 0;
}
