/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/loop.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <uv.h>

struct loop_poll {
    uv_poll_t handle; /* first: the close callback casts back */
    struct loop *loop;
    struct loop_poll *next_free;
    loop_poll_fn fn;
    void *user;
    unsigned events;
};

struct loop_timer {
    uv_timer_t handle;
    loop_fn fn;
    void *user;
};

struct loop_signal {
    uv_signal_t handle;
    loop_fn fn;
    void *user;
};

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uint64_t woke_ns; /* 0: no event was seen in this turn yet */
    struct loop_poll *free_polls;
    unsigned free_polls_count;
    struct loop_task *tasks;
    struct loop_task **tasks_tail;
};

#define FREE_POLLS_MAX 1024

static void on_prepare(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;

    loop->woke_ns = 0;
}

static void on_idle(uv_idle_t *handle)
{
    struct loop *loop = handle->data;
    struct loop_task **end = loop->tasks_tail;

    /* Only what was queued before this turn, so that sockets get their say. */
    while (loop->tasks) {
        struct loop_task *task = loop->tasks;
        bool last = &task->next == end;

        loop->tasks = task->next;
        if (!loop->tasks)
            loop->tasks_tail = &loop->tasks;
        task->queued = false;
        task->fn(task->user);
        if (last)
            break;
    }
    if (!loop->tasks)
        uv_idle_stop(&loop->idle);
}

int loop_new(struct loop **ret_loop)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int r;

    if (!loop)
        return -ENOMEM;
    r = uv_loop_init(&loop->uv);
    if (r < 0) {
        free(loop);
        return r;
    }
    loop->tasks_tail = &loop->tasks;
    uv_prepare_init(&loop->uv, &loop->prepare);
    loop->prepare.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->idle.data = loop;
    *ret_loop = loop;
    return 0;
}

void loop_free(struct loop **loop)
{
    struct loop *l = *loop;

    *loop = NULL;
    if (!l)
        return;
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_loop_close(&l->uv);
    while (l->free_polls) {
        struct loop_poll *p = l->free_polls;

        l->free_polls = p->next_free;
        free(p);
    }
    free(l);
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

uint64_t loop_woke_ns(struct loop *loop)
{
    if (loop->woke_ns == 0)
        loop->woke_ns = clock_mono_ns();
    return loop->woke_ns;
}

static void on_poll(uv_poll_t *handle, int status, int uv_events)
{
    struct loop_poll *poll = (struct loop_poll *)handle;
    unsigned events = 0;

    if (status < 0) {
        /* libuv has stopped the handle by itself. */
        poll->events = 0;
        events = LOOP_READ | LOOP_WRITE | LOOP_ERROR;
    } else {
        events = ((uv_events & UV_READABLE) ? (unsigned)LOOP_READ : 0) |
                 ((uv_events & UV_WRITABLE) ? (unsigned)LOOP_WRITE : 0);
        /* Level-triggered, and in no other way to be told: a hang-up, or urgent
         * data that nobody asked for by name. It is stopped, or it would come
         * again at once. */
        if (events == 0) {
            loop_poll_set(poll, 0);
            events = LOOP_READ | LOOP_WRITE | LOOP_ERROR;
        }
    }
    poll->fn(poll->user, events);
}

int loop_poll_new(struct loop *loop, int fd, loop_poll_fn fn, void *user,
                  struct loop_poll **ret_poll)
{
    struct loop_poll *poll = loop->free_polls;
    int r;

    if (poll) {
        loop->free_polls = poll->next_free;
        loop->free_polls_count--;
    } else {
        poll = malloc(sizeof(*poll));
        if (!poll)
            return -ENOMEM;
    }
    *poll = (struct loop_poll){.loop = loop, .fn = fn, .user = user};
    r = uv_poll_init(&loop->uv, &poll->handle, fd);
    if (r < 0) {
        free(poll);
        return r;
    }
    *ret_poll = poll;
    return 0;
}

void loop_poll_set(struct loop_poll *poll, unsigned events)
{
    int uv_events = 0;

    if (poll->events == events)
        return;
    poll->events = events;
    if (events == 0) {
        uv_poll_stop(&poll->handle);
        return;
    }
    /* Errors are always told; this keeps the socket watched at all. */
    if (events == LOOP_ERROR)
        uv_events |= UV_PRIORITIZED;
    if (events & LOOP_READ)
        uv_events |= UV_READABLE;
    if (events & LOOP_WRITE)
        uv_events |= UV_WRITABLE;
    uv_poll_start(&poll->handle, uv_events, on_poll);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct loop_poll *poll = (struct loop_poll *)handle;
    struct loop *loop = poll->loop;

    if (loop->free_polls_count >= FREE_POLLS_MAX) {
        free(poll);
        return;
    }
    poll->next_free = loop->free_polls;
    loop->free_polls = poll;
    loop->free_polls_count++;
}

void loop_poll_free(struct loop_poll **poll)
{
    struct loop_poll *p = *poll;

    *poll = NULL;
    if (!p)
        return;
    uv_poll_stop(&p->handle);
    uv_close((uv_handle_t *)&p->handle, on_poll_closed);
}

static void on_timer(uv_timer_t *handle)
{
    struct loop_timer *timer = (struct loop_timer *)handle;

    timer->fn(timer->user);
}

int loop_timer_new(struct loop *loop, uint64_t period_ms, loop_fn fn, void *user,
                   struct loop_timer **ret_timer)
{
    struct loop_timer *timer = calloc(1, sizeof(*timer));

    if (!timer)
        return -ENOMEM;
    timer->fn = fn;
    timer->user = user;
    uv_timer_init(&loop->uv, &timer->handle);
    uv_timer_start(&timer->handle, on_timer, period_ms, period_ms);
    *ret_timer = timer;
    return 0;
}

static void on_closed_free(uv_handle_t *handle)
{
    free(handle);
}

void loop_timer_free(struct loop_timer **timer)
{
    struct loop_timer *t = *timer;

    *timer = NULL;
    if (t)
        uv_close((uv_handle_t *)&t->handle, on_closed_free);
}

static void on_signal(uv_signal_t *handle, int signal_number)
{
    struct loop_signal *s = (struct loop_signal *)handle;

    (void)signal_number;
    s->fn(s->user);
}

int loop_signal_new(struct loop *loop, int signal_number, loop_fn fn, void *user,
                    struct loop_signal **ret_signal)
{
    struct loop_signal *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->fn = fn;
    s->user = user;
    uv_signal_init(&loop->uv, &s->handle);
    uv_signal_start(&s->handle, on_signal, signal_number);
    *ret_signal = s;
    return 0;
}

void loop_signal_free(struct loop_signal **handle)
{
    struct loop_signal *s = *handle;

    *handle = NULL;
    if (s)
        uv_close((uv_handle_t *)&s->handle, on_closed_free);
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
    if (task->queued)
        return;
    task->queued = true;
    task->next = NULL;
    *loop->tasks_tail = task;
    loop->tasks_tail = &task->next;
    uv_idle_start(&loop->idle, on_idle);
}

void loop_cancel(struct loop *loop, struct loop_task *task)
{
    struct loop_task **at = &loop->tasks;

    if (!task->queued)
        return;
    while (*at && *at != task)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = task->next;
    if (!*at)
        loop->tasks_tail = at;
    task->queued = false;
}
