/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership helpers: every owned thing declares its release where it is declared. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LECTR_MUST_USE __attribute__((warn_unused_result))

/* Ends scope ownership: returns the pointer and nulls the variable. */
#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) take_ptr_ = (p);                                                             \
        (p) = NULL;                                                                                \
        take_ptr_;                                                                                 \
    })

/* The same for a file descriptor, which becomes -1. */
#define TAKE_FD(fd)                                                                                \
    ({                                                                                             \
        int take_fd_ = (fd);                                                                       \
        (fd) = -1;                                                                                 \
        take_fd_;                                                                                  \
    })

static inline void lectr_cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void lectr_cleanup_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void lectr_cleanup_file(FILE **f)
{
    if (*f)
        fclose(*f);
}

#define CLEAN_FREE __attribute__((cleanup(lectr_cleanup_free)))
#define CLEAN_FD __attribute__((cleanup(lectr_cleanup_fd)))
#define CLEAN_FILE __attribute__((cleanup(lectr_cleanup_file)))
