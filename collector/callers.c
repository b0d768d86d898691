/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/callers.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define SEND_NS NSEC_PER_SEC

struct caller {
    int fd;
    uint64_t since_ns;
    uint64_t sent_by_ns; /* when whoever reads has the answer */
    bool is_there, is_served, is_hung_up;
};

struct callers {
    pthread_mutex_t lock;
    unsigned most, places, there, leaving;
    uint64_t hung_up;
    struct caller list[];
};

int callers_new(unsigned most, struct callers **ret_callers)
{
    const unsigned places = most * CALLERS_LEAVING;
    struct callers *c = calloc(1, sizeof(*c) + places * sizeof(c->list[0]));

    if (!c)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->most = most;
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

/* What it sent is not read yet, or what it asked for is on its way: it is it that waits. */
static bool waits_for_us(const struct caller *k, uint64_t now_ns)
{
    int unread = 0;

    return k->is_served || now_ns < k->sent_by_ns ||
           (ioctl(k->fd, FIONREAD, &unread) == 0 && unread > 0);
}

/* Its thread sees the end and lets go of the place. */
static void hang_up(struct callers *c, const struct caller *but, uint64_t now_ns)
{
    struct caller *longest = NULL;

    for (unsigned i = 0; i < c->places; i++) {
        struct caller *k = &c->list[i];

        if (!k->is_there || k == but || k->is_hung_up || waits_for_us(k, now_ns))
            continue;
        if (!longest || k->since_ns < longest->since_ns)
            longest = k;
    }
    if (!longest)
        return;
    shutdown(longest->fd, SHUT_RDWR);
    longest->is_hung_up = true;
    c->leaving++;
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
    if (c->there - c->leaving > c->most)
        hang_up(c, caller, now_ns);
    pthread_mutex_unlock(&c->lock);
    return caller;
}

void callers_go(struct callers *c, struct caller *caller)
{
    pthread_mutex_lock(&c->lock);
    if (caller) {
        caller->is_there = false;
        c->leaving -= caller->is_hung_up;
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
        caller->sent_by_ns = now_ns + SEND_NS;
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
