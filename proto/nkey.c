// SPDX-License-Identifier: Apache-2.0
#include "proto/nkey.h"

#include <errno.h>
#include <string.h>

int nkey_read_public(const char *path, char ret_key[NKEY_BYTES])
{
    CLEAN_FILE FILE *f = fopen(path, "re");
    char line[NKEY_BYTES], buffer[NKEY_BYTES];
    int r = -EINVAL;

    if (!f)
        return -errno;
    /* a buffer of our own, so that the seed can be wiped from it */
    setvbuf(f, buffer, _IOFBF, sizeof(buffer));
    while (r < 0 && fgets(line, sizeof(line), f)) {
        line[strcspn(line, " \t\r\n")] = '\0';
        if (line[0] == 'U') {
            memcpy(ret_key, line, sizeof(line));
            r = 0;
        }
    }
    explicit_bzero(line, sizeof(line));
    explicit_bzero(buffer, sizeof(buffer));
    return r;
}
