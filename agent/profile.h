/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the profiles say, as the meter's stages read it. Filled by provider.c
 * from YAML, read-only afterwards, alive as long as the provider set.
 */
#pragma once

#include <stdint.h>

#include "agent/json.h"
#include "agent/provider.h"

/* The numbers an answer may carry. */
enum usage_slot {
    SLOT_INPUT,
    SLOT_OUTPUT,
    SLOT_TOTAL,
    SLOT_CACHED_INPUT,
    SLOT_CACHE_CREATION,
    SLOT_CACHE_CREATION_5M,
    SLOT_CACHE_CREATION_1H,
    SLOT_REASONING,
    SLOT_AUDIO_INPUT,
    SLOT_AUDIO_OUTPUT,
    SLOT_IMAGE_INPUT,
    SLOT_IMAGE_OUTPUT,
    SLOT_TOOL_USE_INPUT,
    SLOT_COUNTED,
    SLOT_AUDIO_SECONDS,
    SLOT_IMAGES,
    SLOT_SEARCH_UNITS,
    SLOT_WEB_SEARCH_REQUESTS,
    SLOT_PAGES,
    SLOT_COST_USD,
    SLOT_COST_TICKS, /* 10^10 to the USD */
    /* Parts by modality that only the rows tell. */
    SLOT_INPUT_IMAGE_PART,
    SLOT_INPUT_VIDEO_PART,
    SLOT_INPUT_DOCUMENT_PART,
    SLOT_CACHED_AUDIO_PART,
    SLOT_CACHED_IMAGE_PART,
    SLOT_CACHED_VIDEO_PART,
    SLOT_CACHED_DOCUMENT_PART,
    SLOT_OUTPUT_IMAGE_PART,
    SLOT_OUTPUT_VIDEO_PART,
    /* What was processed, where the main number is what is billed of it. */
    SLOT_FULL_INPUT,
    SLOT_FULL_OUTPUT,
    SLOT__COUNT,
};

#define HEADER_NUMBERS_MAX 8
#define SUM_TERMS_MAX 12
#define TOOL_RULES_MAX 8

struct usage_sum {
    uint8_t count;
    uint8_t slot[SUM_TERMS_MAX];
    int8_t sign[SUM_TERMS_MAX];
};

#define PROFILE_LIST(name)                                                                         \
    char **name;                                                                                   \
    unsigned name##_count

struct profile_request {
    PROFILE_LIST(model);
    PROFILE_LIST(stream);
    PROFILE_LIST(max_output_tokens);
    PROFILE_LIST(service_tier);
    bool stream_default; /* a request that does not say asks for a stream */
};

struct profile_tool_calls {
    char *each;     /* an object or array element: one call */
    char *type;     /* only where its "type" has this pattern */
    char *on_event; /* only in events of this name */
    bool by_index;  /* deltas: one call per "index" */
};

enum profile_framing {
    FRAMING_AUTO,
    FRAMING_NDJSON, /* a file of lines */
    FRAMING_LINES,  /* a stream may come as lines */
};

struct profile_answer {
    enum profile_framing framing;
    PROFILE_LIST(event); /* where the event's name stands; else the SSE field */
    PROFILE_LIST(model);
    PROFILE_LIST(id);
    PROFILE_LIST(service_tier);
    PROFILE_LIST(finish);
    bool finish_at_end; /* streams: only the end events' finish counts */
    char *choice_index; /* finish counts for choice 0 only */
    PROFILE_LIST(status);
    PROFILE_LIST(pending);    /* values of status: the rest comes in a later answer */
    PROFILE_LIST(promise);    /* id of what is promised, where it is not the answer's */
    PROFILE_LIST(result);     /* id of what holds the results */
    PROFILE_LIST(line_model); /* of one line of a file of results */
    PROFILE_LIST(error_mark);
    PROFILE_LIST(error_type);
    PROFILE_LIST(error_code);
    PROFILE_LIST(error_events);
    PROFILE_LIST(output_paths);
    PROFILE_LIST(output_events);
    PROFILE_LIST(end_events);
    PROFILE_LIST(end_paths);
    struct profile_tool_calls *tool_calls;
    unsigned tool_calls_count;
};

struct profile_number {
    enum usage_slot field;
    PROFILE_LIST(path);
};

struct profile_modality {
    enum {
        MODALITY_OF_INPUT,
        MODALITY_OF_CACHED,
        MODALITY_OF_OUTPUT,
        MODALITY_OF_CACHE_WRITE,
        MODALITY_OF__COUNT
    } of;
    char *each;
    char *name;
    char *count;
};

struct profile_row {
    char *kind;
    char *modality;
    char *unit;
    PROFILE_LIST(sum);
    PROFILE_LIST(unless); /* fields that, known, stand for the same thing */
    bool always;          /* told as unknown though the answer has usage */
    struct usage_sum compiled_sum;
    uint64_t unless_mask;
};

struct profile_usage {
    PROFILE_LIST(roots);
    enum {
        USAGE_MERGE_LAST,
        USAGE_MERGE_FIELDS,
        USAGE_MERGE_LINES, /* each line another call's: rows of their sum, none reported */
    } merge;
    bool provisional; /* until the end mark or a final event */
    PROFILE_LIST(final_events);
    struct profile_number *numbers; /* relative to every root */
    unsigned numbers_count;
    struct profile_number *absolute; /* relative to the body */
    unsigned absolute_count;
    struct profile_number *counts; /* number of elements; relative to the body */
    unsigned counts_count;
    struct profile_number *sums; /* of all elements' numbers; relative to the body */
    unsigned sums_count;
    struct profile_number *fallback; /* where the body has no other; relative to the body */
    unsigned fallback_count;
    PROFILE_LIST(fallback_roots);        /* for the raw numbers */
    struct profile_modality *modalities; /* relative to every root */
    unsigned modalities_count;
    struct profile_number *entries; /* numbers of one element of entries_each */
    unsigned entries_count;
    char *entries_each;          /* relative to every root */
    PROFILE_LIST(entries_types); /* those not inside the top-level numbers */
    PROFILE_LIST(needs);         /* an object without all of these is no usage */
    PROFILE_LIST(zero);
    PROFILE_LIST(input_total);
    PROFILE_LIST(output_total);
    struct profile_row *rows;
    unsigned rows_count;
    struct usage_sum compiled_input_total, compiled_output_total;
    uint64_t zero_mask, needs_mask;
};

/* A connection that carries many calls: messages both ways after an upgrade
 * (agent/realtime.h). What an answer says is in the family's `answer` and
 * `usage`, read from the messages that belong to it. Events are matched by the
 * message's name, paths by whether something stands there. */
struct profile_session {
    PROFILE_LIST(query_model); /* parameters of the upgrade's query */
    /* The client's messages. */
    PROFILE_LIST(client_event); /* where the message's name stands */
    PROFILE_LIST(client_id);    /* by which an error names it */
    PROFILE_LIST(client_model);
    PROFILE_LIST(ask_events); /* an answer is asked for: a call begins */
    PROFILE_LIST(ask_paths);
    PROFILE_LIST(trigger_events); /* an answer that comes is counted from here */
    PROFILE_LIST(trigger_paths);
    PROFILE_LIST(resume_paths); /* the same; and what the provider makes of it is another call,
                                   once usage has been told of the one that is open */
    /* The provider's. */
    bool parallel; /* answers are told apart by their id; else one comes at a time */
    PROFILE_LIST(session_id);
    PROFILE_LIST(session_model);
    PROFILE_LIST(server_trigger_events);
    PROFILE_LIST(turn_events); /* messages of an answer */
    PROFILE_LIST(turn_paths);
    PROFILE_LIST(begin_events); /* those that may be its first one */
    PROFILE_LIST(begin_paths);
    PROFILE_LIST(interrupted_paths);
    PROFILE_LIST(error_source); /* id of the client's message that an error is about */
    /* Calls of one message, beside the answers: transcriptions of what was said. */
    PROFILE_LIST(aside_events);
    PROFILE_LIST(aside_model); /* session-wide, of the provider's messages */
    char *turn_operation;      /* of an answer's call */
    char *aside_operation;
    char *aside_api;
};

struct profile_family {
    char *id;
    char *api;
    char *like;
    PROFILE_LIST(docs);
    struct profile_request *request;
    struct profile_answer *answer;
    struct profile_usage *usage;
    struct profile_session *session;
    /* Made from the above. */
    bool borrows_request, borrows_answer, borrows_usage, borrows_session;
    uint8_t like_state;
    struct json_paths *request_paths, *answer_paths, *client_paths;
};

struct profile_operation {
    char *path;
    char *method;
    char *model; /* only where the path's model has this pattern */
    char *operation;
    char *family_id;
    char *api;    /* overrides the family's */
    bool streams; /* asking is asking for a stream */
    bool repeats; /* says again what an earlier answer said, or what it promised */
    const struct profile_family *family;
};

struct profile_routes {
    char *id;
    struct profile_operation *operations;
    unsigned operations_count;
};

struct profile_headers {
    PROFILE_LIST(key);
    PROFILE_LIST(organization); /* of the answer, before the request's */
    PROFILE_LIST(project);
    PROFILE_LIST(request_organization);
    PROFILE_LIST(request_project);
    PROFILE_LIST(request_id);
    PROFILE_LIST(service_tier);
    PROFILE_LIST(model);
    PROFILE_LIST(error_type); /* up to a colon */
    PROFILE_LIST(limit_requests);
    PROFILE_LIST(remaining_requests);
    PROFILE_LIST(limit_tokens);
    PROFILE_LIST(remaining_tokens);
    struct profile_number *numbers; /* paths are header names; where the body has no other */
    unsigned numbers_count;
};

struct provider {
    char *name;
    char *like;
    PROFILE_LIST(hosts);
    PROFILE_LIST(recognised_hosts); /* "*" anywhere: known when met, not captured nor certified */
    uint16_t *plaintext_ports;      /* HTTP without TLS, on any host */
    unsigned plaintext_ports_count;
    PROFILE_LIST(docs);
    char *query_key;
    struct profile_headers *headers;
    PROFILE_LIST(routes);
    struct profile_operation *operations;
    unsigned operations_count;
    const struct profile_routes **route_sets; /* routes, resolved */
    bool borrows_headers, borrows_routes, borrows_operations;
};

struct profile_file {
    struct profile_family *families;
    unsigned families_count;
    struct profile_routes *routes;
    unsigned routes_count;
    struct provider *providers;
    unsigned providers_count;
    char *name; /* file name, for messages */
    char *text;
};

#define PROVIDER_FILES_MAX 64

struct provider_set {
    struct profile_file *files[PROVIDER_FILES_MAX];
    unsigned file_count;
};

/* What the scanners' field numbers mean: kind in the high byte. Numbers have their slot in the
 * low six bits and above it their rank: of those a profile lists, the first wins. */
#define FIELD_SLOT(low) ((low)&63)
#define FIELD_RANK(low) ((low) >> 6)
#define FIELD_RANK_MAX 3u

enum profile_field {
    FIELD_REQUEST_MODEL = 0x0100,
    FIELD_REQUEST_STREAM = 0x0200,
    FIELD_REQUEST_MAX = 0x0300,
    FIELD_REQUEST_TIER = 0x0400,
    FIELD_EVENT = 0x1000,
    FIELD_MODEL = 0x1100, /* low byte: rank, the first listed wins */
    FIELD_ID = 0x1200,
    FIELD_TIER = 0x1300,
    FIELD_FINISH = 0x1400,
    FIELD_CHOICE_INDEX = 0x1500,
    FIELD_ERROR_MARK = 0x1600,
    FIELD_ERROR_TYPE = 0x1700,
    FIELD_ERROR_CODE = 0x1800,
    FIELD_OUTPUT = 0x1900,
    FIELD_END = 0x1a00,
    FIELD_TOOL = 0x1b00, /* low byte: rule */
    FIELD_TOOL_TYPE = 0x1c00,
    FIELD_TOOL_INDEX = 0x1d00,
    FIELD_USAGE = 0x1e00,  /* subtree, for the raw numbers */
    FIELD_NUMBER = 0x1f00, /* low byte: rank and slot */
    FIELD_ABSOLUTE = 0x2000,
    FIELD_COUNT = 0x2100,
    FIELD_MODALITY = 0x2200, /* low byte: of */
    FIELD_MODALITY_NAME = 0x2300,
    FIELD_MODALITY_COUNT = 0x2400,
    FIELD_ENTRY = 0x2500,
    FIELD_ENTRY_TYPE = 0x2600,
    FIELD_ENTRY_MODEL = 0x2700,
    FIELD_ENTRY_NUMBER = 0x2800, /* low byte: rank and slot */
    FIELD_SUM = 0x2900,
    FIELD_FALLBACK = 0x2a00,
    FIELD_FALLBACK_RAW = 0x2b00,
    FIELD_STATUS = 0x2c00,
    FIELD_RESULT = 0x2d00,
    FIELD_LINE_MODEL = 0x2e00,
    FIELD_PROMISE = 0x2f00,
    /* Sessions: both sides' messages. */
    FIELD_CLIENT_EVENT = 0x4000,
    FIELD_CLIENT_ID = 0x4100,
    FIELD_CLIENT_MODEL = 0x4200,
    FIELD_ASK = 0x4300,
    FIELD_TRIGGER = 0x4400,
    FIELD_RESUME = 0x4500,
    FIELD_SESSION_ID = 0x4600,
    FIELD_SESSION_MODEL = 0x4700,
    FIELD_TURN = 0x4800,
    FIELD_BEGIN = 0x4900,
    FIELD_INTERRUPTED = 0x4a00,
    FIELD_ERROR_SOURCE = 0x4b00,
    FIELD_ASIDE_MODEL = 0x4c00,
};

/* The slot that profiles call so; -1 for none. */
int profile_slot(const char *name);

/* Resolves names and builds the path trees. -EINVAL with a message naming
 * file, line and field. */
int profile_compile(struct provider_set *set, struct provider_error *ret_error) LECTR_MUST_USE;
/* Releases what profile_compile made. */
void profile_release(struct profile_file *file);

struct provider_route {
    const struct profile_operation *operation;
    char model[160];    /* from the path, empty when it names none */
    char response[160]; /* the same: id of an earlier answer */
};

/* The first operation whose method and path pattern fit; a doubled slash is
 * one. -ENOENT when none does. `path` without query. */
int provider_route(const struct provider *p, struct slice method, struct slice path,
                   struct provider_route *ret_route) LECTR_MUST_USE;

/* "*" any bytes, "{…}" one segment, "{model}" and "{response}" too (kept, %XX decoded), "{model/}"
 * one or more of them. */
bool profile_path_match(const char *pattern, struct slice path, struct provider_route *ret_route);

static inline const char *profile_api(const struct profile_operation *op)
{
    if (op->api)
        return op->api;
    return op->family ? (op->family->api ? op->family->api : op->family->id) : "";
}
