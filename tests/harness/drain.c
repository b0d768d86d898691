/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: nothing but the contract */
/*
 * Reads a JetStream stream with durable pull consumers and only counts: what no
 * consumer that also does something can be faster than. Prints one JSON line.
 *
 *   drain --nats URL --count N [--stream S] [--consumers 1|64] [--batch N]
 *
 * 64 consumers: one for each part, calls only.
 */
#include "proto/base/clock.h"
#include "proto/subject.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CONSUMERS_MAX EVENT_PARTS
#define DELIVERY_THREADS 2
#define EXPIRES_S 30
/* Not every server says that a request is over which it forgot when it was busy. */
#define FORGOTTEN_NS ((EXPIRES_S + 2) * NSEC_PER_SEC)
#define STALL_S 120

struct drain;

struct consumer {
    struct drain *drain;
    natsSubscription *subscription;
    char inbox[96], ask[192];
    uint64_t wanted; /* of the pull request that is under way */
    atomic_uint_fast64_t heard_ns;
};

struct drain {
    const char *url, *stream;
    uint64_t count, batch;
    unsigned consumers;
    natsOptions *options;
    natsConnection *connection;
    jsCtx *js;
    struct consumer list[CONSUMERS_MAX];
    atomic_uint_fast64_t messages, bytes, batches;
};

static natsStatus ask(struct consumer *c)
{
    char request[96];
    int len = snprintf(request, sizeof(request), "{\"batch\":%" PRIu64 ",\"expires\":%" PRIu64 "}",
                       c->drain->batch, EXPIRES_S * (uint64_t)NSEC_PER_SEC);

    c->wanted = c->drain->batch;
    atomic_store(&c->heard_ns, clock_mono_ns());
    return natsConnection_PublishRequest(c->drain->connection, c->ask, c->inbox, request, len);
}

/* The last message of a batch is acked, which stands for all. What is no message ends a pull
 * request. */
static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *msg,
                       void *ctx)
{
    struct consumer *c = ctx;
    struct drain *d = c->drain;
    const char *reply = natsMsg_GetReply(msg);
    bool is_message = reply && strncmp(reply, "$JS.ACK.", 8) == 0;

    (void)subscription;
    atomic_store(&c->heard_ns, clock_mono_ns());
    if (is_message) {
        atomic_fetch_add(&d->messages, 1);
        atomic_fetch_add(&d->bytes, (uint64_t)natsMsg_GetDataLength(msg));
        c->wanted--;
    }
    if (!is_message || c->wanted == 0) {
        atomic_fetch_add(&d->batches, is_message);
        if (is_message && natsConnection_PublishString(connection, reply, "+ACK") != NATS_OK)
            fprintf(stderr, "drain: an ack was not sent\n");
        if (ask(c) != NATS_OK)
            fprintf(stderr, "drain: no pull request was sent\n");
    }
    natsMsg_Destroy(msg);
}

static natsStatus consume(struct drain *d, unsigned i)
{
    struct consumer *c = &d->list[i];
    char durable[64];
    jsConsumerConfig config;
    natsStatus s = jsConsumerConfig_Init(&config);
    char filter[128] = SUBJECT_ALL;

    c->drain = d;
    snprintf(durable, sizeof(durable), "drain-%u-of-%u-%d", i, d->consumers, getpid());
    snprintf(c->inbox, sizeof(c->inbox), "_INBOX.%s", durable);
    snprintf(c->ask, sizeof(c->ask), "$JS.API.CONSUMER.MSG.NEXT.%.64s.%s", d->stream, durable);
    if (d->consumers > 1)
        snprintf(filter, sizeof(filter), SUBJECT_ROOT ".call.*.*.%u", i);
    config.Durable = durable;
    config.FilterSubject = filter;
    config.DeliverPolicy = js_DeliverAll;
    config.AckPolicy = js_AckAll;
    config.MaxAckPending = 100000;
    if (s == NATS_OK)
        s = js_AddConsumer(NULL, d->js, d->stream, &config, NULL, NULL);
    if (s == NATS_OK)
        s = natsConnection_Subscribe(&c->subscription, d->connection, c->inbox, on_message, c);
    return s == NATS_OK ? natsSubscription_SetPendingLimits(c->subscription, -1, -1) : s;
}

static natsStatus reach(struct drain *d)
{
    jsOptions options;
    natsStatus s = jsOptions_Init(&options);

    options.Wait = 30000;
    if (s == NATS_OK)
        s = nats_SetMessageDeliveryPoolSize(DELIVERY_THREADS);
    if (s == NATS_OK)
        s = natsOptions_Create(&d->options);
    if (s == NATS_OK)
        s = natsOptions_SetURL(d->options, d->url);
    if (s == NATS_OK)
        s = natsOptions_UseGlobalMessageDelivery(d->options, true);
    if (s == NATS_OK)
        s = natsConnection_Connect(&d->connection, d->options);
    if (s == NATS_OK)
        s = natsConnection_JetStream(&d->js, d->connection, &options);
    for (unsigned i = 0; i < d->consumers && s == NATS_OK; i++)
        s = consume(d, i);
    return s;
}

static void ask_forgotten(struct drain *d)
{
    for (unsigned i = 0; i < d->consumers; i++)
        if (clock_mono_ns() > atomic_load(&d->list[i].heard_ns) + FORGOTTEN_NS &&
            ask(&d->list[i]) != NATS_OK)
            fprintf(stderr, "drain: no pull request was sent\n");
}

static int wait_for_all(struct drain *d)
{
    uint64_t seen = 0, moved_ns = clock_mono_ns();

    while (atomic_load(&d->messages) < d->count) {
        usleep(2000);
        ask_forgotten(d);
        if (atomic_load(&d->messages) != seen)
            moved_ns = clock_mono_ns();
        else if (clock_mono_ns() > moved_ns + STALL_S * NSEC_PER_SEC)
            return -ETIMEDOUT;
        seen = atomic_load(&d->messages);
    }
    return 0;
}

static void print_result(struct drain *d, uint64_t took_ns)
{
    struct rusage used;
    double cpu;

    getrusage(RUSAGE_SELF, &used);
    cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
          1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    printf("{\"consumers\":%u,\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"batches\":%" PRIu64
           ",\"seconds\":%.3f,\"cpu_s\":%.3f}\n",
           d->consumers, (uint64_t)atomic_load(&d->messages), (uint64_t)atomic_load(&d->bytes),
           (uint64_t)atomic_load(&d->batches), 1e-9 * (double)took_ns, cpu);
}

static int run(struct drain *d)
{
    natsStatus s = reach(d);
    uint64_t began_ns = clock_mono_ns();
    int r = 0;

    for (unsigned i = 0; i < d->consumers && s == NATS_OK; i++)
        s = ask(&d->list[i]);
    if (s == NATS_OK)
        r = wait_for_all(d);
    if (s != NATS_OK || r < 0)
        fprintf(stderr, "drain: %s\n", r < 0 ? strerror(-r) : natsStatus_GetText(s));
    print_result(d, clock_mono_ns() - began_ns);
    /* What is being delivered may still look at the consumers: the process ends with them. */
    return s == NATS_OK && r == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"nats", required_argument, NULL, 'n'},
        {"stream", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'c'},
        {"batch", required_argument, NULL, 'b'},
        {"consumers", required_argument, NULL, 'k'},
        {"threads", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    struct drain d = {.stream = "LECTR", .batch = 1000, .consumers = 1};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n')
            d.url = optarg;
        else if (option == 's')
            d.stream = optarg;
        else if (option == 'c')
            d.count = strtoull(optarg, NULL, 10);
        else if (option == 'b')
            d.batch = strtoull(optarg, NULL, 10);
        else if (option == 'k')
            d.consumers = (unsigned)atoi(optarg);
        else
            return 2;
    }
    if (!d.url || !d.count || !d.batch || (d.consumers != 1 && d.consumers != EVENT_PARTS)) {
        fprintf(stderr, "usage: drain --nats URL --count N [--consumers 1|64] "
                        "[--batch N] [--stream S]\n");
        return 2;
    }
    return run(&d);
}
