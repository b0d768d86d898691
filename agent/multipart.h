/* SPDX-License-Identifier: Apache-2.0 */
/* The text of the field "model" of a multipart/form-data body; constant memory. */
#pragma once

#include "proto/base/slice.h"

#define MULTIPART_BOUNDARY_MAX 80
#define MULTIPART_LINE_MAX 256

struct multipart {
    uint8_t state;
    bool is_model;
    size_t boundary_len, line_len;
    uint8_t boundary[MULTIPART_BOUNDARY_MAX]; /* with the leading "--" */
    uint8_t line[MULTIPART_LINE_MAX];
    void *user;
    void (*on_model)(void *user, struct slice value);
};

/* False when the content-type is not multipart/form-data with a boundary. */
bool multipart_init(struct multipart *m, struct slice content_type,
                    void (*on_model)(void *user, struct slice value), void *user);
void multipart_fini(struct multipart *m);
void multipart_feed(struct multipart *m, struct slice bytes);
