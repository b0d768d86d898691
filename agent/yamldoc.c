/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/yamldoc.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct place {
    char *field;
    unsigned line;
    bool is_integer; /* what stands there is digits, perhaps with a sign */
};

struct yamldoc {
    struct place *places;
    unsigned count;
};

/* The innermost fields come first in libcyaml's backtrace. */
struct trace {
    char message[200];
    char unknown_key[64];
    char steps[YAMLDOC_DEPTH_MAX][64];
    unsigned depth;
};

struct level {
    char field[YAMLDOC_FIELD_MAX];
    char child[YAMLDOC_FIELD_MAX]; /* of a mapping: the key read last, with its path */
    bool is_mapping;
    bool wants_key;
    unsigned next_index;
};

struct walk {
    struct yamldoc *doc;
    struct yaml_fault *fault;
    struct level levels[YAMLDOC_DEPTH_MAX];
    unsigned depth;
    unsigned documents;
};

static int fault_set(struct yaml_fault *fault, unsigned line, const char *field,
                     const char *problem)
{
    *fault = (struct yaml_fault){.line = line};
    snprintf(fault->field, sizeof(fault->field), "%s", field);
    snprintf(fault->problem, sizeof(fault->problem), "%s", problem);
    return -EINVAL;
}

void yamldoc_free(struct yamldoc **doc)
{
    if (!*doc)
        return;
    for (unsigned i = 0; i < (*doc)->count; i++)
        free((*doc)->places[i].field);
    free((*doc)->places);
    free(*doc);
    *doc = NULL;
}

unsigned yamldoc_line(const struct yamldoc *doc, const char *field)
{
    for (unsigned i = 0; doc && i < doc->count; i++) {
        if (strcmp(doc->places[i].field, field) == 0)
            return doc->places[i].line;
    }
    return 0;
}

static int place_add(struct walk *w, const char *field, unsigned line)
{
    struct yamldoc *doc = w->doc;

    if (yamldoc_line(doc, field))
        return fault_set(w->fault, line, field, "is given twice; remove one of them");
    if (doc->count == YAMLDOC_KEYS_MAX)
        return fault_set(w->fault, line, field, "is one key too many");
    doc->places[doc->count].field = strdup(field);
    if (!doc->places[doc->count].field)
        return -ENOMEM;
    doc->places[doc->count++].line = line;
    return 0;
}

/* Names the value that starts here; a sequence entry gets its index. */
static int walk_value(struct walk *w, unsigned line, char *ret_field)
{
    struct level *top = w->depth ? &w->levels[w->depth - 1] : NULL;

    ret_field[0] = '\0';
    if (!top)
        return 0;
    if (top->is_mapping) {
        memcpy(ret_field, top->child, YAMLDOC_FIELD_MAX);
        top->wants_key = true;
        return 0;
    }
    if (snprintf(ret_field, YAMLDOC_FIELD_MAX, "%s[%u]", top->field, top->next_index++) >=
        YAMLDOC_FIELD_MAX)
        return fault_set(w->fault, line, top->field, "has a name that is too long");
    return place_add(w, ret_field, line);
}

static int walk_key(struct walk *w, const char *key, unsigned line)
{
    struct level *top = &w->levels[w->depth - 1];
    const char *dot = top->field[0] ? "." : "";
    char child[YAMLDOC_FIELD_MAX];

    if (snprintf(child, sizeof(child), "%s%s%s", top->field, dot, key) >= (int)sizeof(child))
        return fault_set(w->fault, line, top->field, "has a key that is too long");
    memcpy(top->child, child, sizeof(child));
    top->wants_key = false;
    return place_add(w, top->child, line);
}

static int walk_open(struct walk *w, bool is_mapping, unsigned line)
{
    char field[YAMLDOC_FIELD_MAX];
    int r = walk_value(w, line, field);

    if (r < 0)
        return r;
    if (w->depth == YAMLDOC_DEPTH_MAX)
        return fault_set(w->fault, line, field, "is nested too deep");
    w->levels[w->depth] = (struct level){.is_mapping = is_mapping, .wants_key = is_mapping};
    memcpy(w->levels[w->depth++].field, field, sizeof(field));
    return 0;
}

static int walk_scalar(struct walk *w, const char *text, unsigned line)
{
    char field[YAMLDOC_FIELD_MAX];
    const char *digits = text + (text[0] == '-');
    int r = walk_value(w, line, field);

    /* The value's place is the one added last, by its key or as an entry. */
    if (r == 0 && w->doc->count)
        w->doc->places[w->doc->count - 1].is_integer =
            digits[0] && digits[strspn(digits, "0123456789")] == '\0';
    return r;
}

static int walk_event(struct walk *w, const yaml_event_t *event)
{
    unsigned line = (unsigned)event->start_mark.line + 1;

    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (w->documents++)
            return fault_set(w->fault, line, "", "a second document; remove the line \"---\"");
        return 0;
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        if (w->depth && w->levels[w->depth - 1].wants_key)
            return fault_set(w->fault, line, "", "a key must be a plain word");
        return walk_open(w, event->type == YAML_MAPPING_START_EVENT, line);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        w->depth--;
        return 0;
    case YAML_ALIAS_EVENT:
        return fault_set(w->fault, line, "", "aliases (*name) are not supported; write it out");
    case YAML_SCALAR_EVENT:
        if (w->depth && w->levels[w->depth - 1].wants_key)
            return walk_key(w, (const char *)event->data.scalar.value, line);
        return walk_scalar(w, (const char *)event->data.scalar.value, line);
    default:
        return 0;
    }
}

static void yaml_parser_cleanup(yaml_parser_t *parser)
{
    yaml_parser_delete(parser);
}

static int walk_file(struct walk *w, const unsigned char *text, size_t len)
{
    __attribute__((cleanup(yaml_parser_cleanup))) yaml_parser_t parser;
    bool at_end = false;

    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_input_string(&parser, text, len);
    while (!at_end) {
        yaml_event_t event;
        int r;

        if (!yaml_parser_parse(&parser, &event))
            return fault_set(w->fault, (unsigned)parser.problem_mark.line + 1, "",
                             parser.problem ? parser.problem : "not YAML");
        r = walk_event(w, &event);
        at_end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (r < 0)
            return r;
    }
    return 0;
}

__attribute__((format(printf, 3, 0))) static void trace_log(cyaml_log_t level, void *ctx,
                                                            const char *fmt, va_list args)
{
    struct trace *t = ctx;
    char line[256];
    unsigned index;

    (void)level;
    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\n")] = '\0';
    if (t->depth < YAMLDOC_DEPTH_MAX &&
        (sscanf(line, "  in mapping field '%63[^']'", t->steps[t->depth]) == 1))
        t->depth++;
    else if (t->depth < YAMLDOC_DEPTH_MAX && sscanf(line, "  in sequence entry '%u'", &index) == 1)
        snprintf(t->steps[t->depth++], sizeof(t->steps[0]), "[%u]", index ? index - 1 : 0);
    else if (strncmp(line, "Load: Backtrace", 15) != 0 && strncmp(line, "  in ", 5) != 0) {
        sscanf(line, "Load: Unexpected key: %63s", t->unknown_key);
        snprintf(t->message, sizeof(t->message), "%.199s",
                 strncmp(line, "Load: ", 6) == 0 ? line + 6 : line);
    }
}

/* The schema of "capture.ports[1]"; NULL when there is none. */
static const struct cyaml_schema_value *schema_at(const struct cyaml_schema_value *schema,
                                                  const char *field)
{
    while (schema && *field) {
        size_t len = strcspn(field, ".[");

        if (field[0] == '[') {
            schema = schema->type == CYAML_SEQUENCE ? schema->sequence.entry : NULL;
            field += strcspn(field, "]");
            field += *field == ']';
        } else if (schema->type == CYAML_MAPPING) {
            const cyaml_schema_field_t *f = schema->mapping.fields;

            while (f->key && (strncmp(f->key, field, len) != 0 || f->key[len]))
                f++;
            schema = f->key ? &f->value : NULL;
            field += len;
        } else {
            schema = NULL;
        }
        field += *field == '.';
    }
    return schema;
}

/* Joins the steps of a backtrace, outermost first, without the `skip` innermost. */
static void trace_field(const struct trace *t, unsigned skip, char *ret_field)
{
    size_t len = 0;

    ret_field[0] = '\0';
    for (unsigned i = t->depth; i > skip; i--) {
        const char *step = t->steps[i - 1];
        const char *dot = len && step[0] != '[' ? "." : "";

        if (len < YAMLDOC_FIELD_MAX)
            len += (size_t)snprintf(ret_field + len, YAMLDOC_FIELD_MAX - len, "%s%s", dot, step);
    }
}

static void known_keys(const struct cyaml_schema_value *schema, char *text, size_t size)
{
    size_t len = strlen(text);

    if (!schema || schema->type != CYAML_MAPPING)
        return;
    for (const cyaml_schema_field_t *f = schema->mapping.fields; f->key && len < size; f++)
        len += (size_t)snprintf(text + len, size - len, "%s%s",
                                f == schema->mapping.fields ? "; known here: " : ", ", f->key);
}

static const char *const TYPE_WORDS[] = {
    [CYAML_INT] = "a whole number",
    [CYAML_UINT] = "a whole number",
    [CYAML_BOOL] = "true or false",
    [CYAML_FLOAT] = "a number",
    [CYAML_STRING] = "a text",
    [CYAML_MAPPING] = "a mapping of keys, one a line and indented",
    [CYAML_SEQUENCE] = "a list, as in [a, b]",
    [CYAML__TYPE_COUNT] = NULL,
};

static int trace_fault(const struct trace *t, cyaml_err_t err, const struct yamldoc *doc,
                       const struct cyaml_schema_value *schema, struct yaml_fault *fault)
{
    const struct cyaml_schema_value *at;
    bool in_entry = t->depth && t->steps[0][0] == '[';
    size_t len;

    switch (err) {
    case CYAML_ERR_OOM:
        return -ENOMEM;
    case CYAML_ERR_INVALID_KEY:
        trace_field(t, 0, fault->field);
        snprintf(fault->problem, sizeof(fault->problem), "unknown key");
        known_keys(schema_at(schema, fault->field), fault->problem, sizeof(fault->problem));
        len = strlen(fault->field);
        snprintf(fault->field + len, sizeof(fault->field) - len, "%s%s", len ? "." : "",
                 t->unknown_key);
        break;
    case CYAML_ERR_MAPPING_FIELD_MISSING:
        /* The innermost step is the last key that was there, not the one that was not. */
        trace_field(t, in_entry ? 0 : 1, fault->field);
        snprintf(fault->problem, sizeof(fault->problem), "%s", t->message);
        break;
    case CYAML_ERR_SEQUENCE_ENTRIES_MIN:
    case CYAML_ERR_SEQUENCE_ENTRIES_MAX:
        trace_field(t, in_entry ? 1 : 0, fault->field);
        snprintf(fault->problem, sizeof(fault->problem), "too %s entries",
                 err == CYAML_ERR_SEQUENCE_ENTRIES_MIN ? "few" : "many");
        fault->wrong_value = true;
        break;
    default:
        trace_field(t, 0, fault->field);
        at = schema_at(schema, fault->field);
        if (at && err == CYAML_ERR_STRING_LENGTH_MAX)
            snprintf(fault->problem, sizeof(fault->problem), "is longer than %u bytes",
                     at->string.max);
        else
            snprintf(fault->problem, sizeof(fault->problem), "must be %s",
                     at && TYPE_WORDS[at->type] ? TYPE_WORDS[at->type] : "of another kind");
        fault->wrong_value = true;
    }
    fault->line = yamldoc_line(doc, fault->field);
    return -EINVAL;
}

/* libcyaml takes the 1 of "1.5" and the 16 of "0x10"; a setting should mean what it says. */
static int check_integers(const struct yamldoc *doc, const struct cyaml_schema_value *schema,
                          struct yaml_fault *fault)
{
    for (unsigned i = 0; i < doc->count; i++) {
        const struct place *p = &doc->places[i];
        const struct cyaml_schema_value *at = schema_at(schema, p->field);

        if (!at || p->is_integer || (at->type != CYAML_UINT && at->type != CYAML_INT))
            continue;
        fault_set(fault, p->line, p->field, "must be a whole number");
        fault->wrong_value = true;
        return -EINVAL;
    }
    return 0;
}

static int file_read(const char *path, unsigned char **ret_text, size_t *ret_len)
{
    CLEAN_FILE FILE *f = fopen(path, "re");
    CLEAN_FREE unsigned char *text = NULL;
    size_t len;

    if (!f)
        return -errno;
    text = malloc(YAMLDOC_FILE_MAX_BYTES + 1);
    if (!text)
        return -ENOMEM;
    errno = 0;
    len = fread(text, 1, YAMLDOC_FILE_MAX_BYTES + 1, f);
    if (ferror(f))
        return errno ? -errno : -EIO;
    if (len > YAMLDOC_FILE_MAX_BYTES)
        return -EFBIG;
    *ret_len = len;
    *ret_text = TAKE_PTR(text);
    return 0;
}

static cyaml_config_t cyaml_settings(struct trace *t)
{
    return (cyaml_config_t){.log_fn = t ? trace_log : NULL,
                            .log_ctx = t,
                            .mem_fn = cyaml_mem,
                            .log_level = CYAML_LOG_ERROR,
                            .flags = CYAML_CFG_NO_ALIAS};
}

void yamldoc_free_data(const struct cyaml_schema_value *schema, void *data)
{
    cyaml_config_t settings = cyaml_settings(NULL);

    if (data)
        cyaml_free(&settings, schema, data, 0);
}

/* fault_set() made the fault where -EINVAL is returned. */
static int text_load(const unsigned char *text, size_t len, const struct cyaml_schema_value *schema,
                     void **ret_data, struct yamldoc **ret_doc, struct yaml_fault *fault)
{
    __attribute__((cleanup(yamldoc_free))) struct yamldoc *doc = calloc(1, sizeof(*doc));
    struct walk walk = {.fault = fault, .doc = doc};
    struct trace trace = {0};
    cyaml_config_t settings = cyaml_settings(&trace);
    void *data = NULL;
    cyaml_err_t err;
    int r;

    if (doc)
        doc->places = calloc(YAMLDOC_KEYS_MAX, sizeof(*doc->places));
    if (!doc || !doc->places)
        return -ENOMEM;
    r = walk_file(&walk, text, len);
    if (r < 0)
        return r;
    if (walk.documents) {
        err = cyaml_load_data(text, len, &settings, schema, &data, NULL);
        if (err != CYAML_OK)
            return trace_fault(&trace, err, doc, schema, fault);
        r = check_integers(doc, schema, fault);
        if (r < 0) {
            yamldoc_free_data(schema, data);
            return r;
        }
    }
    *ret_data = data;
    *ret_doc = TAKE_PTR(doc);
    return 0;
}

int yamldoc_load(const char *path, const struct cyaml_schema_value *schema, void **ret_data,
                 struct yamldoc **ret_doc, struct yaml_fault *ret_fault)
{
    CLEAN_FREE unsigned char *text = NULL;
    struct yaml_fault fault = {0};
    size_t len = 0;
    int r = file_read(path, &text, &len);

    if (r == 0)
        r = text_load(text, len, schema, ret_data, ret_doc, &fault);
    if (r < 0 && r != -EINVAL)
        fault_set(&fault, 0, "", strerror(-r));
    if (r < 0)
        *ret_fault = fault;
    return r;
}
