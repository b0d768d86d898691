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
    double samples; /* calls in the window */
    double sigmas;
    double return_weeks;
};
