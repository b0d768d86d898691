/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/dead_letters.h"

#include "collector/notice.h"
#include "collector/store_deliver.h"
#include "collector/text.h"
#include "proto/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct listing {
    FILE *out;
    bool as_json;
};

/* What the alert says of itself; a letter may hold one that cannot be read. */
static void describe(const struct store_letter *l, char ret_title[NOTICE_TITLE_BYTES],
                     const char **ret_status)
{
    CLEAN_EVENT ProtobufCMessage *message = NULL;

    snprintf(ret_title, NOTICE_TITLE_BYTES, "?");
    *ret_status = "?";
    if (event_unpack(EVENT_ALERT, l->payload, &message) < 0)
        return;
    notice_title((const Lectr__V1__Alert *)message, ret_title);
    *ret_status = notice_status((const Lectr__V1__Alert *)message);
}

static int print_json(const struct listing *to, const struct store_letter *l, const char *status,
                      const char *title)
{
    CLEAN_JSON json_t *row = json_object();
    char *text;
    int r = row ? notice_set_count(row, "letter", true, (uint64_t)l->id) : -ENOMEM;

    if (r == 0)
        r = notice_set_text(row, "receiver", l->receiver);
    if (r == 0)
        r = notice_set_count(row, "attempts", true, l->attempts);
    if (r == 0)
        r = notice_set_text(row, "status", status);
    if (r == 0)
        r = notice_set_time(row, "time", true, (uint64_t)l->at_ns);
    if (r == 0)
        r = notice_set_text(row, "fingerprint", l->fingerprint);
    if (r == 0)
        r = notice_set_text(row, "alert", l->alert_id);
    if (r == 0)
        r = notice_set_text(row, "title", title);
    if (r == 0)
        r = notice_set_text(row, "reason", l->error);
    text = r == 0 ? json_dumps(row, JSON_COMPACT) : NULL;
    if (!text)
        return -ENOMEM;
    fprintf(to->out, "%s\n", text);
    free(text);
    return 0;
}

static int print_letter(void *ctx, const struct store_letter *l)
{
    const struct listing *to = ctx;
    char title[NOTICE_TITLE_BYTES], time[NOTICE_TIME_BYTES], receiver[128], reason[512];
    const char *status;

    describe(l, title, &status);
    if (to->as_json)
        return print_json(to, l, status, title);
    notice_time((uint64_t)l->at_ns, time);
    text_copy(receiver, sizeof(receiver), l->receiver);
    text_copy(reason, sizeof(reason), l->error);
    fprintf(to->out, "%" PRId64 "  %s  %s  %s  %s  attempts=%u  %s\n", l->id, time, receiver,
            status, title, l->attempts, reason);
    return 0;
}

static int fail(const struct store *s, const char *where, int error, char *ret_error, size_t bytes)
{
    snprintf(ret_error, bytes, "%s: %s", where,
             error == -ENOENT ? strerror(ENOENT) : store_error(s));
    return error;
}

int dead_letters_list(const char *store, bool as_json, FILE *out, char *ret_error,
                      size_t error_bytes)
{
    CLEAN_STORE struct store *s = NULL;
    struct listing listing = {out, as_json};
    int r = store_open_reader(store, &s);

    if (r == 0)
        r = store_each_dead_letter(s, STORE_DEAD_MAX * 64, print_letter, &listing);
    return r < 0 ? fail(s, "letters cannot be read", r, ret_error, error_bytes) : 0;
}

int dead_letters_retry(const char *store, const char *which, uint64_t *ret_count, char *ret_error,
                       size_t error_bytes)
{
    CLEAN_STORE struct store *s = NULL;
    char *end = NULL;
    int64_t id = which ? strtoll(which, &end, 10) : 0;
    bool is_number = which && *which && *end == '\0' && id > 0;
    int r = store_open(store, &s);

    if (r == 0)
        r = store_revive_letters(s, is_number ? NULL : which, is_number ? id : 0, ret_count);
    return r < 0 ? fail(s, "letters cannot be changed", r, ret_error, error_bytes) : 0;
}
