/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An alert, written for one receiver: address, headers, body. Reads the files
 * that hold secrets each time, so that they may be changed; what they hold is
 * wiped with the letter.
 */
#pragma once

#include "collector/alerting.h"
#include "collector/notice.h"
#include "collector/webhook.h"

#define LETTER_BODY_MAX (4 * 1024 * 1024)
#define LETTER_HEADERS_MAX 20
#define LETTER_SECRET_MAX 4096

struct letter {
    struct buf url, body;
    struct buf headers[LETTER_HEADERS_MAX];
    const char *lines[LETTER_HEADERS_MAX]; /* of headers */
    unsigned count;
    /* Names the file that cannot be read, or what else is wrong. */
    char error[WEBHOOK_TEXT_BYTES];
};

/* Until this long after it was sent an active alert stays so in Alertmanager. */
#define LETTER_VALID_S 300

/* `notices` are more than one for Alertmanager only. -errno with error filled;
 * `ret_letter` is to be released in any case. */
int letter_write(const struct alerting_receiver *to, const struct notice *notices, size_t count,
                 uint64_t wall_ns, struct letter *ret_letter) LECTR_MUST_USE;
void letter_fini(struct letter *letter);
#define CLEAN_LETTER __attribute__((cleanup(letter_fini)))

/* As it is posted; borrowed from both. */
struct webhook_post letter_post(const struct letter *letter, const struct alerting_receiver *to);
/* Whether an answer may be kept and shown: no receiver's that is sent a secret, for
 * it might be quoted, and none that repeats the path. */
bool letter_may_quote(const struct alerting_receiver *to, const char *answer);
/* "webhook", "alertmanager", "slack", "pagerduty" */
const char *letter_type_name(enum alerting_receiver_type type);
/* An episode that is over need not be told as begun. */
bool letter_is_state(enum alerting_receiver_type type);
