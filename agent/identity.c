/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity.h"

#include "agent/cert.h"
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/runs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define ENVIRON_MAX_BYTES (1024 * 1024)
#define RUN_CGROUP "/" RUNS_SHARED "/"
#define RUN_OWN_CGROUP "/" RUNS_PREFIX
#define CONTAINER_ID_SHOWN 12

struct process {
    uint32_t pid;
    uint64_t start_ticks;
    uint64_t used;
    char comm[16];
    char feature[96];
    char org[64];
};

struct group {
    uint64_t id;
    uint64_t used;
    char path[256];
};

struct identity {
    const struct config *config;
    char root[CGROUP_PATH_MAX];
    uint64_t clock;
    struct process processes[IDENTITY_CACHE_MAX];
    struct group groups[IDENTITY_CACHE_MAX];
};

/* ---- environment ---- */

static void take_var(struct identity_env *env)
{
    const char feature[] = "LECTR_FEATURE=", key[] = "LECTR_ORG_KEY=";
    size_t f = sizeof(feature) - 1, k = sizeof(key) - 1;

    env->var[env->len] = '\0';
    if (!env->too_long && strncmp(env->var, feature, f) == 0 && !env->feature[0]) {
        size_t n = 0;

        /* Into subjects, tables and terminals: printable, no surprises. */
        for (const char *c = env->var + f; *c && n < sizeof(env->feature) - 1; c++)
            env->feature[n++] = isalnum((unsigned char)*c) || strchr("-_./:@ ", *c) ? *c : '_';
        env->feature[n] = '\0';
    } else if (!env->too_long && strncmp(env->var, key, k) == 0 && !env->org_key[0] &&
               env->len - k < sizeof(env->org_key)) {
        memcpy(env->org_key, env->var + k, env->len - k + 1);
    }
    env->len = 0;
    env->too_long = false;
}

void identity_env_feed(struct identity_env *env, struct slice piece)
{
    for (size_t i = 0; i < piece.len; i++) {
        if (piece.data[i] == '\0')
            take_var(env);
        else if (env->len < sizeof(env->var) - 1)
            env->var[env->len++] = (char)piece.data[i];
        else
            env->too_long = true;
    }
}

void identity_env_end(struct identity_env *env)
{
    if (env->len > 0)
        take_var(env);
}

static void org_of_key(const struct config *config, const char *key, char ret_org[64])
{
    char hex[65];

    ret_org[0] = '\0';
    if (!key[0] || config->org_keys_count == 0 || tls_sha256_hex(slice_str(key), hex) < 0)
        return;
    for (unsigned i = 0; i < config->org_keys_count; i++)
        if (strcasecmp(config->org_keys[i].sha256, hex) == 0)
            snprintf(ret_org, 64, "%s", config->org_keys[i].org);
}

static void read_environ(const struct config *config, uint32_t pid, struct process *p)
{
    struct identity_env env = {0};
    char path[64], piece[4096];
    CLEAN_FD int fd = -1;
    size_t total = 0;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%u/environ", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    while (total < ENVIRON_MAX_BYTES && (n = read(fd, piece, sizeof(piece))) > 0) {
        identity_env_feed(&env, slice_of(piece, (size_t)n));
        total += (size_t)n;
    }
    identity_env_end(&env);
    snprintf(p->feature, sizeof(p->feature), "%s", env.feature);
    org_of_key(config, env.org_key, p->org);
    explicit_bzero(&env, sizeof(env));
    explicit_bzero(piece, sizeof(piece));
}

/* ---- processes ---- */

/* Field 22 of stat, behind the command's closing parenthesis; 0: gone. */
static uint64_t start_ticks(uint32_t pid)
{
    char path[64], text[1024];
    CLEAN_FILE FILE *f = NULL;
    unsigned long long ticks;
    size_t n;
    char *at;

    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    f = fopen(path, "re");
    n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = '\0';
    at = strrchr(text, ')');
    if (!at || sscanf(at + 1,
                      " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                      "%*s %llu",
                      &ticks) != 1)
        return 0;
    return ticks;
}

static void read_comm(uint32_t pid, char ret_comm[16])
{
    char path[64];
    CLEAN_FILE FILE *f = NULL;

    snprintf(path, sizeof(path), "/proc/%u/comm", pid);
    f = fopen(path, "re");
    if (!f || !fgets(ret_comm, 16, f))
        ret_comm[0] = '\0';
    ret_comm[strcspn(ret_comm, "\n")] = '\0';
}

static const struct process *process_of(struct identity *id, uint32_t pid)
{
    uint64_t ticks = start_ticks(pid);
    struct process *slot = &id->processes[0];

    for (int i = 0; i < IDENTITY_CACHE_MAX; i++) {
        struct process *p = &id->processes[i];

        /* One that ended is answered from memory, until its number is reused.
         * A command may be replaced by exec, which keeps the start time. */
        if (p->pid == pid && p->used && (ticks == 0 || ticks == p->start_ticks)) {
            p->used = ++id->clock;
            if (ticks == 0)
                return p;
            slot = p;
            break;
        }
        if (p->used < slot->used)
            slot = p;
    }
    if (ticks == 0)
        return NULL;
    if (slot->pid != pid || slot->start_ticks != ticks || !slot->used) {
        *slot = (struct process){.pid = pid, .start_ticks = ticks};
        read_comm(pid, slot->comm);
        read_environ(id->config, pid, slot);
    } else {
        char comm[16];

        read_comm(pid, comm);
        if (strcmp(comm, slot->comm) != 0) {
            memcpy(slot->comm, comm, sizeof(comm));
            slot->feature[0] = slot->org[0] = '\0';
            read_environ(id->config, pid, slot);
        }
    }
    slot->used = ++id->clock;
    return slot;
}

/* ---- cgroups ---- */

static const char *group_path(struct identity *id, uint64_t cgroup_id)
{
    struct group *slot = &id->groups[0];
    char path[CGROUP_PATH_MAX];

    for (int i = 0; i < IDENTITY_CACHE_MAX; i++) {
        struct group *g = &id->groups[i];

        if (g->used && g->id == cgroup_id) {
            g->used = ++id->clock;
            return g->path;
        }
        if (g->used < slot->used)
            slot = g;
    }
    if (cgroup_path_of(id->root, cgroup_id, path, sizeof(path)) < 0)
        return "";
    *slot = (struct group){.id = cgroup_id, .used = ++id->clock};
    snprintf(slot->path, sizeof(slot->path), "%.255s", path);
    return slot->path;
}

static void copy(char *to, size_t size, const char *from, size_t len)
{
    if (len > size - 1)
        len = size - 1;
    memcpy(to, from, len);
    to[len] = '\0';
}

/* "cri-containerd-<id>.scope", "docker-<id>.scope", "libpod-<id>", "<id>" */
static bool parse_container(const char *part, size_t len, struct caller *caller)
{
    size_t start, hex = 0;

    if (len > 6 && strncmp(part + len - 6, ".scope", 6) == 0)
        len -= 6;
    start = len;
    while (start > 0 && isxdigit((unsigned char)part[start - 1])) {
        start--;
        hex++;
    }
    if (hex < 32 || (start > 0 && part[start - 1] != '-'))
        return false;
    copy(caller->container, sizeof(caller->container), part + start,
         hex > CONTAINER_ID_SHOWN ? CONTAINER_ID_SHOWN : hex);
    return true;
}

/* "pod<uid>" or "kubepods-burstable-pod<uid_with_underscores>.slice" */
static bool parse_pod(const char *part, size_t len, struct caller *caller)
{
    const char *at = part;

    if (len > 6 && strncmp(part + len - 6, ".slice", 6) == 0) {
        if (strncmp(part, "kubepods-", 9) != 0)
            return false;
        len -= 6;
        for (at = part + len; at > part && strncmp(at, "-pod", 4) != 0; at--)
            ;
        if (at == part)
            return false;
        at++;
    }
    len -= (size_t)(at - part);
    if (len < 4 || strncmp(at, "pod", 3) != 0 || !isxdigit((unsigned char)at[3]))
        return false;
    copy(caller->pod, sizeof(caller->pod), at + 3, len - 3);
    for (char *c = caller->pod; *c; c++)
        if (*c == '_')
            *c = '-';
    return true;
}

static bool ends_with(const char *s, size_t len, const char *end)
{
    size_t n = strlen(end);

    return len > n && strncmp(s + len - n, end, n) == 0;
}

/* Outside Kubernetes: the innermost unit, but for those that hold sessions. */
static void parse_owner(const char *path, struct caller *caller)
{
    const char *owner = path, *part = path;
    size_t owner_len = 0;
    bool unit = false;

    while (*part) {
        size_t len;

        while (*part == '/')
            part++;
        len = strcspn(part, "/");
        if (len == 0)
            break;
        if (ends_with(part, len, ".service") || ends_with(part, len, ".scope")) {
            owner = part;
            owner_len = len;
            unit = true;
        } else if (!unit) {
            owner = part;
            owner_len = len;
        }
        part += len;
    }
    copy(caller->owner, sizeof(caller->owner), owner, owner_len);
}

/* ".../lectr-run/NAME-PID-N" or ".../lectr-run-NAME-PID-N": what was run owns
 * the calls, however often it is. */
static bool parse_run(const char *path, struct caller *caller)
{
    const char *name = strstr(path, RUN_CGROUP);

    if (name)
        name += strlen(RUN_CGROUP);
    else if ((name = strstr(path, RUN_OWN_CGROUP)))
        name += strlen(RUN_OWN_CGROUP);
    else
        return false;
    copy(caller->owner, sizeof(caller->owner), name, strcspn(name, "-/"));
    return caller->owner[0] != '\0';
}

void identity_parse_cgroup(const char *path, struct caller *caller)
{
    bool kube = strstr(path, "kubepods") != NULL;

    caller->owner[0] = caller->pod[0] = caller->container[0] = '\0';
    for (const char *part = path; *part;) {
        size_t len;

        while (*part == '/')
            part++;
        len = strcspn(part, "/");
        if (!kube || !parse_pod(part, len, caller))
            parse_container(part, len, caller);
        part += len;
    }
    if (parse_run(path, caller))
        return;
    if (caller->pod[0])
        copy(caller->owner, sizeof(caller->owner), caller->pod, strlen(caller->pod));
    else if (caller->container[0])
        copy(caller->owner, sizeof(caller->owner), caller->container, strlen(caller->container));
    else
        parse_owner(path, caller);
}

/* ---- together ---- */

int identity_new(const struct config *config, const char *cgroup_root,
                 struct identity **ret_identity)
{
    struct identity *id = calloc(1, sizeof(*id));

    if (!id)
        return -ENOMEM;
    id->config = config;
    snprintf(id->root, sizeof(id->root), "%s", cgroup_root);
    *ret_identity = id;
    return 0;
}

void identity_free(struct identity **identity)
{
    struct identity *id = identity ? TAKE_PTR(*identity) : NULL;

    if (!id)
        return;
    explicit_bzero(id, sizeof(*id));
    free(id);
}

void identity_resolve(struct identity *id, uint64_t cgroup_id, uint64_t netns_cookie, uint32_t pid,
                      uint32_t uid, struct caller *ret_caller)
{
    const struct process *p = pid ? process_of(id, pid) : NULL;
    struct caller c = {
        .cgroup_id = cgroup_id, .netns_cookie = netns_cookie, .pid = pid, .uid = uid};

    snprintf(c.cgroup, sizeof(c.cgroup), "%s", cgroup_id ? group_path(id, cgroup_id) : "");
    identity_parse_cgroup(c.cgroup, &c);
    if (p) {
        memcpy(c.process, p->comm, sizeof(c.process));
        memcpy(c.feature_env, p->feature, sizeof(c.feature_env));
        memcpy(c.org, p->org, sizeof(c.org));
    }
    *ret_caller = c;
}
