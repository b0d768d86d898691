/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes of a text as it passes, without keeping any of it: bytes, and "units",
 * a rough count of what a tokenizer would make of the text. A unit follows the
 * cuts that byte-pair tokenizers make first (words, groups of three digits,
 * runs of punctuation, characters of other scripts), with weights fitted to
 * public tokenizers on texts of many kinds and languages. A model's own tokens
 * to the unit are learned, see agent/estimate.h. Any split gives the same sizes.
 */
#pragma once

#include "proto/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct tally {
    uint64_t bytes;
    uint64_t milliunits;
    uint8_t class; /* of the last character */
    bool upper;    /* the last letter was a capital */
    uint32_t run;  /* characters of the class so far */
};

void tally_feed(struct tally *t, struct slice text);
/* The next character begins a new text. */
static inline void tally_break(struct tally *t)
{
    t->class = 0;
    t->upper = false;
    t->run = 0;
}
