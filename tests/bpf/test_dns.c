/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS reader, run in the kernel over answers good and hostile. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual" /* generated */
#include "tests/bpf/dns.skel.h"
#pragma GCC diagnostic pop

#include "bpf/abi.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TTL_MIN_S 3600
#define PACKET_MAX 4096
#define OPENAI 11u
#define AZURE 22u
#define TYPE_A 1
#define TYPE_CNAME 5
#define TYPE_AAAA 28
#define POINTER_TO_QUESTION "\xc0\x0c"

static struct dns *skel;

/* ---- making packets ---- */

struct packet {
    uint8_t data[PACKET_MAX];
    size_t len;
};

static void put(struct packet *p, const void *bytes, size_t len)
{
    assert_true(p->len + len <= sizeof(p->data));
    memcpy(p->data + p->len, bytes, len);
    p->len += len;
}

static void put16(struct packet *p, unsigned v)
{
    const uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};

    put(p, b, 2);
}

static void put32(struct packet *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p, v & 0xffff);
}

static void put_name(struct packet *p, const char *name)
{
    while (*name) {
        uint8_t len = (uint8_t)strcspn(name, ".");

        put(p, &len, 1);
        put(p, name, len);
        name += len + (name[len] == '.');
    }
    put(p, "", 1);
}

struct transport {
    bool ipv6, ip_options;
    unsigned sport;
};

/* Ethernet (the runner takes it off), IP and UDP; lengths are not looked at. */
static void begin(struct packet *p, struct transport t)
{
    const uint8_t ethernet[14] = {[12] = t.ipv6 ? 0x86 : 0x08, [13] = t.ipv6 ? 0xdd : 0x00};
    const uint8_t ip4[24] = {[0] = t.ip_options ? 0x46 : 0x45, [9] = 17};
    const uint8_t ip6[40] = {[0] = 0x60, [6] = 17};

    p->len = 0;
    put(p, ethernet, sizeof(ethernet));
    put(p, t.ipv6 ? ip6 : ip4, t.ipv6 ? 40 : t.ip_options ? 24 : 20);
    put16(p, t.sport);
    put16(p, 40000);
    put32(p, 0);
}

static void header(struct packet *p, unsigned flags, unsigned questions, unsigned answers)
{
    put16(p, 0x1234);
    put16(p, flags);
    put16(p, questions);
    put16(p, answers);
    put32(p, 0);
}

static void question(struct packet *p, const char *name)
{
    put_name(p, name);
    put16(p, TYPE_A);
    put16(p, 1);
}

/* `owner` NULL: a pointer to the question. */
static void record(struct packet *p, const char *owner, unsigned type, uint32_t ttl,
                   const void *data, size_t len)
{
    if (owner)
        put_name(p, owner);
    else
        put(p, POINTER_TO_QUESTION, 2);
    put16(p, type);
    put16(p, 1);
    put32(p, ttl);
    put16(p, (unsigned)len);
    put(p, data, len);
}

static const struct transport plain = {.sport = 53};
static const uint8_t addr_a[4] = {203, 0, 113, 10}, addr_b[4] = {203, 0, 113, 11};
static const uint8_t addr_6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x10};

/* The usual answer: one question, one address. */
static void simple(struct packet *p, const char *name)
{
    begin(p, plain);
    header(p, 0x8180, 1, 1);
    question(p, name);
    record(p, NULL, TYPE_A, 60, addr_a, 4);
}

/* ---- running, and what was learned ---- */

static void forget_all(void)
{
    int fd = bpf_map__fd(skel->maps.addrs);
    struct lectr_addr_key key;

    while (bpf_map_get_next_key(fd, NULL, &key) == 0)
        bpf_map_delete_elem(fd, &key);
}

static unsigned learned_count(void)
{
    int fd = bpf_map__fd(skel->maps.addrs);
    struct lectr_addr_key key, next;
    unsigned count = 0;

    for (int r = bpf_map_get_next_key(fd, NULL, &next); r == 0;
         r = bpf_map_get_next_key(fd, &key, &next)) {
        key = next;
        count++;
    }
    return count;
}

/* Provider learned for an address; 0: none. */
static uint32_t learned(const void *addr, size_t len, uint64_t *ret_left_s)
{
    int fd = bpf_map__fd(skel->maps.addrs);
    struct lectr_addr_key key, next;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    for (int r = bpf_map_get_next_key(fd, NULL, &next); r == 0;
         r = bpf_map_get_next_key(fd, &key, &next)) {
        struct lectr_addr value;
        uint8_t whole[16] = {0};

        key = next;
        memcpy(whole, addr, len);
        if (key.family != (len == 4 ? LECTR_AF_INET : LECTR_AF_INET6) ||
            memcmp(key.addr, whole, sizeof(whole)) != 0 ||
            bpf_map_lookup_elem(fd, &key, &value) < 0)
            continue;
        assert_int_not_equal(key.netns_cookie, 0);
        if (ret_left_s)
            *ret_left_s = value.expires_ns / 1000000000u - (uint64_t)now.tv_sec;
        return value.provider;
    }
    return 0;
}

static void feed(const struct packet *p)
{
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->data, .data_size_in = (uint32_t)p->len);

    assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.lectr_dns), &opts), 0);
    /* Whatever it reads, the packet passes. */
    assert_int_equal(opts.retval, 1);
}

static uint32_t provider_of(const char *name)
{
    struct packet p;

    forget_all();
    simple(&p, name);
    feed(&p);
    return learned(addr_a, 4, NULL);
}

static void watch_name(const char *pattern, uint32_t provider)
{
    struct lectr_name_key key = {0};
    bool suffix = pattern[0] == '*';
    const char *name = suffix ? pattern + 1 : pattern;
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++)
        key.name[i] = (uint8_t)name[len - 1 - i];
    key.prefix_bits = (uint32_t)(suffix ? len : len + 1) * 8;
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(skel->maps.names), &key, &provider, BPF_ANY),
                     0);
}

static int set_up(void **state)
{
    struct lectr_settings s = {.dns_ttl_min_ns = TTL_MIN_S * 1000000000ull};
    uint32_t zero = 0;

    (void)state;
    watch_name("api.openai.com", OPENAI);
    watch_name("*.openai.azure.com", AZURE);
    return bpf_map_update_elem(bpf_map__fd(skel->maps.settings), &zero, &s, BPF_ANY);
}

static int forget(void **state)
{
    (void)state;
    forget_all();
    return 0;
}

/* ---- tests ---- */

static void names(void **state)
{
    const struct {
        const char *name;
        uint32_t provider;
    } rows[] = {
        {"api.openai.com", OPENAI},
        {"API.OpenAI.Com", OPENAI},
        {"res1.openai.azure.com", AZURE},
        {"a.b.openai.azure.com", AZURE},
        {"evilapi.openai.com", 0},
        {"api.openai.com.evil.example", 0},
        {"x.api.openai.com", 0},
        {"openai.com", 0},
        {"api.openai.co", 0},
        {"pi.openai.com", 0},
        {"openai.azure.com", 0},
        {"evilopenai.azure.com", 0},
        {"com", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (provider_of(rows[i].name) != rows[i].provider)
            fail_msg("%s", rows[i].name);
}

/* A label may hold any byte: one that holds a dot is not two labels. */
static void labels_that_look_like_names(void **state)
{
    const uint8_t dotted[] = "\x0a"
                             "api.openai\x03"
                             "com";
    const uint8_t nul[] = "\x03"
                          "api\x06"
                          "openai\x04"
                          "com\0";
    struct packet p;

    (void)state;
    begin(&p, plain);
    header(&p, 0x8180, 1, 1);
    put(&p, dotted, sizeof(dotted));
    put32(&p, 0x00010001);
    record(&p, NULL, TYPE_A, 60, addr_a, 4);
    feed(&p);
    begin(&p, plain);
    header(&p, 0x8180, 1, 1);
    put(&p, nul, sizeof(nul));
    put32(&p, 0x00010001);
    record(&p, NULL, TYPE_A, 60, addr_a, 4);
    feed(&p);
    assert_int_equal(learned_count(), 0);
}

static void chains_and_both_families(void **state)
{
    const uint8_t cname[] = "\x03"
                            "cdn\x07"
                            "example";
    struct packet p;

    (void)state;
    begin(&p, plain);
    header(&p, 0x8180, 1, 5);
    question(&p, "api.openai.com");
    record(&p, NULL, TYPE_CNAME, 60, cname, sizeof(cname));
    record(&p, "cdn.example", TYPE_CNAME, 60, "\x01x", 3);
    record(&p, "x", TYPE_A, 60, addr_a, 4);
    record(&p, "x", TYPE_A, 60, addr_b, 4);
    record(&p, "x", TYPE_AAAA, 60, addr_6, 16);
    feed(&p);
    assert_int_equal(learned(addr_a, 4, NULL), OPENAI);
    assert_int_equal(learned(addr_b, 4, NULL), OPENAI);
    assert_int_equal(learned(addr_6, 16, NULL), OPENAI);
    assert_int_equal(learned_count(), 3);
}

static void transports(void **state)
{
    const struct transport all[] = {{.sport = 53, .ipv6 = true}, {.sport = 53, .ip_options = true}};

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct packet p;

        forget_all();
        begin(&p, all[i]);
        header(&p, 0x8180, 1, 1);
        question(&p, "api.openai.com");
        record(&p, NULL, TYPE_A, 60, addr_a, 4);
        feed(&p);
        assert_int_equal(learned(addr_a, 4, NULL), OPENAI);
    }
}

static void times_to_live(void **state)
{
    const struct {
        uint32_t ttl, left;
    } rows[] = {{0, TTL_MIN_S}, {60, TTL_MIN_S}, {TTL_MIN_S * 4, TTL_MIN_S * 4}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct packet p;
        uint64_t left = 0;

        begin(&p, plain);
        header(&p, 0x8180, 1, 1);
        question(&p, "api.openai.com");
        record(&p, NULL, TYPE_A, rows[i].ttl, addr_a, 4);
        feed(&p);
        assert_int_equal(learned(addr_a, 4, &left), OPENAI);
        assert_true(left + 5 >= rows[i].left && left <= rows[i].left + 5);
    }
}

static void what_is_no_answer(void **state)
{
    const struct {
        const char *what;
        unsigned sport, flags, questions, answers;
    } rows[] = {
        {"another port", 5353, 0x8180, 1, 1}, {"a query", 53, 0x0100, 1, 1},
        {"NXDOMAIN", 53, 0x8183, 1, 1},       {"another opcode", 53, 0xa980, 1, 1},
        {"no question", 53, 0x8180, 0, 1},    {"two questions", 53, 0x8180, 2, 1},
        {"no answer", 53, 0x8180, 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct packet p;

        begin(&p, (struct transport){.sport = rows[i].sport});
        header(&p, rows[i].flags, rows[i].questions, rows[i].answers);
        question(&p, "api.openai.com");
        record(&p, NULL, TYPE_A, 60, addr_a, 4);
        feed(&p);
        if (learned_count() != 0)
            fail_msg("%s", rows[i].what);
    }
}

/* Cut anywhere, nothing may be learned but from whole records. */
static void truncated(void **state)
{
    struct packet p;
    size_t whole;

    (void)state;
    begin(&p, plain);
    header(&p, 0x8180, 1, 2);
    question(&p, "api.openai.com");
    record(&p, NULL, TYPE_A, 60, addr_a, 4);
    whole = p.len;
    record(&p, NULL, TYPE_A, 60, addr_b, 4);
    for (size_t len = 14 + 20; len <= p.len; len++) {
        struct packet cut = p;

        cut.len = len;
        forget_all();
        feed(&cut);
        assert_int_equal(learned_count(), (len >= whole) + (len == p.len));
    }
}

static void loops_and_lies(void **state)
{
    struct packet p;
    uint8_t self[2] = {0xc0, 0};

    (void)state;
    /* An owner that points at itself: not followed, its record is read. */
    begin(&p, plain);
    header(&p, 0x8180, 1, 1);
    question(&p, "api.openai.com");
    self[1] = (uint8_t)(p.len - 14 - 28);
    put(&p, self, 2);
    put32(&p, 0x00010001);
    put32(&p, 60);
    put16(&p, 4);
    put(&p, addr_a, 4);
    feed(&p);
    assert_int_equal(learned(addr_a, 4, NULL), OPENAI);

    /* A question that is a pointer to itself. */
    forget_all();
    begin(&p, plain);
    header(&p, 0x8180, 1, 1);
    put(&p, POINTER_TO_QUESTION, 2);
    put32(&p, 0x00010001);
    record(&p, NULL, TYPE_A, 60, addr_a, 4);
    feed(&p);
    assert_int_equal(learned_count(), 0);

    /* More answers announced than there are. */
    begin(&p, plain);
    header(&p, 0x8180, 1, 65535);
    question(&p, "api.openai.com");
    record(&p, NULL, TYPE_A, 60, addr_a, 4);
    feed(&p);
    assert_int_equal(learned_count(), 1);

    /* Addresses of a wrong length, a length beyond the end, another class. */
    forget_all();
    begin(&p, plain);
    header(&p, 0x8180, 1, 3);
    question(&p, "api.openai.com");
    record(&p, NULL, TYPE_A, 60, addr_6, 5);
    record(&p, NULL, TYPE_AAAA, 60, addr_a, 4);
    put(&p, POINTER_TO_QUESTION, 2);
    put32(&p, 0x00010001);
    put32(&p, 60);
    put16(&p, 0xffff);
    put(&p, addr_a, 4);
    feed(&p);
    assert_int_equal(learned_count(), 0);
    begin(&p, plain);
    header(&p, 0x8180, 1, 1);
    question(&p, "api.openai.com");
    put(&p, POINTER_TO_QUESTION, 2);
    put32(&p, 0x00010003);
    put32(&p, 60);
    put16(&p, 4);
    put(&p, addr_a, 4);
    feed(&p);
    assert_int_equal(learned_count(), 0);
}

static void limits(void **state)
{
    struct packet p;
    uint8_t label[64] = {63};
    unsigned announced = 100;

    (void)state;
    /* At most 64 addresses of one answer. */
    begin(&p, plain);
    header(&p, 0x8180, 1, announced);
    question(&p, "api.openai.com");
    for (unsigned i = 0; i < announced; i++)
        record(&p, NULL, TYPE_A, 60, (uint8_t[4]){203, 0, 113, (uint8_t)i}, 4);
    feed(&p);
    assert_int_equal(learned_count(), 64);

    /* A name that never ends. */
    forget_all();
    memset(label + 1, 'a', 63);
    begin(&p, plain);
    header(&p, 0x8180, 1, 1);
    for (int i = 0; i < 40; i++)
        put(&p, label, sizeof(label));
    feed(&p);
    assert_int_equal(learned_count(), 0);

    /* An owner of very many labels runs out of steps, the packet passes. */
    begin(&p, plain);
    header(&p, 0x8180, 1, 1);
    question(&p, "api.openai.com");
    for (int i = 0; i < 1500; i++)
        put(&p, "\x01z", 2);
    record(&p, "x", TYPE_A, 60, addr_a, 4);
    feed(&p);
    assert_int_equal(learned_count(), 0);
}

/* Every single byte of a good packet changed to everything: it passes, and no
 * name but a provider's is learned for. */
static void any_byte_changed(void **state)
{
    struct packet good;

    (void)state;
    simple(&good, "api.openai.com");
    for (size_t at = 34; at < good.len; at++)
        for (unsigned v = 0; v < 256; v += 3) {
            struct packet p = good;

            p.data[at] = (uint8_t)v;
            feed(&p);
        }
    assert_true(learned_count() <= 4 * 86 + 1);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
    (void)level;
    (void)fmt;
    (void)args;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(names, forget),
        cmocka_unit_test_setup(labels_that_look_like_names, forget),
        cmocka_unit_test_setup(chains_and_both_families, forget),
        cmocka_unit_test_setup(transports, forget),
        cmocka_unit_test_setup(times_to_live, forget),
        cmocka_unit_test_setup(what_is_no_answer, forget),
        cmocka_unit_test_setup(truncated, forget),
        cmocka_unit_test_setup(loops_and_lies, forget),
        cmocka_unit_test_setup(limits, forget),
        cmocka_unit_test_setup(any_byte_changed, forget),
    };
    int r;

    libbpf_set_print(quiet);
    if (geteuid() != 0) {
        puts("SKIP - running programs in the kernel needs root");
        return 0;
    }
    skel = dns__open();
    if (skel) {
        skel->rodata->has_skb_netns_cookie = true;
        bpf_program__set_autoload(skel->progs.lectr_stamp, false);
    }
    if (!skel || dns__load(skel) < 0) {
        puts("the programs were refused by the kernel");
        return 1;
    }
    r = cmocka_run_group_tests(tests, set_up, NULL);
    dns__destroy(skel);
    return r;
}
