/* SPDX-License-Identifier: Apache-2.0 */
/* Which provider of the table, and which of its models. */
#include "agent/price_table.h"

#include <ctype.h>

char *price_lower_copy(char *to, size_t size, const char *from)
{
    size_t len = 0;

    while (isspace((unsigned char)*from))
        from++;
    for (; from[len] && len < size - 1; len++)
        to[len] = (char)tolower((unsigned char)from[len]);
    while (len && isspace((unsigned char)to[len - 1]))
        len--;
    to[len] = '\0';
    return to;
}

bool price_match(const struct match *m, const char *model)
{
    size_t len = strlen(model), text_len = m->text ? strlen(m->text) : 0;

    switch (m->kind) {
    case MATCH_EQUALS:
        return strcmp(model, m->text) == 0;
    case MATCH_STARTS_WITH:
        return strncmp(model, m->text, text_len) == 0;
    case MATCH_ENDS_WITH:
        return len >= text_len && strcmp(model + len - text_len, m->text) == 0;
    case MATCH_CONTAINS:
        return strstr(model, m->text) != NULL;
    case MATCH_REGEX:
        return regexec(m->regex, model, 0, NULL, 0) == 0;
    case MATCH_NOT:
        return !price_match(m->parts, model);
    case MATCH_AND:
    case MATCH_OR:
        for (unsigned i = 0; i < m->count; i++) {
            if (price_match(&m->parts[i], model) == (m->kind == MATCH_OR))
                return m->kind == MATCH_OR;
        }
        return m->kind == MATCH_AND;
    case MATCH__COUNT:
        break;
    }
    return false;
}

const struct price_provider *price_provider_by_id(const struct price_table *t, const char *id)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (strcmp(t->providers[i].id, id) == 0)
            return &t->providers[i];
    }
    return NULL;
}

static const struct price_provider *provider_by_name(const struct price_table *t, const char *name)
{
    for (unsigned i = 0; i < t->count; i++) {
        for (unsigned k = 0; k < t->providers[i].names_count; k++) {
            if (strcmp(t->providers[i].names[k], name) == 0)
                return &t->providers[i];
        }
    }
    return NULL;
}

static const struct price_provider *provider_by_host(const struct price_table *t, const char *host)
{
    char url[sizeof("https:///") + 256];

    snprintf(url, sizeof(url), "https://%s/", host);
    for (unsigned i = 0; i < t->count; i++) {
        if (t->providers[i].host && regexec(t->providers[i].host, url, 0, NULL, 0) == 0)
            return &t->providers[i];
    }
    return NULL;
}

const struct price_provider *price_provider_find(const struct price_table *t,
                                                 const struct call *call)
{
    const struct price_provider *p = price_provider_by_id(t, call->provider);

    if (!p)
        p = provider_by_name(t, call->provider);
    return p ? p : provider_by_host(t, call->server_address);
}

static const struct price_model *model_of(const struct price_provider *p, const char *model)
{
    for (unsigned i = 0; i < p->models_count; i++) {
        if (price_match(&p->models[i].match, model))
            return &p->models[i];
    }
    return NULL;
}

static const struct price_model *
model_or_fallback(const struct price_table *t, const struct price_provider *p, const char *model)
{
    const struct price_model *found = model_of(p, model);

    for (unsigned i = 0; !found && i < p->fallback_count; i++) {
        const struct price_provider *other = price_provider_by_id(t, p->fallback[i]);

        found = other ? model_of(other, model) : NULL;
    }
    return found;
}

static unsigned digits_value(const char *s, unsigned count)
{
    unsigned value = 0;

    while (count--)
        value = value * 10 + (unsigned)(*s++ - '0');
    return value;
}

static bool is_date(const char *s)
{
    static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day;

    if (strspn(s, "0123456789") != 8 || (s[8] && s[8] != '-' && s[8] != ':'))
        return false;
    year = digits_value(s, 4);
    month = digits_value(s + 4, 2);
    day = digits_value(s + 6, 2);
    if (year / 100 != 20 || month < 1 || month > 12 || day < 1)
        return false;
    return day <= DAYS[month - 1] || (month == 2 && day == 29 && year % 4 == 0);
}

/* Providers write the date of a model as 20250514 here and 2025-05-14 there. */
static bool spell_dates_out(const char *model, char *to, size_t size)
{
    bool changed = false;
    size_t len = 0;

    for (const char *c = model; *c && len + 3 < size; c++) {
        to[len++] = *c;
        if (*c != '-' || !is_date(c + 1) || len + 12 >= size)
            continue;
        len += (size_t)snprintf(to + len, size - len, "%.4s-%.2s-%.2s", c + 1, c + 5, c + 7);
        c += 8;
        changed = true;
    }
    to[len] = '\0';
    return changed;
}

const struct price_model *price_model_find(const struct price_table *t,
                                           const struct price_provider *p, const char *name)
{
    char model[PRICE_MODEL_ID_MAX], dated[PRICE_MODEL_ID_MAX + 16];
    const struct price_model *found;
    const char *resource;

    price_lower_copy(model, sizeof(model), name);
    if (!model[0])
        return NULL;
    found = model_or_fallback(t, p, model);
    if (!found && spell_dates_out(model, dated, sizeof(dated)))
        found = model_or_fallback(t, p, dated);
    /* Gemini may answer with the name of a resource: models/gemini-2.5-pro. */
    resource = strstr(model, "models/");
    if (!found && resource)
        found = model_or_fallback(t, p, resource + strlen("models/"));
    return found;
}
