/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the keys of a YAML text stand: "routes[2].match.feature" -> line. For
 * checks that come after the text has become a struct. Pure.
 *
 * Aliases, second documents and keys given twice are refused; at most
 * PLACES_MAX keys, PLACES_DEPTH_MAX levels.
 */
#pragma once

#include "proto/base/cleanup.h"
#include "proto/base/slice.h"

#include <stdbool.h>

#define PLACES_MAX 16384
#define PLACES_DEPTH_MAX 12
#define PLACES_FIELD_MAX 128

struct places;

struct places_fault {
    unsigned line; /* from 1; 0: none */
    char field[PLACES_FIELD_MAX];
    char problem[192];
};

/* -EINVAL with ret_fault filled for a text that is refused; -ENOMEM. */
int places_read(struct slice text, struct places **ret_places,
                struct places_fault *ret_fault) LECTR_MUST_USE;
void places_free(struct places **places);
static inline void places_cleanup_free(struct places **places)
{
    places_free(places);
}
#define CLEAN_PLACES __attribute__((cleanup(places_cleanup_free)))

/* 0: no such key. "" is the whole. */
unsigned places_line(const struct places *p, const char *field);
/* The keys directly below `field` ("rules[0]"), by index from 0; NULL behind the last. */
const char *places_child(const struct places *p, const char *field, unsigned index);
/* The scalar that stands there, NULL where there is none. */
const char *places_text(const struct places *p, const char *field);
/* Nothing but blanks and comments. */
bool places_is_empty(const struct places *p);
