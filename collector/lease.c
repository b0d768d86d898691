/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/lease.h"

#include "collector/store_lane.h"
#include "collector/store_lease.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define ROWS (STORE_PARTS + 1) /* the judge's is the last */
#define JUDGE_ROW STORE_PARTS
/* Rows of dead collectors are of use while somebody looks for a reason. */
#define FORGET_MS (24 * 3600 * 1000)

/* What the store said of a lane. */
struct row {
    int64_t epoch;
    bool is_mine;
    bool is_free; /* nobody's, or of one who is dead */
    char owner[LEASE_ID_BYTES];
};

struct lease {
    struct store *store;
    char id[LEASE_ID_BYTES];
    uint32_t ttl_ms;
    unsigned lanes;
    bool is_shared;
    bool is_in_doubt;
    bool is_leaving[ROWS];
    pthread_mutex_t lock; /* of what follows, for those that take no turns */
    bool is_held[ROWS];
    int64_t epoch[ROWS]; /* of what is held */
};

/* One look at the store. */
struct look {
    struct lease *lease;
    struct row rows[ROWS];
    char alive[LEASE_COLLECTORS_MAX][LEASE_ID_BYTES];
    unsigned alive_count;
};

static unsigned row_of(int64_t lane)
{
    return lane == STORE_JUDGE ? JUDGE_ROW : (unsigned)lane;
}

static int64_t lane_of(unsigned row)
{
    return row == JUDGE_ROW ? STORE_JUDGE : (int64_t)row;
}

static void add_row(struct lease_lanes *lanes, unsigned row)
{
    if (row == JUDGE_ROW)
        lanes->judge = true;
    else
        lanes->parts |= UINT64_C(1) << row;
}

static bool has_row(struct lease_lanes lanes, unsigned row)
{
    return row == JUDGE_ROW ? lanes.judge : lanes.parts >> row & 1;
}

static void set_held(struct lease *l, unsigned row, bool is_held, int64_t epoch)
{
    pthread_mutex_lock(&l->lock);
    l->is_held[row] = is_held;
    l->epoch[row] = epoch;
    pthread_mutex_unlock(&l->lock);
    l->is_leaving[row] = false;
}

/* --- the plan --- */

void lease_plan(const struct lease_view *view, uint64_t *ret_take, uint64_t *ret_give)
{
    const unsigned share = view->lanes / view->alive + (view->me < view->lanes % view->alive);
    const unsigned start = view->me * view->lanes / view->alive;
    unsigned mine = 0;

    *ret_take = *ret_give = 0;
    for (unsigned lane = 0; lane < view->lanes; lane++)
        mine += view->owner[lane] == (int)view->me;
    /* Everybody begins elsewhere, so that they do not reach for the same. */
    for (unsigned i = 0; i < view->lanes && mine < share; i++) {
        unsigned lane = (start + i) % view->lanes;

        if (view->owner[lane] == LEASE_NOBODY) {
            *ret_take |= UINT64_C(1) << lane;
            mine++;
        }
    }
    for (unsigned lane = view->lanes; lane-- > 0 && mine > share;)
        if (view->owner[lane] == (int)view->me) {
            *ret_give |= UINT64_C(1) << lane;
            mine--;
        }
}

/* --- life --- */

void lease_make_id(char ret_id[LEASE_ID_BYTES])
{
    char host[24] = "";
    uint32_t chance = 0;

    if (gethostname(host, sizeof(host) - 1) < 0)
        host[0] = '\0';
    if (getrandom(&chance, sizeof(chance), 0) != sizeof(chance))
        chance = (uint32_t)(uintptr_t)&chance;
    snprintf(ret_id, LEASE_ID_BYTES, "%.23s-%d-%08x", host, (int)getpid(), chance);
}

int lease_new(struct store *store, const struct lease_settings *settings, struct lease **ret_lease)
{
    struct lease *l = calloc(1, sizeof(*l));
    int r;

    if (!l)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    l->store = store;
    l->ttl_ms = settings->ttl_ms;
    l->lanes = store_lanes(store);
    l->is_shared = store_is_shared(store);
    snprintf(l->id, sizeof(l->id), "%s", settings->id);
    r = store_own(store);
    if (r == 0)
        r = store_set_name(store, l->id);
    if (r == 0)
        r = store_add_leases(store);
    if (r == 0)
        *ret_lease = TAKE_PTR(l);
    lease_free(&l);
    return r;
}

void lease_free(struct lease **lease)
{
    if (!*lease)
        return;
    pthread_mutex_destroy(&(*lease)->lock);
    free(*lease);
    *lease = NULL;
}

uint32_t lease_turn_ms(const struct lease *l)
{
    return l->ttl_ms / 4;
}

int lease_name(const struct lease *l, struct store *store)
{
    return store_set_name(store, l->id);
}

struct lease_lanes lease_held(struct lease *l)
{
    struct lease_lanes held = {0};

    pthread_mutex_lock(&l->lock);
    for (unsigned row = 0; row < ROWS; row++)
        if (l->is_held[row])
            add_row(&held, row);
    pthread_mutex_unlock(&l->lock);
    return held;
}

/* --- a turn --- */

static int note_collector(void *ctx, const char *id, bool is_alive)
{
    struct look *look = ctx;

    if (is_alive && look->alive_count < LEASE_COLLECTORS_MAX)
        snprintf(look->alive[look->alive_count++], LEASE_ID_BYTES, "%s", id);
    return 0;
}

static int index_of(const struct look *look, const char *id)
{
    for (unsigned i = 0; i < look->alive_count; i++)
        if (strcmp(look->alive[i], id) == 0)
            return (int)i;
    return LEASE_NOBODY;
}

static int note_lease(void *ctx, int64_t lane, const char *owner, int64_t epoch)
{
    struct look *look = ctx;
    struct row *row;

    if (lane < STORE_JUDGE || lane >= STORE_PARTS)
        return 0;
    row = &look->rows[row_of(lane)];
    row->epoch = epoch;
    row->is_mine = strcmp(owner, look->lease->id) == 0;
    row->is_free = index_of(look, owner) == LEASE_NOBODY;
    snprintf(row->owner, sizeof(row->owner), "%s", owner);
    return 0;
}

/* What was ours and is not: told once. */
static void find_lost(struct lease *l, const struct look *look, struct lease_turn *turn)
{
    for (unsigned row = 0; row < ROWS; row++) {
        const struct row *r = &look->rows[row];

        if (!l->is_held[row] || (r->is_mine && r->epoch == l->epoch[row] && !l->is_in_doubt))
            continue;
        set_held(l, row, false, 0);
        add_row(&turn->lost, row);
    }
}

/* A dead owner may hang in a transaction, with the row locked: the next turn finds it free. */
static int take(struct lease *l, struct row *row, unsigned index, struct lease_turn *turn)
{
    bool taken = false;
    int r = store_take_lease(l->store, lane_of(index), row->epoch, l->id, &taken);

    if (r == 0 && !taken && row->owner[0] && !row->is_mine)
        r = store_evict(l->store, row->owner);
    if (r < 0 || !taken)
        return r;
    set_held(l, index, true, row->epoch + 1);
    add_row(&turn->gained, index);
    return 0;
}

static int take_all(struct lease *l, struct look *look, uint64_t lanes, struct lease_turn *turn)
{
    int r = 0;

    for (unsigned row = 0; row < l->lanes && r == 0; row++)
        if (lanes >> row & 1)
            r = take(l, &look->rows[row], row, turn);
    /* What an earlier life of this lease has left counts as free as well. */
    if (r == 0 && !l->is_held[JUDGE_ROW] && !turn->lost.judge &&
        (look->rows[JUDGE_ROW].is_free || look->rows[JUDGE_ROW].is_mine))
        r = take(l, &look->rows[JUDGE_ROW], JUDGE_ROW, turn);
    return r;
}

static void find_leaving(struct lease *l, uint64_t give, struct lease_turn *turn)
{
    for (unsigned row = 0; row < l->lanes; row++) {
        l->is_leaving[row] = l->is_held[row] && (give >> row & 1);
        if (l->is_leaving[row])
            add_row(&turn->leaving, row);
    }
}

/* In one transaction, so that the two fit. */
static int look_at(struct lease *l, struct look *look)
{
    int r = store_begin(l->store);

    if (r < 0)
        return r;
    r = store_heartbeat(l->store, l->id);
    if (r == 0)
        r = store_each_collector(l->store, l->ttl_ms, note_collector, look);
    if (r == 0)
        r = store_each_lease(l->store, note_lease, look);
    if (r == 0)
        r = store_commit(l->store);
    if (r < 0)
        store_rollback(l->store);
    return r;
}

/* What is lost in this turn is not taken in it: first it has to be forgotten. */
static struct lease_view view_of(const struct lease *l, const struct look *look,
                                 struct lease_lanes lost)
{
    struct lease_view view = {
        .lanes = l->lanes,
        .alive = look->alive_count,
        .me = (unsigned)index_of(look, l->id),
    };

    for (unsigned row = 0; row < l->lanes; row++) {
        const struct row *r = &look->rows[row];

        /* Ours by the store's word and not held: to be taken again, with a new epoch. */
        if (has_row(lost, row))
            view.owner[row] = (int)view.alive;
        else if (r->is_free || (r->is_mine && !l->is_held[row]))
            view.owner[row] = LEASE_NOBODY;
        else
            view.owner[row] = index_of(look, r->owner);
    }
    return view;
}

static int shared_turn(struct lease *l, struct lease_turn *turn)
{
    CLEAN_FREE struct look *look = calloc(1, sizeof(*look));
    struct lease_view view;
    uint64_t wanted, give;
    int r;

    if (!look)
        return -ENOMEM;
    look->lease = l;
    r = look_at(l, look);
    if (r < 0)
        return r;
    /* More than LEASE_COLLECTORS_MAX of them: the rest has no share. */
    if (index_of(look, l->id) == LEASE_NOBODY)
        return -EUSERS;
    turn->collectors = look->alive_count;
    find_lost(l, look, turn);
    l->is_in_doubt = false;
    view = view_of(l, look, turn->lost);
    lease_plan(&view, &wanted, &give);
    /* What was taken so far is ours; a failure is of the rest. */
    r = take_all(l, look, wanted, turn);
    find_leaving(l, give, turn);
    if (r == 0)
        r = store_forget_collectors(l->store, FORGET_MS);
    return r;
}

/* One process has it all. */
static void sole_turn(struct lease *l, struct lease_turn *turn)
{
    turn->collectors = 1;
    for (unsigned row = 0; row < ROWS; row++) {
        if (row >= l->lanes && row != JUDGE_ROW)
            continue;
        if (l->is_in_doubt && l->is_held[row])
            add_row(&turn->lost, row);
        else if (!l->is_held[row])
            add_row(&turn->gained, row);
        set_held(l, row, !l->is_in_doubt, 0);
    }
    l->is_in_doubt = false;
}

int lease_turn(struct lease *l, struct lease_turn *ret_turn)
{
    struct lease_turn turn = {0};
    int r = 0;

    if (l->is_shared)
        r = shared_turn(l, &turn);
    else
        sole_turn(l, &turn);
    if (r < 0 && !turn.gained.parts && !turn.gained.judge && !turn.lost.parts && !turn.lost.judge)
        return r;
    *ret_turn = turn;
    return 0;
}

/* --- letting go, and checking --- */

int lease_release(struct lease *l, struct lease_lanes lanes)
{
    int r = 0;

    for (unsigned row = 0; row < ROWS && r == 0; row++) {
        if (!l->is_held[row] || !has_row(lanes, row))
            continue;
        if (l->is_shared)
            r = store_release_lease(l->store, lane_of(row), l->epoch[row], l->id);
        if (r == 0)
            set_held(l, row, false, 0);
    }
    return r;
}

int lease_leave(struct lease *l)
{
    int r = lease_release(l, lease_held(l));

    return r < 0 || !l->is_shared ? r : store_leave(l->store, l->id);
}

void lease_doubt(struct lease *l)
{
    l->is_in_doubt = true;
}

struct check {
    struct lease *lease;
    struct lease_lanes missing;
};

static int tick_off(void *ctx, int64_t lane, int64_t epoch)
{
    struct check *check = ctx;
    unsigned row;
    bool is_ours;

    if (lane < STORE_JUDGE || lane >= STORE_PARTS)
        return 0;
    row = row_of(lane);
    pthread_mutex_lock(&check->lease->lock);
    is_ours = check->lease->is_held[row] && check->lease->epoch[row] == epoch;
    pthread_mutex_unlock(&check->lease->lock);
    if (!is_ours)
        return 0;
    if (row == JUDGE_ROW)
        check->missing.judge = false;
    else
        check->missing.parts &= ~(UINT64_C(1) << row);
    return 0;
}

int lease_check(struct lease *l, struct store *store, struct lease_lanes lanes)
{
    struct check check = {.lease = l, .missing = lanes};
    int r;

    if (!l->is_shared)
        return 0;
    r = store_each_held(store, l->id, tick_off, &check);
    if (r < 0)
        return r;
    return check.missing.parts || check.missing.judge ? -ESTALE : 0;
}
