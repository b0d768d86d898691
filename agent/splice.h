/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of an untouched connection: bytes go from socket to socket
 * through a pipe and are never seen here. A pipe is held only while bytes are
 * in it, so an idle connection holds none.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PIPES_MAX 1024    /* in use at once */
#define PIPES_IDLE_MAX 64 /* kept open for the next */

struct pipes;

int pipes_new(struct pipes **ret_pipes) LECTR_MUST_USE;
void pipes_free(struct pipes **pipes);

enum splice_result {
    SPLICE_WAIT_READ,  /* the source has nothing now */
    SPLICE_WAIT_WRITE, /* the sink takes nothing now */
    SPLICE_WAIT_PIPE,  /* no pipe to be had: try again soon */
    SPLICE_END,        /* the source ended and everything was passed on */
    SPLICE_SOURCE_BROKE,
    SPLICE_SINK_BROKE,
    SPLICE_AGAIN, /* enough for one turn */
};

struct splice_flow {
    int pipe[2];
    size_t in_pipe_bytes;
    bool has_pipe, source_ended;
    uint8_t dry_reads; /* in a row: readable, but splice(2) got nothing */
    uint64_t bytes;    /* passed on */
};

void splice_init(struct splice_flow *f);
/* Gives the pipe back, or closes it when bytes are left in it. */
void splice_fini(struct pipes *pipes, struct splice_flow *f);
/* `readable`: the poll said so of the source. Where splice(2) does not get past
 * what is there, as before urgent data, it is read and written. */
enum splice_result splice_run(struct pipes *pipes, struct splice_flow *f, int from, int to,
                              bool readable);
