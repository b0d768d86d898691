// SPDX-License-Identifier: Apache-2.0
#include "agent/outbox.h"

#include "agent/config.h"
#include "proto/base/clock.h"
#include "proto/subject.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

struct outbox {
    pthread_mutex_t lock;
    struct spool *spool;
    char instance[EVENT_UUID_BYTES];
    uint32_t part;
    uint64_t next_seq;
    char org[SUBJECT_NAME_BYTES + 1];
    struct outbox_counts counts;
    uint64_t *promise_cell; /* of the next event; NULL: none */
    uint64_t promise_base;
    bool is_attempt; /* the next event comes again when it fails */
    uint8_t packed[EVENT_MAX_BYTES];
};

static char version[] = LECTR_VERSION;

int outbox_open(const struct config *config, struct outbox **ret_outbox)
{
    struct spool_options options = {
        .state_dir = config->state_dir,
        .limit_bytes = config->spool.limit_bytes,
        .segment_bytes = config->spool.segment_bytes,
    };
    const char *org = config->org ? config->org : "";
    CLEAN_FREE struct outbox *o = NULL;
    int r;

    if (strlen(org) > SUBJECT_NAME_BYTES)
        return -ENAMETOOLONG;
    o = calloc(1, sizeof(*o));
    if (!o)
        return -ENOMEM;
    r = event_uuid7(clock_wall_ns(), o->instance);
    if (r < 0)
        return r;
    r = spool_open(&options, o->instance, &o->spool);
    if (r < 0)
        return r;
    pthread_mutex_init(&o->lock, NULL);
    snprintf(o->org, sizeof(o->org), "%s", org);
    o->part = event_part(o->instance);
    o->next_seq = 1;
    *ret_outbox = TAKE_PTR(o);
    return 0;
}

const char *outbox_instance(const struct outbox *o)
{
    return o->instance;
}

struct spool *outbox_spool(struct outbox *o)
{
    return o->spool;
}

/* Makes the id one that every reader accepts: a name of the caller's own choice
 * gives the same UUID each time. */
static int make_id(const char *given, uint64_t wall_ns, char ret_id[EVENT_UUID_BYTES])
{
    if (!given || !*given)
        return event_uuid7(wall_ns, ret_id);
    if (event_is_uuid(given))
        snprintf(ret_id, EVENT_UUID_BYTES, "%s", given);
    else
        event_uuid_named(slice_str(given), ret_id);
    return 0;
}

/* What Call, Gap and Coverage have in common, onto a copy of the caller's. */
#define STAMP(o, m, wall_ns)                                                                       \
    do {                                                                                           \
        (m)->agent_instance = (o)->instance;                                                       \
        (m)->agent_version = version;                                                              \
        (m)->has_part = (m)->has_seq = true;                                                       \
        (m)->part = (o)->part;                                                                     \
        (m)->seq = (o)->next_seq;                                                                  \
        if (!(m)->org || !*(m)->org)                                                               \
            (m)->org = (o)->org;                                                                   \
        if (!(m)->has_end_time_unix_nano)                                                          \
            (m)->end_time_unix_nano = (wall_ns);                                                   \
        if (!(m)->has_start_time_unix_nano || (m)->start_time_unix_nano > (m)->end_time_unix_nano) \
            (m)->start_time_unix_nano = (m)->end_time_unix_nano;                                   \
        (m)->has_start_time_unix_nano = (m)->has_end_time_unix_nano = true;                        \
    } while (0)

/* Packs and appends what was stamped; the number is taken only when it worked. */
static int append(struct outbox *o, const ProtobufCMessage *message, const char *subject,
                  bool use_reserve)
{
    size_t len = 0;
    int r = event_pack(message, o->packed, sizeof(o->packed), &len);

    if (r == 0)
        r = spool_append(o->spool, o->next_seq, subject, slice_of(o->packed, len), use_reserve);
    if (r == 0) {
        o->next_seq++;
        o->counts.appended++;
    }
    return r;
}

static void count_loss(struct outbox *o, uint64_t wall_ns)
{
    o->counts.dropped++;
    spool_note_loss(o->spool, wall_ns);
}

static int append_loss(struct outbox *o, const char *instance, const struct folder_loss *loss,
                       bool use_reserve)
{
    Lectr__V1__Gap gap = LECTR__V1__GAP__INIT;
    char id[EVENT_UUID_BYTES], name[96], subject[SUBJECT_BYTES];
    static char reason[] = "spool_lost";
    int r;

    snprintf(name, sizeof(name), "spool_lost %s %" PRIu64, instance, loss->told_events);
    event_uuid_named(slice_str(name), id);
    gap.id = id;
    gap.reason = reason;
    gap.has_events_lost = true;
    gap.events_lost = loss->lost_events - loss->told_events;
    gap.has_start_time_unix_nano = gap.has_end_time_unix_nano = true;
    gap.start_time_unix_nano = loss->first_wall_ns;
    gap.end_time_unix_nano = loss->last_wall_ns;
    STAMP(o, &gap, loss->last_wall_ns);
    r = subject_gap(gap.org, gap.provider, gap.part, subject);
    return r < 0 ? r : append(o, &gap.base, subject, use_reserve);
}

/* Own losses and those of adopted folders. */
static int tell_losses(struct outbox *o, bool use_reserve)
{
    struct folder_loss loss;
    const char *instance;
    int r = 0;

    while (r == 0 && spool_find_loss(o->spool, &instance, &loss)) {
        r = append_loss(o, instance, &loss, use_reserve);
        if (r == 0)
            spool_loss_told(o->spool, instance, &loss);
    }
    return r;
}

void outbox_tell_losses(struct outbox *o)
{
    pthread_mutex_lock(&o->lock);
    (void)tell_losses(o, false); /* what does not fit is tried again */
    pthread_mutex_unlock(&o->lock);
}

void outbox_note_refused(struct outbox *o)
{
    pthread_mutex_lock(&o->lock);
    count_loss(o, clock_wall_ns());
    pthread_mutex_unlock(&o->lock);
}

/* `subject_error`: what building the subject said. */
static int append_event(struct outbox *o, const ProtobufCMessage *message, const char *subject,
                        int subject_error, uint64_t wall_ns)
{
    uint64_t *cell = o->promise_cell;
    bool is_attempt = o->is_attempt;
    int r = subject_error;

    o->promise_cell = NULL;
    o->is_attempt = false;
    if (cell)
        __atomic_store_n(cell, o->promise_base | o->next_seq, __ATOMIC_RELEASE);
    if (r == 0)
        r = append(o, message, subject, false);
    if (r == 0)
        return 0;
    if (cell)
        __atomic_store_n(cell, o->promise_base, __ATOMIC_RELEASE);
    if (!is_attempt)
        count_loss(o, wall_ns);
    return r;
}

static void promise(struct outbox *o, uint64_t *cell, uint64_t base, bool is_attempt)
{
    pthread_mutex_lock(&o->lock);
    o->promise_cell = cell;
    o->promise_base = base;
    o->is_attempt = is_attempt;
    pthread_mutex_unlock(&o->lock);
}

void outbox_promise(struct outbox *o, uint64_t *cell, uint64_t base)
{
    promise(o, cell, base, false);
}

void outbox_attempt(struct outbox *o, uint64_t *cell)
{
    promise(o, cell, 0, true);
}

/* What the caller gets to know: the number its event has. */
#define TELL_NUMBER(message, stamped)                                                              \
    do {                                                                                           \
        (message)->has_part = (message)->has_seq = true;                                           \
        (message)->part = (stamped).part;                                                          \
        (message)->seq = (stamped).seq;                                                            \
    } while (0)

int outbox_call(struct outbox *o, Lectr__V1__Call *call)
{
    char id[EVENT_UUID_BYTES], subject[SUBJECT_BYTES];
    uint64_t wall_ns = clock_wall_ns();
    Lectr__V1__Call stamped = *call;
    int r = make_id(call->id, wall_ns, id);

    stamped.id = id;
    pthread_mutex_lock(&o->lock);
    STAMP(o, &stamped, wall_ns);
    if (r == 0)
        r = subject_call(stamped.org, stamped.provider, o->part, subject);
    r = append_event(o, &stamped.base, subject, r, wall_ns);
    pthread_mutex_unlock(&o->lock);
    if (r == 0)
        TELL_NUMBER(call, stamped);
    return r;
}

int outbox_gap(struct outbox *o, Lectr__V1__Gap *gap)
{
    char id[EVENT_UUID_BYTES], subject[SUBJECT_BYTES];
    uint64_t wall_ns = clock_wall_ns();
    Lectr__V1__Gap stamped = *gap;
    int r = make_id(gap->id, wall_ns, id);

    stamped.id = id;
    pthread_mutex_lock(&o->lock);
    STAMP(o, &stamped, wall_ns);
    if (r == 0)
        r = subject_gap(stamped.org, stamped.provider, stamped.part, subject);
    r = append_event(o, &stamped.base, subject, r, wall_ns);
    pthread_mutex_unlock(&o->lock);
    if (r == 0)
        TELL_NUMBER(gap, stamped);
    return r;
}

int outbox_coverage(struct outbox *o, Lectr__V1__Coverage *coverage)
{
    char id[EVENT_UUID_BYTES], subject[SUBJECT_BYTES];
    uint64_t wall_ns = clock_wall_ns();
    Lectr__V1__Coverage stamped = *coverage;
    int r = make_id(coverage->id, wall_ns, id);

    stamped.id = id;
    pthread_mutex_lock(&o->lock);
    STAMP(o, &stamped, wall_ns);
    if (r == 0)
        r = subject_coverage(stamped.org, stamped.provider, stamped.part, subject);
    r = append_event(o, &stamped.base, subject, r, wall_ns);
    pthread_mutex_unlock(&o->lock);
    if (r == 0)
        TELL_NUMBER(coverage, stamped);
    return r;
}

void outbox_count(struct outbox *o, struct outbox_counts *ret_counts)
{
    pthread_mutex_lock(&o->lock);
    *ret_counts = o->counts;
    pthread_mutex_unlock(&o->lock);
}

void outbox_close(struct outbox **outbox)
{
    struct outbox *o = outbox ? *outbox : NULL;

    if (!o)
        return;
    (void)tell_losses(o, true);
    spool_close(&o->spool);
    pthread_mutex_destroy(&o->lock);
    free(o);
    *outbox = NULL;
}
