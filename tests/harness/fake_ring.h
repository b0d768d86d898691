/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The origin ring as a plain file: consumer page, producer page, data, and the
 * data once more, because a file cannot be mapped twice in a row by one mmap.
 * Writers take a lock word in the producer page.
 */
#pragma once

#include "bpf/abi.h"

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAKE_PAGE 4096
#define FAKE_RING_BYTES (256 * 1024)
#define FAKE_FILE_BYTES (2 * FAKE_PAGE + 2 * FAKE_RING_BYTES)

static inline int fake_ring_create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd >= 0 && ftruncate(fd, FAKE_FILE_BYTES) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline uint8_t *fake_ring_map(int fd)
{
    void *map = mmap(NULL, FAKE_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return map == MAP_FAILED ? NULL : map;
}

static inline void fake_ring_store(uint8_t *data, uint64_t pos, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        size_t at = (pos + i) & (FAKE_RING_BYTES - 1);

        data[at] = ((const uint8_t *)bytes)[i];
        data[at + FAKE_RING_BYTES] = data[at];
    }
}

/* `flags` goes into the header: (1U << 31) busy, (1U << 30) discarded. */
static inline void fake_ring_write(uint8_t *map, const struct lectr_origin *record, uint32_t flags)
{
    uint64_t *producer = (uint64_t *)(void *)(map + FAKE_PAGE);
    uint32_t *lock = (uint32_t *)(void *)(map + FAKE_PAGE + 64);
    uint32_t header[2] = {(uint32_t)sizeof(*record) | flags, 0};
    uint8_t *data = map + 2 * FAKE_PAGE;
    uint64_t pos;

    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
        sched_yield();
    pos = *producer;
    fake_ring_store(data, pos, header, sizeof(header));
    fake_ring_store(data, pos + 8, record, sizeof(*record));
    __atomic_store_n(producer, pos + 8 + ((sizeof(*record) + 7) & ~7ULL), __ATOMIC_RELEASE);
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}
