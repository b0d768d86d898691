/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/detect/classes.h"

/* What most have in common; a class says what is its own. */
#define USUAL                                                                                      \
    .noise_low = 0.1, .noise_high = 0.25, .cv_low = 1, .cv_high = 1.5, .daily = 0.5, .weekend = 0.6

const struct traffic_class traffic_classes[] = {
    {.name = "200/min", USUAL, .per_min = 200, .event_min = 20},
    {.name = "20-60/min", USUAL, .per_min = 35, .event_min = 20},
    {.name = "5-20/min", USUAL, .per_min = 9, .event_min = 5},
    {.name = "2-5/min", USUAL, .per_min = 3, .event_min = 2},
    {.name = "sparse", USUAL, .per_min = 0.2},
    {.name = "zeros", USUAL, .per_min = 3, .zeros = 0.9},
    {.name = "holiday", USUAL, .per_min = 60, .has_holiday = true, .event_min = 20},
    {.name = "cron",
     .per_min = 30,
     .noise_low = 0.1,
     .noise_high = 0.2,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.3,
     .weekend = 0.8,
     .event_min = 20,
     .has_cron = true},
    {.name = "office",
     .per_min = 30,
     .noise_low = 0.1,
     .noise_high = 0.2,
     .cv_low = 1,
     .cv_high = 1.5,
     .daily = 0.2,
     .weekend = 1,
     .event_min = 20,
     .is_office = true},
    {.name = "heavy",
     .per_min = 35,
     .noise_low = 0.2,
     .noise_high = 0.4,
     .cv_low = 2,
     .cv_high = 4,
     .daily = 0.5,
     .weekend = 0.6,
     .event_min = 20},
    {.name = "growing", USUAL, .per_min = 35, .event_min = 20, .growth = 0.2},
    {.name = "dst", USUAL, .per_min = 35, .event_min = 20, .has_dst = true},
};
const size_t traffic_classes_count = sizeof(traffic_classes) / sizeof(traffic_classes[0]);

#define SPIKE 60, {5, 30, 60}, 180
#define STAYS 0, {90, 180, 360}, 1440

const struct event_kind event_kinds[] = {
    {"cost x3", TRAFFIC_COST, 3, SPIKE, false},
    {"cost x5", TRAFFIC_COST, 5, SPIKE, false},
    {"cost x10", TRAFFIC_COST, 10, SPIKE, false},
    {"calls x3", TRAFFIC_CALLS, 3, SPIKE, false},
    {"retries x3", TRAFFIC_RETRY, 3, SPIKE, false},
    {"errors 20%", TRAFFIC_ERRORS, .2, SPIKE, false},
    {"slow x4", TRAFFIC_SLOW, 4, SPIKE, false},
    {"outage", TRAFFIC_OUTAGE, 0, SPIKE, true},
    {"gap 4 h", TRAFFIC_OUTAGE, 0, 240, {5, 30, 60}, 1440, true},
    {"shift x2", TRAFFIC_CALLS, 2, STAYS, false},
    {"shift /2", TRAFFIC_CALLS, .5, STAYS, false},
    {"deploy x1.5", TRAFFIC_CALLS, 1.5, STAYS, false},
    {"deploy /1.5", TRAFFIC_CALLS, 1 / 1.5, STAYS, false},
    {"price x2", TRAFFIC_PRICE, 2, STAYS, false},
    {"ramp x3", TRAFFIC_RAMP, 3, 0, {360, 720, 1440}, 1440, false},
};
const size_t event_kinds_count = sizeof(event_kinds) / sizeof(event_kinds[0]);
