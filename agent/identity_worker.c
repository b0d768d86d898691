/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity_worker.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#define STOP_WAIT_S 1

enum state {
    ASKED_FREE,
    ASKED_WAITING,
    ASKED_LOOKING, /* by a thread */
    ASKED_LATE,    /* answered; the thread is still at it */
    ASKED_DONE,
};

struct asked {
    enum state state;
    uint64_t order, since_ns;
    struct ipc_who who;
    struct identity_process process;
};

struct identity_worker {
    identity_look_fn look;
    void *user;
    int event_fd;
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    bool stop;
    unsigned started, threads, ended;
    uint32_t looked_at[IDENTITY_THREADS]; /* by each; 0: none */
    uint64_t order;
    struct asked asked[IDENTITY_ASKED_MAX];
};

/* ---- the threads; the lock is held ---- */

static bool is_being_looked_at(const struct identity_worker *w, uint32_t pid)
{
    for (unsigned i = 0; i < IDENTITY_THREADS; i++)
        if (w->looked_at[i] == pid)
            return true;
    return false;
}

/* The longest waiting one, but for those of a process that keeps a thread now. */
static struct asked *next(struct identity_worker *w)
{
    struct asked *found = NULL;

    for (unsigned i = 0; i < IDENTITY_ASKED_MAX; i++) {
        struct asked *a = &w->asked[i];

        if (a->state == ASKED_WAITING && (!found || a->order < found->order) &&
            !is_being_looked_at(w, a->who.pid))
            found = a;
    }
    return found;
}

static void tell(struct identity_worker *w)
{
    (void)!eventfd_write(w->event_fd, 1);
}

static void *thread_main(void *arg)
{
    struct identity_worker *w = arg;
    uint32_t *looked_at;

    pthread_mutex_lock(&w->lock);
    looked_at = &w->looked_at[w->threads++];
    while (!w->stop) {
        struct identity_process process = {0};
        struct asked *a = next(w);

        if (!a) {
            pthread_cond_wait(&w->work, &w->lock);
            continue;
        }
        a->state = ASKED_LOOKING;
        *looked_at = a->who.pid;
        pthread_mutex_unlock(&w->lock);
        w->look(w->user, a->who.pid, &process);
        pthread_mutex_lock(&w->lock);
        *looked_at = 0;
        a->process = process;
        a->state = a->state == ASKED_LATE ? ASKED_FREE : ASKED_DONE;
        tell(w);
        /* Others may have been waiting for this very process. */
        pthread_cond_broadcast(&w->work);
    }
    w->ended++;
    pthread_cond_signal(&w->idle);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- the helper's side ---- */

int identity_worker_start(identity_look_fn look, void *user, struct identity_worker **ret_worker)
{
    struct identity_worker *w = calloc(1, sizeof(*w));
    int r = 0;

    if (!w)
        return -ENOMEM;
    w->look = look;
    w->user = user;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->idle, NULL);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0)
        r = -errno;
    for (unsigned i = 0; i < IDENTITY_THREADS && r == 0; i++) {
        pthread_t thread;

        r = -pthread_create(&thread, NULL, thread_main, w);
        if (r < 0)
            break;
        pthread_detach(thread);
        w->started++;
    }
    if (r < 0) {
        (void)identity_worker_stop(&w);
        return r;
    }
    *ret_worker = w;
    return 0;
}

bool identity_worker_stop(struct identity_worker **worker)
{
    struct identity_worker *w = worker ? TAKE_PTR(*worker) : NULL;
    struct timespec until;
    bool ended;
    int r = 0;

    if (!w)
        return true;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_WAIT_S;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    while (w->ended < w->started && r == 0)
        r = pthread_cond_timedwait(&w->idle, &w->lock, &until);
    ended = w->ended == w->started;
    pthread_mutex_unlock(&w->lock);
    if (!ended)
        return false;
    if (w->event_fd >= 0)
        close(w->event_fd);
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->idle);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return true;
}

int identity_worker_fd(const struct identity_worker *w)
{
    return w->event_fd;
}

int identity_worker_ask(struct identity_worker *w, const struct ipc_who *who, uint64_t now_ns)
{
    int r = -ENOBUFS;

    pthread_mutex_lock(&w->lock);
    for (unsigned i = 0; i < IDENTITY_ASKED_MAX && r < 0; i++) {
        struct asked *a = &w->asked[i];

        if (a->state != ASKED_FREE)
            continue;
        *a = (struct asked){
            .state = ASKED_WAITING, .order = ++w->order, .since_ns = now_ns, .who = *who};
        pthread_cond_signal(&w->work);
        r = 0;
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}

static bool is_late(const struct asked *a, uint64_t now_ns)
{
    return (a->state == ASKED_WAITING || a->state == ASKED_LOOKING) &&
           now_ns > a->since_ns + IDENTITY_WAIT_MS * NSEC_PER_MSEC;
}

int identity_worker_answer(struct identity_worker *w, uint64_t now_ns, struct ipc_who *ret_who,
                           struct identity_process *ret_process)
{
    struct asked *found = NULL;
    eventfd_t count;

    pthread_mutex_lock(&w->lock);
    for (unsigned i = 0; i < IDENTITY_ASKED_MAX && !found; i++)
        if (w->asked[i].state == ASKED_DONE || is_late(&w->asked[i], now_ns))
            found = &w->asked[i];
    if (found) {
        *ret_who = found->who;
        *ret_process = found->state == ASKED_DONE ? found->process : (struct identity_process){0};
        found->state = found->state == ASKED_LOOKING ? ASKED_LATE : ASKED_FREE;
    } else {
        (void)!eventfd_read(w->event_fd, &count);
    }
    pthread_mutex_unlock(&w->lock);
    return found ? 0 : -EAGAIN;
}
