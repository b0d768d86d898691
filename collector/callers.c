/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/callers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct caller {
    int fd;
    uint64_t since_ns;
    bool is_there, is_served, is_hung_up;
};

struct callers {
    pthread_mutex_t lock;
    unsigned places, there;
    uint64_t hung_up;
    struct caller list[];
};

int callers_new(unsigned places, struct callers **ret_callers)
{
    struct callers *c = calloc(1, sizeof(*c) + places * sizeof(c->list[0]));

    if (!c)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->places = places;
    *ret_callers = c;
    return 0;
}

void callers_free(struct callers **callers)
{
    if (!*callers)
        return;
    pthread_mutex_destroy(&(*callers)->lock);
    free(*callers);
    *callers = NULL;
}

/* What it sent has not been read yet: it is it that waits. */
static bool waits_for_us(const struct caller *k)
{
    int unread = 0;

    return k->is_served || (ioctl(k->fd, FIONREAD, &unread) == 0 && unread > 0);
}

/* Its thread sees the end and lets go of the place. */
static void hang_up(struct callers *c, const struct caller *but)
{
    struct caller *longest = NULL;

    for (unsigned i = 0; i < c->places; i++) {
        struct caller *k = &c->list[i];

        if (!k->is_there || k == but || k->is_hung_up || waits_for_us(k))
            continue;
        if (!longest || k->since_ns < longest->since_ns)
            longest = k;
    }
    if (!longest)
        return;
    shutdown(longest->fd, SHUT_RDWR);
    longest->is_hung_up = true;
    c->hung_up++;
}

struct caller *callers_come(struct callers *c, int fd, uint64_t now_ns)
{
    struct caller *caller = NULL;

    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->places && !caller; i++)
        if (!c->list[i].is_there)
            caller = &c->list[i];
    if (caller) {
        *caller = (struct caller){.fd = fd, .since_ns = now_ns, .is_there = true};
        c->there++;
    }
    if (c->there + 1 >= c->places)
        hang_up(c, caller);
    pthread_mutex_unlock(&c->lock);
    return caller;
}

void callers_go(struct callers *c, struct caller *caller)
{
    pthread_mutex_lock(&c->lock);
    if (caller) {
        caller->is_there = false;
        c->there--;
    }
    pthread_mutex_unlock(&c->lock);
}

void callers_begin(struct callers *c, struct caller *caller)
{
    pthread_mutex_lock(&c->lock);
    if (caller)
        caller->is_served = true;
    pthread_mutex_unlock(&c->lock);
}

void callers_end(struct callers *c, struct caller *caller, uint64_t now_ns)
{
    pthread_mutex_lock(&c->lock);
    if (caller) {
        caller->is_served = false;
        caller->since_ns = now_ns;
    }
    pthread_mutex_unlock(&c->lock);
}

uint64_t callers_hung_up(struct callers *c)
{
    uint64_t n;

    pthread_mutex_lock(&c->lock);
    n = c->hung_up;
    pthread_mutex_unlock(&c->lock);
    return n;
}
