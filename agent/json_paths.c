/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/json_paths.h"

#include <errno.h>
#include <stdlib.h>

int json_paths_new(struct json_paths **ret_paths)
{
    struct json_paths *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->node_count = 1;
    p->nodes[0] = (struct json_node){.first_child = -1, .next = -1, .first_want = -1};
    *ret_paths = p;
    return 0;
}

void json_paths_free(struct json_paths **paths)
{
    struct json_paths *p = *paths;

    if (!p)
        return;
    for (int i = 0; i < p->node_count; i++)
        free(p->nodes[i].key);
    free(p);
    *paths = NULL;
}

int json_paths_child(const struct json_paths *p, int node, struct slice key)
{
    if (node < 0)
        return -1;
    for (int i = p->nodes[node].first_child; i >= 0; i = p->nodes[i].next)
        if (!p->nodes[i].is_element &&
            slice_eq(key, slice_of(p->nodes[i].key, p->nodes[i].key_len)))
            return i;
    return -1;
}

int json_paths_element(const struct json_paths *p, int node)
{
    if (node < 0)
        return -1;
    for (int i = p->nodes[node].first_child; i >= 0; i = p->nodes[i].next)
        if (p->nodes[i].is_element)
            return i;
    return -1;
}

static int node_add(struct json_paths *p, int parent, struct slice key, bool is_element)
{
    int at = is_element ? json_paths_element(p, parent) : json_paths_child(p, parent, key);
    struct json_node *n;

    if (at >= 0)
        return at;
    if (p->node_count >= JSON_NODES_MAX)
        return -ENOSPC;
    n = &p->nodes[p->node_count];
    *n = (struct json_node){.first_child = -1,
                            .next = p->nodes[parent].first_child,
                            .first_want = -1,
                            .is_element = is_element,
                            .key_len = (uint16_t)key.len};
    if (!is_element) {
        n->key = strndup((const char *)key.data, key.len);
        if (!n->key)
            return -ENOMEM;
    }
    p->nodes[parent].first_child = p->node_count;
    return p->node_count++;
}

/* Walks one "key" or "[]" step of the path; returns the node or -errno. */
static int path_step(struct json_paths *p, int node, const char **path)
{
    const char *at = *path;
    size_t len;

    if (at[0] == '[') {
        if (at[1] != ']')
            return -EINVAL;
        *path = at + 2;
        return node_add(p, node, slice_of(NULL, 0), true);
    }
    len = strcspn(at, ".[");
    if (len == 0 || len >= JSON_KEY_MAX)
        return -EINVAL;
    *path = at + len;
    return node_add(p, node, slice_of(at, len), false);
}

int json_paths_add(struct json_paths *p, const char *path, uint16_t field, enum json_how how)
{
    int node = 0;

    if (!path[0])
        return -EINVAL;
    for (int depth = 0; *path; depth++) {
        if (depth >= JSON_DEPTH_MAX - 2)
            return -EINVAL;
        node = path_step(p, node, &path);
        if (node < 0)
            return node;
        if (*path == '.' && !*++path)
            return -EINVAL;
    }
    if (p->want_count >= JSON_NODES_MAX)
        return -ENOSPC;
    p->wants[p->want_count] =
        (struct json_want){.field = field, .how = (uint8_t)how, .next = p->nodes[node].first_want};
    p->nodes[node].first_want = p->want_count++;
    if (how == JSON_KEEP)
        p->nodes[node].keep_text = true;
    if (how == JSON_SUBTREE)
        p->nodes[node].is_subtree = true;
    return 0;
}
