/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NATS subjects of lectr.v1.
 *
 * A name becomes one token: bytes of [A-Za-z0-9_-] stand for themselves, any
 * other byte is =XX (upper-case hex), the empty name is a lone "=". Injective:
 * two names never share a token, and only the canonical form is parsed.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/event.h"

#define SUBJECT_ROOT "lectr.v1"
/* Everything of this contract; what the stream stores. */
#define SUBJECT_ALL "lectr.v1.>"
#define SUBJECT_NAME_BYTES 64 /* longest name, without NUL */
#define SUBJECT_TOKEN_BYTES (3 * SUBJECT_NAME_BYTES + 1)
#define SUBJECT_BYTES (2 * SUBJECT_TOKEN_BYTES + 32)

/* `name`: the provider of a call, gap or coverage, the kind of an alert or
 * cloudevent, the window of a rollup. `part`: of a call, gap or coverage, else 0. Gap and coverage
 * once ended after the organisation; that form is read, not built: has_part is
 * false, the name empty. */
struct subject {
    enum event_type type;
    bool has_part;
    char org[SUBJECT_NAME_BYTES + 1];
    char name[SUBJECT_NAME_BYTES + 1];
    uint32_t part;
};

/* NULL stands for the empty name. -ENAMETOOLONG beyond SUBJECT_NAME_BYTES. */
int subject_token(const char *name, char ret_token[SUBJECT_TOKEN_BYTES]) LECTR_MUST_USE;
int subject_call(const char *org, const char *provider, uint32_t part,
                 char ret_subject[SUBJECT_BYTES]) LECTR_MUST_USE;
int subject_gap(const char *org, const char *provider, uint32_t part,
                char ret_subject[SUBJECT_BYTES]) LECTR_MUST_USE;
int subject_coverage(const char *org, const char *provider, uint32_t part,
                     char ret_subject[SUBJECT_BYTES]) LECTR_MUST_USE;
int subject_alert(const char *org, const char *kind,
                  char ret_subject[SUBJECT_BYTES]) LECTR_MUST_USE;
int subject_cloudevent(const char *org, const char *kind,
                       char ret_subject[SUBJECT_BYTES]) LECTR_MUST_USE;
int subject_rollup(const char *org, const char *window,
                   char ret_subject[SUBJECT_BYTES]) LECTR_MUST_USE;

/* Of those who share the parts: whose is it? 0..EVENT_PARTS-1: the part it ends in, 0 where it has
 * none or is no subject of this contract; -1: alert, cloudevent, rollup, which are nobody's. */
int subject_lane(const char *text);
/* -EINVAL: not a subject that the functions above build, or once built. */
int subject_parse(const char *text, struct subject *ret_subject) LECTR_MUST_USE;
