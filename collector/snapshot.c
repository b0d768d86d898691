/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/snapshot.h"

#include <errno.h>

#define MINUTE_S 60

void snapshot_begin(struct snapshot *s, struct detect *d)
{
    detect_save_begin(d);
    *s = (struct snapshot){.is_under_way = true, .at_s = detect_last_minute(d) + MINUTE_S};
}

/* The whole one takes the place of those before it. */
static int drop_old(struct store *store, int64_t at_s)
{
    int64_t kept[SNAPSHOT_KEPT];
    unsigned count = 0;
    int r = store_find_baselines(store, at_s, SNAPSHOT_KEPT, kept, &count);

    if (r < 0 || count < SNAPSHOT_KEPT)
        return r;
    r = store_drop_baselines(store, 0, kept[SNAPSHOT_KEPT - 1]);
    /* Those that broke off lie between the ones that are kept. */
    for (unsigned i = 0; i + 1 < SNAPSHOT_KEPT && r == 0; i++)
        r = store_drop_baselines(store, kept[i + 1] + 1, kept[i]);
    return r;
}

static int write_slice(const struct snapshot *s, struct store *store, struct slice payload,
                       bool is_last)
{
    int r = store_begin(store);

    if (r < 0)
        return r;
    r = store_put_baseline(store, s->at_s, s->parts, is_last, payload);
    if (r == 0 && is_last)
        r = drop_old(store, s->at_s);
    if (r == 0)
        r = store_commit(store);
    if (r < 0)
        store_rollback(store);
    return r;
}

int snapshot_step(struct snapshot *s, struct store *store, struct detect *d)
{
    struct buf slice;
    bool is_last = false;
    int r;

    buf_init(&slice, SIZE_MAX);
    r = detect_save_some(d, SNAPSHOT_BYTES, &slice, &is_last);
    if (r == 0)
        r = write_slice(s, store, buf_slice(&slice), is_last);
    buf_fini(&slice);
    if (r < 0 || is_last)
        s->is_under_way = false;
    s->parts++;
    return r;
}

static int load_part(void *ctx, struct slice payload)
{
    return detect_load(ctx, payload);
}

static int load_one(struct store *store, const struct config_detect *settings, int64_t at_s,
                    struct detect **ret_detect)
{
    struct detect *d = NULL;
    int r = detect_new(settings, &d);

    if (r == 0)
        r = store_each_baseline(store, at_s, load_part, d);
    if (r == 0)
        r = detect_load_end(d);
    if (r == 0)
        *ret_detect = TAKE_PTR(d);
    detect_free(&d);
    return r;
}

int snapshot_load(struct store *store, const struct config_detect *settings, int64_t until_s,
                  struct detect **ret_detect, int64_t *ret_at_s)
{
    int64_t times[SNAPSHOT_KEPT + 1];
    unsigned count = 0;
    int r = store_find_baselines(store, until_s, SNAPSHOT_KEPT + 1, times, &count);

    for (unsigned i = 0; i < count && r == 0; i++) {
        r = load_one(store, settings, times[i], ret_detect);
        if (r == 0) {
            *ret_at_s = times[i];
            return 0;
        }
        if (r == -EPROTO) /* of another version, or other settings */
            r = 0;
    }
    return r < 0 ? r : -ENOENT;
}
