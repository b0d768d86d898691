/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/price.c agent/price_match.c agent/price_rule.c agent/price_table.c */
/* LINK: agent/price_supplement.c agent/yamldoc.c */
/* Target: price_table_load(), price_call(). Costs are in order, or all unknown. */
#include "agent/price.h"

#include <assert.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_call(const struct price_table *table, const char *model, uint64_t count)
{
    struct call call = {.provider = "p", .server_address = "api.example.com", .operation = "chat"};

    snprintf(call.model_responded, sizeof(call.model_responded), "%s", model);
    call.usage_count = 2;
    call.usage[0] = (struct usage_row){.kind = "cached_input", .count = opt_u64(count)};
    call.usage[1] = (struct usage_row){.kind = "output", .low = opt_u64(0), .high = opt_u64(count)};
    price_call(table, &call, 1750000000);
    assert(call.cost.basis);
    assert(call.cost.low_nanousd.known == call.cost.high_nanousd.known);
    assert(call.cost.low_nanousd.value <= call.cost.high_nanousd.value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEAN_FD int fd = memfd_create("prices", MFD_CLOEXEC);
    struct price_table *table = NULL;
    struct price_error error = {.text = ""};
    char path[32];
    int r;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = price_table_load(path, &table, &error);
    assert(r == 0 ? table != NULL : table == NULL && error.text[0]);
    if (r == 0) {
        try_call(table, "m", 1);
        try_call(table, "models/m-20250514", PRICE_COUNT_MAX);
        price_table_free(&table);
    }
    return 0;
}
