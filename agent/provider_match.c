/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/profile.h"
#include "agent/text.h"

#include <errno.h>

#define PATH_MAX_BYTES 2048
/* For all patterns that one request is held against: a hostile path costs some 30 us. */
#define MATCH_STEPS_MAX 10000

struct matcher {
    struct slice model, response; /* of the path, still escaped */
    uint32_t *steps;
};

enum host_pass {
    PASS_PORT,
    PASS_HOST,
    PASS_RECOGNISED,
    PASS__COUNT,
};

static bool host_matches(const char *pattern, struct slice host)
{
    if (pattern[0] == '*')
        return host.len > strlen(pattern) - 1 && text_match(pattern, host);
    return slice_eq_nocase(slice_str(pattern), host);
}

static bool hosts_match(const struct provider *p, struct slice host)
{
    for (unsigned i = 0; i < p->hosts_count; i++)
        if (host_matches(p->hosts[i], host))
            return true;
    return false;
}

static bool match_whole(struct matcher *m, const char *pattern, struct slice s);

static bool hosts_recognise(const struct provider *p, struct slice host)
{
    for (unsigned i = 0; i < p->recognised_hosts_count; i++) {
        uint32_t steps = 0;
        struct matcher m = {.steps = &steps};

        if (match_whole(&m, p->recognised_hosts[i], host))
            return true;
    }
    return false;
}

static bool speaks_on(const struct provider *p, uint32_t port)
{
    for (unsigned i = 0; i < p->plaintext_ports_count; i++)
        if (p->plaintext_ports[i] == port)
            return true;
    return false;
}

static bool provider_fits(const struct provider *p, enum host_pass pass, struct slice host,
                          uint32_t port)
{
    switch (pass) {
    case PASS_PORT:
        return port && speaks_on(p, port);
    case PASS_HOST:
        return hosts_match(p, host);
    default:
        return hosts_recognise(p, host);
    }
}

/* Takes ":port" off; 0 when there is none. */
static uint32_t port_of(struct slice *host)
{
    size_t at = host->len;
    uint32_t port = 0, unit = 1;

    while (at && at + 5 > host->len && host->data[at - 1] >= '0' && host->data[at - 1] <= '9') {
        port += unit * (host->data[--at] - '0');
        unit *= 10;
    }
    if (!at || at == host->len || host->data[at - 1] != ':')
        return 0;
    host->len = at - 1;
    return port;
}

const struct provider *provider_by_host(const struct provider_set *set, struct slice host)
{
    uint32_t port = port_of(&host);

    if (host.len && host.data[host.len - 1] == '.')
        host.len--;
    for (int pass = 0; pass < PASS__COUNT; pass++)
        for (unsigned i = 0; i < set->file_count; i++)
            for (unsigned k = 0; k < set->files[i]->providers_count; k++) {
                const struct provider *p = &set->files[i]->providers[k];

                if (provider_fits(p, (enum host_pass)pass, host, port))
                    return p;
            }
    return NULL;
}

unsigned provider_plaintext_ports(const struct provider_set *set, uint16_t *ret_ports, unsigned max)
{
    unsigned count = 0;

    for (unsigned i = 0; i < set->file_count; i++)
        for (unsigned k = 0; k < set->files[i]->providers_count; k++) {
            const struct provider *p = &set->files[i]->providers[k];

            for (unsigned h = 0; h < p->plaintext_ports_count; h++, count++)
                if (count < max)
                    ret_ports[count] = p->plaintext_ports[h];
        }
    return count;
}

const char *provider_name(const struct provider *p)
{
    return p->name;
}

unsigned provider_hosts(const struct provider_set *set, const char **ret_patterns, unsigned max)
{
    unsigned count = 0;

    for (unsigned i = 0; i < set->file_count; i++)
        for (unsigned k = 0; k < set->files[i]->providers_count; k++) {
            const struct provider *p = &set->files[i]->providers[k];

            for (unsigned h = 0; h < p->hosts_count; h++, count++)
                if (count < max)
                    ret_patterns[count] = p->hosts[h];
        }
    return count;
}

static bool match_here(struct matcher *m, const char *pattern, struct slice s);

/* A placeholder takes the shortest run that lets the rest fit; it may hold
 * slashes only where the pattern says so by a name ending in "/". */
static bool match_hole(struct matcher *m, const char *pattern, struct slice s)
{
    const char *end = strchr(pattern, '}');
    bool is_model = strncmp(pattern, "{model", 6) == 0;
    bool is_response = strncmp(pattern, "{response}", 10) == 0, crosses;

    if (!end)
        return false;
    crosses = end[-1] == '/';
    for (size_t n = 1; n <= s.len && (crosses || s.data[n - 1] != '/'); n++) {
        if (*m->steps > MATCH_STEPS_MAX)
            return false;
        if (!match_here(m, end + 1, slice_of(s.data + n, s.len - n)))
            continue;
        if (is_model)
            m->model = slice_of(s.data, n);
        if (is_response)
            m->response = slice_of(s.data, n);
        return true;
    }
    return false;
}

static bool match_star(struct matcher *m, const char *pattern, struct slice s)
{
    bool literal = *pattern && *pattern != '*' && *pattern != '{';

    if (!*pattern)
        return true;
    for (;;) {
        const uint8_t *at = literal && s.len ? memchr(s.data, *pattern, s.len) : s.data;

        if (literal && (!s.len || !at))
            return false;
        s = slice_of(at, s.len - (size_t)(at - s.data));
        if (match_here(m, pattern, s))
            return true;
        if (!s.len || *m->steps > MATCH_STEPS_MAX)
            return false;
        s = slice_of(s.data + 1, s.len - 1);
    }
}

static bool match_here(struct matcher *m, const char *pattern, struct slice s)
{
    for (; *pattern; pattern++) {
        if (++*m->steps > MATCH_STEPS_MAX)
            return false;
        if (*pattern == '{')
            return match_hole(m, pattern, s);
        if (*pattern == '*')
            return match_star(m, pattern + 1, s);
        if (!s.len || s.data[0] != (uint8_t)*pattern)
            return false;
        s = slice_of(s.data + 1, s.len - 1);
    }
    return s.len == 0;
}

/* The end is looked at first: what stands before may be matched in many ways. */
static bool match_whole(struct matcher *m, const char *pattern, struct slice s)
{
    const char *star = strrchr(pattern, '*'), *hole = strrchr(pattern, '}');
    const char *last = !star || (hole && hole > star) ? hole : star;
    size_t len = last ? strlen(last + 1) : 0;

    if (s.len < len || (len && memcmp(s.data + s.len - len, last + 1, len) != 0))
        return false;
    return match_here(m, pattern, s);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void percent_decode(struct slice s, char *ret_text, size_t size)
{
    uint8_t raw[256];
    size_t len = 0;

    for (size_t i = 0; i < s.len && len < sizeof(raw); i++) {
        int high = s.data[i] == '%' && i + 2 < s.len ? hex_digit(s.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(s.data[i + 2]) : -1;

        if (low >= 0) {
            raw[len++] = (uint8_t)(high << 4 | low);
            i += 2;
        } else {
            raw[len++] = s.data[i];
        }
    }
    text_copy(ret_text, size, slice_of(raw, len));
}

static bool path_match(const char *pattern, struct slice path, uint32_t *steps,
                       struct provider_route *ret_route)
{
    struct matcher m = {.steps = steps};

    if (!match_whole(&m, pattern, path))
        return false;
    percent_decode(m.model, ret_route->model, sizeof(ret_route->model));
    percent_decode(m.response, ret_route->response, sizeof(ret_route->response));
    return true;
}

bool profile_path_match(const char *pattern, struct slice path, struct provider_route *ret_route)
{
    uint32_t steps = 0;

    return path_match(pattern, path, &steps, ret_route);
}

static bool model_fits(const char *pattern, const char *model, uint32_t *steps)
{
    struct matcher m = {.steps = steps};

    return !pattern || match_whole(&m, pattern, slice_str(model));
}

/* An AWS account is no part of a model's name: arn:aws:bedrock:region:123456789012:… */
static void hide_account(char *model)
{
    size_t run = 0;

    if (strncmp(model, "arn:", 4) != 0)
        return;
    for (char *at = model; *at; at++) {
        run = *at >= '0' && *at <= '9' ? run + 1 : 0;
        if (run == 12 && at[1] == ':' && at[-12] == ':')
            memset(at - 11, '0', 12);
    }
}

static const struct profile_operation *find_in(const struct profile_operation *ops, unsigned count,
                                               struct slice method, struct slice path,
                                               uint32_t *steps, struct provider_route *route)
{
    for (unsigned i = 0; i < count; i++) {
        if (ops[i].method && !slice_eq(slice_str(ops[i].method), method))
            continue;
        if (path_match(ops[i].path, path, steps, route) &&
            model_fits(ops[i].model, route->model, steps))
            return &ops[i];
    }
    route->model[0] = route->response[0] = '\0';
    return NULL;
}

int provider_route(const struct provider *p, struct slice method, struct slice path,
                   struct provider_route *ret_route)
{
    uint8_t plain[PATH_MAX_BYTES];
    struct provider_route route = {0};
    uint32_t steps = 0;
    size_t len = 0;

    for (size_t i = 0; i < path.len && len < sizeof(plain); i++)
        if (path.data[i] != '/' || len == 0 || plain[len - 1] != '/')
            plain[len++] = path.data[i];
    path = slice_of(plain, len);
    route.operation = find_in(p->operations, p->operations_count, method, path, &steps, &route);
    for (unsigned i = 0; !route.operation && i < p->routes_count; i++)
        route.operation = find_in(p->route_sets[i]->operations, p->route_sets[i]->operations_count,
                                  method, path, &steps, &route);
    if (!route.operation)
        return -ENOENT;
    hide_account(route.model);
    *ret_route = route;
    return 0;
}
