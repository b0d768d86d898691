/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of models, providers, keys, features and regions that an organisation has
 * had, so that the first call with a new one is noticed. Pure. Holds a hash of each
 * value; what a batch found new is kept apart until it is committed.
 *
 * Limits: SIGHTINGS_VALUES_MAX values of a dimension of an organisation, and
 * SIGHTINGS_MAX at all; what is beyond is never new.
 */
#pragma once

#include "collector/alerting.h"
#include "collector/record.h"
#include "proto/base/cleanup.h"

#define SIGHTINGS_VALUES_MAX 10000
#define SIGHTINGS_MAX 1000000

struct sightings;

/* `seed`: secret, or names could be made to collide. */
int sightings_new(uint64_t seed, struct sightings **ret_sightings) LECTR_MUST_USE;
void sightings_free(struct sightings **sightings);
/* One that is stored. -ENOMEM. */
int sightings_learn(struct sightings *s, const char *org, enum alerting_dimension dimension,
                    const char *value) LECTR_MUST_USE;

void sightings_begin(struct sightings *s);
/* A call of the batch. -ENOMEM. */
int sightings_take(struct sightings *s, const struct record *call) LECTR_MUST_USE;
struct sighting {
    enum alerting_dimension dimension;
    char org[64], value[160];
    char feature[96], provider[64], model[160]; /* of the first call with it */
    int64_t first_s;
};
/* What is new in the batch. Stops at the first negative return and returns it. */
int sightings_each(const struct sightings *s,
                   int (*each)(void *ctx, const struct sighting *sighting),
                   void *ctx) LECTR_MUST_USE;
/* It is stored, and no news any more. Without it sightings_begin() forgets. */
void sightings_commit(struct sightings *s);
