/* SPDX-License-Identifier: Apache-2.0 */
/* The session as its own files see it: realtime.c, realtime_turn.c,
 * realtime_overlap.c. */
#pragma once

#include "agent/answer.h"
#include "agent/gaps.h"
#include "agent/realtime.h"
#include "agent/text.h"

#define MESSAGE_ID_MAX 64

struct turn {
    struct turn *next;
    uint64_t start_ns, first_byte_ns, first_output_ns, end_ns;
    bool triggered; /* start_ns is that of what made the provider answer */
    bool taken_up;  /* the provider has begun */
    bool lingers;   /* ended, but for its usage, which may follow */
    bool interrupted;
    char asked_by[MESSAGE_ID_MAX];
    uint64_t request_bytes, response_bytes;
    struct gaps gaps;
    struct answer answer;
};

/* What the client's message that passes now has said. */
struct client_message {
    char event[MESSAGE_ID_MAX], id[MESSAGE_ID_MAX];
    bool ask, trigger, resume;
};

/* The provider's, beside what the answer's profile reads. */
struct server_message {
    char error_source[MESSAGE_ID_MAX];
    bool turn, begin, interrupted;
};

struct side_state {
    struct ws ws;
    struct json json;
    uint64_t seen_bytes; /* of whole messages */
    bool closed;
};

struct realtime {
    struct realtime_env env;
    const struct profile_family *family;
    const struct profile_session *profile;
    uint64_t now_ns;
    uint64_t trigger_ns; /* not followed by a turn yet; 0: none */
    struct side_state client, server;
    struct client_message said;
    struct server_message heard;
    struct answer scan; /* the message's values, before it is known whose they are */
    struct turn *turns; /* oldest first */
    uint32_t turns_count;
    bool ended;
    enum realtime_end end;
    uint16_t close_code;     /* of who closed first; 0: none */
    uint64_t request_bytes;  /* of no turn so far */
    uint64_t response_bytes; /* of no turn */
    char model_requested[160], model_responded[160], aside_model[160], session_id[160];
    char error_type[64], error_code[64]; /* the last that was about no answer */
};

_Static_assert(sizeof(struct realtime) + REALTIME_TURNS_MAX * sizeof(struct turn) <
                   REALTIME_STATE_MAX_BYTES,
               "as promised");

static inline bool realtime_matches(char *const *list, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count && name[0]; i++)
        if (text_match(list[i], slice_str(name)))
            return true;
    return false;
}

static inline const char *realtime_event(const struct realtime *rt)
{
    return rt->scan.event.name.rank == 255 ? "" : rt->scan.event.name.text;
}

/* realtime_turn.c */
/* The client asks for an answer. */
void turn_ask(struct realtime *rt);
/* The client answers what the provider asked for in between. */
void turn_resume(struct realtime *rt);
/* A message of an answer, in rt->scan and rt->heard. False: it is of none. */
bool turn_message(struct realtime *rt, uint64_t bytes);
/* A message that is a call of its own. */
void turn_aside(struct realtime *rt, uint64_t bytes);
/* An error that may be the answer to an ask. False: it is not. */
bool turn_error(struct realtime *rt, uint64_t bytes);
void turn_end_all(struct realtime *rt);

/* realtime_overlap.c */
/* What the cached tokens are of is not told: rows in proportion, with the bounds
 * that the sums leave (certain ones). Nothing is done where it is told. */
void realtime_overlap(const struct answer *a, struct call *call);
