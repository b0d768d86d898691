/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define CHUNK_BYTES (256 * 1024)
#define CHUNKS_PER_TURN 8
#define COPY_BYTES 4096 /* no more than the smallest pipe holds */
#define DRY_READS_MAX 3

struct pipes {
    unsigned used, idle_count;
    int idle[PIPES_IDLE_MAX][2];
};

int pipes_new(struct pipes **ret_pipes)
{
    struct pipes *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    *ret_pipes = p;
    return 0;
}

void pipes_free(struct pipes **pipes)
{
    struct pipes *p = *pipes;

    *pipes = NULL;
    if (!p)
        return;
    while (p->idle_count > 0) {
        p->idle_count--;
        close(p->idle[p->idle_count][0]);
        close(p->idle[p->idle_count][1]);
    }
    free(p);
}

static bool take_pipe(struct pipes *p, struct splice_flow *f)
{
    if (f->has_pipe)
        return true;
    if (p->used >= PIPES_MAX)
        return false;
    if (p->idle_count > 0) {
        p->idle_count--;
        f->pipe[0] = p->idle[p->idle_count][0];
        f->pipe[1] = p->idle[p->idle_count][1];
    } else if (pipe2(f->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
        return false;
    }
    p->used++;
    f->has_pipe = true;
    return true;
}

static void give_pipe(struct pipes *p, struct splice_flow *f)
{
    if (!f->has_pipe)
        return;
    f->has_pipe = false;
    p->used--;
    if (f->in_pipe_bytes == 0 && p->idle_count < PIPES_IDLE_MAX) {
        p->idle[p->idle_count][0] = f->pipe[0];
        p->idle[p->idle_count][1] = f->pipe[1];
        p->idle_count++;
        return;
    }
    close(f->pipe[0]);
    close(f->pipe[1]);
    f->in_pipe_bytes = 0;
}

void splice_init(struct splice_flow *f)
{
    *f = (struct splice_flow){.pipe = {-1, -1}};
}

void splice_fini(struct pipes *pipes, struct splice_flow *f)
{
    give_pipe(pipes, f);
}

/* The pipe is empty before it is filled, so EAGAIN can only mean the sockets. */
static enum splice_result empty_pipe(struct splice_flow *f, int to)
{
    while (f->in_pipe_bytes > 0) {
        ssize_t n =
            splice(f->pipe[0], NULL, to, NULL, f->in_pipe_bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? SPLICE_WAIT_WRITE : SPLICE_SINK_BROKE;
        f->in_pipe_bytes -= (size_t)n;
        f->bytes += (uint64_t)n;
    }
    return SPLICE_AGAIN;
}

/* The pipe is empty and takes it all. */
static enum splice_result copy_to_pipe(struct splice_flow *f, int from)
{
    uint8_t bytes[COPY_BYTES];
    ssize_t n, written;

    do
        n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? SPLICE_WAIT_READ : SPLICE_SOURCE_BROKE;
    if (n == 0) {
        f->source_ended = true;
        return SPLICE_END;
    }
    do
        written = write(f->pipe[1], bytes, (size_t)n);
    while (written < 0 && errno == EINTR);
    explicit_bzero(bytes, (size_t)n);
    if (written != n)
        return SPLICE_SINK_BROKE;
    f->in_pipe_bytes = (size_t)n;
    return SPLICE_AGAIN;
}

static enum splice_result fill_pipe(struct splice_flow *f, int from)
{
    for (;;) {
        ssize_t n =
            splice(from, NULL, f->pipe[1], NULL, CHUNK_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? SPLICE_WAIT_READ : SPLICE_SOURCE_BROKE;
        /* Its end, or urgent data with the end behind. */
        if (n == 0)
            return copy_to_pipe(f, from);
        f->in_pipe_bytes = (size_t)n;
        return SPLICE_AGAIN;
    }
}

enum splice_result splice_run(struct pipes *pipes, struct splice_flow *f, int from, int to,
                              bool readable)
{
    enum splice_result result = SPLICE_AGAIN;
    uint64_t before = f->bytes + f->in_pipe_bytes;

    if (f->source_ended)
        return SPLICE_END;
    if (!take_pipe(pipes, f))
        return SPLICE_WAIT_PIPE;
    for (unsigned i = 0; i < CHUNKS_PER_TURN && result == SPLICE_AGAIN; i++) {
        result = empty_pipe(f, to);
        if (result == SPLICE_AGAIN)
            result = fill_pipe(f, from);
    }
    if (f->bytes + f->in_pipe_bytes != before)
        f->dry_reads = 0;
    else if (readable && result == SPLICE_WAIT_READ && ++f->dry_reads > DRY_READS_MAX)
        result = copy_to_pipe(f, from);
    if (result == SPLICE_AGAIN)
        result = empty_pipe(f, to);
    if (f->in_pipe_bytes == 0)
        give_pipe(pipes, f);
    return result;
}
