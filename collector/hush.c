/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/hush.h"

#include "collector/alerting.h"
#include "collector/rules_store.h"
#include "collector/store_rules.h"
#include "collector/text.h"
#include "collector/when.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define TEXT_BYTES 512

#define USAGE                                                                                      \
    "usage: lectr-collector silence add --match NAME=VALUE... --for 2h | --until TIME\n"           \
    "                               [--from TIME] [--planned] [--comment TEXT]\n"                  \
    "       lectr-collector silence list\n"                                                        \
    "       lectr-collector silence remove ID\n"

static int64_t now_s(void)
{
    return (int64_t)(clock_wall_ns() / NSEC_PER_SEC);
}

static void print_time(int64_t at_s, char ret_text[32])
{
    time_t at = (time_t)at_s;
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(ret_text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static int open_store(const struct config *config, struct store **ret_store)
{
    int r = store_open(config_store_where(config), ret_store);

    if (r < 0)
        fprintf(stderr, "the store cannot be opened: %s\n", strerror(-r));
    return r;
}

static int finish(struct store *store, int r)
{
    if (r == 0)
        r = store_commit(store);
    if (r < 0) {
        const char *why = r == -ENOENT ? "there is none" : store_error(store);

        fprintf(stderr, "not written: %s\n", why[0] ? why : strerror(-r));
        store_rollback(store);
    }
    return r == -ENOENT ? 2 : r < 0 ? 1 : 0;
}

/* --- silences --- */

/* It is shown to whoever lists silences, and goes into a database that wants UTF-8. */
static int check_text(const char *option, const char *text)
{
    char clean[TEXT_BYTES];

    text_copy(clean, sizeof(clean), text);
    if (strcmp(clean, text) == 0)
        return 0;
    text_copy(clean, 64, text);
    fprintf(stderr, "%s %s: use UTF-8 without control characters, %d bytes at most\n", option,
            clean, TEXT_BYTES - 1);
    return -EINVAL;
}

/* One that no alert has would silence nothing, and say nothing. */
static int check_severity(const char *pattern)
{
    for (int i = ALERTING_INFO; i <= ALERTING_CRITICAL; i++)
        if (alerting_glob(pattern, alerting_severity_name((enum alerting_severity)i)))
            return 0;
    fprintf(stderr, "--match severity=%s: use info, warning or critical\n", pattern);
    return -EINVAL;
}

static int take_match(const char *text, struct store_silence *silence)
{
    static const struct {
        const char *name;
        size_t offset;
    } names[] = {
        {"org", offsetof(struct store_silence, org)},
        {"feature", offsetof(struct store_silence, feature)},
        {"provider", offsetof(struct store_silence, provider)},
        {"model", offsetof(struct store_silence, model)},
        {"severity", offsetof(struct store_silence, severity)},
        {"rule", offsetof(struct store_silence, rule)},
    };
    const char *equals = strchr(text, '=');

    if (check_text("--match", text) < 0)
        return -EINVAL;
    for (size_t i = 0; equals && equals[1] && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i].name) != (size_t)(equals - text) ||
            strncmp(names[i].name, text, (size_t)(equals - text)) != 0)
            continue;
        const char **place = (const char **)(void *)((char *)silence + names[i].offset);

        if ((*place)[0]) {
            fprintf(stderr, "--match %s is given twice: every --match must hold\n", names[i].name);
            return -EINVAL;
        }
        *place = equals + 1;
        return strcmp(names[i].name, "severity") == 0 ? check_severity(*place) : 0;
    }
    fprintf(stderr, "--match %s: use org, feature, provider, model, severity or rule=VALUE\n",
            text);
    return -EINVAL;
}

static int take_times(const struct hush_args *args, struct store_silence *silence)
{
    int64_t length_s = 0;

    silence->from_s = now_s();
    if (args->from && when_parse(args->from, &silence->from_s) < 0) {
        fprintf(stderr, "--from %s: use 2026-01-31T12:00:00Z\n", args->from);
        return -EINVAL;
    }
    if (!args->duration == !args->until) {
        fprintf(stderr, "say --for 2h or --until 2026-01-31T12:00:00Z\n");
        return -EINVAL;
    }
    if (args->duration && when_duration(args->duration, &length_s) < 0) {
        fprintf(stderr, "--for %s: use 90s, 30m, 2h or 7d\n", args->duration);
        return -EINVAL;
    }
    silence->until_s = silence->from_s + length_s;
    if (args->until && when_parse(args->until, &silence->until_s) < 0) {
        fprintf(stderr, "--until %s: use 2026-01-31T12:00:00Z\n", args->until);
        return -EINVAL;
    }
    if (silence->until_s > silence->from_s)
        return 0;
    fprintf(stderr, "the silence ends before it begins\n");
    return -EINVAL;
}

static int make_id(char ret_id[16])
{
    uint32_t number;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return -EIO;
    snprintf(ret_id, 16, "s%08x", number);
    return 0;
}

static int add(const struct config *config, const struct hush_args *args)
{
    CLEAN_STORE struct store *store = NULL;
    char id[16];
    struct store_silence silence = {
        .id = id,
        .org = "",
        .feature = "",
        .provider = "",
        .model = "",
        .severity = "",
        .rule = "",
        .is_planned = args->is_planned,
        .comment = args->comment ? args->comment : "",
    };
    int r;

    if (args->matches_count == 0) {
        fprintf(stderr,
                "say what is to be silent: --match feature=chat; --match 'org=*' for everything\n");
        return 2;
    }
    for (unsigned i = 0; i < args->matches_count; i++)
        if (take_match(args->matches[i], &silence) < 0)
            return 2;
    if (take_times(args, &silence) < 0 || check_text("--comment", silence.comment) < 0)
        return 2;
    if (make_id(id) < 0 || open_store(config, &store) < 0)
        return 1;
    r = store_begin(store);
    if (r == 0)
        r = store_add_silence(store, &silence);
    r = finish(store, r);
    if (r == 0)
        printf("%s\n", id);
    return r;
}

/* Who wrote it may have used another program. */
static void print_text(const char *before, const char *name, const char *between, const char *text)
{
    char clean[TEXT_BYTES];

    text_copy(clean, sizeof(clean), text);
    printf("%s%s%s%s", before, name, between, clean);
}

static int print_silence(void *ctx, const struct store_silence *s)
{
    const struct {
        const char *name, *value;
    } names[] = {{"org", s->org},     {"feature", s->feature},   {"provider", s->provider},
                 {"model", s->model}, {"severity", s->severity}, {"rule", s->rule}};
    char from[32], until[32];

    (void)ctx;
    print_time(s->from_s, from);
    print_time(s->until_s, until);
    printf("%s %s %s %s", s->id, from, until, s->is_planned ? "planned" : "silence");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].value[0])
            print_text(" ", names[i].name, "=", names[i].value);
    if (s->comment[0])
        print_text(" ", "#", " ", s->comment);
    putchar('\n');
    return 0;
}

static int list(const struct config *config)
{
    CLEAN_STORE struct store *store = NULL;
    int r = store_open_reader(config_store_where(config), &store);

    if (r == 0)
        r = store_each_silence(store, now_s(), print_silence, NULL);
    if (r < 0)
        fprintf(stderr, "the store cannot be read: %s\n", strerror(-r));
    return r < 0 ? 1 : 0;
}

static int end(const struct config *config, const char *id)
{
    CLEAN_STORE struct store *store = NULL;
    int r;

    if (open_store(config, &store) < 0)
        return 1;
    r = store_begin(store);
    if (r == 0)
        r = store_end_silence(store, id, now_s());
    return finish(store, r);
}

int hush_silence(const struct config *config, char **operands, const struct hush_args *args)
{
    const char *verb = operands[0] ? operands[0] : "";

    if (strcmp(verb, "add") == 0 && !operands[1])
        return add(config, args);
    if (strcmp(verb, "list") == 0 && !operands[1])
        return list(config);
    if (strcmp(verb, "remove") == 0 && operands[1] && !operands[2])
        return end(config, operands[1]);
    fprintf(stderr, "%s", USAGE);
    return 2;
}

/* --- feedback --- */

static bool is_verdict(const char *text)
{
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0 || strcmp(text, "planned") == 0;
}

int hush_feedback(const struct config *config, char **operands)
{
    CLEAN_STORE struct store *store = NULL;
    int r;

    if (!operands[0] || !operands[1] || operands[2] || !is_verdict(operands[1])) {
        fprintf(stderr, "usage: lectr-collector feedback FINGERPRINT true|false|planned\n");
        return 2;
    }
    if (open_store(config, &store) < 0)
        return 1;
    r = store_begin(store);
    if (r == 0)
        r = rules_tell_feedback(store, operands[0], operands[1], now_s());
    if (r == 0)
        r = store_put_feedback(store, operands[0], operands[1], now_s());
    return finish(store, r);
}
