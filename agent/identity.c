/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity.h"

#include "agent/cert.h"
#include "agent/cgroup.h"
#include "agent/config.h"
#include "agent/runs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define ENVIRON_MAX_BYTES (1024 * 1024)
#define RUN_CGROUP "/" RUNS_SHARED "/"
#define RUN_OWN_CGROUP "/" RUNS_PREFIX
#define CONTAINER_ID_SHOWN 12
#define FIELD_START_CODE 26 /* of /proc/PID/stat */

struct process {
    uint32_t pid;
    uint64_t image; /* what it runs, and since when: another after exec */
    uint64_t used;
    struct identity_process known;
};

struct group {
    uint64_t id;
    uint64_t used;
    char path[256];
};

struct identity {
    const struct config *config;
    char root[CGROUP_PATH_MAX];
    struct group groups[IDENTITY_CACHE_MAX];
    uint64_t clock;
    pthread_mutex_t lock; /* of what follows */
    uint64_t processes_clock;
    struct process processes[IDENTITY_CACHE_MAX];
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

static void read_environ(const struct config *config, uint32_t pid, struct identity_process *p)
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

static uint64_t mix(uint64_t hash, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)bytes[i]) * 0x100000001b3ULL;
    return hash;
}

/* One number for what the process runs: its start, where its program, stack,
 * arguments and environment lie, its name and file. 0: it is gone. None of this
 * waits for the process. */
static uint64_t image_of(uint32_t pid)
{
    const unsigned fields[] = {22, FIELD_START_CODE, 28, 45, 47, 48, 49, 50, 51};
    char path[64], text[1024], exe[256];
    CLEAN_FILE FILE *f = NULL;
    uint64_t hash = 0xcbf29ce484222325ULL;
    unsigned field = 2, wanted = 0;
    ssize_t exe_len;
    size_t n;
    char *at;

    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    f = fopen(path, "re");
    n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = '\0';
    at = strrchr(text, ')');
    if (!at)
        return 0;
    hash = mix(hash, text, (size_t)(at - text));
    for (char *word = strtok_r(at + 1, " \n", &at); word; word = strtok_r(NULL, " \n", &at)) {
        if (++field != fields[wanted])
            continue;
        /* No memory any more: it has ended, whoever is to be told yet. */
        if (field == FIELD_START_CODE && strcmp(word, "0") == 0)
            return 0;
        hash = mix(hash, word, strlen(word) + 1);
        if (++wanted == sizeof(fields) / sizeof(fields[0]))
            break;
    }
    snprintf(path, sizeof(path), "/proc/%u/exe", pid);
    exe_len = readlink(path, exe, sizeof(exe));
    hash = mix(hash, exe, exe_len > 0 ? (size_t)exe_len : 0);
    return wanted < 1 ? 0 : hash ? hash : 1;
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

/* One that ended is answered from memory, until its number is reused. */
static bool remember(struct identity *id, uint32_t pid, uint64_t image,
                     struct identity_process *ret_process)
{
    bool found = false;

    pthread_mutex_lock(&id->lock);
    for (int i = 0; i < IDENTITY_CACHE_MAX && !found; i++) {
        struct process *p = &id->processes[i];

        found = p->used && p->pid == pid && (image == 0 || image == p->image);
        if (!found)
            continue;
        p->used = ++id->processes_clock;
        *ret_process = p->known;
    }
    pthread_mutex_unlock(&id->lock);
    return found;
}

static void keep(struct identity *id, uint32_t pid, uint64_t image,
                 const struct identity_process *known)
{
    struct process *slot = &id->processes[0];

    pthread_mutex_lock(&id->lock);
    for (int i = 0; i < IDENTITY_CACHE_MAX; i++) {
        struct process *p = &id->processes[i];

        if (p->used && p->pid == pid) {
            slot = p;
            break;
        }
        if (p->used < slot->used)
            slot = p;
    }
    *slot = (struct process){
        .pid = pid, .image = image, .used = ++id->processes_clock, .known = *known};
    pthread_mutex_unlock(&id->lock);
}

void identity_look(struct identity *id, uint32_t pid, struct identity_process *ret_process)
{
    struct identity_process p = {0};
    uint64_t image = pid ? image_of(pid) : 0;

    if (pid && !remember(id, pid, image, &p) && image) {
        read_comm(pid, p.comm);
        read_environ(id->config, pid, &p);
        /* An exec meanwhile: as much of the one as of the other; not kept. */
        if (image_of(pid) == image)
            keep(id, pid, image, &p);
    }
    *ret_process = p;
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
    pthread_mutex_init(&id->lock, NULL);
    snprintf(id->root, sizeof(id->root), "%s", cgroup_root);
    *ret_identity = id;
    return 0;
}

void identity_free(struct identity **identity)
{
    struct identity *id = identity ? TAKE_PTR(*identity) : NULL;

    if (!id)
        return;
    pthread_mutex_destroy(&id->lock);
    explicit_bzero(id, sizeof(*id));
    free(id);
}

void identity_add_process(struct caller *caller, const struct identity_process *p)
{
    memcpy(caller->process, p->comm, sizeof(caller->process));
    memcpy(caller->feature_env, p->feature, sizeof(caller->feature_env));
    memcpy(caller->org, p->org, sizeof(caller->org));
}

void identity_resolve(struct identity *id, uint64_t cgroup_id, uint64_t netns_cookie, uint32_t pid,
                      uint32_t uid, struct caller *ret_caller)
{
    struct identity_process process;
    struct caller c = {
        .cgroup_id = cgroup_id, .netns_cookie = netns_cookie, .pid = pid, .uid = uid};

    snprintf(c.cgroup, sizeof(c.cgroup), "%s", cgroup_id ? group_path(id, cgroup_id) : "");
    identity_parse_cgroup(c.cgroup, &c);
    identity_look(id, pid, &process);
    identity_add_process(&c, &process);
    *ret_caller = c;
}
