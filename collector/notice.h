/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An alert on its way to a receiver, and the words that the formats have in
 * common. Pure; everything in it is borrowed.
 */
#pragma once

#include "proto/base/buf.h"
#include "proto/base/cleanup.h"
#include "proto/lectr.pb-c.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* "2026-01-31T12:00:00.123456789Z" */
#define NOTICE_TIME_BYTES 40
#define NOTICE_TITLE_BYTES 512

struct notice {
    const Lectr__V1__Alert *alert;
    const char *generator_url; /* where a person looks further; "" = nowhere */
    const char *runbook_url;   /* of the document; "#RULE" is added; "" = none */
};

/* "firing", "updated" or "resolved". */
const char *notice_status(const Lectr__V1__Alert *a);
/* "" when absent. */
const char *notice_text(const char *text);
/* Value of the label, "" when there is none. */
const char *notice_label(const Lectr__V1__Alert *a, const char *name);
/* RFC 3339 in UTC; as many digits of the second as it takes. */
void notice_time(uint64_t unix_ns, char ret_text[NOTICE_TIME_BYTES]);
/* "cost.spike: feature=chat provider=openai model=gpt-4o", "cost.budget (monthly): feature=chat";
 * whole characters only. */
void notice_title(const Lectr__V1__Alert *a, char ret_title[NOTICE_TITLE_BYTES]);
/* "12.4 USD", "0.31"; "?" when not known. */
void notice_value(bool known, double value, const char *unit, char *ret_text, size_t size);
/* The runbook's part on this rule, "" without one. */
void notice_runbook(const struct notice *n, char *ret_url, size_t size);
/* Bytes of `text` that fit into `max` without half a character. */
size_t notice_clip(const char *text, size_t max);

/* Members of an object; what is absent or no number becomes null. -ENOMEM. */
int notice_set_text(json_t *object, const char *key, const char *text) LECTR_MUST_USE;
int notice_set_clipped(json_t *object, const char *key, const char *text,
                       size_t max) LECTR_MUST_USE;
int notice_set_real(json_t *object, const char *key, bool known, double value) LECTR_MUST_USE;
int notice_set_count(json_t *object, const char *key, bool known, uint64_t value) LECTR_MUST_USE;
int notice_set_time(json_t *object, const char *key, bool known, uint64_t unix_ns) LECTR_MUST_USE;
/* Takes `value`, also on failure; NULL is -ENOMEM. */
int notice_set(json_t *object, const char *key, json_t *value) LECTR_MUST_USE;
/* Appends the compact text. */
int notice_dump(const json_t *root, struct buf *out) LECTR_MUST_USE;

static inline void notice_release(json_t *const *value)
{
    json_decref(*value);
}
#define CLEAN_JSON __attribute__((cleanup(notice_release)))
