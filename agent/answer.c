/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/answer.h"
#include "agent/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define RANK_NONE 255

static bool list_matches(char *const *list, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count && name[0]; i++)
        if (text_match(list[i], slice_str(name)))
            return true;
    return false;
}

void answer_event_drop(struct answer *a)
{
    struct answer_event *e = &a->event;

    e->name.rank = e->model.rank = e->id.rank = e->tier.rank = e->finish.rank = RANK_NONE;
    e->error_type.rank = e->error_code.rank = e->status.rank = e->result.rank = RANK_NONE;
    e->line_model.rank = e->promise.rank = RANK_NONE;
    e->choice = 0;
    e->error_mark = e->output = e->end = e->has_usage = false;
    memset(e->slot, 0, sizeof(e->slot));
    memset(e->fallback, 0, sizeof(e->fallback));
    memset(e->rank, RANK_NONE, sizeof(e->rank));
    memset(e->fallback_rank, RANK_NONE, sizeof(e->fallback_rank));
    e->absolute_mask = 0;
    memset(e->whole_tools, 0, sizeof(e->whole_tools));
    e->part_count = e->entry_count = e->tool_count = e->raw_count = 0;
}

void answer_init(struct answer *a, const struct profile_family *family)
{
    memset(a, 0, sizeof(*a));
    a->family = family;
    answer_event_drop(a);
}

static bool is_scalar(const struct json_value *v)
{
    return v->type == JSON_STRING || v->type == JSON_NUMBER;
}

static void keep_text(struct answer_text *t, uint8_t rank, const struct json_value *v)
{
    if (!is_scalar(v) || v->len == 0 || rank > t->rank)
        return;
    t->rank = rank;
    text_copy(t->text, sizeof(t->text), v->text);
}

static struct opt_double number_of(const struct json_value *v)
{
    char text[48];
    struct opt_double d = {0};

    if (v->type != JSON_NUMBER || v->text.len >= sizeof(text))
        return d;
    memcpy(text, v->text.data, v->text.len);
    text[v->text.len] = '\0';
    d.value = strtod(text, NULL);
    d.known = isfinite(d.value) && d.value >= 0;
    return d;
}

static void keep_number(struct opt_double *slot, const struct json_value *v)
{
    struct opt_double d = number_of(v);

    if (d.known)
        *slot = d;
}

/* null, false, "" and absent say nothing; anything else does. */
static bool says_something(const struct json_value *v)
{
    if (v->type == JSON_NULL || v->type == JSON_FALSE)
        return false;
    return v->type != JSON_STRING || v->len > 0;
}

/* Beside the usage object: told under its own name, of an array's element with the place. */
static void keep_raw_number(struct answer_event *e, const struct json_value *v, bool is_element)
{
    struct usage_raw *raw = &e->raw[e->raw_count];

    if (v->type != JSON_NUMBER || !v->key || e->raw_count >= CALL_RAW_MAX ||
        v->len >= sizeof(raw->value))
        return;
    text_copy(raw->path, sizeof(raw->path), slice_str(v->key));
    if (is_element)
        snprintf(raw->path, sizeof(raw->path), "%.64s[%u]", v->key, v->index[0]);
    text_copy(raw->value, sizeof(raw->value), v->text);
    e->raw_count++;
}

static void keep_raw(struct answer_event *e, const struct json_value *v, bool is_usage)
{
    struct usage_raw *raw = &e->raw[e->raw_count];

    if (is_usage && v->type == JSON_NUMBER)
        e->has_usage = true;
    if (!is_scalar(v) || e->raw_count >= CALL_RAW_MAX || v->len >= sizeof(raw->value))
        return;
    text_copy(raw->path, sizeof(raw->path), slice_str(v->path));
    text_copy(raw->value, sizeof(raw->value), v->text);
    e->raw_count++;
}

static void tool_value(struct answer *a, const struct json_value *v, uint16_t kind, uint8_t rule)
{
    const struct profile_tool_calls *p = &a->family->answer->tool_calls[rule];
    struct answer_event *e = &a->event;

    if (kind == FIELD_TOOL_TYPE) {
        e->whole_tools[rule] += v->type == JSON_STRING && text_match(p->type, v->text);
    } else if (kind == FIELD_TOOL && !p->by_index) {
        e->whole_tools[rule] += !p->type && says_something(v);
    } else if (kind == FIELD_TOOL) {
        if (e->tool_count < ANSWER_TOOLS_MAX && says_something(v))
            e->tools[e->tool_count++] = (struct answer_tool){.rule = rule, .choice = v->index[0]};
    } else if (e->tool_count && e->tools[e->tool_count - 1].rule == rule) {
        /* Members follow their object's beginning: it is the last one's. */
        e->tools[e->tool_count - 1].has_index = number_of(v).known;
        e->tools[e->tool_count - 1].index = (uint32_t)number_of(v).value;
    }
}

static void modality_value(struct answer_event *e, const struct json_value *v, uint16_t kind,
                           uint8_t of)
{
    struct answer_part *p;

    if (kind == FIELD_MODALITY) {
        if (e->part_count < ANSWER_PARTS_MAX && v->type == JSON_OBJECT)
            e->parts[e->part_count++] = (struct answer_part){.of = of};
        return;
    }
    if (!e->part_count || e->parts[e->part_count - 1].of != of)
        return;
    p = &e->parts[e->part_count - 1];
    if (kind == FIELD_MODALITY_NAME)
        text_copy(p->name, sizeof(p->name), v->text);
    else
        keep_number(&p->count, v);
}

static bool entry_counts(const struct profile_usage *u, const struct answer_entry *entry)
{
    for (unsigned i = 0; i < u->entries_types_count; i++)
        if (strcmp(u->entries_types[i], entry->type) == 0)
            return true;
    return false;
}

static void entry_value(struct answer *a, const struct json_value *v, uint16_t kind, uint8_t slot)
{
    struct answer_event *e = &a->event;
    struct answer_entry *entry = e->entry_count ? &e->entries[e->entry_count - 1] : NULL;

    if (kind == FIELD_ENTRY) {
        if (v->type != JSON_OBJECT)
            return;
        /* Those inside the top-level numbers need not be kept. */
        if (!entry ||
            (entry_counts(a->family->usage, entry) && e->entry_count < ANSWER_ENTRIES_MAX))
            entry = &e->entries[e->entry_count++];
        memset(entry, 0, sizeof(*entry));
        return;
    }
    if (!entry)
        return;
    if (kind == FIELD_ENTRY_TYPE)
        text_copy(entry->type, sizeof(entry->type), v->text);
    else if (kind == FIELD_ENTRY_MODEL)
        text_copy(entry->model, sizeof(entry->model), v->text);
    else
        keep_number(&entry->slot[FIELD_SLOT(slot)], v);
}

static void number_value(struct answer_event *e, const struct json_value *v, uint16_t kind,
                         uint8_t low)
{
    uint8_t slot = FIELD_SLOT(low), rank = FIELD_RANK(low);
    struct opt_double d = number_of(v);

    if (kind == FIELD_COUNT) {
        if (v->type == JSON_OBJECT || is_scalar(v))
            e->slot[slot] = (struct opt_double){e->slot[slot].value + 1, true};
    } else if (kind == FIELD_SUM) {
        keep_raw_number(e, v, true);
        if (d.known)
            e->fallback[slot] = (struct opt_double){e->fallback[slot].value + d.value, true};
    } else if (d.known && rank <= e->rank[slot]) {
        e->slot[slot] = d;
        e->rank[slot] = rank;
    }
    if (kind != FIELD_NUMBER && e->slot[slot].known)
        e->absolute_mask |= 1ULL << slot;
}

static void fallback_value(struct answer_event *e, const struct json_value *v, uint8_t low)
{
    uint8_t slot = FIELD_SLOT(low), rank = FIELD_RANK(low);
    struct opt_double d = number_of(v);

    keep_raw_number(e, v, false);
    if (!d.known || rank > e->fallback_rank[slot])
        return;
    e->fallback[slot] = d;
    e->fallback_rank[slot] = rank;
}

void answer_header_number(struct answer *a, enum usage_slot slot, const char *name, double value)
{
    struct usage_raw *raw = &a->header_raw[a->header_raw_count];

    if (a->header_raw_count >= HEADER_NUMBERS_MAX)
        return;
    a->header_raw_count++;
    text_copy(raw->path, sizeof(raw->path), slice_str(name));
    snprintf(raw->value, sizeof(raw->value), "%.17g", value);
    a->fallback[slot] = (struct opt_double){value, true};
    a->fallback_rank[slot] = 0;
}

void answer_exception(struct answer *a, const char *type)
{
    struct answer_event *e = &a->event;

    e->error_mark = true;
    e->error_type.rank = 0;
    text_copy(e->error_type.text, sizeof(e->error_type.text), slice_str(type));
}

/* Texts that are kept as they come; of those that a profile lists the first wins. */
static struct answer_text *text_of(struct answer_event *e, uint16_t kind)
{
    switch ((enum profile_field)kind) {
    case FIELD_EVENT:
        return &e->name;
    case FIELD_MODEL:
        return &e->model;
    case FIELD_ID:
        return &e->id;
    case FIELD_TIER:
        return &e->tier;
    case FIELD_STATUS:
        return &e->status;
    case FIELD_PROMISE:
        return &e->promise;
    case FIELD_RESULT:
        return &e->result;
    case FIELD_LINE_MODEL:
        return &e->line_model;
    case FIELD_ERROR_TYPE:
        return &e->error_type;
    case FIELD_ERROR_CODE:
        return &e->error_code;
    default:
        return NULL;
    }
}

void answer_value(struct answer *a, const struct json_value *v)
{
    struct answer_event *e = &a->event;
    uint16_t kind = v->field & 0xff00;
    uint8_t low = v->field & 0xff;
    struct answer_text *text = text_of(e, kind);

    if (text) {
        keep_text(text, low, v);
        return;
    }
    switch ((enum profile_field)kind) {
    case FIELD_FINISH:
        if (v->index[0] == 0)
            keep_text(&e->finish, low, v);
        break;
    case FIELD_CHOICE_INDEX:
        if (v->index[0] == 0)
            e->choice = (uint32_t)number_of(v).value;
        break;
    case FIELD_ERROR_MARK:
        e->error_mark |= says_something(v);
        break;
    case FIELD_OUTPUT:
        e->output |= says_something(v);
        break;
    case FIELD_END:
        e->end |= says_something(v);
        break;
    case FIELD_TOOL:
    case FIELD_TOOL_TYPE:
    case FIELD_TOOL_INDEX:
        tool_value(a, v, kind, low);
        break;
    case FIELD_USAGE:
        keep_raw(e, v, true);
        break;
    case FIELD_FALLBACK_RAW:
        keep_raw(e, v, false);
        break;
    case FIELD_FALLBACK:
        fallback_value(e, v, low);
        break;
    case FIELD_NUMBER:
    case FIELD_ABSOLUTE:
    case FIELD_COUNT:
    case FIELD_SUM:
        number_value(e, v, kind, low);
        break;
    case FIELD_MODALITY:
    case FIELD_MODALITY_NAME:
    case FIELD_MODALITY_COUNT:
        modality_value(e, v, kind, low);
        break;
    case FIELD_ENTRY:
    case FIELD_ENTRY_TYPE:
    case FIELD_ENTRY_MODEL:
    case FIELD_ENTRY_NUMBER:
        entry_value(a, v, kind, low);
        break;
    default:
        break;
    }
}

/* Names and, from Google's integer enums, numbers. */
static const struct {
    const char *name, *number;
    int8_t slot[MODALITY_OF__COUNT];
} modality_slots[] = {
    {"audio", "4", {SLOT_AUDIO_INPUT, SLOT_CACHED_AUDIO_PART, SLOT_AUDIO_OUTPUT, -1}},
    {"image", "2", {SLOT_INPUT_IMAGE_PART, SLOT_CACHED_IMAGE_PART, SLOT_OUTPUT_IMAGE_PART, -1}},
    {"video", "3", {SLOT_INPUT_VIDEO_PART, SLOT_CACHED_VIDEO_PART, SLOT_OUTPUT_VIDEO_PART, -1}},
    {"document", "5", {SLOT_INPUT_DOCUMENT_PART, SLOT_CACHED_DOCUMENT_PART, -1, -1}},
    /* Cache writes are told apart by how long they live. */
    {"5m", "300", {-1, -1, -1, SLOT_CACHE_CREATION_5M}},
    {"1h", "3600", {-1, -1, -1, SLOT_CACHE_CREATION_1H}},
};

static void take_parts(struct answer_event *e)
{
    for (uint32_t i = 0; i < e->part_count; i++) {
        const struct answer_part *p = &e->parts[i];
        struct slice name = slice_str(p->name);

        for (size_t k = 0; k < sizeof(modality_slots) / sizeof(modality_slots[0]); k++) {
            int slot = modality_slots[k].slot[p->of];

            if (slot < 0 || !p->count.known ||
                (!slice_eq_nocase(name, slice_str(modality_slots[k].name)) &&
                 !slice_eq(name, slice_str(modality_slots[k].number))))
                continue;
            e->slot[slot] = (struct opt_double){e->slot[slot].value + p->count.value, true};
        }
    }
}

static void take_raw(struct answer *a, bool fields)
{
    const struct answer_event *e = &a->event;

    if (!fields)
        a->raw_count = 0;
    for (uint32_t i = 0; i < e->raw_count; i++) {
        uint32_t at = 0;

        while (at < a->raw_count && strcmp(a->raw[at].path, e->raw[i].path) != 0)
            at++;
        if (at >= CALL_RAW_MAX)
            continue;
        a->raw[at] = e->raw[i];
        if (at == a->raw_count)
            a->raw_count++;
    }
}

/* Some send fragments of the object, without the numbers that make it one. */
static void drop_fragment(struct answer_event *e, const struct profile_usage *u)
{
    bool had_usage = e->has_usage;

    for (int i = 0; i < SLOT__COUNT; i++)
        if (u->needs_mask & 1ULL << i && !e->slot[i].known)
            e->has_usage = false;
    if (e->has_usage)
        return;
    for (int i = 0; i < SLOT__COUNT; i++)
        e->slot[i].known &= (e->absolute_mask >> i) & 1;
    e->part_count = 0;
    if (had_usage)
        e->raw_count = 0;
}

static void take_line(struct answer *a)
{
    const struct answer_event *e = &a->event;

    for (int i = 0; i < SLOT__COUNT; i++) {
        const struct opt_double *d = e->slot[i].known ? &e->slot[i] : &e->fallback[i];

        if (d->known)
            a->slot[i] = (struct opt_double){a->slot[i].value + d->value, true};
    }
    if (e->line_model.rank == RANK_NONE)
        return;
    a->models_differ |= a->line_model[0] && strcmp(a->line_model, e->line_model.text) != 0;
    text_copy(a->line_model, sizeof(a->line_model), slice_str(e->line_model.text));
}

static void take_usage(struct answer *a, const struct profile_usage *u)
{
    struct answer_event *e = &a->event;
    bool fields = u->merge == USAGE_MERGE_FIELDS;

    drop_fragment(e, u);
    take_parts(e);
    for (int i = 0; i < SLOT__COUNT; i++) {
        bool absolute = (e->absolute_mask | a->absolute_mask) & 1ULL << i;

        if (e->fallback[i].known &&
            (!a->fallback[i].known || e->fallback_rank[i] <= a->fallback_rank[i])) {
            a->fallback[i] = e->fallback[i];
            a->fallback_rank[i] = e->fallback_rank[i];
        }
        if (e->slot[i].known)
            a->slot[i] = e->slot[i];
        else if (e->has_usage && !fields && !absolute)
            a->slot[i].known = false;
    }
    a->absolute_mask |= e->absolute_mask;
    if (!e->has_usage) {
        take_raw(a, true);
        return;
    }
    a->has_usage = true;
    take_raw(a, fields);
    if (e->entry_count || !fields) {
        memcpy(a->entries, e->entries, sizeof(a->entries[0]) * e->entry_count);
        a->entry_count = e->entry_count;
    }
    for (int i = 0; i < SLOT__COUNT; i++)
        if (u->zero_mask & 1ULL << i && !a->slot[i].known)
            a->slot[i] = (struct opt_double){0, true};
}

static void take_tools(struct answer *a, const char *name)
{
    const struct profile_answer *p = a->family->answer;
    const struct answer_event *e = &a->event;

    for (unsigned i = 0; i < p->tool_calls_count; i++) {
        const char *on_event = p->tool_calls[i].on_event;

        if (!on_event || text_match(on_event, slice_str(name)))
            a->tool_calls += e->whole_tools[i];
    }
    for (uint32_t i = 0; i < e->tool_count; i++) {
        const struct answer_tool *t = &e->tools[i];
        uint32_t choice = t->choice ? t->choice : e->choice;
        uint32_t bit = (choice & 7) * 32 + (t->index & 31);

        if (t->has_index && a->tools_seen[bit / 64] & 1ULL << bit % 64)
            continue;
        if (t->has_index)
            a->tools_seen[bit / 64] |= 1ULL << bit % 64;
        a->tool_calls++;
    }
}

static void take_first(char *to, size_t size, const struct answer_text *t)
{
    if (!to[0] && t->rank != RANK_NONE)
        text_copy(to, size, slice_str(t->text));
}

static void take_last(char *to, size_t size, const struct answer_text *t)
{
    if (t->rank != RANK_NONE)
        text_copy(to, size, slice_str(t->text));
}

bool answer_event_end(struct answer *a, enum answer_kind kind, const char *sse_name)
{
    struct answer_event *e = &a->event;
    const struct profile_answer *p = a->family ? a->family->answer : NULL;
    const struct profile_usage *u = a->family ? a->family->usage : NULL;
    const char *name = e->name.rank != RANK_NONE ? e->name.text : sse_name;
    bool output = e->output, end = e->end;

    a->events++;
    if (!p)
        return false;
    end |= list_matches(p->end_events, p->end_events_count, name);
    output |= list_matches(p->output_events, p->output_events_count, name);
    a->end |= end;
    a->error |= e->error_mark || list_matches(p->error_events, p->error_events_count, name);
    if (u && u->merge == USAGE_MERGE_LINES)
        take_line(a);
    take_first(a->model, sizeof(a->model), &e->model);
    take_first(a->id, sizeof(a->id), &e->id);
    take_last(a->tier, sizeof(a->tier), &e->tier);
    if (e->choice == 0 && (end || kind == ANSWER_DOCUMENT || !p->finish_at_end))
        take_last(a->finish, sizeof(a->finish), &e->finish);
    take_last(a->error_type, sizeof(a->error_type), &e->error_type);
    take_last(a->error_code, sizeof(a->error_code), &e->error_code);
    if (p->tool_calls_count)
        take_tools(a, name);
    take_last(a->promise, sizeof(a->promise), &e->promise);
    take_last(a->result, sizeof(a->result), &e->result);
    if (e->status.rank != RANK_NONE)
        a->pending = list_matches(p->pending, p->pending_count, e->status.text);
    if (u && u->merge != USAGE_MERGE_LINES) {
        take_usage(a, u);
        if (e->has_usage)
            a->final_usage = kind == ANSWER_DOCUMENT || !u->provisional ||
                             list_matches(u->final_events, u->final_events_count, name);
    }
    answer_event_drop(a);
    return output;
}
