/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subjects whose messages the server does not take, so that nothing else waits
 * for them. Pure; times are the caller's monotonic clock.
 *
 * The first message of a held subject is tried again, after a wait that doubles;
 * those behind it wait for it. Nobody can tell a subject that is denied from a
 * server that is away but by what else gets through: a try counts only if some
 * other message was taken since the one before. After HOLD_TRIES counted tries
 * the message is given up. When the next one of the subject fails as well, it is
 * not the message: what follows is given up untried, but for one probe each
 * HOLD_WAIT_MAX_S.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/subject.h"

#include <stdbool.h>
#include <stdint.h>

#define HOLD_MAX 64
#define HOLD_TRIES 10
#define HOLD_WAIT_MAX_S 300
/* While nothing at all is taken. */
#define HOLD_AWAY_MAX_S 20
/* A try costs seconds in which nothing else is done: held ones are tried no closer than that. */
#define HOLD_RETRY_S 10

struct hold_entry {
    char subject[SUBJECT_BYTES];
    int64_t number;      /* of the message that is tried; 0: whichever is asked for next */
    unsigned tries;      /* that count, of this message */
    unsigned fails;      /* in a row that do not count */
    unsigned given_up;   /* messages of the subject, since the last that was taken */
    uint64_t taken_seen; /* at the last try */
    uint64_t due_ns;
};

struct hold {
    struct hold_entry entries[HOLD_MAX];
    unsigned count;
    uint64_t taken; /* by the server, whatever it was */
    uint64_t retry_ns, full_ns;
};

enum hold_verdict {
    HOLD_GO,      /* try it, then say what came of it */
    HOLD_WAIT,    /* not now; what has another subject may go */
    HOLD_FULL,    /* not now, and it cannot be remembered: ask again for it before what follows */
    HOLD_GIVE_UP, /* never */
};

/* `number` of the message, > 0: of one subject they are given in rising order. */
enum hold_verdict hold_ask(struct hold *h, const char *subject, int64_t number,
                           uint64_t now_ns) LECTR_MUST_USE;
/* The server has it: what waits behind it may go. */
void hold_taken(struct hold *h, const char *subject);
/* Something else was taken that is not held here. */
void hold_note_taken(struct hold *h);
/* The message is not asked for again: the next one is the first. */
void hold_skip(struct hold *h, const char *subject, int64_t number);
/* HOLD_WAIT, HOLD_FULL or HOLD_GIVE_UP. */
enum hold_verdict hold_failed(struct hold *h, const char *subject, int64_t number,
                              uint64_t now_ns) LECTR_MUST_USE;
bool hold_has(const struct hold *h, const char *subject);
/* Messages of the subject that were given up since the last that was taken. */
unsigned hold_given_up(const struct hold *h, const char *subject);
/* The number that has been due longest, or is to be given up; 0: none. */
int64_t hold_next(const struct hold *h, uint64_t now_ns);
