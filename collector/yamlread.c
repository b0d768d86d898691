/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/yamlread.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libcyaml says what is wrong first, then where, from the inside out. */
struct story {
    char reason[192];
    char field[PLACES_FIELD_MAX];
};

static void prepend(struct story *s, const char *step)
{
    char inner[sizeof(s->field)];

    memcpy(inner, s->field, sizeof(inner));
    snprintf(s->field, sizeof(s->field), "%.63s%s%.63s", step,
             inner[0] && inner[0] != '[' ? "." : "", inner);
}

__attribute__((format(printf, 3, 0))) static void story_log(cyaml_log_t level, void *ctx,
                                                            const char *fmt, va_list args)
{
    struct story *s = ctx;
    char line[256], step[64];
    unsigned index;

    if (level < CYAML_LOG_ERROR)
        return;
    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "  in mapping field '%63[^']'", step) == 1 ||
        sscanf(line, "  in mapping field: %63s", step) == 1) {
        prepend(s, step);
    } else if (sscanf(line, "  in sequence entry '%u'", &index) == 1 ||
               sscanf(line, "  in sequence entry: %u", &index) == 1) {
        /* It counts the entry that is being read already. */
        snprintf(step, sizeof(step), "[%u]", index ? index - 1 : 0);
        prepend(s, step);
    } else if (line[0] != ' ' && !s->reason[0]) {
        snprintf(s->reason, sizeof(s->reason), "%.191s",
                 strncmp(line, "Load: ", 6) == 0 ? line + 6 : line);
    }
    if (sscanf(s->reason, "Unexpected key: %63s", step) == 1 && !s->field[0])
        snprintf(s->field, sizeof(s->field), "%s", step);
}

static const cyaml_config_t *config_of(cyaml_config_t *config, struct story *story)
{
    *config = (cyaml_config_t){
        .log_fn = story_log,
        .log_ctx = story,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS,
    };
    return config;
}

/* Of what is not there the line of what it would be in. */
static unsigned nearest_line(const struct places *places, const char *field)
{
    char outer[2 * PLACES_FIELD_MAX];
    unsigned line;

    snprintf(outer, sizeof(outer), "%s", field);
    while ((line = places_line(places, outer)) == 0 && outer[0]) {
        char *last = outer + strlen(outer) - 1;

        while (last > outer && *last != '.' && *last != '[')
            last--;
        *last = '\0';
    }
    return line;
}

static int refuse(const struct places *places, const char *field, const char *problem,
                  struct places_fault *ret_fault)
{
    ret_fault->line = nearest_line(places, field);
    snprintf(ret_fault->field, sizeof(ret_fault->field), "%s", field);
    snprintf(ret_fault->problem, sizeof(ret_fault->problem), "%s", problem);
    return -EINVAL;
}

static int load(struct slice text, const cyaml_schema_value_t *schema, const struct places *places,
                void **ret_data, struct places_fault *ret_fault)
{
    struct story story = {.field = ""};
    cyaml_config_t config;
    cyaml_err_t err =
        cyaml_load_data(text.data, text.len, config_of(&config, &story), schema, ret_data, NULL);

    if (err == CYAML_OK)
        return 0;
    if (err == CYAML_ERR_OOM)
        return -ENOMEM;
    return refuse(places, story.field, story.reason[0] ? story.reason : cyaml_strerror(err),
                  ret_fault);
}

/* --- what libcyaml lets pass --- */

static bool is_whole(const char *text)
{
    return text[0] && strspn(text, "0123456789") == strlen(text) && (text[0] != '0' || !text[1]);
}

static bool is_real(const char *text)
{
    char *end;

    return text[0] && strspn(text, "0123456789+-.eE") == strlen(text) &&
           isfinite(strtod(text, &end)) && *end == '\0';
}

static bool is_bool(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

static const struct strict {
    cyaml_type_e type;
    bool (*holds)(const char *text);
    const char *needs;
} stricts[] = {
    {CYAML_UINT, is_whole, "use a whole number, decimal and without a unit"},
    {CYAML_FLOAT, is_real, "use a number without a unit"},
    {CYAML_BOOL, is_bool, "use true or false"},
};

static int check(const cyaml_schema_value_t *schema, const struct places *places, const char *field,
                 struct places_fault *ret_fault);

static int check_fields(const cyaml_schema_field_t *fields, const struct places *places,
                        const char *field, struct places_fault *ret_fault)
{
    char inner[2 * PLACES_FIELD_MAX];
    int r = 0;

    for (; fields->key && r == 0; fields++) {
        snprintf(inner, sizeof(inner), "%.127s%s%.127s", field, field[0] ? "." : "", fields->key);
        if (places_line(places, inner))
            r = check(&fields->value, places, inner, ret_fault);
    }
    return r;
}

static int check_entries(const cyaml_schema_value_t *entry, const struct places *places,
                         const char *field, struct places_fault *ret_fault)
{
    char inner[2 * PLACES_FIELD_MAX];
    int r = 0;

    for (unsigned i = 0; r == 0; i++) {
        snprintf(inner, sizeof(inner), "%.127s[%u]", field, i);
        if (!places_line(places, inner))
            break;
        r = check(entry, places, inner, ret_fault);
    }
    return r;
}

static int check(const cyaml_schema_value_t *schema, const struct places *places, const char *field,
                 struct places_fault *ret_fault)
{
    const char *text = places_text(places, field);

    if (schema->type == CYAML_MAPPING)
        return check_fields(schema->mapping.fields, places, field, ret_fault);
    if (schema->type == CYAML_SEQUENCE)
        return check_entries(schema->sequence.entry, places, field, ret_fault);
    for (size_t i = 0; i < sizeof(stricts) / sizeof(stricts[0]); i++)
        if (schema->type == stricts[i].type && text && !stricts[i].holds(text))
            return refuse(places, field, stricts[i].needs, ret_fault);
    return 0;
}

int yamlread(struct slice text, const struct cyaml_schema_value *schema, struct places **ret_places,
             void **ret_data, struct places_fault *ret_fault)
{
    CLEAN_PLACES struct places *places = NULL;
    void *data = NULL;
    int r = places_read(text, &places, ret_fault);

    if (r == 0 && !places_is_empty(places))
        r = load(text, schema, places, &data, ret_fault);
    if (r == 0)
        r = check(schema, places, "", ret_fault);
    if (r < 0) {
        yamlread_free(schema, data);
        return r;
    }
    *ret_places = TAKE_PTR(places);
    *ret_data = data;
    return 0;
}

void yamlread_free(const struct cyaml_schema_value *schema, void *data)
{
    cyaml_config_t config;

    if (data)
        cyaml_free(config_of(&config, NULL), schema, data, 0);
}
