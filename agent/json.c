/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/json_paths.h"

#include <stdio.h>

enum json_state {
    ST_VALUE,
    ST_VALUE_OR_END,
    ST_KEY_OR_END,
    ST_KEY,
    ST_COLON,
    ST_AFTER,
    ST_STRING,
    ST_ESCAPE,
    ST_HEX,
    ST_NUMBER,
    ST_LITERAL,
    ST_SKIP,
    ST_SKIP_STRING,
    ST_SKIP_ESCAPE,
};

void json_init(struct json *j, const struct json_paths *paths, const struct json_events *events,
               bool split_root_array)
{
    j->paths = paths;
    j->events = *events;
    j->split_root_array = split_root_array;
    j->text_len = 0;
    j->path[0] = '\0';
    json_reset(j);
}

void json_fini(struct json *j)
{
    explicit_bzero(j, sizeof(*j));
}

void json_reset(struct json *j)
{
    explicit_bzero(j->text, j->text_len);
    explicit_bzero(j->path, sizeof(j->path));
    j->state = ST_VALUE;
    j->invalid = false;
    j->depth = 0;
    j->skip_depth = 0;
    j->documents = 0;
    j->text_len = 0;
    j->text_total = 0;
    j->high_surrogate = 0;
    j->node = 0;
    j->in_subtree = false;
}

bool json_complete(const struct json *j)
{
    return !j->invalid && j->documents > 0 && j->depth == 0 && j->state == ST_VALUE;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void text_begin(struct json *j, bool is_key, bool keep)
{
    j->text_is_key = is_key;
    j->keep_text = keep;
    j->text_len = 0;
    j->text_total = 0;
    j->high_surrogate = 0;
}

static void text_end(struct json *j)
{
    explicit_bzero(j->text, j->text_len);
    j->text_len = 0;
}

static void text_put(struct json *j, uint8_t c)
{
    j->text_total++;
    if (j->keep_text && j->text_len < sizeof(j->text))
        j->text[j->text_len++] = c;
}

static void text_put_unicode(struct json *j, uint32_t u)
{
    if (u < 0x80) {
        text_put(j, (uint8_t)u);
    } else if (u < 0x800) {
        text_put(j, (uint8_t)(0xc0 | u >> 6));
        text_put(j, (uint8_t)(0x80 | (u & 0x3f)));
    } else if (u < 0x10000) {
        text_put(j, (uint8_t)(0xe0 | u >> 12));
        text_put(j, (uint8_t)(0x80 | (u >> 6 & 0x3f)));
        text_put(j, (uint8_t)(0x80 | (u & 0x3f)));
    } else {
        text_put(j, (uint8_t)(0xf0 | u >> 18));
        text_put(j, (uint8_t)(0x80 | (u >> 12 & 0x3f)));
        text_put(j, (uint8_t)(0x80 | (u >> 6 & 0x3f)));
        text_put(j, (uint8_t)(0x80 | (u & 0x3f)));
    }
}

/* A \uXXXX is complete. */
static void text_put_escape(struct json *j, uint32_t u)
{
    if (u >= 0xd800 && u < 0xdc00) {
        j->high_surrogate = u;
        return;
    }
    if (u >= 0xdc00 && u < 0xe000) {
        u = j->high_surrogate ? 0x10000 + ((j->high_surrogate - 0xd800) << 10) + (u - 0xdc00)
                              : 0xfffd;
    }
    j->high_surrogate = 0;
    text_put_unicode(j, u);
}

static void emit(struct json *j, enum json_type type)
{
    struct json_value v = {.type = type, .len = j->text_total, .path = ""};
    int arrays = 0;

    if (j->node < 0 && !j->in_subtree)
        return;
    for (uint32_t d = 0; d < j->depth && arrays < 2; d++)
        if (j->frames[d].is_array && !(d == 0 && j->split_root_array))
            v.index[arrays++] = j->frames[d].index;
    if (j->node >= 0) {
        for (int w = j->paths->nodes[j->node].first_want; w >= 0; w = j->paths->wants[w].next) {
            const struct json_want *want = &j->paths->wants[w];

            v.field = want->field;
            v.key = j->paths->nodes[j->node].key;
            v.text = want->how == JSON_KEEP ? slice_of(j->text, j->text_len) : slice_of(NULL, 0);
            j->events.on_value(j->events.user, &v);
        }
    }
    if (j->in_subtree && type != JSON_OBJECT && type != JSON_ARRAY) {
        v.field = j->subtree_field;
        v.text = slice_of(j->text, j->text_len);
        v.path = j->path;
        j->events.on_value(j->events.user, &v);
    }
}

static void value_done(struct json *j)
{
    text_end(j);
    j->text_total = 0;
    if (j->depth == 0 || (j->depth == 1 && j->frames[0].is_array && j->split_root_array)) {
        j->documents++;
        if (j->events.on_document)
            j->events.on_document(j->events.user);
    }
    if (j->depth == 0) {
        j->node = 0;
        j->in_subtree = false;
        j->state = ST_VALUE;
    } else {
        j->state = ST_AFTER;
    }
}

static void path_cut(struct json *j, size_t len)
{
    if (len < sizeof(j->path))
        explicit_bzero(j->path + len, sizeof(j->path) - len);
}

static void path_put(struct json *j, size_t at, struct slice s)
{
    size_t room = sizeof(j->path) - 1 - at;

    path_cut(j, at);
    memcpy(j->path + at, s.data, s.len < room ? s.len : room);
}

/* The container's kind is known; its children's nodes follow from it. */
static void container_begin(struct json *j, bool is_array)
{
    struct json_frame *f;
    bool listed = j->node >= 0 && j->paths->nodes[j->node].first_child >= 0;
    bool subtree_root = j->node >= 0 && j->paths->nodes[j->node].is_subtree && !j->in_subtree;
    bool is_root = j->depth == 0 && is_array && j->split_root_array;

    j->text_total = 0;
    if (!is_root)
        emit(j, is_array ? JSON_ARRAY : JSON_OBJECT);
    if (j->depth >= JSON_DEPTH_MAX || (!listed && !j->in_subtree && !subtree_root && !is_root)) {
        j->skip_depth = 1;
        j->state = ST_SKIP;
        return;
    }
    if (subtree_root) {
        path_cut(j, 0);
        for (int w = j->paths->nodes[j->node].first_want; w >= 0; w = j->paths->wants[w].next)
            if (j->paths->wants[w].how == JSON_SUBTREE)
                j->subtree_field = j->paths->wants[w].field;
    }
    f = &j->frames[j->depth++];
    *f = (struct json_frame){.node = j->node,
                             .is_array = is_array,
                             .in_subtree = j->in_subtree || subtree_root,
                             .path_len = (uint16_t)strlen(j->path)};
    j->state = is_array ? ST_VALUE_OR_END : ST_KEY_OR_END;
}

static void container_end(struct json *j)
{
    struct json_frame *f = &j->frames[--j->depth];

    path_cut(j, f->path_len);
    if (j->depth == 0 && f->is_array && j->split_root_array) {
        j->node = 0;
        j->in_subtree = false;
        j->state = ST_VALUE;
        return;
    }
    value_done(j);
}

/* An element of the current array is about to begin. */
static void element_begin(struct json *j)
{
    struct json_frame *f = &j->frames[j->depth - 1];
    char index[16];
    int len;

    if (j->depth == 1 && j->split_root_array) {
        j->node = 0;
        j->in_subtree = false;
        return;
    }
    j->node = (int16_t)json_paths_element(j->paths, f->node);
    j->in_subtree = f->in_subtree;
    if (!f->in_subtree)
        return;
    len = snprintf(index, sizeof(index), "[%u]", f->index);
    path_put(j, f->path_len, slice_of(index, (size_t)len));
}

static void key_done(struct json *j)
{
    struct json_frame *f = &j->frames[j->depth - 1];
    struct slice key = slice_of(j->text, j->text_len);
    size_t at = f->path_len;

    j->node =
        j->text_total >= JSON_KEY_MAX ? -1 : (int16_t)json_paths_child(j->paths, f->node, key);
    j->in_subtree = f->in_subtree;
    if (f->in_subtree) {
        path_cut(j, at);
        if (at && at + 1 < sizeof(j->path))
            j->path[at++] = '.';
        path_put(j, at, key);
    }
    text_end(j);
    j->state = ST_COLON;
}

static void value_begin(struct json *j, uint8_t c)
{
    bool keep = j->in_subtree || (j->node >= 0 && j->paths->nodes[j->node].keep_text);

    if (c == '{' || c == '[') {
        container_begin(j, c == '[');
    } else if (c == '"') {
        text_begin(j, false, keep);
        j->state = ST_STRING;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        text_begin(j, false, keep);
        text_put(j, c);
        j->state = ST_NUMBER;
    } else if (c == 't' || c == 'f' || c == 'n') {
        text_begin(j, false, true);
        text_put(j, c);
        j->state = ST_LITERAL;
    } else {
        j->invalid = true;
    }
}

static bool is_number_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E';
}

static void literal_done(struct json *j)
{
    struct slice s = slice_of(j->text, j->text_len);
    enum json_type type = JSON_NULL;

    if (slice_eq(s, slice_str("true")))
        type = JSON_TRUE;
    else if (slice_eq(s, slice_str("false")))
        type = JSON_FALSE;
    else if (!slice_eq(s, slice_str("null")))
        j->invalid = true;
    if (j->invalid)
        return;
    text_end(j);
    j->text_total = 0;
    emit(j, type);
    value_done(j);
}

static void string_done(struct json *j)
{
    if (j->text_is_key) {
        key_done(j);
        return;
    }
    emit(j, JSON_STRING);
    value_done(j);
}

static void escape_char(struct json *j, uint8_t c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = c ? strchr(from, c) : NULL;

    j->state = ST_STRING;
    if (c == 'u') {
        j->hex_left = 4;
        j->unicode = 0;
        j->state = ST_HEX;
    } else if (at) {
        text_put(j, (uint8_t)to[at - from]);
    } else {
        j->invalid = true;
    }
}

static void hex_char(struct json *j, uint8_t c)
{
    uint32_t digit;

    if (c >= '0' && c <= '9')
        digit = c - '0';
    else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        digit = (c | 0x20) - 'a' + 10;
    else {
        j->invalid = true;
        return;
    }
    j->unicode = j->unicode << 4 | digit;
    if (--j->hex_left == 0) {
        text_put_escape(j, j->unicode);
        j->state = ST_STRING;
    }
}

static void structure_char(struct json *j, uint8_t c)
{
    bool is_array = j->depth && j->frames[j->depth - 1].is_array;

    if (is_space(c))
        return;
    switch ((enum json_state)j->state) {
    case ST_VALUE_OR_END:
        if (c == ']') {
            container_end(j);
            return;
        }
        element_begin(j);
        value_begin(j, c);
        return;
    case ST_VALUE:
        value_begin(j, c);
        return;
    case ST_KEY_OR_END:
        if (c == '}') {
            container_end(j);
            return;
        }
        /* fall through */
    case ST_KEY:
        j->invalid = c != '"';
        text_begin(j, true,
                   j->depth &&
                       (j->frames[j->depth - 1].node >= 0 || j->frames[j->depth - 1].in_subtree));
        j->state = ST_STRING;
        return;
    case ST_COLON:
        j->invalid = c != ':';
        j->state = ST_VALUE;
        return;
    case ST_AFTER:
        if (c == ',') {
            j->frames[j->depth - 1].index++;
            if (is_array)
                element_begin(j);
            j->state = is_array ? ST_VALUE : ST_KEY;
        } else if (c == (is_array ? ']' : '}')) {
            container_end(j);
        } else {
            j->invalid = true;
        }
        return;
    default:
        j->invalid = true;
    }
}

/* Steps over an unlisted container; returns the bytes used. */
static size_t skip_bytes(struct json *j, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = p[i];

        if (j->state == ST_SKIP_STRING) {
            if (c == '"')
                j->state = ST_SKIP;
            else if (c == '\\')
                j->state = ST_SKIP_ESCAPE;
        } else if (j->state == ST_SKIP_ESCAPE) {
            j->state = ST_SKIP_STRING;
        } else if (c == '"') {
            j->state = ST_SKIP_STRING;
        } else if (c == '{' || c == '[') {
            j->skip_depth++;
        } else if ((c == '}' || c == ']') && --j->skip_depth == 0) {
            value_done(j);
            return i + 1;
        }
    }
    return len;
}

/* Runs of plain string bytes; returns the bytes used, at least one. */
static size_t string_bytes(struct json *j, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '"') {
            string_done(j);
            return i + 1;
        }
        if (p[i] == '\\') {
            j->state = ST_ESCAPE;
            return i + 1;
        }
        j->high_surrogate = 0;
        text_put(j, p[i]);
    }
    return len;
}

static size_t number_byte(struct json *j, uint8_t c)
{
    if (is_number_char(c)) {
        text_put(j, c);
        return 1;
    }
    emit(j, JSON_NUMBER);
    value_done(j);
    return 0;
}

void json_feed(struct json *j, struct slice bytes)
{
    const uint8_t *p = bytes.data;

    for (size_t i = 0; i < bytes.len && !j->invalid;) {
        switch ((enum json_state)j->state) {
        case ST_SKIP:
        case ST_SKIP_STRING:
        case ST_SKIP_ESCAPE:
            i += skip_bytes(j, p + i, bytes.len - i);
            break;
        case ST_STRING:
            i += string_bytes(j, p + i, bytes.len - i);
            break;
        case ST_ESCAPE:
            escape_char(j, p[i++]);
            break;
        case ST_HEX:
            hex_char(j, p[i++]);
            break;
        case ST_NUMBER:
            i += number_byte(j, p[i]);
            break;
        case ST_LITERAL:
            text_put(j, p[i++]);
            if (j->text_len == (j->text[0] == 'f' ? 5 : 4))
                literal_done(j);
            break;
        default:
            structure_char(j, p[i++]);
        }
    }
    if (j->invalid)
        text_end(j);
}

void json_finish(struct json *j)
{
    if (!j->invalid && j->state == ST_NUMBER && j->depth == 0) {
        emit(j, JSON_NUMBER);
        value_done(j);
    }
}
