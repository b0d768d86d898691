/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/burn.h"

#define MINUTE_S 60
#define HOUR_S 3600

/* Which minute or hour a place holds is told by its number: old ones need no clearing. */
struct slot {
    uint32_t number; /* minutes or hours since 1970; 0: empty */
    uint32_t calls, hits;
};

struct burn {
    struct slot minutes[BURN_MINUTES];
    struct slot hours[]; /* period_hours() of them */
};

static uint32_t period_hours(const struct alerting_rule *rule)
{
    uint32_t hours = rule->burn.period_d * 24;

    for (unsigned i = 0; i < rule->burn.windows_count; i++)
        if (rule->burn.windows[i].long_min / 60 > hours)
            hours = rule->burn.windows[i].long_min / 60;
    return hours;
}

size_t burn_bytes(const struct alerting_rule *rule)
{
    return sizeof(struct burn) + period_hours(rule) * sizeof(struct slot);
}

static uint32_t sum32(uint32_t a, uint64_t b)
{
    return b > UINT32_MAX - a ? UINT32_MAX : a + (uint32_t)b;
}

static void put(struct slot *ring, uint32_t size, uint32_t number, uint64_t calls, uint64_t hits)
{
    struct slot *slot = &ring[number % size];

    if (slot->number > number)
        return; /* longer ago than the ring reaches */
    if (slot->number < number)
        *slot = (struct slot){.number = number};
    slot->calls = sum32(slot->calls, calls);
    slot->hits = sum32(slot->hits, hits);
}

void burn_recall(struct burn *b, const struct alerting_rule *rule, int64_t hour_s, uint64_t calls,
                 uint64_t hits)
{
    put(b->hours, period_hours(rule), (uint32_t)(hour_s / HOUR_S), calls, hits);
}

void burn_add(struct burn *b, const struct alerting_rule *rule, int64_t minute_s, uint64_t calls,
              uint64_t hits)
{
    put(b->minutes, BURN_MINUTES, (uint32_t)(minute_s / MINUTE_S), calls, hits);
    burn_recall(b, rule, minute_s, calls, hits);
}

/* The `length` minutes or hours up to and with `last`; returns how many of them there are
 * since the first call among them. */
static uint32_t count(const struct slot *ring, uint32_t size, uint32_t last, uint32_t length,
                      struct burn_count *ret_count)
{
    uint32_t known = 0;

    for (uint32_t i = 0; i < length && i < size && i < last; i++) {
        const struct slot *slot = &ring[(last - i) % size];

        if (slot->number != last - i)
            continue;
        ret_count->calls += slot->calls;
        ret_count->hits += slot->hits;
        known = i + 1;
    }
    return known;
}

/* Returns minutes since the first call of the window. */
static uint32_t count_window(const struct burn *b, const struct alerting_rule *rule,
                             int64_t minute_s, uint32_t minutes, struct burn_count *ret_count)
{
    *ret_count = (struct burn_count){.to_s = minute_s + MINUTE_S};
    if (minutes <= BURN_MINUTES) {
        ret_count->from_s = ret_count->to_s - (int64_t)minutes * MINUTE_S;
        return count(b->minutes, BURN_MINUTES, (uint32_t)(minute_s / MINUTE_S), minutes, ret_count);
    }
    ret_count->from_s = (minute_s / HOUR_S + 1) * HOUR_S - (int64_t)minutes * MINUTE_S;
    return 60 * count(b->hours, period_hours(rule), (uint32_t)(minute_s / HOUR_S), minutes / 60,
                      ret_count);
}

static double burn_of(const struct burn_count *c, double budget)
{
    return c->calls ? (double)c->hits / (double)c->calls / budget : 0;
}

static void look(const struct burn *b, const struct alerting_rule *rule, int64_t minute_s,
                 const struct alerting_window *window, struct burn_verdict *v)
{
    double budget = (100 - rule->burn.objective) / 100;
    uint32_t known_min;

    v->window = *window;
    v->severity = window->severity ? window->severity : rule->severity;
    known_min = count_window(b, rule, minute_s, window->long_min, &v->in_long);
    (void)count_window(b, rule, minute_s, window->short_min, &v->in_short);
    v->long_burn = burn_of(&v->in_long, budget);
    v->short_burn = burn_of(&v->in_short, budget);
    /* A quarter of an hour is not yet three days. */
    if (window->long_min > 60 && known_min < window->long_min / 2)
        return;
    v->fires = v->in_long.calls >= rule->calls_min && v->in_long.hits >= rule->burn.hits_min &&
               v->long_burn >= window->burn && v->short_burn >= window->burn;
}

void burn_judge(const struct burn *b, const struct alerting_rule *rule, int64_t minute_s,
                struct burn_verdict *ret_verdict)
{
    double budget = (100 - rule->burn.objective) / 100;
    struct burn_verdict first = {0}, best = {0};

    for (unsigned i = 0; i < rule->burn.windows_count; i++) {
        struct burn_verdict v = {0};

        look(b, rule, minute_s, &rule->burn.windows[i], &v);
        if (i == 0)
            first = v;
        if (v.fires && (!best.fires || v.severity > best.severity))
            best = v;
    }
    *ret_verdict = best.fires ? best : first;
    (void)count_window(b, rule, minute_s, rule->burn.period_d * 1440, &ret_verdict->in_period);
    ret_verdict->budget_left = 1 - burn_of(&ret_verdict->in_period, budget);
}

bool burn_is_empty(const struct burn *b, const struct alerting_rule *rule, int64_t minute_s)
{
    struct burn_count c = {0};

    (void)count(b->hours, period_hours(rule), (uint32_t)(minute_s / HOUR_S), period_hours(rule),
                &c);
    return c.calls == 0;
}
