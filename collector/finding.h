/* SPDX-License-Identifier: Apache-2.0 */
/* What a baseline says about the latest minutes of one metric. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct finding {
    bool fires;
    bool is_calm; /* back to normal, as far as one minute can tell */
    uint32_t window_s;
    double observed, baseline, lower, upper;
    double before;  /* the baseline without a step of the last day and what goes on; 0: not known */
    double level;   /* the baseline without what goes on */
    double samples; /* calls in the window */
    double sigmas;
    double return_weeks;    /* a deviation like this comes once in so many weeks */
    uint32_t tail_events;   /* that the tail was learned from */
    uint32_t windows_agree; /* bit i: window i says so as well */
    double ratio_least;     /* smaller ones would not have been told; 0 = not known */
};
