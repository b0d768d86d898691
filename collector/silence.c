/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/silence.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

struct silence {
    char *id;
    struct alerting_match match;
    int64_t from_s, until_s;
    bool planned;
};

struct silences {
    struct silence *list;
    unsigned count;
};

static const size_t names[] = {
    offsetof(struct alerting_match, org),      offsetof(struct alerting_match, feature),
    offsetof(struct alerting_match, provider), offsetof(struct alerting_match, model),
    offsetof(struct alerting_match, severity), offsetof(struct alerting_match, rule),
};

static char **name_at(struct alerting_match *m, size_t which)
{
    return (char **)(void *)((char *)m + names[which]);
}

static void silence_fini(struct silence *s)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        free(*name_at(&s->match, i));
    free(s->id);
}

static int copy(struct silence *s, const char *id, const struct alerting_silence *from)
{
    struct alerting_match match = from->match;

    s->id = strdup(id);
    if (!s->id)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *name = *name_at(&match, i);

        if (!name || !name[0])
            continue;
        *name_at(&s->match, i) = strdup(name);
        if (!*name_at(&s->match, i))
            return -ENOMEM;
    }
    s->from_s = from->from_s;
    s->until_s = from->until_s;
    s->planned = from->planned;
    return 0;
}

int silences_new(struct silences **ret_silences)
{
    struct silences *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->list = calloc(SILENCES_MAX, sizeof(*s->list));
    if (!s->list) {
        free(s);
        return -ENOMEM;
    }
    *ret_silences = s;
    return 0;
}

void silences_clear(struct silences *s)
{
    for (unsigned i = 0; i < s->count; i++)
        silence_fini(&s->list[i]);
    s->count = 0;
}

void silences_free(struct silences **silences)
{
    if (!*silences)
        return;
    silences_clear(*silences);
    free((*silences)->list);
    free(*silences);
    *silences = NULL;
}

int silences_add(struct silences *s, const char *id, const struct alerting_silence *silence)
{
    struct silence added = {0};
    int r;

    if (s->count == SILENCES_MAX)
        return -ENOSPC;
    r = copy(&added, id, silence);
    if (r < 0) {
        silence_fini(&added);
        return r;
    }
    s->list[s->count++] = added;
    return 0;
}

unsigned silences_count(const struct silences *s)
{
    return s->count;
}

static bool covers(const struct silence *s, const struct alerting_scope *scope, int64_t at_s)
{
    return s->from_s <= at_s && at_s < s->until_s && alerting_matches(&s->match, scope);
}

const char *silences_find(const struct silences *s, const struct alerting_scope *scope,
                          int64_t at_s, bool *ret_is_planned)
{
    const struct silence *found = NULL;

    for (unsigned i = 0; i < s->count && !(found && found->planned); i++)
        if (covers(&s->list[i], scope, at_s) && (!found || s->list[i].planned))
            found = &s->list[i];
    if (found)
        *ret_is_planned = found->planned;
    return found ? found->id : NULL;
}

bool silences_is_planned(const struct silences *s, const struct alerting_scope *scope, int64_t at_s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->list[i].planned && !s->list[i].match.rule && !s->list[i].match.severity &&
            covers(&s->list[i], scope, at_s))
            return true;
    return false;
}
