/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: tests/harness/torrent_events.c tests/harness/torrent_shapes.c
 * tests/harness/torrent_totals.c */
/*
 * Pours made-up events into JetStream as fast as the server takes them, and
 * prints, as one JSON line, exactly what it poured. What is not acked is sent
 * again under the same Nats-Msg-Id, for as long as it takes: the server may be
 * killed and started meanwhile.
 */
#include "proto/base/clock.h"
#include "tests/harness/torrent_events.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

/* Messages under way without an ack; a power of two. */
#define WINDOW 16384
#define RESEND_NS (5 * NSEC_PER_SEC)
#define DUPLICATE_WINDOW_S 120
#define GIVE_UP_S 300

struct options {
    const char *url, *user, *password, *creds, *ca_file, *stream;
    uint64_t rate; /* messages/s, 0: as fast as it goes */
    uint64_t stream_bytes;
    bool only_totals, only_make, is_led;
    struct torrent_plan plan;
};

struct slot {
    atomic_bool is_acked;
    uint64_t sent_ns;
};

struct pour {
    const struct options *options;
    struct torrent *torrent;
    natsOptions *nats_options;
    natsConnection *connection;
    jsCtx *js;
    natsSubscription *acks;
    char inbox[64];
    struct slot slots[WINDOW];
    uint64_t first, next; /* emissions under way */
    uint64_t allowed;     /* emissions that may be sent, when led */
    char said[32];        /* of a line of standard input */
    size_t said_len;
    uint64_t resent, moved_ns;
    atomic_uint_fast64_t refused; /* acks that said no */
};

static const char usage[] =
    "usage: torrent [--nats URL] [--user U --password P] [--creds FILE] [--ca FILE] [--stream S]\n"
    "               [--events N] [--instances N] [--series N] [--orgs N] [--features N]\n"
    "               [--seed N] [--end UNIX] [--span-s S] [--late-s S] [--clean] [--old-subjects]\n"
    "               [--rate N] [--stream-bytes N] [--led | --totals | --make]\n"
    "  --led      standard input says how many messages may have been sent, a number a line; its\n"
    "             end: all\n"
    "  --totals   only print what would be poured\n"
    "  --make     only make the messages (how fast is that?)\n";

enum option_name {
    OPT_NATS = 1,
    OPT_USER,
    OPT_PASSWORD,
    OPT_CREDS,
    OPT_CA,
    OPT_STREAM,
    OPT_CLEAN,
    OPT_TOTALS,
    OPT_MAKE,
    OPT_LED,
    OPT_OLD,
    OPT_NUMBERS, /* those that follow are numbers, in the order of number_at() */
    OPT_EVENTS = OPT_NUMBERS,
    OPT_INSTANCES,
    OPT_SERIES,
    OPT_ORGS,
    OPT_FEATURES,
    OPT_SEED,
    OPT_END,
    OPT_SPAN,
    OPT_LATE,
    OPT_RATE,
    OPT_STREAM_BYTES,
};

static const struct option long_options[] = {
    {"nats", required_argument, NULL, OPT_NATS},
    {"user", required_argument, NULL, OPT_USER},
    {"password", required_argument, NULL, OPT_PASSWORD},
    {"creds", required_argument, NULL, OPT_CREDS},
    {"ca", required_argument, NULL, OPT_CA},
    {"stream", required_argument, NULL, OPT_STREAM},
    {"clean", no_argument, NULL, OPT_CLEAN},
    {"totals", no_argument, NULL, OPT_TOTALS},
    {"make", no_argument, NULL, OPT_MAKE},
    {"led", no_argument, NULL, OPT_LED},
    {"old-subjects", no_argument, NULL, OPT_OLD},
    {"events", required_argument, NULL, OPT_EVENTS},
    {"instances", required_argument, NULL, OPT_INSTANCES},
    {"series", required_argument, NULL, OPT_SERIES},
    {"orgs", required_argument, NULL, OPT_ORGS},
    {"features", required_argument, NULL, OPT_FEATURES},
    {"seed", required_argument, NULL, OPT_SEED},
    {"end", required_argument, NULL, OPT_END},
    {"span-s", required_argument, NULL, OPT_SPAN},
    {"late-s", required_argument, NULL, OPT_LATE},
    {"rate", required_argument, NULL, OPT_RATE},
    {"stream-bytes", required_argument, NULL, OPT_STREAM_BYTES},
    {NULL, 0, NULL, 0},
};

static int take_number(struct options *o, int option, const char *text)
{
    uint64_t *const numbers[] = {
        &o->plan.events,   &o->plan.instances, &o->plan.series,  &o->plan.orgs,
        &o->plan.features, &o->plan.seed,      &o->plan.end_ns,  &o->plan.span_ns,
        &o->plan.late_ns,  &o->rate,           &o->stream_bytes,
    };
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    bool is_time = option == OPT_END || option == OPT_SPAN || option == OPT_LATE;

    if (end == text || *end)
        return -EINVAL;
    *numbers[option - OPT_NUMBERS] = is_time ? value * NSEC_PER_SEC : value;
    return 0;
}

static int take_option(struct options *o, int option)
{
    const char **const texts[] = {
        [OPT_NATS] = &o->url,    [OPT_USER] = &o->user,  [OPT_PASSWORD] = &o->password,
        [OPT_CREDS] = &o->creds, [OPT_CA] = &o->ca_file, [OPT_STREAM] = &o->stream,
    };

    if (option >= OPT_NUMBERS)
        return take_number(o, option, optarg);
    if (option >= OPT_NATS && option <= OPT_STREAM)
        *texts[option] = optarg;
    else if (option == OPT_CLEAN)
        o->plan.clean = true;
    else if (option == OPT_TOTALS)
        o->only_totals = true;
    else if (option == OPT_MAKE)
        o->only_make = true;
    else if (option == OPT_LED)
        o->is_led = true;
    else if (option == OPT_OLD)
        o->plan.old_subjects = true;
    else
        return -EINVAL;
    return 0;
}

/* --- the server --- */

/* The reply's last token is the emission. */
static void on_ack(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *ctx)
{
    struct pour *p = ctx;
    const char *subject = natsMsg_GetSubject(msg);
    uint64_t emission = strtoull(strrchr(subject, '.') + 1, NULL, 10);
    int len = natsMsg_GetDataLength(msg);
    const char *data = natsMsg_GetData(msg);

    (void)nc;
    (void)sub;
    /* Nobody there, no room, the stream is not up yet: it is sent again after a while. */
    if (len == 0 || memmem(data, (size_t)len, "\"error\"", 7))
        atomic_fetch_add(&p->refused, 1);
    else
        atomic_store(&p->slots[emission % WINDOW].is_acked, true);
    natsMsg_Destroy(msg);
}

static natsStatus set_options(struct pour *p)
{
    const struct options *o = p->options;
    natsStatus s = natsOptions_Create(&p->nats_options);

    if (s == NATS_OK)
        s = natsOptions_SetURL(p->nats_options, o->url);
    if (s == NATS_OK)
        s = natsOptions_SetName(p->nats_options, "torrent");
    if (s == NATS_OK)
        s = natsOptions_SetMaxReconnect(p->nats_options, -1);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectWait(p->nats_options, 100);
    if (s == NATS_OK && o->user)
        s = natsOptions_SetUserInfo(p->nats_options, o->user, o->password ? o->password : "");
    if (s == NATS_OK && o->creds)
        s = natsOptions_SetUserCredentialsFromFiles(p->nats_options, o->creds, NULL);
    if (s == NATS_OK && o->ca_file)
        s = natsOptions_LoadCATrustedCertificates(p->nats_options, o->ca_file);
    if (s == NATS_OK && o->ca_file)
        s = natsOptions_SetSecure(p->nats_options, true);
    return s;
}

static natsStatus ensure_stream(struct pour *p)
{
    const char *subjects[] = {SUBJECT_ALL};
    jsStreamConfig config;
    jsErrCode code = 0;
    natsStatus s = jsStreamConfig_Init(&config);

    config.Name = p->options->stream;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    config.Duplicates = DUPLICATE_WINDOW_S * (int64_t)NSEC_PER_SEC;
    config.MaxBytes = p->options->stream_bytes ? (int64_t)p->options->stream_bytes : -1;
    if (s == NATS_OK)
        s = js_AddStream(NULL, p->js, &config, NULL, &code);
    return code == JSStreamNameExistErr ? NATS_OK : s;
}

static natsStatus reach(struct pour *p)
{
    char all[80];
    natsStatus s = set_options(p);

    snprintf(p->inbox, sizeof(p->inbox), "_INBOX.torrent-%d-%" PRIx64, getpid(), clock_wall_ns());
    snprintf(all, sizeof(all), "%s.*", p->inbox);
    if (s == NATS_OK)
        s = natsConnection_Connect(&p->connection, p->nats_options);
    if (s == NATS_OK)
        s = natsConnection_JetStream(&p->js, p->connection, NULL);
    if (s == NATS_OK)
        s = ensure_stream(p);
    if (s == NATS_OK)
        s = natsConnection_Subscribe(&p->acks, p->connection, all, on_ack, p);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(p->acks, -1, -1);
    return s;
}

/* --- pouring --- */

/* Ends up with a message that waits for its ack, or is lost with the connection and sent again. */
static int send_emission(struct pour *p, uint64_t emission, bool is_first)
{
    struct slot *slot = &p->slots[emission % WINDOW];
    struct torrent_message m;
    natsMsg *msg = NULL;
    char reply[96];
    natsStatus s;

    slot->sent_ns = clock_mono_ns();
    if (!torrent_at(p->torrent, emission, is_first, &m)) {
        atomic_store(&slot->is_acked, true);
        return 0;
    }
    snprintf(reply, sizeof(reply), "%s.%" PRIu64, p->inbox, emission);
    s = natsMsg_Create(&msg, m.subject, reply, (const char *)m.data.data, (int)m.data.len);
    if (s == NATS_OK)
        s = natsMsgHeader_Set(msg, "Nats-Msg-Id", m.id);
    if (s != NATS_OK)
        return -ENOMEM;
    s = natsConnection_PublishMsg(p->connection, msg);
    natsMsg_Destroy(msg);
    return s == NATS_CONNECTION_CLOSED ? -EPIPE : 0;
}

static int send_again(struct pour *p)
{
    uint64_t now_ns = clock_mono_ns();
    int r = 0;

    for (uint64_t e = p->first; e < p->next && r == 0; e++) {
        struct slot *slot = &p->slots[e % WINDOW];

        if (atomic_load(&slot->is_acked) || now_ns < slot->sent_ns + RESEND_NS)
            continue;
        p->resent++;
        r = send_emission(p, e, false);
    }
    return r;
}

/* Moves on behind what is acked; -ETIMEDOUT when nothing was for very long. */
static int advance(struct pour *p)
{
    uint64_t before = p->first, now_ns = clock_mono_ns();

    while (p->first < p->next && atomic_load(&p->slots[p->first % WINDOW].is_acked))
        p->first++;
    if (p->first != before || p->first == p->next) {
        p->moved_ns = now_ns;
        return 0;
    }
    return now_ns > p->moved_ns + GIVE_UP_S * NSEC_PER_SEC ? -ETIMEDOUT : 0;
}

static int wait_for_room(struct pour *p, uint64_t room)
{
    uint64_t looked_ns = clock_mono_ns();
    int r = advance(p);

    while (r == 0 && p->next - p->first > room) {
        usleep(500);
        r = advance(p);
        if (r == 0 && clock_mono_ns() > looked_ns + NSEC_PER_SEC) {
            looked_ns = clock_mono_ns();
            r = send_again(p);
        }
    }
    return r;
}

static void take_lead(struct pour *p)
{
    char c;
    ssize_t n = read(STDIN_FILENO, &c, 1);

    if (n == 0) {
        p->allowed = UINT64_MAX;
    } else if (n == 1 && c == '\n') {
        p->said[p->said_len] = '\0';
        p->allowed = strtoull(p->said, NULL, 10);
        p->said_len = 0;
    } else if (n == 1 && p->said_len < sizeof(p->said) - 1) {
        p->said[p->said_len++] = c;
    }
}

/* Returns when the next message may be sent. */
static int wait_for_lead(struct pour *p)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    uint64_t looked_ns = clock_mono_ns();
    int r = 0;

    while (r == 0 && p->options->is_led && p->next >= p->allowed) {
        if (poll(&in, 1, 100) > 0)
            take_lead(p);
        if (clock_mono_ns() < looked_ns + NSEC_PER_SEC)
            continue;
        looked_ns = clock_mono_ns();
        r = advance(p);
        /* It may stand still here for as long as it takes. */
        p->moved_ns = p->first == p->next ? looked_ns : p->moved_ns;
        if (r == 0)
            r = send_again(p);
    }
    return r;
}

static void keep_rate(const struct options *o, uint64_t began_ns, uint64_t sent)
{
    uint64_t due_ns = o->rate ? began_ns + sent * NSEC_PER_SEC / o->rate : 0, now_ns;

    if (sent % 16 || !due_ns)
        return;
    now_ns = clock_mono_ns();
    if (due_ns > now_ns)
        usleep((useconds_t)((due_ns - now_ns) / 1000));
}

static int pour(struct pour *p)
{
    uint64_t count = torrent_emissions(p->torrent), began_ns = clock_mono_ns();
    int r = 0;

    p->moved_ns = began_ns;
    while (p->next < count && r == 0) {
        r = wait_for_lead(p);
        if (r == 0)
            r = wait_for_room(p, WINDOW - 1);
        if (r < 0)
            break;
        atomic_store(&p->slots[p->next % WINDOW].is_acked, false);
        p->next++;
        r = send_emission(p, p->next - 1, true);
        keep_rate(p->options, began_ns, p->next);
    }
    return r < 0 ? r : wait_for_room(p, 0);
}

static void make_all(struct torrent *torrent)
{
    struct torrent_message m;

    for (uint64_t e = 0; e < torrent_emissions(torrent); e++)
        if (!torrent_at(torrent, e, true, &m))
            continue;
}

static int run(const struct options *o, struct torrent *torrent)
{
    struct pour *p = calloc(1, sizeof(*p));
    uint64_t began_ns = clock_mono_ns();
    char tail[128] = "";
    natsStatus s = NATS_OK;
    int r = p ? 0 : -ENOMEM;

    if (r == 0 && (o->only_totals || o->only_make)) {
        make_all(torrent);
    } else if (r == 0) {
        p->options = o;
        p->torrent = torrent;
        s = reach(p);
        r = s == NATS_OK ? pour(p) : -ECONNREFUSED;
        snprintf(tail, sizeof(tail), ",\"resent\":%" PRIu64 ",\"refused\":%" PRIu64, p->resent,
                 (uint64_t)atomic_load(&p->refused));
    }
    if (r < 0)
        fprintf(stderr, "torrent: %s (%s)\n", strerror(-r), natsStatus_GetText(s));
    else if (o->only_totals)
        torrent_print_totals(torrent, "", stdout);
    else {
        snprintf(tail + strlen(tail), sizeof(tail) - strlen(tail), ",\"seconds\":%.3f",
                 1e-9 * (double)(clock_mono_ns() - began_ns));
        torrent_print_totals(torrent, tail, stdout);
    }
    /* The connection is left to the end of the process: the library (3.4.1) can wait for its own
     * thread for ever when one that was made again is closed. */
    return r;
}

int main(int argc, char **argv)
{
    struct options o = {
        .url = "nats://127.0.0.1:4222",
        .stream = "LECTR",
        .plan = {.seed = 1,
                 .events = 100000,
                 .instances = 300,
                 .series = 400,
                 .orgs = 4,
                 .features = 40,
                 .span_ns = 3600 * NSEC_PER_SEC,
                 .late_ns = 86400 * NSEC_PER_SEC},
    };
    struct torrent *torrent = NULL;
    int option, r;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (take_option(&o, option) < 0) {
            fputs(usage, stderr);
            return 2;
        }
    if (o.plan.end_ns == 0)
        o.plan.end_ns = clock_wall_ns();
    r = torrent_new(&o.plan, &torrent);
    if (r < 0) {
        fprintf(stderr, "torrent: %s\n%s", strerror(-r), usage);
        return 2;
    }
    r = run(&o, torrent);
    torrent_free(&torrent);
    return r < 0 ? 1 : 0;
}
