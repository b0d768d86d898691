/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/lanes.h"

#include "collector/store.h"
#include "proto/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct lanes {
    struct store *store;
    struct lease *lease;
    char id[LEASE_ID_BYTES];
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool is_ending;
    struct lanes_change change;
    struct lease_lanes released;
    bool may_judge, has_judge;
    unsigned doubts, doubts_settled;
    uint64_t judge_epoch;
    unsigned collectors;
    bool said_away;
};

static void note_parts(struct lanes_change *c, const struct lease_turn *turn)
{
    c->lost |= turn->lost.parts;
    c->gained &= ~turn->lost.parts;
    c->leaving &= ~turn->lost.parts;
    c->gained |= turn->gained.parts;
    c->leaving &= ~turn->gained.parts;
    c->leaving |= turn->leaving.parts;
}

static void note_judge(struct lanes *l, const struct lease_turn *turn)
{
    if (turn->lost.judge || turn->gained.judge)
        l->judge_epoch++;
    if (turn->gained.judge)
        l->may_judge = l->has_judge = true;
    if (turn->lost.judge)
        l->may_judge = l->has_judge = false;
    if (turn->leaving.judge)
        l->may_judge = false;
}

/* `doubts`: those that the turn has settled. */
static void note_turn(struct lanes *l, const struct lease_turn *turn, unsigned doubts)
{
    if (turn->gained.parts || turn->lost.parts || turn->gained.judge || turn->lost.judge)
        log_info("parts", "gained=%d lost=%d judge=%s collectors=%u",
                 __builtin_popcountll(turn->gained.parts), __builtin_popcountll(turn->lost.parts),
                 turn->gained.judge ? "gained"
                 : turn->lost.judge ? "lost"
                                    : "unchanged",
                 turn->collectors);
    pthread_mutex_lock(&l->lock);
    note_parts(&l->change, turn);
    note_judge(l, turn);
    /* What was let go of is not what was gained since. */
    l->released.parts &= ~(turn->gained.parts | turn->lost.parts);
    l->released.judge &= !turn->gained.judge && !turn->lost.judge;
    l->doubts_settled = doubts;
    l->collectors = turn->collectors;
    pthread_mutex_unlock(&l->lock);
}

static int take_turn(struct lanes *l)
{
    struct lease_turn turn = {0};
    struct lease_lanes released;
    unsigned doubts;
    bool is_in_doubt;
    int r = 0;

    pthread_mutex_lock(&l->lock);
    released = l->released;
    doubts = l->doubts;
    is_in_doubt = doubts != l->doubts_settled;
    l->released = (struct lease_lanes){0};
    pthread_mutex_unlock(&l->lock);
    if (is_in_doubt)
        lease_doubt(l->lease);
    if (released.parts || released.judge)
        r = lease_release(l->lease, released);
    if (r < 0) {
        pthread_mutex_lock(&l->lock);
        l->released.parts |= released.parts;
        l->released.judge |= released.judge;
        pthread_mutex_unlock(&l->lock);
        return r;
    }
    r = lease_turn(l->lease, &turn);
    if (r == 0)
        note_turn(l, &turn, doubts);
    return r;
}

static void say(struct lanes *l, int r)
{
    if (r < 0 && !l->said_away)
        log_warn("the lease cannot be kept up, trying again", "error=%s database=%s", strerror(-r),
                 store_error(l->store));
    l->said_away = r < 0;
}

static void *run(void *ctx)
{
    struct lanes *l = ctx;

    pthread_mutex_lock(&l->lock);
    while (!l->is_ending) {
        uint32_t ms = lease_turn_ms(l->lease);
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += ms / 1000;
        until.tv_nsec += (long)(ms % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&l->wake, &l->lock, &until);
        if (l->is_ending)
            break;
        pthread_mutex_unlock(&l->lock);
        say(l, take_turn(l));
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static int open_lease(struct lanes *l, const struct config *config)
{
    struct lease_settings settings = {.id = l->id, .ttl_ms = config->store.lease_ttl_ms};
    int r;

    lease_make_id(l->id);
    r = store_open(config_store_where(config), &l->store);
    if (r < 0) {
        log_error("store cannot be opened", "error=%s database=%s", strerror(-r),
                  store_error(NULL));
        return r;
    }
    r = lease_new(l->store, &settings, &l->lease);
    if (r == 0)
        r = take_turn(l);
    if (r < 0)
        log_error("store cannot be had", "error=%s database=%s", strerror(-r),
                  store_error(l->store));
    return r;
}

static void init_lock(struct lanes *l)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

int lanes_start(const struct config *config, struct lanes **ret_lanes)
{
    struct lanes *l = calloc(1, sizeof(*l));
    int r;

    if (!l)
        return -ENOMEM;
    init_lock(l);
    r = open_lease(l, config);
    if (r == 0)
        r = -pthread_create(&l->thread, NULL, run, l);
    l->has_thread = r == 0;
    if (r == 0)
        *ret_lanes = TAKE_PTR(l);
    lanes_stop(&l);
    return r;
}

void lanes_stop(struct lanes **lanes)
{
    struct lanes *l = *lanes;

    if (!l)
        return;
    if (l->has_thread) {
        pthread_mutex_lock(&l->lock);
        l->is_ending = true;
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
        /* If it fails the others wait for the lease to run out. */
        if (lease_leave(l->lease) < 0)
            log_warn("parts not given back", "database=%s", store_error(l->store));
    }
    lease_free(&l->lease);
    store_close(&l->store);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
    *lanes = NULL;
}

void lanes_take_change(struct lanes *l, struct lanes_change *ret_change)
{
    pthread_mutex_lock(&l->lock);
    *ret_change = l->change;
    l->change = (struct lanes_change){0};
    pthread_mutex_unlock(&l->lock);
}

void lanes_released(struct lanes *l, uint64_t parts)
{
    pthread_mutex_lock(&l->lock);
    l->released.parts |= parts & ~l->change.gained;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

bool lanes_may_judge(struct lanes *l, uint64_t *ret_epoch)
{
    bool may_judge;

    pthread_mutex_lock(&l->lock);
    may_judge = l->may_judge;
    *ret_epoch = l->judge_epoch;
    pthread_mutex_unlock(&l->lock);
    return may_judge;
}

void lanes_judge_released(struct lanes *l)
{
    pthread_mutex_lock(&l->lock);
    l->released.judge |= l->has_judge && !l->may_judge;
    l->has_judge &= l->may_judge;
    pthread_mutex_unlock(&l->lock);
}

int lanes_check(struct lanes *l, struct store *store, struct lease_lanes held)
{
    int r = lease_check(l->lease, store, held);

    /* Lost and held again within one batch: what is in memory is from before. And a commit that
     * nobody knows of may happen yet, until the lanes are taken anew. */
    pthread_mutex_lock(&l->lock);
    if (r == 0 && ((l->change.lost & held.parts) || l->doubts != l->doubts_settled))
        r = -ESTALE;
    pthread_mutex_unlock(&l->lock);
    return r;
}

void lanes_doubt(struct lanes *l)
{
    pthread_mutex_lock(&l->lock);
    l->doubts++;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

int lanes_name(struct lanes *l, struct store *store)
{
    return lease_name(l->lease, store);
}

const char *lanes_id(const struct lanes *l)
{
    return l->id;
}

unsigned lanes_collectors(struct lanes *l)
{
    unsigned collectors;

    pthread_mutex_lock(&l->lock);
    collectors = l->collectors;
    pthread_mutex_unlock(&l->lock);
    return collectors;
}
