/* SPDX-License-Identifier: Apache-2.0 */
/* Resolves what profiles name and builds the path trees of families. */
#include "agent/profile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct compiler {
    struct provider_set *set;
    const struct profile_file *file;
    struct provider_error *ret_error;
};

static bool is_word(char c)
{
    return c && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", c);
}

static unsigned line_of(const char *text, const char *needle)
{
    const char *at = text;
    size_t len = strlen(needle);
    unsigned line = 1;

    while (at && (at = strstr(at, needle)) && ((at > text && is_word(at[-1])) || is_word(at[len])))
        at++;
    for (const char *p = text; at && p < at; p++)
        line += *p == '\n';
    return line;
}

/* `needle` is the offending text: its first place in the file gives the line. */
static int __attribute__((format(printf, 3, 4)))
complain(struct compiler *c, const char *needle, const char *fmt, ...)
{
    struct provider_error *e = c->ret_error;
    int used = snprintf(e->text, sizeof(e->text), "%s:%u: ", c->file->name,
                        line_of(c->file->text, needle));
    va_list args;

    va_start(args, fmt);
    vsnprintf(e->text + used, sizeof(e->text) - (size_t)used, fmt, args);
    va_end(args);
    return -EINVAL;
}

static int compile_sum(struct compiler *c, const char *field, char **terms, unsigned count,
                       struct usage_sum *ret_sum)
{
    struct usage_sum sum = {0};

    if (count > SUM_TERMS_MAX)
        return complain(c, field, "%s: more than %d terms", field, SUM_TERMS_MAX);
    for (unsigned i = 0; i < count; i++) {
        bool minus = terms[i][0] == '-', plus = terms[i][0] == '+';
        int slot = profile_slot(terms[i] + (minus || plus));

        if (slot < 0)
            return complain(c, terms[i], "%s[%u]: no such number: %s", field, i, terms[i]);
        sum.slot[sum.count] = (uint8_t)slot;
        sum.sign[sum.count++] = minus ? -1 : 1;
    }
    *ret_sum = sum;
    return 0;
}

static int compile_mask(struct compiler *c, const char *field, char **names, unsigned count,
                        uint64_t *ret_mask)
{
    uint64_t mask = 0;

    for (unsigned i = 0; i < count; i++) {
        int slot = profile_slot(names[i]);

        if (slot < 0)
            return complain(c, names[i], "%s[%u]: no such number: %s", field, i, names[i]);
        mask |= 1ULL << slot;
    }
    *ret_mask = mask;
    return 0;
}
_Static_assert(SLOT__COUNT <= 64, "slots fit a mask, and six bits of a field");

static int compile_usage(struct compiler *c, struct profile_usage *u)
{
    int r = compile_sum(c, "input_total", u->input_total, u->input_total_count,
                        &u->compiled_input_total);

    if (!r)
        r = compile_sum(c, "output_total", u->output_total, u->output_total_count,
                        &u->compiled_output_total);
    if (!r)
        r = compile_mask(c, "zero", u->zero, u->zero_count, &u->zero_mask);
    if (!r)
        r = compile_mask(c, "needs", u->needs, u->needs_count, &u->needs_mask);
    for (unsigned i = 0; !r && i < u->rows_count; i++) {
        struct profile_row *row = &u->rows[i];

        r = compile_sum(c, "rows.sum", row->sum, row->sum_count, &row->compiled_sum);
        if (!r)
            r = compile_mask(c, "rows.unless", row->unless, row->unless_count, &row->unless_mask);
    }
    return r;
}

static int add_path(struct compiler *c, struct json_paths *paths, const char *root,
                    const char *path, unsigned field, enum json_how how)
{
    char full[256];
    int r;

    if (root && *root)
        snprintf(full, sizeof(full), "%s%s%s", root, path[0] == '[' || !path[0] ? "" : ".", path);
    else
        snprintf(full, sizeof(full), "%s", path);
    r = json_paths_add(paths, full, (uint16_t)field, how);
    return r ? complain(c, path, "path %s: %s", full, r == -EINVAL ? "malformed" : "too many paths")
             : 0;
}

static int add_list(struct compiler *c, struct json_paths *paths, char **list, unsigned count,
                    unsigned field, bool ranked, enum json_how how)
{
    int r = 0;

    for (unsigned i = 0; !r && i < count; i++)
        r = add_path(c, paths, NULL, list[i], field + (ranked ? i : 0), how);
    return r;
}

static int add_answer(struct compiler *c, struct json_paths *p, const struct profile_answer *a)
{
    const struct {
        char **list;
        unsigned count, field;
        bool ranked;
        enum json_how how;
    } table[] = {
        {a->event, a->event_count, FIELD_EVENT, false, JSON_KEEP},
        {a->model, a->model_count, FIELD_MODEL, true, JSON_KEEP},
        {a->id, a->id_count, FIELD_ID, true, JSON_KEEP},
        {a->service_tier, a->service_tier_count, FIELD_TIER, true, JSON_KEEP},
        {a->finish, a->finish_count, FIELD_FINISH, true, JSON_KEEP},
        {a->status, a->status_count, FIELD_STATUS, true, JSON_KEEP},
        {a->promise, a->promise_count, FIELD_PROMISE, true, JSON_KEEP},
        {a->result, a->result_count, FIELD_RESULT, true, JSON_KEEP},
        {a->line_model, a->line_model_count, FIELD_LINE_MODEL, true, JSON_KEEP},
        {a->error_mark, a->error_mark_count, FIELD_ERROR_MARK, false, JSON_TEST},
        {a->error_type, a->error_type_count, FIELD_ERROR_TYPE, true, JSON_KEEP},
        {a->error_code, a->error_code_count, FIELD_ERROR_CODE, true, JSON_KEEP},
        {a->output_paths, a->output_paths_count, FIELD_OUTPUT, false, JSON_TEST},
        {a->end_paths, a->end_paths_count, FIELD_END, false, JSON_TEST},
    };
    int r = 0;

    for (size_t i = 0; !r && i < sizeof(table) / sizeof(table[0]); i++)
        r = add_list(c, p, table[i].list, table[i].count, table[i].field, table[i].ranked,
                     table[i].how);
    if (!r && a->choice_index)
        r = add_path(c, p, NULL, a->choice_index, FIELD_CHOICE_INDEX, JSON_KEEP);
    if (!r && a->tool_calls_count > TOOL_RULES_MAX)
        r = complain(c, "tool_calls", "tool_calls: more than %d rules", TOOL_RULES_MAX);
    for (unsigned i = 0; !r && i < a->tool_calls_count; i++) {
        const struct profile_tool_calls *t = &a->tool_calls[i];

        r = add_path(c, p, NULL, t->each, FIELD_TOOL + i, JSON_TEST);
        if (!r && t->type)
            r = add_path(c, p, t->each, "type", FIELD_TOOL_TYPE + i, JSON_KEEP);
        if (!r && t->by_index)
            r = add_path(c, p, t->each, "index", FIELD_TOOL_INDEX + i, JSON_KEEP);
    }
    return r;
}

static int add_numbers(struct compiler *c, struct json_paths *p, const char *root,
                       const struct profile_number *n, unsigned count, unsigned field,
                       enum json_how how)
{
    int r = 0;

    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; !r && k < n[i].path_count; k++)
            r = add_path(c, p, root, n[i].path[k],
                         field + ((k < FIELD_RANK_MAX ? k : FIELD_RANK_MAX) << 6) + n[i].field,
                         how);
    return r;
}

static int add_usage_root(struct compiler *c, struct json_paths *p, const char *root,
                          const struct profile_usage *u)
{
    char each[256];
    int r = add_path(c, p, root, "", FIELD_USAGE, JSON_SUBTREE);

    if (!r)
        r = add_numbers(c, p, root, u->numbers, u->numbers_count, FIELD_NUMBER, JSON_KEEP);
    for (unsigned i = 0; !r && i < u->modalities_count; i++) {
        const struct profile_modality *m = &u->modalities[i];

        snprintf(each, sizeof(each), "%s.%s", root, m->each);
        r = add_path(c, p, NULL, each, FIELD_MODALITY + (unsigned)m->of, JSON_TEST);
        if (!r)
            r = add_path(c, p, each, m->name, FIELD_MODALITY_NAME + (unsigned)m->of, JSON_KEEP);
        if (!r)
            r = add_path(c, p, each, m->count, FIELD_MODALITY_COUNT + (unsigned)m->of, JSON_KEEP);
    }
    if (!r && u->entries_each) {
        snprintf(each, sizeof(each), "%s.%s", root, u->entries_each);
        r = add_path(c, p, NULL, each, FIELD_ENTRY, JSON_TEST);
        if (!r)
            r = add_path(c, p, each, "type", FIELD_ENTRY_TYPE, JSON_KEEP);
        if (!r)
            r = add_path(c, p, each, "model", FIELD_ENTRY_MODEL, JSON_KEEP);
        if (!r)
            r = add_numbers(c, p, each, u->entries, u->entries_count, FIELD_ENTRY_NUMBER,
                            JSON_KEEP);
    }
    return r;
}

static int add_usage(struct compiler *c, struct json_paths *p, const struct profile_usage *u)
{
    int r = add_numbers(c, p, NULL, u->absolute, u->absolute_count, FIELD_ABSOLUTE, JSON_KEEP);

    if (!r)
        r = add_numbers(c, p, NULL, u->counts, u->counts_count, FIELD_COUNT, JSON_TEST);
    if (!r)
        r = add_numbers(c, p, NULL, u->sums, u->sums_count, FIELD_SUM, JSON_KEEP);
    if (!r)
        r = add_numbers(c, p, NULL, u->fallback, u->fallback_count, FIELD_FALLBACK, JSON_KEEP);
    if (!r)
        r = add_list(c, p, u->fallback_roots, u->fallback_roots_count, FIELD_FALLBACK_RAW, false,
                     JSON_SUBTREE);
    for (unsigned i = 0; !r && i < u->roots_count; i++)
        r = add_usage_root(c, p, u->roots[i], u);
    return r;
}

static int add_session(struct compiler *c, struct profile_family *f)
{
    const struct profile_session *s = f->session;
    struct json_paths *client = f->client_paths, *server = f->answer_paths;
    const struct {
        struct json_paths *paths;
        char **list;
        unsigned count, field;
        enum json_how how;
    } table[] = {
        {client, s->client_event, s->client_event_count, FIELD_CLIENT_EVENT, JSON_KEEP},
        {client, s->client_id, s->client_id_count, FIELD_CLIENT_ID, JSON_KEEP},
        {client, s->client_model, s->client_model_count, FIELD_CLIENT_MODEL, JSON_KEEP},
        {client, s->ask_paths, s->ask_paths_count, FIELD_ASK, JSON_TEST},
        {client, s->trigger_paths, s->trigger_paths_count, FIELD_TRIGGER, JSON_TEST},
        {client, s->resume_paths, s->resume_paths_count, FIELD_RESUME, JSON_TEST},
        {server, s->session_id, s->session_id_count, FIELD_SESSION_ID, JSON_KEEP},
        {server, s->session_model, s->session_model_count, FIELD_SESSION_MODEL, JSON_KEEP},
        {server, s->turn_paths, s->turn_paths_count, FIELD_TURN, JSON_TEST},
        {server, s->begin_paths, s->begin_paths_count, FIELD_BEGIN, JSON_TEST},
        {server, s->interrupted_paths, s->interrupted_paths_count, FIELD_INTERRUPTED, JSON_TEST},
        {server, s->error_source, s->error_source_count, FIELD_ERROR_SOURCE, JSON_KEEP},
        {server, s->aside_model, s->aside_model_count, FIELD_ASIDE_MODEL, JSON_KEEP},
    };
    int r = 0;

    for (size_t i = 0; !r && i < sizeof(table) / sizeof(table[0]); i++)
        r = add_list(c, table[i].paths, table[i].list, table[i].count, table[i].field, false,
                     table[i].how);
    return r;
}

static int compile_paths(struct compiler *c, struct profile_family *f)
{
    int r = json_paths_new(&f->request_paths);

    if (!r)
        r = json_paths_new(&f->answer_paths);
    if (!r && f->session)
        r = json_paths_new(&f->client_paths);
    if (!r && f->request) {
        const struct profile_request *q = f->request;

        r = add_list(c, f->request_paths, q->model, q->model_count, FIELD_REQUEST_MODEL, true,
                     JSON_KEEP);
        if (!r)
            r = add_list(c, f->request_paths, q->stream, q->stream_count, FIELD_REQUEST_STREAM,
                         false, JSON_KEEP);
        if (!r)
            r = add_list(c, f->request_paths, q->max_output_tokens, q->max_output_tokens_count,
                         FIELD_REQUEST_MAX, true, JSON_KEEP);
        if (!r)
            r = add_list(c, f->request_paths, q->service_tier, q->service_tier_count,
                         FIELD_REQUEST_TIER, true, JSON_KEEP);
    }
    if (!r && f->answer)
        r = add_answer(c, f->answer_paths, f->answer);
    if (!r && f->usage)
        r = add_usage(c, f->answer_paths, f->usage);
    if (!r && f->session)
        r = add_session(c, f);
    return r;
}

static struct profile_family *family_find(struct compiler *c, const char *id)
{
    for (unsigned i = 0; i < c->set->file_count; i++)
        for (unsigned k = 0; k < c->set->files[i]->families_count; k++)
            if (strcmp(c->set->files[i]->families[k].id, id) == 0)
                return &c->set->files[i]->families[k];
    return NULL;
}

/* Sections that a family leaves out are those of the one it is like. */
static int family_inherit(struct compiler *c, struct profile_family *f)
{
    struct profile_family *from;
    int r;

    if (f->like_state == 2 || !f->like)
        return 0;
    if (f->like_state == 1)
        return complain(c, f->like, "families.like: %s is like itself", f->id);
    from = family_find(c, f->like);
    if (!from)
        return complain(c, f->like, "families.like: no such family: %s", f->like);
    f->like_state = 1;
    r = family_inherit(c, from);
    f->like_state = 2;
    if (r)
        return r;
    f->borrows_request = !f->request;
    f->borrows_answer = !f->answer;
    f->borrows_usage = !f->usage;
    f->borrows_session = !f->session;
    f->request = f->request ? f->request : from->request;
    f->answer = f->answer ? f->answer : from->answer;
    f->usage = f->usage ? f->usage : from->usage;
    f->session = f->session ? f->session : from->session;
    return 0;
}

static int compile_family(struct compiler *c, struct profile_family *f)
{
    int r = 0;

    if (family_find(c, f->id) != f)
        return complain(c, f->id, "families.id: %s stands twice", f->id);
    r = family_inherit(c, f);
    if (!r && f->usage && !f->borrows_usage)
        r = compile_usage(c, f->usage);
    return r ? r : compile_paths(c, f);
}

static int compile_operations(struct compiler *c, struct profile_operation *ops, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!ops[i].family_id)
            continue;
        ops[i].family = family_find(c, ops[i].family_id);
        if (!ops[i].family)
            return complain(c, ops[i].family_id, "operations[%u].family: no such family: %s", i,
                            ops[i].family_id);
    }
    return 0;
}

static const struct profile_routes *routes_find(struct compiler *c, const char *id)
{
    for (unsigned i = 0; i < c->set->file_count; i++)
        for (unsigned k = 0; k < c->set->files[i]->routes_count; k++)
            if (strcmp(c->set->files[i]->routes[k].id, id) == 0)
                return &c->set->files[i]->routes[k];
    return NULL;
}

/* Among several of a name the one that is like no other. */
static struct provider *provider_find(struct compiler *c, const char *name)
{
    for (unsigned i = 0; i < c->set->file_count; i++)
        for (unsigned k = 0; k < c->set->files[i]->providers_count; k++) {
            struct provider *p = &c->set->files[i]->providers[k];

            if (!p->like && strcmp(p->name, name) == 0)
                return p;
        }
    return NULL;
}

/* What a provider leaves out is that of the one it is like. */
static int provider_inherit(struct compiler *c, struct provider *p)
{
    const struct provider *from;

    if (!p->like)
        return 0;
    from = provider_find(c, p->like);
    if (!from)
        return complain(c, p->like, "providers.like: no such provider: %s", p->like);
    if (!p->headers) {
        p->headers = from->headers;
        p->borrows_headers = true;
    }
    if (!p->routes_count) {
        p->routes = from->routes;
        p->routes_count = from->routes_count;
        p->borrows_routes = true;
    }
    if (!p->operations_count) {
        p->operations = from->operations;
        p->operations_count = from->operations_count;
        p->borrows_operations = true;
    }
    return 0;
}

static int compile_hosts(struct compiler *c, const char *field, char **hosts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const char *star = strchr(hosts[i], '*');

        if (star && (star != hosts[i] || star[1] != '.' || strchr(star + 1, '*')))
            return complain(c, hosts[i], "%s[%u]: only \"*.\" in front: %s", field, i, hosts[i]);
    }
    return 0;
}

static int compile_header_numbers(struct compiler *c, const struct profile_headers *h)
{
    unsigned count = 0;

    for (unsigned i = 0; h && i < h->numbers_count; i++)
        count += h->numbers[i].path_count;
    return count <= HEADER_NUMBERS_MAX
               ? 0
               : complain(c, "numbers", "headers.numbers: more than %d", HEADER_NUMBERS_MAX);
}

static int compile_provider(struct compiler *c, struct provider *p)
{
    int r = compile_hosts(c, "providers.hosts", p->hosts, p->hosts_count);

    for (unsigned i = 0; !r && i < p->plaintext_ports_count; i++)
        if (p->plaintext_ports[i] == 0)
            r = complain(c, "plaintext_ports", "providers.plaintext_ports[%u]: use 1 to 65535", i);
    if (!r)
        r = provider_inherit(c, p);
    if (!r)
        r = compile_header_numbers(c, p->headers);
    if (r)
        return r;
    if (p->routes_count) {
        p->route_sets = calloc(p->routes_count, sizeof(*p->route_sets));
        if (!p->route_sets)
            return -ENOMEM;
    }
    for (unsigned i = 0; i < p->routes_count; i++) {
        p->route_sets[i] = routes_find(c, p->routes[i]);
        if (!p->route_sets[i])
            return complain(c, p->routes[i], "providers.routes[%u]: no such routes: %s", i,
                            p->routes[i]);
    }
    return p->borrows_operations ? 0 : compile_operations(c, p->operations, p->operations_count);
}

int profile_compile(struct provider_set *set, struct provider_error *ret_error)
{
    struct compiler c = {.set = set, .ret_error = ret_error};
    int r = 0;

    for (unsigned i = 0; !r && i < set->file_count; i++) {
        struct profile_file *file = set->files[i];

        c.file = file;
        for (unsigned k = 0; !r && k < file->families_count; k++)
            r = compile_family(&c, &file->families[k]);
        for (unsigned k = 0; !r && k < file->routes_count; k++)
            r = compile_operations(&c, file->routes[k].operations,
                                   file->routes[k].operations_count);
        for (unsigned k = 0; !r && k < file->providers_count; k++)
            r = compile_provider(&c, &file->providers[k]);
    }
    return r;
}

void profile_release(struct profile_file *file)
{
    for (unsigned i = 0; i < file->families_count; i++) {
        struct profile_family *f = &file->families[i];

        json_paths_free(&f->request_paths);
        json_paths_free(&f->answer_paths);
        json_paths_free(&f->client_paths);
        f->request = f->borrows_request ? NULL : f->request;
        f->answer = f->borrows_answer ? NULL : f->answer;
        f->usage = f->borrows_usage ? NULL : f->usage;
        f->session = f->borrows_session ? NULL : f->session;
    }
    for (unsigned i = 0; i < file->providers_count; i++) {
        struct provider *p = &file->providers[i];

        free(p->route_sets);
        p->headers = p->borrows_headers ? NULL : p->headers;
        p->routes = p->borrows_routes ? NULL : p->routes;
        p->routes_count = p->borrows_routes ? 0 : p->routes_count;
        p->operations = p->borrows_operations ? NULL : p->operations;
        p->operations_count = p->borrows_operations ? 0 : p->operations_count;
    }
}
