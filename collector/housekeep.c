/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/housekeep.h"

#include "collector/store_prune.h"
#include "proto/base/clock.h"

#include <errno.h>

#define PRUNE_EVERY_S 3600
#define PRUNE_ROWS 1000
#define GIVE_BACK_PAGES 512
#define JOIN_EVERY_NS (60 * NSEC_PER_SEC)
/* Blocks are joined when they are no news any more, and while they are not old. */
#define JOIN_AFTER_NS (120 * NSEC_PER_SEC)
#define JOIN_WITHIN_NS (7200 * NSEC_PER_SEC)

void housekeep_init(struct housekeep *h, const struct config_retention *retention)
{
    *h = (struct housekeep){.retention = retention};
}

static int64_t before(int64_t now, int64_t span)
{
    return now > span ? now - span : 0;
}

static int prune(struct housekeep *h, struct store *store, int64_t now_s, uint64_t wall_ns)
{
    const struct config_retention *k = h->retention;
    const struct store_keep keep = {
        .from_s = {before(now_s, (int64_t)k->minutes_d * 86400),
                   before(now_s, (int64_t)k->hours_d * 86400),
                   before(now_s, (int64_t)k->days_d * 86400)},
        .alerts_from_s = before(now_s, (int64_t)k->alerts_d * 86400),
        .calls_from_ns =
            (uint64_t)before((int64_t)wall_ns, (int64_t)(k->calls_h * 3600 * NSEC_PER_SEC)),
    };
    uint64_t rows = 0;
    int r = store_prune_some(store, &keep, PRUNE_ROWS, &rows);

    if (r == 0 && rows > 0)
        return store_give_back(store, GIVE_BACK_PAGES);
    h->is_pruning = false;
    return r;
}

static int join(struct housekeep *h, struct store *store)
{
    unsigned fewer = 0;
    int r = store_join_calls(store, &h->join_from_ns, h->join_to_ns, &fewer);

    h->is_joining = r == 0 && h->join_from_ns < h->join_to_ns;
    return r == -EAGAIN ? 0 : r;
}

int housekeep_turn(struct housekeep *h, struct store *store, int64_t now_s, uint64_t wall_ns)
{
    if (now_s > 0 && now_s >= h->pruned_s + PRUNE_EVERY_S) {
        h->is_pruning = true;
        h->pruned_s = now_s;
    }
    if (wall_ns >= h->joined_ns + JOIN_EVERY_NS) {
        h->is_joining = true;
        h->joined_ns = wall_ns;
        h->join_from_ns = wall_ns - JOIN_WITHIN_NS;
        h->join_to_ns = wall_ns - JOIN_AFTER_NS;
    }
    if (h->is_pruning)
        return prune(h, store, now_s, wall_ns);
    return h->is_joining ? join(h, store) : 0;
}
