/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The estimator's file: what it learned outlives the process. `<state_dir>/estimates/learned`,
 * written beside and renamed; a file that is damaged is refused, counted and
 * replaced by the next save. Without one, it begins with the shipped prior.
 */
#pragma once

#include "agent/estimate.h"

struct estimate_store {
    struct estimator *estimator;
    char path[4096];
    uint64_t saved_at; /* reports learned when it was last written */
    uint64_t refused, failed;
};

/* Never fails for want of files. -ENOMEM, -ENAMETOOLONG. */
int estimate_store_open(struct estimate_store *s, const char *state_dir,
                        const char *prior_file) LECTR_MUST_USE;
/* Writes if anything was learned since. -errno, counted. */
int estimate_store_save(struct estimate_store *s) LECTR_MUST_USE;
/* Saves, then frees. */
void estimate_store_close(struct estimate_store *s);
