/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/places.h"

#include <errno.h>
#include <stdio.h>
#include <uthash.h>
#include <yaml.h>

struct place {
    UT_hash_handle hh;
    unsigned line;
    struct place *first, *last, *next; /* children; the next of the same parent */
    const char *name;                  /* behind the last dot */
    char *text;                        /* of a scalar, NULL: none */
    char field[];
};

struct places {
    struct place *all;  /* by field */
    struct place *root; /* "", not among them */
    bool has_content;
};

/* A mapping or sequence that is open. */
struct level {
    struct place *at;
    struct place *key; /* of a mapping: whose value comes next */
    bool is_mapping;
    unsigned next_index;
};

struct walk {
    struct places *places;
    struct places_fault *fault;
    struct level levels[PLACES_DEPTH_MAX];
    unsigned depth, documents;
};

static int refuse(struct walk *w, unsigned line, const char *field, const char *problem)
{
    w->fault->line = line;
    snprintf(w->fault->field, sizeof(w->fault->field), "%s", field);
    snprintf(w->fault->problem, sizeof(w->fault->problem), "%s", problem);
    return -EINVAL;
}

static struct place *find(const struct places *p, const char *field)
{
    struct place *place;

    if (!field[0])
        return p->root;
    HASH_FIND_STR(p->all, field, place);
    return place;
}

static int add(struct walk *w, struct place *parent, const char *field, unsigned line,
               struct place **ret_place)
{
    size_t len = strlen(field);
    struct place *place;

    if (len >= PLACES_FIELD_MAX)
        return refuse(w, line, "", "a key that is too long");
    if (find(w->places, field))
        return refuse(w, line, field, "is given twice");
    if (HASH_COUNT(w->places->all) >= PLACES_MAX)
        return refuse(w, line, field, "is one key too many");
    place = calloc(1, sizeof(*place) + len + 1);
    if (!place)
        return -ENOMEM;
    memcpy(place->field, field, len);
    place->name = strrchr(place->field, '.');
    place->name = place->name ? place->name + 1 : place->field;
    place->line = line;
    if (parent->last)
        parent->last->next = place;
    else
        parent->first = place;
    parent->last = place;
    HASH_ADD_KEYPTR(hh, w->places->all, place->field, len, place);
    *ret_place = place;
    return 0;
}

/* The place of the value that begins: its key's, or a new one of a sequence. */
static int begin_value(struct walk *w, unsigned line, struct place **ret_place)
{
    struct level *top = w->depth ? &w->levels[w->depth - 1] : NULL;
    char field[2 * PLACES_FIELD_MAX];

    if (!top) {
        w->places->root->line = line;
        *ret_place = w->places->root;
        return 0;
    }
    if (top->is_mapping) {
        *ret_place = top->key;
        top->key = NULL;
        return 0;
    }
    snprintf(field, sizeof(field), "%.127s[%u]", top->at->field, top->next_index++);
    return add(w, top->at, field, line, ret_place);
}

static int take_key(struct walk *w, const char *key, unsigned line)
{
    struct level *top = &w->levels[w->depth - 1];
    char field[2 * PLACES_FIELD_MAX];

    if (strlen(key) >= PLACES_FIELD_MAX || !key[0] || strpbrk(key, ".[]"))
        return refuse(w, line, "", "a key that is no plain word");
    snprintf(field, sizeof(field), "%.127s%s%.127s", top->at->field, top->at->field[0] ? "." : "",
             key);
    return add(w, top->at, field, line, &top->key);
}

static bool wants_key(const struct walk *w)
{
    return w->depth && w->levels[w->depth - 1].is_mapping && !w->levels[w->depth - 1].key;
}

static int open_level(struct walk *w, bool is_mapping, unsigned line)
{
    struct place *at = NULL;
    int r;

    if (wants_key(w))
        return refuse(w, line, "", "a key that is no plain word");
    r = begin_value(w, line, &at);
    if (r < 0)
        return r;
    if (w->depth == PLACES_DEPTH_MAX)
        return refuse(w, line, "", "is nested too deep");
    w->places->has_content = true;
    w->levels[w->depth++] = (struct level){.at = at, .is_mapping = is_mapping};
    return 0;
}

static int take_scalar(struct walk *w, const yaml_event_t *event, unsigned line)
{
    const char *text = (const char *)event->data.scalar.value;
    struct place *place = NULL;
    int r;

    if (wants_key(w))
        return take_key(w, text, line);
    w->places->has_content |= event->data.scalar.length > 0;
    r = begin_value(w, line, &place);
    if (r < 0)
        return r;
    place->text = strdup(text);
    return place->text ? 0 : -ENOMEM;
}

static int take_event(struct walk *w, const yaml_event_t *event)
{
    unsigned line = (unsigned)event->start_mark.line + 1;

    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return w->documents++ ? refuse(w, line, "", "a second document") : 0;
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return open_level(w, event->type == YAML_MAPPING_START_EVENT, line);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        w->depth--;
        return 0;
    case YAML_ALIAS_EVENT:
        return refuse(w, line, "", "aliases (*name) are not taken: write it out");
    case YAML_SCALAR_EVENT:
        return take_scalar(w, event, line);
    default:
        return 0;
    }
}

static void parser_cleanup(yaml_parser_t *parser)
{
    yaml_parser_delete(parser);
}

static int walk(struct walk *w, struct slice text)
{
    __attribute__((cleanup(parser_cleanup))) yaml_parser_t parser;
    bool at_end = false;

    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_input_string(&parser, text.data, text.len);
    while (!at_end) {
        yaml_event_t event;
        int r;

        if (!yaml_parser_parse(&parser, &event))
            return refuse(w, (unsigned)parser.problem_mark.line + 1, "",
                          parser.problem ? parser.problem : "no YAML");
        r = take_event(w, &event);
        at_end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (r < 0)
            return r;
    }
    return 0;
}

int places_read(struct slice text, struct places **ret_places, struct places_fault *ret_fault)
{
    CLEAN_PLACES struct places *p = calloc(1, sizeof(*p));
    CLEAN_FREE struct walk *w = calloc(1, sizeof(*w));
    int r;

    if (!p || !w)
        return -ENOMEM;
    p->root = calloc(1, sizeof(*p->root) + 1);
    if (!p->root)
        return -ENOMEM;
    w->places = p;
    w->fault = ret_fault;
    r = walk(w, text);
    if (r == 0)
        *ret_places = TAKE_PTR(p);
    return r;
}

void places_free(struct places **places)
{
    struct place *place, *next;

    if (!*places)
        return;
    HASH_ITER(hh, (*places)->all, place, next)
    {
        HASH_DEL((*places)->all, place);
        free(place->text);
        free(place);
    }
    if ((*places)->root)
        free((*places)->root->text);
    free((*places)->root);
    free(*places);
    *places = NULL;
}

unsigned places_line(const struct places *p, const char *field)
{
    const struct place *place = find(p, field);

    return place ? place->line : 0;
}

const char *places_child(const struct places *p, const char *field, unsigned index)
{
    const struct place *place = find(p, field);

    place = place ? place->first : NULL;
    while (place && index--)
        place = place->next;
    return place ? place->name : NULL;
}

const char *places_text(const struct places *p, const char *field)
{
    const struct place *place = find(p, field);

    return place ? place->text : NULL;
}

bool places_is_empty(const struct places *p)
{
    return !p->has_content;
}
