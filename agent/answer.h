/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one answer says, gathered through its family's profile. Values of an
 * event are held apart and taken over when the event is whole, so that key
 * order does not matter and a torn last event leaves no trace.
 */
#pragma once

#include "agent/call.h"
#include "agent/profile.h"

#define ANSWER_ENTRIES_MAX 6
#define ANSWER_PARTS_MAX 16
#define ANSWER_TOOLS_MAX 16

struct answer_text {
    uint8_t rank; /* 255: none */
    char text[160];
};

struct answer_part {
    uint8_t of;
    char name[16];
    struct opt_double count;
};

/* Usage outside the top-level numbers: another model's part in the call. */
struct answer_entry {
    char type[32];
    char model[96];
    struct opt_double slot[SLOT__COUNT];
};

/* A piece of a tool call that comes in deltas. */
struct answer_tool {
    uint8_t rule;
    bool has_index;
    uint32_t choice, index;
};

struct answer_event {
    struct answer_text name, model, id, tier, finish, error_type, error_code, status, promise,
        result, line_model;
    uint32_t choice; /* of the choice at position 0 */
    bool error_mark, output, end, has_usage;
    struct opt_double slot[SLOT__COUNT], fallback[SLOT__COUNT];
    uint8_t rank[SLOT__COUNT]; /* of what the slot holds */
    uint8_t fallback_rank[SLOT__COUNT];
    uint64_t absolute_mask; /* slots that stand outside the usage object */
    uint32_t part_count, entry_count, tool_count;
    struct answer_part parts[ANSWER_PARTS_MAX];
    struct answer_entry entries[ANSWER_ENTRIES_MAX];
    struct answer_tool tools[ANSWER_TOOLS_MAX];
    uint32_t whole_tools[TOOL_RULES_MAX]; /* by rule: calls that come in one piece */
    uint32_t raw_count;
    struct usage_raw raw[CALL_RAW_MAX];
};

struct answer {
    const struct profile_family *family;
    char model[160], id[160], tier[32], finish[64], error_type[64], error_code[64];
    char promise[160], result[64];
    bool error, end, has_usage, final_usage;
    bool pending;       /* the last status says so */
    bool models_differ; /* of lines: no model is that of all */
    char line_model[96];
    uint32_t events;
    uint32_t tool_calls;
    uint64_t tools_seen[4]; /* by choice and index */
    struct opt_double slot[SLOT__COUNT];
    struct opt_double fallback[SLOT__COUNT]; /* told beside the usage, or by the head */
    uint8_t fallback_rank[SLOT__COUNT];
    uint64_t absolute_mask;
    uint32_t header_raw_count;
    struct usage_raw header_raw[HEADER_NUMBERS_MAX];
    uint32_t entry_count;
    struct answer_entry entries[ANSWER_ENTRIES_MAX];
    uint32_t raw_count;
    struct usage_raw raw[CALL_RAW_MAX];
    struct answer_event event;
};

/* `family` may be NULL: nothing is gathered. */
void answer_init(struct answer *a, const struct profile_family *family);
/* A number of the answer's head; counts where the body tells no other. */
void answer_header_number(struct answer *a, enum usage_slot slot, const char *name, double value);
/* A value of the current event, as the scanner reports it. */
void answer_value(struct answer *a, const struct json_value *v);

enum answer_kind {
    ANSWER_DOCUMENT,
    ANSWER_STREAM,
};
/* The framing says that the current event is an error of this name. */
void answer_exception(struct answer *a, const char *type);
/* The event ends: its values are taken over. True when it carried generated
 * output. `sse_name` is the event field's, "" when there was none. */
bool answer_event_end(struct answer *a, enum answer_kind kind, const char *sse_name);
/* Forgets the current event. */
void answer_event_drop(struct answer *a);
