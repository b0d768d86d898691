/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/conn_pump.c */
/* The pump alone, between legs whose bytes are written here. */
#include "agent/conn_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What a leg gives next, and what it was given. */
struct script {
    const char *bytes;
    bool endless; /* again and again */
    unsigned reads;
    enum tls_io then;
    char got[64];
    size_t got_len;
};

struct bench {
    struct conn c;
    struct script client, upstream;
    unsigned opened; /* meters */
    unsigned deferred;
    unsigned meter_takes_ms;
};

static struct bench *bench;

static struct script *script_of(const struct tls_leg *leg)
{
    return leg == &bench->c.client.tls ? &bench->client : &bench->upstream;
}

enum tls_io tls_read(struct tls_leg *leg, void *bytes, size_t cap, size_t *ret_len)
{
    struct script *s = script_of(leg);
    const char *text = s->bytes;

    if (!text)
        return s->then;
    assert_true(strlen(text) < cap);
    memcpy(bytes, text, *ret_len = strlen(text));
    s->reads++;
    if (!s->endless)
        s->bytes = NULL;
    return TLS_OK;
}

enum tls_io tls_write(struct tls_leg *leg, const void *bytes, size_t len, size_t *ret_len)
{
    struct script *s = script_of(leg);

    *ret_len = len;
    if (len > sizeof(s->got) - s->got_len)
        return TLS_OK;
    memcpy(s->got + s->got_len, bytes, len);
    s->got_len += len;
    return TLS_OK;
}

bool tls_has_buffered(const struct tls_leg *leg)
{
    return script_of(leg)->bytes && !script_of(leg)->endless;
}

enum tls_io tls_close_notify(struct tls_leg *leg)
{
    (void)leg;
    return TLS_OK;
}

/* As conn_event.c's, which takes the host's name from `opening`. */
void conn_meter_open(struct conn *c)
{
    assert_non_null(c->opening);
    bench->opened++;
    c->meter = (struct meter *)(void *)bench;
}

void conn_meter_check(struct conn *c)
{
    assert_non_null(c->meter);
}

void conn_meter_end(struct conn *c, enum meter_end end, uint64_t now_ns)
{
    (void)end;
    (void)now_ns;
    c->metering = c->metering && !c->meter;
}

void conn_opening_done(struct conn *c)
{
    assert_non_null(c->opening);
    free(c->opening);
    c->opening = NULL;
}

void conn_note_silence(struct conn *c)
{
    free(c->opening);
    c->opening = NULL;
}

void conn_destroy(struct conn *c)
{
    (void)c;
}

void conn_reset(struct conn *c)
{
    (void)c;
}

void conn_set_deadline(struct conn *c, uint64_t deadline_ns)
{
    c->deadline_ns = deadline_ns;
}

void conn_watch(struct conn *c, struct side *side, unsigned events)
{
    (void)c;
    (void)side;
    (void)events;
}

void conn_watch_half_closed(const struct side *side)
{
    (void)side;
}

void loop_cancel(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    (void)task;
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    (void)task;
    bench->deferred++;
}

uint64_t loop_woke_ns(struct loop *loop)
{
    (void)loop;
    return 1;
}

void meter_request(struct meter *m, struct slice bytes, uint64_t now_mono_ns)
{
    (void)m;
    (void)bytes;
    (void)now_mono_ns;
    usleep(bench->meter_takes_ms * 1000);
}

void meter_response(struct meter *m, struct slice bytes, uint64_t now_mono_ns)
{
    meter_request(m, bytes, now_mono_ns);
}

void meter_request_took(struct meter *m, uint64_t ns)
{
    (void)m;
    (void)ns;
}

void meter_response_took(struct meter *m, uint64_t ns)
{
    meter_request_took(m, ns);
}

static void begin(struct bench *b, struct conns *cs)
{
    *b = (struct bench){.client.then = TLS_WANT_READ, .upstream.then = TLS_WANT_READ};
    bench = b;
    b->c.owner = cs;
    b->c.metering = true;
    b->c.client.fd = b->c.upstream.fd = -1;
    b->c.opening = calloc(1, sizeof(*b->c.opening));
    assert_non_null(b->c.opening);
    strcpy(b->c.upstream.tls.alpn, "h2");
}

static void end(struct bench *b)
{
    conn_pump_fini(&b->c);
    free(b->c.opening);
}

static struct conns *owner(void)
{
    struct conns *cs = calloc(1, sizeof(*cs));

    assert_non_null(cs);
    return cs;
}

static void the_server_may_speak_first(void **state)
{
    struct conns *cs = owner();
    struct bench b;

    (void)state;
    begin(&b, cs);
    b.upstream.bytes = "settings";
    conn_pump_start(&b.c);
    assert_int_equal(b.opened, 1);
    assert_memory_equal(b.client.got, "settings", 8);
    b.client.bytes = "preface";
    conn_pump_event(&b.c, &b.c.client, LOOP_READ);
    assert_int_equal(b.opened, 1);
    assert_memory_equal(b.upstream.got, "preface", 7);
    assert_null(b.c.opening);
    end(&b);
    free(cs);
}

/* It leaves after the handshake; what the server says then is of no call. */
static void the_client_may_leave_before_the_server_speaks(void **state)
{
    struct conns *cs = owner();
    struct bench b;

    (void)state;
    begin(&b, cs);
    conn_pump_start(&b.c);
    b.client.then = TLS_CLOSED;
    conn_pump_event(&b.c, &b.c.client, LOOP_READ);
    assert_null(b.c.opening);
    b.upstream.bytes = "settings";
    conn_pump_event(&b.c, &b.c.upstream, LOOP_READ);
    assert_int_equal(b.opened, 0);
    assert_memory_equal(b.client.got, "settings", 8);
    end(&b);
    free(cs);
}

/* Whatever one connection costs, the loop comes round. */
static void a_costly_one_gives_way(void **state)
{
    static char record[16385];
    struct conns *cs = owner();
    struct bench b;

    (void)state;
    memset(record, 'x', sizeof(record) - 1);
    for (int costly = 0; costly < 2; costly++) {
        begin(&b, cs);
        conn_pump_start(&b.c);
        b.client.bytes = record; /* a full one: there is more */
        b.client.endless = true;
        b.meter_takes_ms = costly ? 30 : 0;
        conn_pump_event(&b.c, &b.c.client, LOOP_READ);
        assert_int_equal(b.deferred, 1);
        if (costly)
            assert_int_equal(b.client.reads, 1);
        end(&b);
    }
    free(cs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_may_speak_first),
        cmocka_unit_test(the_client_may_leave_before_the_server_speaks),
        cmocka_unit_test(a_costly_one_gives_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
