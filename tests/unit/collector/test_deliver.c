/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is under way to an Alertmanager at the same time. Requests are on connections of their own:
 * which of two arrives first is not known.
 *
 * LINK: collector/deliver_send.c collector/deliver_settle.c collector/retry.c collector/hash.c
 * LINK: @store
 */
#include "collector/deliver_priv.h"
#include "collector/letter.h"
#include "collector/store_deliver.h"
#include "proto/base/clock.h"
#include "proto/event.h"
#include "tests/harness/stores.h"

enum {
    FIRING = LECTR__V1__ALERT__STATUS__STATUS_FIRING,
    RESOLVED = LECTR__V1__ALERT__STATUS__STATUS_RESOLVED,
};

/* --- requests that are answered when the test says so --- */

static struct {
    char text[256]; /* "a:firing b:firing" */
    uint64_t tag;
} posts[16];
static unsigned posts_count;
static char written[256];

int letter_write(const struct alerting_receiver *to, const struct notice *notices, size_t count,
                 uint64_t wall_ns, struct letter *ret_letter)
{
    (void)to;
    (void)wall_ns;
    memset(ret_letter, 0, sizeof(*ret_letter));
    written[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(written);

        snprintf(written + len, sizeof(written) - len, "%s%s:%s", i ? " " : "",
                 notices[i].alert->fingerprint,
                 (int)notices[i].alert->status == RESOLVED ? "resolved" : "firing");
    }
    return 0;
}

void letter_fini(struct letter *letter)
{
    (void)letter;
}

struct webhook_post letter_post(const struct letter *letter, const struct alerting_receiver *to)
{
    (void)letter;
    (void)to;
    return (struct webhook_post){.url = ""};
}

bool letter_may_quote(const struct alerting_receiver *to, const char *answer)
{
    (void)to;
    (void)answer;
    return true;
}

bool letter_is_state(enum alerting_receiver_type type)
{
    return type == ALERTING_ALERTMANAGER;
}

int webhook_start(struct webhook *w, const struct webhook_post *post, uint64_t tag)
{
    (void)w;
    (void)post;
    snprintf(posts[posts_count].text, sizeof(posts[0].text), "%s", written);
    posts[posts_count++].tag = tag;
    return 0;
}

int64_t deliver_now_ms(void)
{
    return 1000;
}

void deliver_note_store(struct deliver *d, int error)
{
    (void)d;
    assert_int_equal(error, 0);
}

/* --- */

static struct deliver *d;
static struct alerting_receiver receiver;
static struct alerting rules;

static int prepare(void **state)
{
    static char name[] = "am";

    (void)state;
    if (!stores_where[0])
        return 0;
    posts_count = 0;
    receiver = (struct alerting_receiver){
        .name = name, .type = ALERTING_ALERTMANAGER, .max_attempts = 10, .send_resolved = true};
    d = calloc(1, sizeof(*d));
    assert_non_null(d);
    d->alerting = &rules;
    d->count = 1;
    d->channels[0].to = &receiver;
    return store_open(stores_where, &d->store);
}

static int clean(void **state)
{
    if (stores_where[0]) {
        store_close(&d->store);
        free(d);
    }
    return stores_empty(state);
}

/* A transition and its letter, as routing_turn() would have it. */
static void add(const char *fingerprint, int status)
{
    static int64_t row;
    Lectr__V1__Alert m = LECTR__V1__ALERT__INIT;
    uint8_t packed[256];
    size_t bytes = 0;
    char id[32];
    struct store_alert alert;

    row = posts_count == 0 && d->channels[0].stats.pending == 0 ? 1 : row + 1;
    snprintf(id, sizeof(id), "%s%d", fingerprint, status);
    m.id = (char[]){"11111111-1111-8111-8111-111111111111"};
    m.fingerprint = (char *)(uintptr_t)fingerprint;
    m.has_status = true;
    m.status = (Lectr__V1__Alert__Status)status;
    assert_int_equal(event_pack(&m.base, packed, sizeof(packed), &bytes), 0);
    alert = (struct store_alert){.id = id,
                                 .fingerprint = fingerprint,
                                 .status = status,
                                 .org = "acme",
                                 .kind = "cost",
                                 .payload = slice_of(packed, bytes),
                                 .row = row};
    assert_int_equal(store_add_alert(d->store, &alert), 0);
    assert_int_equal(store_add_letter(d->store, "am", &alert), 0);
    if (status == RESOLVED)
        assert_int_equal(store_end_told(d->store, fingerprint), 0);
    else
        assert_int_equal(store_set_told(d->store, "am", fingerprint, row), 0);
    d->channels[0].stats.pending++;
}

/* The post of this text is answered with 200. */
static void answer(const char *text)
{
    for (unsigned i = 0; i < posts_count; i++)
        if (strcmp(posts[i].text, text) == 0) {
            d->slots[posts[i].tag].result = (struct webhook_result){.status = 200};
            d->slots[posts[i].tag].is_done = true;
            posts[i].text[0] = '\0';
            deliver_settle(d);
            return;
        }
    fail_msg("no post of %s", text);
}

static void send_due(void)
{
    assert_int_equal(deliver_send_due(d, &d->channels[0]), 0);
}

static void the_end_does_not_pass_a_repetition(void **state)
{
    (void)state;
    STORES_NEEDED();
    add("a", FIRING);
    add("b", FIRING);
    send_due();
    answer("a:firing");
    answer("b:firing");
    assert_int_equal(deliver_resend(d, &d->channels[0]), 0);
    assert_int_equal(posts_count, 3);
    assert_string_equal(posts[2].text, "a:firing b:firing");
    add("a", RESOLVED);
    add("b", RESOLVED);
    add("c", FIRING);
    add("d", FIRING);
    add("c", RESOLVED);
    send_due();
    /* What is not repeated goes on meanwhile, its end too. */
    assert_int_equal(posts_count, 5);
    assert_string_equal(posts[3].text, "c:firing");
    assert_string_equal(posts[4].text, "d:firing");
    answer("c:firing");
    send_due();
    assert_string_equal(posts[5].text, "c:resolved");
    answer("c:resolved");
    answer("d:firing");
    send_due();
    assert_int_equal(posts_count, 6);
    answer("a:firing b:firing");
    send_due();
    assert_int_equal(posts_count, 8);
    assert_string_equal(posts[6].text, "a:resolved");
    assert_string_equal(posts[7].text, "b:resolved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_end_does_not_pass_a_repetition, prepare, clean),
    };

    return cmocka_run_group_tests_name("SQLite", tests, stores_setup_sqlite, stores_teardown) +
           cmocka_run_group_tests_name("PostgreSQL", tests, stores_setup_postgres, stores_teardown);
}
