/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/extent.h"
#include "agent/text.h"

#include <string.h>

#define LOOK_BYTES 4096 /* how far a string is looked at for being base64 */

enum scan_state {
    SCAN_VALUE,
    SCAN_STRING,
    SCAN_ESCAPE,
    SCAN_HEX,
};

/* What a key announces. */
enum word {
    WORD_NONE,
    WORD_TEXT,
    WORD_REASONING,
    WORD_ARGUMENTS, /* a string, or all that is in it */
    WORD_DELTA,     /* a string whose kind the event's type tells */
    WORD_NAME,
    WORD_THOUGHT,
    WORD_TYPE,
    WORD_SKIP, /* says again, or in the model's margin */
    WORD_MESSAGES,
    WORD_PROMPT, /* an object: kept by the provider */
    WORD_TOOLS,
    WORD_PLAIN, /* names and marks, no content */
    WORD_MEDIA,
    WORD_ELSEWHERE,
    WORD_HOSTED,
};

struct word_entry {
    const char *name;
    uint8_t word;
};

static const struct word_entry answer_words[] = {
    {"content", WORD_TEXT},
    {"text", WORD_TEXT},
    {"delta", WORD_DELTA},
    {"response", WORD_TEXT},
    {"completion", WORD_TEXT},
    {"refusal", WORD_TEXT},
    {"outputText", WORD_TEXT},
    {"generation", WORD_TEXT},
    {"tool_plan", WORD_TEXT},
    {"reasoning", WORD_REASONING},
    {"reasoning_content", WORD_REASONING},
    {"thinking", WORD_REASONING},
    {"arguments", WORD_ARGUMENTS},
    {"partial_json", WORD_ARGUMENTS},
    {"args", WORD_ARGUMENTS},
    {"input", WORD_ARGUMENTS},
    {"name", WORD_NAME},
    {"thought", WORD_THOUGHT},
    {"type", WORD_TYPE},
    {"event_type", WORD_TYPE},
    {"annotations", WORD_SKIP},
    {"citations", WORD_SKIP},
    {"citationMetadata", WORD_SKIP},
    {"content_filter_results", WORD_SKIP},
    {"error", WORD_SKIP},
    {"executed_tools", WORD_SKIP},
    {"groundingMetadata", WORD_SKIP},
    {"instructions", WORD_SKIP},
    {"logprobs", WORD_SKIP},
    {"metadata", WORD_SKIP},
    {"prompt_filter_results", WORD_SKIP},
    {"reasoning_details", WORD_SKIP},
    {"search_results", WORD_SKIP},
    {"tools", WORD_SKIP},
    {"usage", WORD_SKIP},
    {"x_groq", WORD_SKIP},
};

static const struct word_entry request_words[] = {
    {"messages", WORD_MESSAGES},
    {"contents", WORD_MESSAGES},
    {"chat_history", WORD_MESSAGES},
    {"input", WORD_MESSAGES},
    {"prompt", WORD_PROMPT},
    {"system", WORD_TEXT},
    {"instructions", WORD_TEXT},
    {"message", WORD_TEXT},
    {"preamble", WORD_TEXT},
    {"inputText", WORD_TEXT},
    {"text", WORD_TEXT},
    {"suffix", WORD_TEXT},
    {"tools", WORD_TOOLS},
    {"functions", WORD_TOOLS},
    {"toolConfig", WORD_TOOLS},
    {"response_format", WORD_TOOLS},
    {"output_format", WORD_TOOLS},
    {"output_config", WORD_TOOLS},
    {"generationConfig", WORD_TOOLS},
    {"generation_config", WORD_TOOLS},
    {"format", WORD_TOOLS},
    {"type", WORD_TYPE},
    {"role", WORD_PLAIN},
    {"id", WORD_PLAIN},
    {"call_id", WORD_PLAIN},
    {"tool_call_id", WORD_PLAIN},
    {"tool_use_id", WORD_PLAIN},
    {"toolUseId", WORD_PLAIN},
    {"status", WORD_PLAIN},
    {"signature", WORD_PLAIN},
    {"thoughtSignature", WORD_PLAIN},
    {"thought_signature", WORD_PLAIN},
    {"encrypted_content", WORD_PLAIN},
    {"reasoning_details", WORD_SKIP},
    {"annotations", WORD_SKIP},
    {"cache_control", WORD_SKIP},
    {"metadata", WORD_SKIP},
    {"image_url", WORD_MEDIA},
    {"input_audio", WORD_MEDIA},
    {"inlineData", WORD_MEDIA},
    {"inline_data", WORD_MEDIA},
    {"fileData", WORD_MEDIA},
    {"file_data", WORD_MEDIA},
    {"file_id", WORD_MEDIA},
    {"file_url", WORD_MEDIA},
    {"images", WORD_MEDIA},
    {"video", WORD_MEDIA},
    {"previous_response_id", WORD_ELSEWHERE},
    {"conversation", WORD_ELSEWHERE},
    {"cachedContent", WORD_ELSEWHERE},
    {"cached_content", WORD_ELSEWHERE},
    {"container", WORD_ELSEWHERE},
    {"mcp_servers", WORD_HOSTED},
    {"plugins", WORD_HOSTED},
    {"connectors", WORD_HOSTED},
    {"web_search_options", WORD_HOSTED},
    {"search_parameters", WORD_HOSTED},
    {"googleSearch", WORD_HOSTED},
    {"google_search", WORD_HOSTED},
    {"googleSearchRetrieval", WORD_HOSTED},
    {"codeExecution", WORD_HOSTED},
    {"code_execution", WORD_HOSTED},
    {"urlContext", WORD_HOSTED},
    {"url_context", WORD_HOSTED},
};

/* Types of parts that are no text, and of tools that run at the caller's. */
static const char *const media_types[] = {"image",      "image_url", "input_image", "input_audio",
                                          "input_file", "file",      "document",    "video_url"};
static const char *const own_tool_types[] = {"function", "custom", "json_schema", "json_object",
                                             "text"};
/* Events that say again what came before, by how their type ends. */
static const char *const repeating_types[] = {
    "*.done",       "*.completed", "*.created",      "*.in_progress",
    "*.incomplete", "*.failed",    "*.queued",       "*.complete",
    "*.start",      "stream-end",  "citation-start", "*content_part.added",
};

static bool word_in(const struct extent_scan *s, const char *const *list, size_t count)
{
    struct slice word = slice_of(s->word, s->word_len);

    for (size_t i = 0; i < count; i++)
        if (text_match(list[i], word))
            return true;
    return false;
}

static bool holds(struct slice s, const char *part)
{
    return s.len && memmem(s.data, s.len, part, strlen(part)) != NULL;
}

static uint8_t word_of(const struct extent_scan *s)
{
    bool request = s->mode == EXTENT_REQUEST;
    const struct word_entry *table = request ? request_words : answer_words;
    size_t count = request ? sizeof(request_words) / sizeof(request_words[0])
                           : sizeof(answer_words) / sizeof(answer_words[0]);
    struct slice word = slice_of(s->word, s->word_len);

    for (size_t i = 0; i < count && s->word_len < EXTENT_WORD_MAX; i++)
        if (slice_eq(word, slice_str(table[i].name)))
            return table[i].word;
    return WORD_NONE;
}

static bool in_object(const struct extent_scan *s)
{
    return s->depth > 0 && s->depth <= EXTENT_DEPTH_MAX && (s->objects >> (s->depth - 1) & 1);
}

static void event_begin(struct extent_scan *s)
{
    memset(&s->event, 0, sizeof(s->event));
    s->depth = s->base;
    s->skip_at = s->kind_at = 0;
    s->state = SCAN_VALUE;
    s->key = s->top_key = WORD_NONE;
    s->delta_kind = EXTENT_TEXT;
    s->want_key = s->is_key = s->repeats = s->names_only = s->thought = false;
    explicit_bzero(s->word, sizeof(s->word));
    s->word_len = 0;
}

void extent_init(struct extent_scan *s, enum extent_mode mode, struct extent *total)
{
    memset(s, 0, sizeof(*s));
    s->mode = mode;
    s->total = total;
    event_begin(s);
}

void extent_reset(struct extent_scan *s)
{
    if (s->depth > s->base || s->state != SCAN_VALUE)
        s->total->torn = s->mode != EXTENT_STREAM;
    event_begin(s);
}

void extent_finish(struct extent_scan *s)
{
    if (s->total)
        extent_reset(s);
    explicit_bzero(s, sizeof(*s));
}

static void move_kind(struct extent *e, enum extent_kind from, enum extent_kind to)
{
    if (from == to)
        return;
    e->bytes[to] += e->bytes[from];
    e->milliunits[to] += e->milliunits[from];
    e->bytes[from] = e->milliunits[from] = 0;
}

/* A document is whole: it counts unless it repeats. */
static void event_end(struct extent_scan *s)
{
    struct extent *e = &s->event, *t = s->total;

    if (s->mode != EXTENT_REQUEST)
        move_kind(e, EXTENT_TEXT, s->thought ? EXTENT_REASONING : s->delta_kind);
    if (s->names_only)
        memset(e->bytes, 0, sizeof(e->bytes));
    if (!s->repeats || s->mode != EXTENT_STREAM) {
        for (int k = 0; k < EXTENT_KINDS; k++) {
            t->bytes[k] += e->bytes[k];
            t->milliunits[k] += s->names_only && !e->tool_names ? 0 : e->milliunits[k];
            t->deltas[k] += e->bytes[k] > 0;
        }
        t->tool_names += e->tool_names;
    }
    t->messages += e->messages;
    t->media |= e->media;
    t->elsewhere |= e->elsewhere;
    t->hosted |= e->hosted;
    event_begin(s);
}

/* Which kind a string value at the current key is; EXTENT_KINDS: none. */
static uint8_t answer_kind(const struct extent_scan *s)
{
    if (s->skip_at)
        return EXTENT_KINDS;
    if (s->kind_at)
        return EXTENT_ARGUMENTS;
    switch ((enum word)s->key) {
    case WORD_TEXT:
    case WORD_DELTA:
        return EXTENT_TEXT;
    case WORD_REASONING:
        return EXTENT_REASONING;
    case WORD_ARGUMENTS:
    case WORD_NAME:
        return EXTENT_ARGUMENTS;
    default:
        return EXTENT_KINDS;
    }
}

static uint8_t request_kind(const struct extent_scan *s)
{
    bool at_root = s->depth == s->base + 1;

    if (s->skip_at || s->key == WORD_PLAIN || s->key == WORD_MEDIA || s->key == WORD_ELSEWHERE ||
        s->key == WORD_SKIP)
        return EXTENT_KINDS;
    if (s->top_key == WORD_TOOLS)
        return EXTENT_SCHEMA;
    if (s->key == WORD_TYPE)
        return EXTENT_KINDS;
    if (at_root && s->key != WORD_TEXT && s->key != WORD_MESSAGES && s->key != WORD_PROMPT)
        return EXTENT_KINDS;
    return s->top_key == WORD_NONE ? EXTENT_KINDS : EXTENT_TEXT;
}

static void note_key(struct extent_scan *s)
{
    bool at_root = s->depth == s->base + 1;

    s->key = word_of(s);
    if (at_root)
        s->top_key = s->key;
    if (s->mode != EXTENT_REQUEST || s->skip_at)
        return;
    s->event.media |= s->key == WORD_MEDIA && s->top_key != WORD_TOOLS;
    s->event.hosted |= s->key == WORD_HOSTED && (at_root || s->top_key == WORD_TOOLS);
}

static void note_type(struct extent_scan *s)
{
    if (s->mode == EXTENT_REQUEST) {
        if (s->top_key != WORD_TOOLS)
            s->event.media |= word_in(s, media_types, sizeof(media_types) / sizeof(*media_types));
        else if (s->depth == s->base + 3)
            s->event.hosted |=
                !word_in(s, own_tool_types, sizeof(own_tool_types) / sizeof(*own_tool_types));
    } else if (s->depth == s->base + 1) {
        struct slice type = slice_of(s->word, s->word_len);

        s->repeats |=
            word_in(s, repeating_types, sizeof(repeating_types) / sizeof(*repeating_types));
        s->names_only |= text_match("*output_item.added", type);
        if (holds(type, "arguments") || holds(type, "tool_call_input"))
            s->delta_kind = EXTENT_ARGUMENTS;
        else if (holds(type, "reasoning") || holds(type, "thought"))
            s->delta_kind = EXTENT_REASONING;
    }
}

static void string_begin(struct extent_scan *s)
{
    s->state = SCAN_STRING;
    s->is_key = in_object(s) && s->want_key;
    explicit_bzero(s->word, s->word_len);
    s->word_len = 0;
    s->binary = true;
    memset(&s->string, 0, sizeof(s->string));
    s->kind = s->mode == EXTENT_REQUEST ? request_kind(s) : answer_kind(s);
    if (s->is_key && s->mode == EXTENT_REQUEST)
        s->kind = s->top_key == WORD_TOOLS && s->depth > s->base + 1 ? EXTENT_SCHEMA : EXTENT_KINDS;
    else if (s->is_key)
        s->kind = s->kind_at ? EXTENT_ARGUMENTS : EXTENT_KINDS;
    if (s->kind < EXTENT_KINDS && (s->mode == EXTENT_REQUEST || s->is_key))
        tally_break(&s->tally[s->kind]);
    if (!s->is_key && s->mode == EXTENT_REQUEST && s->key == WORD_ELSEWHERE)
        s->event.elsewhere = true;
}

static bool is_base64(uint8_t c)
{
    return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=' || c == '-' || c == '_';
}

static void string_bytes(struct extent_scan *s, struct slice bytes)
{
    size_t room = EXTENT_WORD_MAX - s->word_len;
    size_t copy = bytes.len < room ? bytes.len : room;
    static const char data_url[] = "data:";

    if (s->is_key || s->key == WORD_TYPE || s->string.bytes < sizeof(data_url)) {
        memcpy(s->word + s->word_len, bytes.data, copy);
        s->word_len += (uint8_t)copy;
    }
    if (s->mode == EXTENT_REQUEST && s->binary && s->string.bytes < LOOK_BYTES) {
        size_t left = LOOK_BYTES - (size_t)s->string.bytes;
        size_t look = bytes.len < left ? bytes.len : left;

        for (size_t i = 0; i < look && s->binary; i++)
            s->binary = is_base64(bytes.data[i]);
    }
    if (s->kind < EXTENT_KINDS) {
        struct tally *t = s->mode == EXTENT_REQUEST ? &s->string : &s->tally[s->kind];
        uint64_t before = t->milliunits;

        tally_feed(t, bytes);
        if (t != &s->string) {
            s->event.milliunits[s->kind] += t->milliunits - before;
            s->event.bytes[s->kind] += bytes.len;
            s->string.bytes += bytes.len;
        }
    } else {
        s->string.bytes += bytes.len;
    }
}

static void string_end(struct extent_scan *s)
{
    bool data_url = s->word_len >= 5 && memcmp(s->word, "data:", 5) == 0;

    s->state = SCAN_VALUE;
    if (s->mode == EXTENT_REQUEST && s->kind < EXTENT_KINDS) {
        if (!s->is_key && s->string.bytes >= EXTENT_MEDIA_BYTES && (s->binary || data_url)) {
            s->event.media = true;
        } else {
            s->event.bytes[s->kind] += s->string.bytes;
            s->event.milliunits[s->kind] += s->string.milliunits;
        }
    }
    if (s->is_key) {
        note_key(s);
    } else if (s->key == WORD_TYPE) {
        note_type(s);
    } else if (s->key == WORD_NAME && s->kind == EXTENT_ARGUMENTS && !s->kind_at) {
        s->event.tool_names += s->string.bytes > 0;
    }
    explicit_bzero(s->word, s->word_len);
    s->word_len = 0;
    if (!s->is_key && s->depth == s->base)
        event_end(s);
}

static void container_begin(struct extent_scan *s, bool object)
{
    if (s->depth == 0 && !object && s->mode != EXTENT_REQUEST && !s->base) {
        s->base = 1; /* the elements of a top-level array are the documents */
    } else if (!s->skip_at && s->depth > s->base) {
        bool media = s->mode == EXTENT_REQUEST && s->key == WORD_MEDIA;

        if (s->key == WORD_SKIP || media)
            s->skip_at = s->depth + 1;
        else if (s->mode != EXTENT_REQUEST && s->key == WORD_ARGUMENTS && object && !s->kind_at)
            s->kind_at = s->depth + 1;
        if (s->mode == EXTENT_REQUEST && s->depth == s->base + 1 && s->key == WORD_TEXT && object)
            s->top_key = WORD_TOOLS; /* "text": the format that is wanted */
        if (s->mode == EXTENT_REQUEST && object &&
            (s->key == WORD_ELSEWHERE || (s->key == WORD_PROMPT && s->depth == s->base + 1)))
            s->event.elsewhere = true;
    }
    s->depth++;
    if (s->depth <= EXTENT_DEPTH_MAX) {
        uint64_t bit = 1ULL << (s->depth - 1);

        s->objects = object ? s->objects | bit : s->objects & ~bit;
    }
    s->want_key = object;
    if (object && s->depth == s->base + 3 && s->top_key == WORD_MESSAGES)
        s->event.messages++;
}

static void container_end(struct extent_scan *s)
{
    if (s->depth == 0)
        return;
    s->depth--;
    if (s->depth < s->skip_at)
        s->skip_at = 0;
    if (s->depth < s->kind_at)
        s->kind_at = 0;
    s->want_key = false;
    if (s->depth < s->base)
        s->base = 0;
    else if (s->depth == s->base)
        event_end(s);
}

static void structure_char(struct extent_scan *s, uint8_t c)
{
    switch (c) {
    case '{':
    case '[':
        container_begin(s, c == '{');
        break;
    case '}':
    case ']':
        container_end(s);
        break;
    case ',':
        s->want_key = in_object(s);
        break;
    case ':':
        s->want_key = false;
        break;
    case '"':
        string_begin(s);
        break;
    case 't': /* of true */
        s->thought |= s->key == WORD_THOUGHT && s->mode != EXTENT_REQUEST;
        break;
    default:
        break;
    }
}

static void escape_char(struct extent_scan *s, uint8_t c)
{
    static const char from[] = "bfnrt";
    uint8_t plain = c;

    s->state = SCAN_STRING;
    if (c == 'u') {
        s->state = SCAN_HEX;
        s->hex_left = 4;
        s->unicode = 0;
        return;
    }
    if (c && strchr(from, c))
        plain = '\n';
    string_bytes(s, slice_of(&plain, 1));
}

/* Only the size and the script matter, not the character. */
static void hex_char(struct extent_scan *s, uint8_t c)
{
    static const uint8_t two[] = {0xc3, 0x80}, three[] = {0xe0, 0x80, 0x80}, high[] = {0xf0},
                         low[] = {0x80, 0x80, 0x80};
    uint8_t digit = c >= '0' && c <= '9' ? (uint8_t)(c - '0') : (uint8_t)((c | 0x20) - 'a' + 10);
    uint8_t plain;

    s->unicode = s->unicode << 4 | (digit & 15);
    if (--s->hex_left)
        return;
    s->state = SCAN_STRING;
    plain = (uint8_t)s->unicode;
    if (s->unicode < 0x80)
        string_bytes(s, slice_of(&plain, 1));
    else if (s->unicode < 0x800)
        string_bytes(s, slice_of(two, sizeof(two)));
    else if (s->unicode >= 0xd800 && s->unicode < 0xdc00)
        string_bytes(s, slice_of(high, sizeof(high)));
    else if (s->unicode >= 0xdc00 && s->unicode < 0xe000)
        string_bytes(s, slice_of(low, sizeof(low)));
    else
        string_bytes(s, slice_of(three, sizeof(three)));
}

void extent_feed(struct extent_scan *s, struct slice bytes)
{
    const uint8_t *p = bytes.data;

    for (size_t i = 0; i < bytes.len;) {
        size_t end = i;

        switch ((enum scan_state)s->state) {
        case SCAN_STRING:
            while (end < bytes.len && p[end] != '"' && p[end] != '\\')
                end++;
            if (end > i)
                string_bytes(s, slice_of(p + i, end - i));
            i = end;
            if (i < bytes.len && p[i] == '"')
                string_end(s);
            else if (i < bytes.len)
                s->state = SCAN_ESCAPE;
            i++;
            break;
        case SCAN_ESCAPE:
            escape_char(s, p[i++]);
            break;
        case SCAN_HEX:
            hex_char(s, p[i++]);
            break;
        default:
            structure_char(s, p[i++]);
        }
    }
}
