/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/config.c agent/yamldoc.c */
/* Target: config_load(), yamldoc_load(). A refused file must say why. */
#include "agent/config.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEAN_FD int fd = memfd_create("config", MFD_CLOEXEC);
    struct config *config = NULL;
    struct config_error error = {.text = ""};
    char path[32];
    int r;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = config_load(path, &config, &error);
    assert(r == 0 ? config != NULL : config == NULL && error.text[0]);
    config_free(&config);
    return 0;
}
