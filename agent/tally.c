/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tally.h"

enum char_class {
    CLASS_NONE,
    CLASS_LETTER,
    CLASS_DIGIT,
    CLASS_SPACE,
    CLASS_NEWLINE,
    CLASS_PUNCT,
    CLASS_WIDE,
};

/* Milli-units; fitted by weighted least squares to o200k and Llama 3 counts of
 * 800 snippets: prose, C, JSON, messages in twelve languages (median error 6 %,
 * of bytes ÷ 4: 12 %). */
enum {
    UNITS_WORD = 820,
    UNITS_LETTER_MORE = 400, /* beyond WORD_LETTERS */
    UNITS_DIGITS = 650,      /* every three */
    UNITS_PUNCT = 750,
    UNITS_PUNCT_MORE = 190, /* beyond PUNCT_CHARS */
    UNITS_NEWLINE = 1500,
    UNITS_2_BYTES = 350,
    UNITS_3_BYTES = 700,
    UNITS_4_BYTES = 1500,
    WORD_LETTERS = 6,
    PUNCT_CHARS = 3,
};

static enum char_class class_of(uint8_t c)
{
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
        return CLASS_LETTER;
    if (c >= '0' && c <= '9')
        return CLASS_DIGIT;
    if (c == ' ')
        return CLASS_SPACE;
    if (c < 0x20)
        return CLASS_NEWLINE;
    return c < 0x80 ? CLASS_PUNCT : CLASS_WIDE;
}

static unsigned wide_units(uint8_t lead)
{
    if (lead < 0xc0)
        return 0; /* follows its lead */
    if (lead < 0xe0)
        return UNITS_2_BYTES;
    return lead < 0xf0 ? UNITS_3_BYTES : UNITS_4_BYTES;
}

void tally_feed(struct tally *t, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        enum char_class class = class_of(c);
        bool upper = class == CLASS_LETTER && !(c & 0x20);

        if (class != t->class || (upper && !t->upper))
            t->run = 0;
        t->class = (uint8_t) class;
        t->upper = upper;
        switch (class) {
        case CLASS_LETTER:
            t->milliunits += t->run == 0              ? UNITS_WORD
                             : t->run >= WORD_LETTERS ? UNITS_LETTER_MORE
                                                      : 0;
            break;
        case CLASS_DIGIT:
            t->milliunits += t->run % 3 == 0 ? UNITS_DIGITS : 0;
            break;
        case CLASS_PUNCT:
            t->milliunits += t->run == 0             ? UNITS_PUNCT
                             : t->run >= PUNCT_CHARS ? UNITS_PUNCT_MORE
                                                     : 0;
            break;
        case CLASS_NEWLINE:
            t->milliunits += t->run == 0 ? UNITS_NEWLINE : 0;
            break;
        case CLASS_WIDE:
            t->milliunits += wide_units(c);
            break;
        default:
            break;
        }
        t->run++;
    }
    t->bytes += text.len;
}
