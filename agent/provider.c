/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles from YAML: the schema and the loading. */
#include "agent/profile.h"

#include <cyaml/cyaml.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#define PROFILE_FILE_MAX_BYTES (256 * 1024)

static const cyaml_schema_value_t string_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 512),
};

#define LIST(type, name)                                                                           \
    CYAML_FIELD_SEQUENCE(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type, name,       \
                         &string_schema, 0, 256)
#define TEXT(type, key, name)                                                                      \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type, name, 1, 512)
#define TEXT_REQUIRED(type, key, name)                                                             \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, struct type, name, 1, 512)
#define BOOL(type, name) CYAML_FIELD_BOOL(#name, CYAML_FLAG_OPTIONAL, struct type, name)
#define ITEMS(type, name, schema)                                                                  \
    CYAML_FIELD_SEQUENCE(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type, name,       \
                         schema, 0, 128)
#define SECTION(type, name, fields)                                                                \
    CYAML_FIELD_MAPPING_PTR(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct type, name,    \
                            fields)
#define VALUE(type, fields)                                                                        \
    {                                                                                              \
        CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct type, fields)                               \
    }

static const cyaml_strval_t slot_names[] = {
    {"input_tokens", SLOT_INPUT},
    {"output_tokens", SLOT_OUTPUT},
    {"total_tokens", SLOT_TOTAL},
    {"cached_input_tokens", SLOT_CACHED_INPUT},
    {"cache_creation_tokens", SLOT_CACHE_CREATION},
    {"cache_creation_tokens_5m", SLOT_CACHE_CREATION_5M},
    {"cache_creation_tokens_1h", SLOT_CACHE_CREATION_1H},
    {"reasoning_tokens", SLOT_REASONING},
    {"audio_input_tokens", SLOT_AUDIO_INPUT},
    {"audio_output_tokens", SLOT_AUDIO_OUTPUT},
    {"image_input_tokens", SLOT_IMAGE_INPUT},
    {"image_output_tokens", SLOT_IMAGE_OUTPUT},
    {"tool_use_input_tokens", SLOT_TOOL_USE_INPUT},
    {"counted_tokens", SLOT_COUNTED},
    {"audio_seconds", SLOT_AUDIO_SECONDS},
    {"images", SLOT_IMAGES},
    {"search_units", SLOT_SEARCH_UNITS},
    {"web_search_requests", SLOT_WEB_SEARCH_REQUESTS},
    {"pages_processed", SLOT_PAGES},
    {"cost_usd", SLOT_COST_USD},
    {"cost_ticks", SLOT_COST_TICKS},
    {"input_image_part", SLOT_INPUT_IMAGE_PART},
    {"input_video_part", SLOT_INPUT_VIDEO_PART},
    {"input_document_part", SLOT_INPUT_DOCUMENT_PART},
    {"cached_audio_part", SLOT_CACHED_AUDIO_PART},
    {"cached_image_part", SLOT_CACHED_IMAGE_PART},
    {"cached_video_part", SLOT_CACHED_VIDEO_PART},
    {"cached_document_part", SLOT_CACHED_DOCUMENT_PART},
    {"output_image_part", SLOT_OUTPUT_IMAGE_PART},
    {"output_video_part", SLOT_OUTPUT_VIDEO_PART},
    {"full_input_tokens", SLOT_FULL_INPUT},
    {"full_output_tokens", SLOT_FULL_OUTPUT},
};
_Static_assert(CYAML_ARRAY_LEN(slot_names) == SLOT__COUNT, "every slot has its name");

int profile_slot(const char *name)
{
    for (int i = 0; i < SLOT__COUNT; i++)
        if (strcmp(slot_names[i].str, name) == 0)
            return (int)slot_names[i].val;
    return -1;
}

static const cyaml_strval_t framing_names[] = {
    {"auto", FRAMING_AUTO},
    {"ndjson", FRAMING_NDJSON},
    {"lines", FRAMING_LINES},
};
static const cyaml_strval_t merge_names[] = {
    {"last", USAGE_MERGE_LAST},
    {"fields", USAGE_MERGE_FIELDS},
    {"lines", USAGE_MERGE_LINES},
};
static const cyaml_strval_t modality_names[] = {
    {"input", MODALITY_OF_INPUT},
    {"cached", MODALITY_OF_CACHED},
    {"output", MODALITY_OF_OUTPUT},
    {"cache_write", MODALITY_OF_CACHE_WRITE},
};

static const cyaml_schema_field_t request_fields[] = {
    LIST(profile_request, model),
    LIST(profile_request, stream),
    LIST(profile_request, max_output_tokens),
    LIST(profile_request, service_tier),
    BOOL(profile_request, stream_default),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t tool_fields[] = {
    TEXT_REQUIRED(profile_tool_calls, "each", each),
    TEXT(profile_tool_calls, "type", type),
    TEXT(profile_tool_calls, "on_event", on_event),
    BOOL(profile_tool_calls, by_index),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t tool_schema = VALUE(profile_tool_calls, tool_fields);

static const cyaml_schema_field_t answer_fields[] = {
    CYAML_FIELD_ENUM("framing", CYAML_FLAG_OPTIONAL, struct profile_answer, framing, framing_names,
                     CYAML_ARRAY_LEN(framing_names)),
    LIST(profile_answer, event),
    LIST(profile_answer, model),
    LIST(profile_answer, id),
    LIST(profile_answer, service_tier),
    LIST(profile_answer, finish),
    BOOL(profile_answer, finish_at_end),
    TEXT(profile_answer, "choice_index", choice_index),
    LIST(profile_answer, status),
    LIST(profile_answer, pending),
    LIST(profile_answer, promise),
    LIST(profile_answer, result),
    LIST(profile_answer, line_model),
    LIST(profile_answer, error_mark),
    LIST(profile_answer, error_type),
    LIST(profile_answer, error_code),
    LIST(profile_answer, error_events),
    LIST(profile_answer, output_paths),
    LIST(profile_answer, output_events),
    LIST(profile_answer, end_events),
    LIST(profile_answer, end_paths),
    ITEMS(profile_answer, tool_calls, &tool_schema),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t number_fields[] = {
    CYAML_FIELD_ENUM("field", CYAML_FLAG_STRICT, struct profile_number, field, slot_names,
                     CYAML_ARRAY_LEN(slot_names)),
    CYAML_FIELD_SEQUENCE("path", CYAML_FLAG_POINTER, struct profile_number, path, &string_schema, 1,
                         8),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t number_schema = VALUE(profile_number, number_fields);

static const cyaml_schema_field_t modality_fields[] = {
    CYAML_FIELD_ENUM("of", CYAML_FLAG_STRICT, struct profile_modality, of, modality_names,
                     CYAML_ARRAY_LEN(modality_names)),
    TEXT_REQUIRED(profile_modality, "each", each),
    TEXT_REQUIRED(profile_modality, "name", name),
    TEXT_REQUIRED(profile_modality, "count", count),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t modality_schema = VALUE(profile_modality, modality_fields);

static const cyaml_schema_field_t row_fields[] = {
    TEXT_REQUIRED(profile_row, "kind", kind),
    TEXT(profile_row, "modality", modality),
    TEXT(profile_row, "unit", unit),
    CYAML_FIELD_SEQUENCE("sum", CYAML_FLAG_POINTER, struct profile_row, sum, &string_schema, 1,
                         SUM_TERMS_MAX),
    LIST(profile_row, unless),
    BOOL(profile_row, always),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t row_schema = VALUE(profile_row, row_fields);

static const cyaml_schema_field_t usage_fields[] = {
    LIST(profile_usage, roots),
    CYAML_FIELD_ENUM("merge", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct profile_usage, merge,
                     merge_names, CYAML_ARRAY_LEN(merge_names)),
    BOOL(profile_usage, provisional),
    LIST(profile_usage, final_events),
    ITEMS(profile_usage, numbers, &number_schema),
    ITEMS(profile_usage, absolute, &number_schema),
    ITEMS(profile_usage, counts, &number_schema),
    ITEMS(profile_usage, sums, &number_schema),
    ITEMS(profile_usage, fallback, &number_schema),
    LIST(profile_usage, fallback_roots),
    ITEMS(profile_usage, modalities, &modality_schema),
    ITEMS(profile_usage, entries, &number_schema),
    TEXT(profile_usage, "entries_each", entries_each),
    LIST(profile_usage, entries_types),
    LIST(profile_usage, needs),
    LIST(profile_usage, zero),
    LIST(profile_usage, input_total),
    LIST(profile_usage, output_total),
    ITEMS(profile_usage, rows, &row_schema),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t session_fields[] = {
    LIST(profile_session, query_model),
    LIST(profile_session, client_event),
    LIST(profile_session, client_id),
    LIST(profile_session, client_model),
    LIST(profile_session, ask_events),
    LIST(profile_session, ask_paths),
    LIST(profile_session, trigger_events),
    LIST(profile_session, trigger_paths),
    LIST(profile_session, resume_paths),
    BOOL(profile_session, parallel),
    LIST(profile_session, session_id),
    LIST(profile_session, session_model),
    LIST(profile_session, server_trigger_events),
    LIST(profile_session, turn_events),
    LIST(profile_session, turn_paths),
    LIST(profile_session, begin_events),
    LIST(profile_session, begin_paths),
    LIST(profile_session, interrupted_paths),
    LIST(profile_session, error_source),
    LIST(profile_session, aside_events),
    LIST(profile_session, aside_model),
    TEXT_REQUIRED(profile_session, "turn_operation", turn_operation),
    TEXT(profile_session, "aside_operation", aside_operation),
    TEXT(profile_session, "aside_api", aside_api),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t family_fields[] = {
    TEXT_REQUIRED(profile_family, "id", id),
    TEXT(profile_family, "api", api),
    TEXT(profile_family, "like", like),
    LIST(profile_family, docs),
    SECTION(profile_family, request, request_fields),
    SECTION(profile_family, answer, answer_fields),
    SECTION(profile_family, usage, usage_fields),
    SECTION(profile_family, session, session_fields),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t family_schema = VALUE(profile_family, family_fields);

static const cyaml_schema_field_t operation_fields[] = {
    TEXT_REQUIRED(profile_operation, "path", path),
    TEXT(profile_operation, "method", method),
    TEXT(profile_operation, "model", model),
    TEXT_REQUIRED(profile_operation, "operation", operation),
    TEXT(profile_operation, "family", family_id),
    TEXT(profile_operation, "api", api),
    BOOL(profile_operation, streams),
    BOOL(profile_operation, repeats),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t operation_schema = VALUE(profile_operation, operation_fields);

static const cyaml_schema_field_t routes_fields[] = {
    TEXT_REQUIRED(profile_routes, "id", id),
    ITEMS(profile_routes, operations, &operation_schema),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t routes_schema = VALUE(profile_routes, routes_fields);

static const cyaml_schema_field_t headers_fields[] = {
    LIST(profile_headers, key),
    LIST(profile_headers, organization),
    LIST(profile_headers, project),
    LIST(profile_headers, request_organization),
    LIST(profile_headers, request_project),
    LIST(profile_headers, request_id),
    LIST(profile_headers, service_tier),
    LIST(profile_headers, model),
    LIST(profile_headers, error_type),
    LIST(profile_headers, limit_requests),
    LIST(profile_headers, remaining_requests),
    LIST(profile_headers, limit_tokens),
    LIST(profile_headers, remaining_tokens),
    ITEMS(profile_headers, numbers, &number_schema),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t port_schema = {
    .type = CYAML_UINT,
    .flags = CYAML_FLAG_DEFAULT,
    .data_size = sizeof(uint16_t),
};

static const cyaml_schema_field_t provider_fields[] = {
    TEXT_REQUIRED(provider, "name", name),
    TEXT(provider, "like", like),
    LIST(provider, hosts),
    LIST(provider, recognised_hosts),
    CYAML_FIELD_SEQUENCE("plaintext_ports", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                         struct provider, plaintext_ports, &port_schema, 0, 16),
    LIST(provider, docs),
    TEXT(provider, "query_key", query_key),
    SECTION(provider, headers, headers_fields),
    LIST(provider, routes),
    ITEMS(provider, operations, &operation_schema),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t provider_schema = VALUE(provider, provider_fields);

static const cyaml_schema_field_t file_fields[] = {
    ITEMS(profile_file, families, &family_schema),
    ITEMS(profile_file, routes, &routes_schema),
    ITEMS(profile_file, providers, &provider_schema),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct profile_file, file_fields),
};

/* libcyaml says what went wrong only through its log: the message first, then
 * where, innermost first. */
struct complaint {
    char what[256];
    char field[256]; /* "families[0].answer.finish" */
    unsigned line;
};

static void complaint_where(struct complaint *c, const char *text)
{
    char name[80], inner[161];
    unsigned line = 0, entry;
    const char *at = strstr(text, "(line: ");

    if (at && !c->line && sscanf(at, "(line: %u", &line) == 1)
        c->line = line;
    snprintf(inner, sizeof(inner), "%.160s", c->field);
    at = inner[0] && inner[0] != '[' ? "." : "";
    if (sscanf(text, " in mapping field '%79[^']'", name) == 1)
        snprintf(c->field, sizeof(c->field), "%s%s%s", name, at, inner);
    else if (sscanf(text, " in sequence entry '%u'", &entry) == 1 && entry)
        snprintf(c->field, sizeof(c->field), "[%u]%s%s", entry - 1, at, inner);
}

static void complaint_log(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct complaint *c = ctx;
    char text[256];

    if (level < CYAML_LOG_ERROR)
        return;
    vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\n")] = '\0';
    if (text[0] == ' ')
        complaint_where(c, text);
    else if (!c->what[0] && !strstr(text, "Backtrace"))
        snprintf(c->what, sizeof(c->what), "%.250s",
                 strncmp(text, "Load: ", 6) == 0 ? text + 6 : text);
}

/* For an unknown key the backtrace has only the mapping's line: look for the key. */
static void complaint_key(struct complaint *c, const char *text)
{
    char key[80];
    const char *at = text;

    if (sscanf(c->what, "Unexpected key: %79s", key) != 1)
        return;
    for (unsigned line = 1; *at; line++) {
        size_t len = strcspn(at, "\n");
        const char *found = line >= c->line ? strstr(at, key) : NULL;

        if (found && found < at + len) {
            c->line = line;
            return;
        }
        at += len + (at[len] == '\n');
    }
}

static int file_read(const char *path, char **ret_text, size_t *ret_len)
{
    CLEAN_FILE FILE *f = fopen(path, "re");
    CLEAN_FREE char *text = NULL;
    size_t len;

    if (!f)
        return -errno;
    text = malloc(PROFILE_FILE_MAX_BYTES + 1);
    if (!text)
        return -ENOMEM;
    len = fread(text, 1, PROFILE_FILE_MAX_BYTES + 1, f);
    if (ferror(f))
        return -EIO;
    if (len > PROFILE_FILE_MAX_BYTES)
        return -EFBIG;
    text[len] = '\0';
    *ret_text = TAKE_PTR(text);
    *ret_len = len;
    return 0;
}

static const cyaml_config_t base_config = {
    .log_level = CYAML_LOG_ERROR,
    .mem_fn = cyaml_mem,
    .log_fn = complaint_log,
};

static int file_parse(const char *name, char *text, size_t len, struct profile_file **ret_file,
                      struct provider_error *ret_error)
{
    struct complaint c = {0};
    cyaml_config_t config = base_config;
    struct profile_file *file = NULL;
    cyaml_err_t err;

    config.log_ctx = &c;
    err = cyaml_load_data((const uint8_t *)text, len, &config, &file_schema, (void **)&file, NULL);
    if (err != CYAML_OK) {
        complaint_key(&c, text);
        snprintf(ret_error->text, sizeof(ret_error->text), "%.120s:%u: %.200s: %.160s", name,
                 c.line, c.field[0] ? c.field : "document",
                 c.what[0] ? c.what : cyaml_strerror(err));
        return -EINVAL;
    }
    if (!file) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%s:1: document: empty", name);
        return -EINVAL;
    }
    *ret_file = file;
    return 0;
}

static int file_load(struct provider_set *set, const char *dir, const char *name,
                     struct provider_error *ret_error)
{
    CLEAN_FREE char *path = NULL;
    CLEAN_FREE char *text = NULL;
    struct profile_file *file;
    size_t len = 0;
    int r;

    if (set->file_count >= PROVIDER_FILES_MAX) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%s: more than %d files", dir,
                 PROVIDER_FILES_MAX);
        return -EINVAL;
    }
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return -ENOMEM;
    r = file_read(path, &text, &len);
    if (r) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%s: %s", path, strerror(-r));
        return r;
    }
    r = file_parse(name, text, len, &file, ret_error);
    if (r)
        return r;
    set->files[set->file_count++] = file;
    file->text = TAKE_PTR(text);
    file->name = strdup(name);
    return file->name ? 0 : -ENOMEM;
}

static int is_profile(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');

    return e->d_name[0] != '.' && dot && strcmp(dot, ".yaml") == 0;
}

static void file_free(struct profile_file *file)
{
    free(file->name);
    free(file->text);
    profile_release(file);
    cyaml_free(&base_config, &file_schema, file, 0);
}

void provider_set_free(struct provider_set **set)
{
    if (!*set)
        return;
    for (unsigned i = 0; i < (*set)->file_count; i++)
        file_free((*set)->files[i]);
    free(*set);
    *set = NULL;
}

static int set_new(struct provider_set **ret_set)
{
    *ret_set = calloc(1, sizeof(**ret_set));
    return *ret_set ? 0 : -ENOMEM;
}

static int dir_load(struct provider_set *set, const char *dir, bool optional,
                    struct provider_error *ret_error)
{
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, is_profile, alphasort), r = 0;

    if (count < 0)
        r = -errno;
    else if (count == 0)
        r = -ENOENT;
    if (r == -ENOENT && optional) {
        free(entries);
        return 0;
    }
    if (r)
        snprintf(ret_error->text, sizeof(ret_error->text), "%s: %s", dir,
                 count < 0 ? strerror(-r) : "no profiles (*.yaml)");
    for (int i = 0; i < count; i++) {
        if (!r)
            r = file_load(set, dir, entries[i]->d_name, ret_error);
        free(entries[i]);
    }
    free(entries);
    return r;
}

/* Later directories first: their hosts are met before. */
static int dirs_load(struct provider_set *set, char *dirs, struct provider_error *ret_error)
{
    char *colon;
    int r = 0;

    while (!r && (colon = strrchr(dirs, ':'))) {
        *colon = '\0';
        r = dir_load(set, colon + 1, true, ret_error);
    }
    return r ? r : dir_load(set, dirs, false, ret_error);
}

int provider_set_load(const char *dirs, struct provider_set **ret_set,
                      struct provider_error *ret_error)
{
    CLEAN_FREE char *list = strdup(dirs);
    struct provider_set *set = NULL;
    int r = list ? set_new(&set) : -ENOMEM;

    snprintf(ret_error->text, sizeof(ret_error->text), "%s: out of memory", dirs);
    if (!r)
        r = dirs_load(set, list, ret_error);
    if (!r)
        r = profile_compile(set, ret_error);
    if (r) {
        provider_set_free(&set);
        return r;
    }
    ret_error->text[0] = '\0';
    *ret_set = set;
    return 0;
}

int provider_set_parse(struct slice text, struct provider_set **ret_set,
                       struct provider_error *ret_error)
{
    struct provider_set *set = NULL;
    struct profile_file *file = NULL;
    CLEAN_FREE char *copy = strndup((const char *)text.data, text.len);
    int r = copy ? set_new(&set) : -ENOMEM;

    snprintf(ret_error->text, sizeof(ret_error->text), "out of memory");
    if (!r)
        r = file_parse("profile", copy, strlen(copy), &file, ret_error);
    if (!r) {
        set->files[set->file_count++] = file;
        file->text = TAKE_PTR(copy);
        file->name = strdup("profile");
        r = file->name ? profile_compile(set, ret_error) : -ENOMEM;
    }
    if (r) {
        provider_set_free(&set);
        return r;
    }
    ret_error->text[0] = '\0';
    *ret_set = set;
    return 0;
}
