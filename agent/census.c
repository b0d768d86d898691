/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/census.h"

#include "agent/capture.h"
#include "agent/identity.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <string.h>

#define DOUBTS_MAX 1024
#define DOUBT_POLLS 3
#define FORGET_AFTER_NS (3600 * NSEC_PER_SEC)
#define RESEND_AFTER_NS (5 * NSEC_PER_SEC)

/* A row under way. */
struct flying {
    uint64_t id; /* 0: free */
    uint64_t sent_mono_ns;
    struct lectr_census_key key;
    unsigned slot;
};

/* A connection between its census and its verdict looks undecided; only what
 * stays so for some polls is. */
struct doubt {
    struct lectr_census_key key;
    uint64_t least;
    unsigned polls;
};

struct census {
    struct capture *capture;
    struct identity *identity;
    struct census_clock now;
    uint64_t down_since_wall_ns; /* when the last helper was alive */
    uint64_t died_since_wall_ns; /* when the last proxy was */
    uint64_t next_id, lost_told;
    census_send_fn send;
    void *user;
    struct flying flying[CENSUS_FLYING_MAX];
    struct doubt doubts[DOUBTS_MAX];
};

static const char *const reasons[LECTR_TOLD__COUNT] = {
    [LECTR_SEEN] = "",
    [LECTR_STEERED] = "steered",
    [LECTR_NO_CONSENT] = "no_consent",
    [LECTR_NO_LISTENER] = "no_listener",
    [LECTR_AGENT_DOWN] = "agent_down",
    [LECTR_NO_ROUTE] = "no_route",
    [LECTR_DEVICE_BOUND] = "device_bound",
    [LECTR_OVERLOAD] = "overload",
    [LECTR_QUIC] = "quic",
    [LECTR_BOUND_SOURCE] = "bound_source",
    [LECTR_TOLD_UNDECIDED] = "agent_down",
    [LECTR_TOLD_DIED] = "agent_died",
};

const char *census_reason(unsigned slot)
{
    return slot < LECTR_TOLD__COUNT ? reasons[slot] : NULL;
}

uint64_t census_undecided(const struct lectr_census *seen)
{
    uint64_t decided = 0;

    for (int v = LECTR_SEEN + 1; v < LECTR_VERDICT__COUNT; v++)
        decided += seen->count[v];
    return seen->count[LECTR_SEEN] > decided ? seen->count[LECTR_SEEN] - decided : 0;
}

uint64_t census_lost(const struct lectr_census *seen, uint64_t taken)
{
    uint64_t steered = seen->count[LECTR_STEERED];

    return steered > taken ? steered - taken : 0;
}

/* splitmix64's finaliser */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

void census_gap_id(const __u64 epoch[2], const struct lectr_census_key *key, uint64_t first_ns,
                   unsigned slot, uint64_t from, uint64_t to, char ret_id[37])
{
    const uint64_t words[] = {
        epoch[0], epoch[1], key->cgroup_id, key->netns_cookie, key->provider, first_ns, slot,
        from,     to};
    uint64_t a = 0x6c65637472763161ULL, b = 0x6c65637472763162ULL;

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        a = mix(a + words[i] + 0x9e3779b97f4a7c15ULL);
        b = mix((b ^ words[i]) * 0x9e3779b97f4a7c15ULL + a);
    }
    snprintf(ret_id, 37, "%08x-%04x-8%03x-%04x-%012llx", (unsigned)(a >> 32),
             (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff,
             ((unsigned)(b >> 48) & 0x3fff) | 0x8000, (unsigned long long)b & 0xffffffffffffULL);
}

static uint32_t hash_key(const struct lectr_census_key *key)
{
    return (uint32_t)mix(key->cgroup_id ^ mix(key->netns_cookie ^ mix(key->provider)));
}

/* The least that was undecided in the last polls; 0 until there were enough. */
static uint64_t settle(struct census *c, const struct lectr_census_key *key, uint64_t undecided,
                       uint64_t told)
{
    struct doubt *d = &c->doubts[hash_key(key) % DOUBTS_MAX];
    uint64_t least;

    if (undecided <= told) {
        if (memcmp(&d->key, key, sizeof(*key)) == 0)
            d->polls = 0;
        return told;
    }
    if (d->polls == 0 || memcmp(&d->key, key, sizeof(*key)) != 0)
        *d = (struct doubt){.key = *key, .least = undecided};
    if (undecided < d->least)
        d->least = undecided;
    if (++d->polls < DOUBT_POLLS)
        return told;
    least = d->least;
    d->polls = 0;
    return least;
}

static struct flying *find_flying(struct census *c, const struct lectr_census_key *key,
                                  unsigned slot)
{
    for (int i = 0; i < CENSUS_FLYING_MAX; i++)
        if (c->flying[i].id && c->flying[i].slot == slot &&
            memcmp(&c->flying[i].key, key, sizeof(*key)) == 0)
            return &c->flying[i];
    return NULL;
}

static struct flying *free_flying(struct census *c)
{
    for (int i = 0; i < CENSUS_FLYING_MAX; i++)
        if (!c->flying[i].id)
            return &c->flying[i];
    return NULL;
}

static void send_row(struct census *c, const struct capture_row *row, unsigned slot)
{
    const struct lectr_told_slot *s = &row->told.slot[slot];
    struct flying *f = find_flying(c, &row->key, slot);
    struct ipc_msg msg = {.type = IPC_CENSUS};
    struct ipc_census *out = &msg.census;

    if (f && c->now.mono_ns - f->sent_mono_ns < RESEND_AFTER_NS)
        return;
    if (!f)
        f = free_flying(c);
    if (!f)
        return;
    out->id = f->id ? f->id : c->next_id;
    census_gap_id(capture_meta(c->capture)->epoch, &row->key, row->seen.first_ns, slot, s->told,
                  s->pending, out->gap_id);
    capture_provider_name(c->capture, row->key.provider, out->provider);
    snprintf(out->reason, sizeof(out->reason), "%s", reasons[slot]);
    out->connections = s->pending - s->told;
    out->start_unix_ns = s->start_unix_ns;
    out->end_unix_ns = s->end_unix_ns;
    identity_resolve(c->identity, row->key.cgroup_id, row->key.netns_cookie, 0, 0, &out->caller);
    if (c->send(c->user, &msg) < 0)
        return;
    if (out->id == c->next_id)
        c->next_id++;
    *f = (struct flying){
        .id = out->id, .sent_mono_ns = c->now.mono_ns, .key = row->key, .slot = slot};
}

static uint64_t wall_of(const struct census *c, uint64_t mono_ns)
{
    return mono_ns < c->now.mono_ns ? c->now.wall_ns - (c->now.mono_ns - mono_ns) : c->now.wall_ns;
}

/* Fixes what is to be told next. */
static bool fix(struct census *c, struct capture_row *row, unsigned slot, uint64_t current)
{
    struct lectr_told_slot *s = &row->told.slot[slot];

    if (s->pending > s->told || current <= s->told)
        return false;
    s->start_unix_ns = s->end_unix_ns ? s->end_unix_ns : wall_of(c, row->seen.first_ns);
    if (slot == LECTR_TOLD_UNDECIDED && c->down_since_wall_ns > s->start_unix_ns)
        s->start_unix_ns = c->down_since_wall_ns;
    if (slot == LECTR_TOLD_DIED && c->died_since_wall_ns > s->start_unix_ns)
        s->start_unix_ns = c->died_since_wall_ns;
    s->end_unix_ns = c->now.wall_ns;
    s->pending = current;
    return true;
}

static void poll_row(void *user, const struct capture_row *found)
{
    struct census *c = user;
    struct capture_row row = *found;
    bool fixed = false, rest = false;

    for (unsigned slot = 0; slot < LECTR_TOLD__COUNT; slot++) {
        uint64_t told = row.told.slot[slot].told, current;

        if (!reasons[slot])
            continue;
        if (slot == LECTR_TOLD_UNDECIDED)
            current = settle(c, &row.key, census_undecided(&row.seen), told);
        else
            current = slot == LECTR_TOLD_DIED ? row.told.died : row.seen.count[slot];
        fixed |= fix(c, &row, slot, current);
        rest |= row.told.slot[slot].pending > row.told.slot[slot].told;
    }
    if (fixed && capture_told_put(c->capture, &row.key, &row.told) < 0)
        return;
    for (unsigned slot = 0; rest && slot < LECTR_TOLD__COUNT; slot++)
        if (row.told.slot[slot].pending > row.told.slot[slot].told)
            send_row(c, &row, slot);
    if (!rest && census_undecided(&row.seen) <= row.told.slot[LECTR_TOLD_UNDECIDED].told &&
        census_lost(&row.seen, row.taken) <= row.told.slot[LECTR_TOLD_DIED].told &&
        row.seen.last_ns + FORGET_AFTER_NS < c->now.mono_ns)
        capture_census_drop(c->capture, &row.key);
}

int census_new(struct capture *capture, struct identity *identity, struct census_clock now,
               struct census **ret_census)
{
    struct census *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->capture = capture;
    c->identity = identity;
    c->next_id = 1;
    c->down_since_wall_ns = capture_meta_before(capture)->helper_wall_ns;
    c->died_since_wall_ns = c->down_since_wall_ns;
    c->lost_told = capture_meta_before(capture)->census_lost;
    if (c->down_since_wall_ns > now.wall_ns)
        c->down_since_wall_ns = c->died_since_wall_ns = 0;
    *ret_census = c;
    return 0;
}

void census_free(struct census **census)
{
    free(*census);
    *census = NULL;
}

void census_poll(struct census *c, struct census_clock now, census_send_fn send, void *user)
{
    uint64_t lost = capture_meta(c->capture)->census_lost;

    c->now = now;
    c->send = send;
    c->user = user;
    capture_census_each(c->capture, poll_row, c);
    if (lost > c->lost_told)
        log_warn("the census was full, connections went uncounted", "connections=%llu",
                 (unsigned long long)(lost - c->lost_told));
    c->lost_told = lost;
}

void census_ack(struct census *c, uint64_t id)
{
    for (int i = 0; id && i < CENSUS_FLYING_MAX; i++) {
        struct flying *f = &c->flying[i];
        struct lectr_told told;

        if (f->id != id)
            continue;
        f->id = 0;
        if (capture_told_get(c->capture, &f->key, &told) < 0)
            return;
        told.slot[f->slot].told = told.slot[f->slot].pending;
        if (capture_told_put(c->capture, &f->key, &told) < 0)
            log_warn("a census row may be told again", "id=%llu", (unsigned long long)id);
        return;
    }
}

void census_proxy_ended(struct census *c, struct census_clock now)
{
    c->died_since_wall_ns = now.wall_ns;
}

void census_proxy_changed(struct census *c)
{
    memset(c->flying, 0, sizeof(c->flying));
}

static void note_died(void *user, const struct capture_row *found)
{
    struct census *c = user;
    struct lectr_told told = found->told;
    uint64_t lost = census_lost(&found->seen, found->taken);

    if (lost <= told.died)
        return;
    told.died = lost;
    if (capture_told_put(c->capture, &found->key, &told) < 0)
        log_warn("connections that a proxy died before taking are told with the next",
                 "connections=%llu", (unsigned long long)lost);
}

void census_before_steering(struct census *c)
{
    capture_census_each(c->capture, note_died, c);
}
