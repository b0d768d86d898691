/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/hash.h"

#include <sys/random.h>

uint64_t hash_seed = UINT64_C(0x2545f4914f6cdd1d);

void hash_init(void)
{
    uint64_t seed = 0;

    /* Without a random number the constant has to do. */
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == sizeof(seed))
        hash_seed = seed;
}
