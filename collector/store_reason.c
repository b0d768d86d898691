/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons of gaps are words of the agents: rows and reports must not grow with what they make up.
 */
#include "collector/hash.h"
#include "collector/store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* What nobody gave as a reason for so long is made room for at the next start. */
#define KNOWN_S (30 * INT64_C(86400))
#define DAY_S INT64_C(86400)

/* An organisation, or one of its reasons: one or two texts with their NULs. */
struct reason {
    UT_hash_handle hh;
    unsigned count; /* of an organisation's reasons */
    char key[];
};

struct key {
    char text[sizeof(((struct record *)NULL)->org) + sizeof(((struct record *)NULL)->reason)];
    size_t len;
};

static struct key key_of(const char *org, const char *reason)
{
    struct key key = {.text = ""};
    size_t org_len = strnlen(org, sizeof(((struct record *)NULL)->org) - 1);
    size_t len = reason ? strnlen(reason, sizeof(((struct record *)NULL)->reason) - 1) : 0;

    memcpy(key.text, org, org_len);
    key.len = org_len + 1;
    if (reason) {
        memcpy(key.text + key.len, reason, len);
        key.len += len + 1;
    }
    return key;
}

static struct reason *find(struct store *s, const struct key *key)
{
    struct reason *found;

    HASH_FIND(hh, s->reasons, key->text, key->len, found);
    return found;
}

static struct reason *add(struct store *s, const struct key *key)
{
    struct reason *new = calloc(1, sizeof(*new) + key->len);

    if (!new)
        return NULL;
    memcpy(new->key, key->text, key->len);
    HASH_ADD_KEYPTR(hh, s->reasons, new->key, key->len, new);
    return new;
}

static int know(struct store *s, const char *org, const char *reason, bool *ret_has_place)
{
    const struct key whole = key_of(org, reason), of_org = key_of(org, NULL);
    struct reason *o = find(s, &of_org);

    *ret_has_place = true;
    if (find(s, &whole))
        return 0;
    if (!o)
        o = add(s, &of_org);
    if (!o)
        return -ENOMEM;
    *ret_has_place = o->count < STORE_REASONS_MAX;
    if (!*ret_has_place)
        return 0;
    o->count++;
    return add(s, &whole) ? 0 : -ENOMEM;
}

static int learn(struct store *s, int64_t until_s)
{
    CLEAN_STMT struct db_stmt *stmt = db_stmt(s->db, STMT_REASONS_EACH);
    bool has_place;
    int r;

    db_bind_int(stmt, 1, until_s - until_s % DAY_S - KNOWN_S);
    while ((r = db_step(stmt)) > 0) {
        r = know(s, db_text(stmt, 0), db_text(stmt, 1), &has_place);
        if (r < 0)
            return r;
    }
    s->knows_reasons = r == 0;
    return r;
}

int store_pass_reason(struct store *s, const struct record *rec, int64_t at_s,
                      const char **ret_reason)
{
    bool has_place = false;
    int r = s->knows_reasons ? 0 : learn(s, at_s);

    if (r == 0)
        r = know(s, rec->org, rec->reason, &has_place);
    if (r == 0)
        *ret_reason = has_place ? rec->reason : "(other)";
    return r;
}

void store_forget_reasons(struct store *s)
{
    struct reason *r, *next;

    HASH_ITER(hh, s->reasons, r, next)
    {
        HASH_DEL(s->reasons, r);
        free(r);
    }
}
