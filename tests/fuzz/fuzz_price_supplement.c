/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/price.c agent/price_match.c agent/price_rule.c agent/price_table.c */
/* LINK: agent/price_supplement.c agent/price_report.c agent/yamldoc.c */
/*
 * Target: price_supplement_load(), and price_call() with what it read. A refusal
 * says where and leaves the table as it was; costs are in order, or all unknown.
 */
#include "agent/price.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char TABLE[] =
    "{\"format\":1,\"version\":\"t\",\"providers\":[{\"id\":\"p\",\"models\":[{\"id\":\"m\","
    "\"match\":{\"starts_with\":\"m\"},\"prices\":[{\"usd\":{\"input_mtok\":{\"base\":\"3\","
    "\"tiers\":[{\"above\":200000,\"price\":\"6\"}]},\"output_mtok\":\"15\","
    "\"requests_kcount\":\"5\"}}]}]}]}";

/* The path of a file in memory with this content; ret_fd keeps it there. */
static bool in_memory(const void *data, size_t size, int *ret_fd, char *ret_path, size_t path_size)
{
    *ret_fd = memfd_create("price", MFD_CLOEXEC);
    snprintf(ret_path, path_size, "/proc/self/fd/%d", *ret_fd);
    return *ret_fd >= 0 && write(*ret_fd, data, size) == (ssize_t)size;
}

static void try_call(const struct price_table *table, const char *tier, const char *unit,
                     uint64_t count)
{
    struct call call = {.provider = "p", .operation = "chat", .model_responded = "m-1"};

    snprintf(call.service_tier, sizeof(call.service_tier), "%s", tier);
    call.usage[0] = (struct usage_row){.kind = "cached_input", .count = opt_u64(count)};
    call.usage[1] = (struct usage_row){
        .kind = "output", .unit = unit, .low = opt_u64(0), .high = opt_u64(count)};
    call.usage_count = 2;
    call.reported.raw[0] = (struct usage_raw){.path = "usage.speed", .value = "fast"};
    call.reported.raw_count = 1;
    price_call(table, &call, 1793491200);
    assert(call.cost.basis);
    assert(call.cost.low_nanousd.known == call.cost.high_nanousd.known &&
           call.cost.low_nanousd.known == call.cost.expected_nanousd.known);
    assert(call.cost.low_nanousd.value <= call.cost.expected_nanousd.value);
    assert(call.cost.expected_nanousd.value <= call.cost.high_nanousd.value);
}

static void note(void *ctx, const struct price_unpriced *found)
{
    (void)ctx;
    assert(found->unpriced <= found->models);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEAN_FD int table_fd = -1, fd = -1;
    struct price_table *table = NULL;
    struct price_error error = {.text = ""};
    struct price_summary summary;
    char path[32];
    int r;

    if (!in_memory(TABLE, sizeof(TABLE) - 1, &table_fd, path, sizeof(path)) ||
        price_table_load(path, &table, &error) < 0)
        abort();
    if (!in_memory(data, size, &fd, path, sizeof(path))) {
        price_table_free(&table);
        return 0;
    }
    r = price_supplement_load(path, table, &error);
    price_table_summary(table, &summary);
    assert(r == 0 ? summary.rules > 0 : summary.rules == 0 && error.text[0]);
    try_call(table, "batch", "token", 1);
    try_call(table, "", "image", 7);
    try_call(table, "", "token", PRICE_COUNT_MAX);
    price_each_unpriced(table, note, NULL);
    price_table_free(&table);
    return 0;
}
