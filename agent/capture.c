/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/capture.h"

#include "agent/bpffs.h"
#include "agent/capture_names.h"
#include "agent/config.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual" /* generated */
#include "bpf/lectr.skel.h"
#pragma GCC diagnostic pop

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#define STEER_LINKS_MAX 6
#define CENSUS_LINKS_MAX 6

struct capture {
    struct lectr_bpf *skel;
    struct ring_buffer *events;
    capture_event_fn event_fn;
    void *event_user;
    struct lectr_beat *beat;
    struct lectr_meta *meta;
    uint64_t *taken; /* by slot */
    struct lectr_meta meta_before;
    struct bpf_link *steer[STEER_LINKS_MAX];
    struct bpf_link *census[CENSUS_LINKS_MAX];
    int cgroup_fd;
    uint64_t cgroup_id;
    char pin_dir[BPFFS_PATH_MAX];
};

static const char *const pinned_maps[] = {
    "settings",   "meta",      "names",       "providers",  "addrs",
    "name_addrs", "census",    "census_told", "taken",      "free_slots",
    "own_sock",   "quic_sock", "seen_sock",   "sock_netns", "clear_ports",
};

static const struct program {
    const char *name;
    bool pinned;
    enum bpf_attach_type type;
} programs[] = {
    /* The census goes first: it must see a destination before it is rewritten. */
    {"lectr_census4", true, BPF_CGROUP_INET4_CONNECT},
    {"lectr_census6", true, BPF_CGROUP_INET6_CONNECT},
    {"lectr_census_syn", true, BPF_CGROUP_SOCK_OPS},
    {"lectr_dns", true, BPF_CGROUP_INET_INGRESS},
    {"lectr_census_quic", true, BPF_CGROUP_INET_EGRESS},
    {"lectr_stamp", true, BPF_CGROUP_INET_SOCK_CREATE},
    {"lectr_sockops", false, BPF_CGROUP_SOCK_OPS},
    {"lectr_getpeername4", false, BPF_CGROUP_INET4_GETPEERNAME},
    {"lectr_getpeername6", false, BPF_CGROUP_INET6_GETPEERNAME},
    {"lectr_meet", false, BPF_CGROUP_INET_SOCK_CREATE},
    {"lectr_connect4", false, BPF_CGROUP_INET4_CONNECT},
    {"lectr_connect6", false, BPF_CGROUP_INET6_CONNECT},
};
#define PROGRAMS_COUNT (sizeof(programs) / sizeof(programs[0]))

/* libbpf's last complaint, to go with an error. */
static char libbpf_said[256];

static int on_libbpf_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
    char line[512];

    if (level == LIBBPF_DEBUG)
        return 0;
    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\n")] = '\0';
    snprintf(libbpf_said, sizeof(libbpf_said), "%.255s", line);
    log_debug("libbpf", "text=%s", line);
    return 0;
}

static bool try_program(enum bpf_prog_type type, enum bpf_attach_type attach, int helper)
{
    /* r1 is the context already: call helper; r0 = 1; exit */
    const struct bpf_insn insns[] = {
        {.code = BPF_JMP | BPF_CALL, .imm = helper},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
    CLEAN_FD int fd = bpf_prog_load(type, "lectr_probe", "GPL", insns, 3, &opts);

    return fd >= 0;
}

void capture_probe(struct capture_probe *ret_probe)
{
    libbpf_set_print(on_libbpf_print);
    *ret_probe = (struct capture_probe){
        .bpf_permitted = try_program(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT,
                                     BPF_FUNC_ktime_get_ns),
        .btf = access("/sys/kernel/btf/vmlinux", R_OK) == 0,
        .ringbuf = libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 1,
        .sk_storage_connect = libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, NULL) == 1,
        .sk_lookup_connect = libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
                                                     BPF_FUNC_sk_lookup_tcp, NULL) == 1,
        .netns_cookie_connect = try_program(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
                                            BPF_CGROUP_INET4_CONNECT, BPF_FUNC_get_netns_cookie),
        .netns_cookie_skb = try_program(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS,
                                        BPF_FUNC_get_netns_cookie),
    };
}

const char *capture_foreign_hook(const char *cgroup_path)
{
    CLEAN_FD int fd = open(cgroup_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (size_t i = 0; fd >= 0 && i < PROGRAMS_COUNT; i++) {
        uint32_t flags = 0, count = 0;

        if (bpf_prog_query(fd, programs[i].type, 0, &flags, NULL, &count) == 0 && count > 0 &&
            !(flags & BPF_F_ALLOW_MULTI))
            return libbpf_bpf_attach_type_str(programs[i].type);
    }
    return NULL;
}

/* ---- loading ---- */

static int set_pins(struct capture *c)
{
    for (size_t i = 0; i < sizeof(pinned_maps) / sizeof(pinned_maps[0]); i++) {
        struct bpf_map *map = bpf_object__find_map_by_name(c->skel->obj, pinned_maps[i]);
        char path[BPFFS_PATH_MAX + 64];
        int r;

        snprintf(path, sizeof(path), "%s/%s", c->pin_dir, pinned_maps[i]);
        r = map ? bpf_map__set_pin_path(map, path) : -ENOENT;
        if (r < 0)
            return r;
    }
    return 0;
}

static int load(struct capture *c, bool has_skb_cookie)
{
    int r;

    c->skel = lectr_bpf__open();
    if (!c->skel)
        return -errno;
    c->skel->rodata->has_skb_netns_cookie = has_skb_cookie;
    bpf_program__set_autoload(c->skel->progs.lectr_stamp, !has_skb_cookie);
    r = set_pins(c);
    if (r == 0)
        r = lectr_bpf__load(c->skel);
    if (r < 0)
        lectr_bpf__destroy(TAKE_PTR(c->skel));
    return r;
}

static int load_all(struct capture *c, const struct config *config, struct capture_error *e)
{
    struct capture_probe probe;
    int r;

    capture_probe(&probe);
    if (!probe.bpf_permitted)
        return capture_fail(e, -EPERM,
                            "BPF is not permitted: run as root or with CAP_BPF, CAP_NET_ADMIN, "
                            "CAP_SYS_ADMIN and CAP_SYS_PTRACE");
    if (!probe.btf)
        return capture_fail(e, -ENOENT,
                            "the kernel has no BTF (/sys/kernel/btf/vmlinux): use a kernel "
                            "built with CONFIG_DEBUG_INFO_BTF, 5.15 or newer");
    r = bpffs_ensure(config->capture.bpffs);
    if (r < 0)
        return capture_fail(e, r,
                            "cannot mount a BPF file system at %s: %s; mount one there or set "
                            "capture.bpffs",
                            config->capture.bpffs, strerror(-r));
    r = bpffs_pin_dir(config->capture.bpffs, c->pin_dir, sizeof(c->pin_dir));
    if (r < 0)
        return capture_fail(e, r, "capture.bpffs is too long");
    if (mkdir(c->pin_dir, 0700) < 0 && errno != EEXIST)
        return capture_fail(e, -errno, "cannot create %s: %s", c->pin_dir, strerror(errno));
    r = load(c, probe.netns_cookie_skb);
    if (r == -EINVAL) {
        /* Pins of a build with other map layouts: what they knew is lost. */
        log_warn("pinned maps do not fit this version, starting over", "path=%s", c->pin_dir);
        if (bpffs_clean(config->capture.bpffs, false, NULL, NULL) == 0 &&
            mkdir(c->pin_dir, 0700) == 0)
            r = load(c, probe.netns_cookie_skb);
    }
    if (r < 0)
        return capture_fail(e, r,
                            "the kernel refused the programs: %s (%s); kernel 5.15 or newer is "
                            "needed, see lectr-agent doctor",
                            strerror(-r), libbpf_said);
    return 0;
}

static void *map_element(const struct bpf_map *map, size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

    return p == MAP_FAILED ? NULL : p;
}

static size_t taken_bytes(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return ((LECTR_CENSUS_MAX + 1) * sizeof(uint64_t) + page - 1) & ~(page - 1);
}

/* Whatever an unfinished beginning left is taken out first. */
static int fill_slots(struct capture *c)
{
    int fd = bpf_map__fd(c->skel->maps.free_slots), r = 0;
    uint32_t slot;

    while (bpf_map_lookup_and_delete_elem(fd, NULL, &slot) == 0)
        ;
    for (slot = 1; slot <= LECTR_CENSUS_MAX && r == 0; slot++)
        r = bpf_map_update_elem(fd, NULL, &slot, BPF_ANY);
    return r;
}

static int map_shared(struct capture *c, struct capture_error *e)
{
    int r;

    c->beat = map_element(c->skel->maps.beat, sizeof(*c->beat));
    c->meta = map_element(c->skel->maps.meta, sizeof(*c->meta));
    c->taken = map_element(c->skel->maps.taken, taken_bytes());
    if (!c->beat || !c->meta || !c->taken)
        return capture_fail(e, -errno, "cannot map the agent's shared memory: %s", strerror(errno));
    c->meta_before = *c->meta;
    r = c->meta->epoch[0] == 0 ? fill_slots(c) : 0;
    if (r < 0)
        return capture_fail(e, r, "cannot fill the map of free slots: %s", strerror(-r));
    if (c->meta->epoch[0] == 0 &&
        getrandom(c->meta->epoch, sizeof(c->meta->epoch), 0) != sizeof(c->meta->epoch))
        return capture_fail(e, -errno, "no random numbers: %s", strerror(errno));
    return 0;
}

/* ---- settings ---- */

static int put_settings(struct capture *c, const struct config_capture *cc)
{
    struct lectr_settings s = {
        .dns_ttl_min_ns = cc->dns_ttl_min_s * NSEC_PER_SEC,
        .stale_ns = cc->heartbeat_stale_ms * NSEC_PER_MSEC,
        .mode_all = strcmp(cc->mode, "all") == 0,
    };
    uint32_t zero = 0;

    for (unsigned i = 0; i < cc->ports_count && i < LECTR_PORTS_MAX; i++)
        s.ports[s.ports_count++] = cc->ports[i];
    return bpf_map_update_elem(bpf_map__fd(c->skel->maps.settings), &zero, &s, BPF_ANY);
}

static int put_names(struct capture *c, const struct provider_set *providers,
                     struct capture_error *e)
{
    const struct capture_names_maps maps = {
        .names_fd = bpf_map__fd(c->skel->maps.names),
        .providers_fd = bpf_map__fd(c->skel->maps.providers),
        .clear_ports_fd = bpf_map__fd(c->skel->maps.clear_ports),
    };

    return capture_names_put(&maps, providers, e);
}

/* ---- attaching ---- */

static struct bpf_program *program_of(struct capture *c, const struct program *p)
{
    return bpf_object__find_program_by_name(c->skel->obj, p->name);
}

/* The pinned link of an earlier helper, if it is at the same cgroup. */
static struct bpf_link *link_reuse(struct capture *c, const struct program *p, const char *path)
{
    struct bpf_link *link = access(path, F_OK) == 0 ? bpf_link__open(path) : NULL;
    struct bpf_link_info info = {0};
    uint32_t size = sizeof(info);

    if (!link)
        return NULL;
    if (bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &size) == 0 &&
        info.cgroup.cgroup_id == c->cgroup_id &&
        bpf_link__update_program(link, program_of(c, p)) == 0)
        return link;
    (void)unlink(path);
    bpf_link__destroy(link);
    return NULL;
}

static int attach_failed(struct capture_error *e, const struct program *p, int r)
{
    if (r == -EPERM || r == -EBUSY)
        return capture_fail(e, r,
                            "another program holds a hook of this cgroup exclusively (attached "
                            "without BPF_F_ALLOW_MULTI); `bpftool cgroup show` names it");
    return capture_fail(e, r, "cannot attach %s: %s", p->name, strerror(-r));
}

static int attach_one(struct capture *c, const struct program *p, struct bpf_link **ret_link,
                      struct capture_error *e)
{
    char path[BPFFS_PATH_MAX + 64];
    struct bpf_link *link;
    int r;

    snprintf(path, sizeof(path), "%s/link_%s", c->pin_dir, p->name);
    link = p->pinned ? link_reuse(c, p, path) : NULL;
    if (!link) {
        link = bpf_program__attach_cgroup(program_of(c, p), c->cgroup_fd);
        if (!link)
            return attach_failed(e, p, -errno);
        r = p->pinned ? bpf_link__pin(link, path) : 0;
        if (r < 0) {
            bpf_link__destroy(link);
            return capture_fail(e, r, "cannot pin %s: %s", path, strerror(-r));
        }
    }
    *ret_link = link;
    return 0;
}

static int attach_kind(struct capture *c, bool pinned, struct bpf_link **links,
                       struct capture_error *e)
{
    unsigned count = 0;

    for (size_t i = 0; i < PROGRAMS_COUNT; i++) {
        int r;

        if (programs[i].pinned != pinned || !bpf_program__autoload(program_of(c, &programs[i])))
            continue;
        r = links[count] ? 0 : attach_one(c, &programs[i], &links[count], e);
        if (r < 0)
            return r;
        count++;
    }
    return 0;
}

int capture_attach(struct capture *c, struct capture_error *ret_error)
{
    int r = attach_kind(c, false, c->steer, ret_error);

    if (r < 0)
        capture_detach(c);
    return r;
}

void capture_detach(struct capture *c)
{
    /* The last attached first: connect hooks go before what they rely on. */
    for (int i = STEER_LINKS_MAX - 1; i >= 0; i--) {
        bpf_link__destroy(c->steer[i]);
        c->steer[i] = NULL;
    }
}

/* ---- opening ---- */

static int on_event(void *user, void *data, size_t bytes)
{
    struct capture *c = user;

    if (bytes >= sizeof(struct lectr_netns_event))
        c->event_fn(c->event_user, data);
    return 0;
}

static int open_cgroup(struct capture *c, const char *path, struct capture_error *e)
{
    struct stat st;

    c->cgroup_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->cgroup_fd < 0 || fstat(c->cgroup_fd, &st) < 0)
        return capture_fail(e, -errno,
                            "cannot open the cgroup %s: %s; create it or set capture.cgroup", path,
                            strerror(errno));
    c->cgroup_id = st.st_ino;
    return 0;
}

int capture_open(const struct config *config, const char *cgroup_path,
                 const struct provider_set *providers, struct capture **ret_capture,
                 struct capture_error *ret_error)
{
    struct capture *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return capture_fail(ret_error, -ENOMEM, "no memory");
    c->cgroup_fd = -1;
    r = open_cgroup(c, cgroup_path, ret_error);
    if (r == 0)
        r = load_all(c, config, ret_error);
    if (r == 0)
        r = map_shared(c, ret_error);
    if (r == 0) {
        r = put_settings(c, &config->capture);
        if (r < 0)
            capture_fail(ret_error, r, "cannot write the settings map: %s", strerror(-r));
    }
    if (r == 0)
        r = put_names(c, providers, ret_error);
    if (r == 0) {
        c->events = ring_buffer__new(bpf_map__fd(c->skel->maps.netns_events), on_event, c, NULL);
        if (!c->events)
            r = capture_fail(ret_error, -errno, "cannot open the event ring: %s", strerror(errno));
    }
    if (r == 0)
        r = attach_kind(c, true, c->census, ret_error);
    if (r < 0) {
        capture_close(&c);
        return r;
    }
    *ret_capture = c;
    return 0;
}

void capture_close(struct capture **capture)
{
    struct capture *c = capture ? TAKE_PTR(*capture) : NULL;

    if (!c)
        return;
    capture_detach(c);
    for (int i = 0; i < CENSUS_LINKS_MAX; i++)
        bpf_link__destroy(c->census[i]);
    ring_buffer__free(c->events);
    if (c->beat)
        munmap(c->beat, sizeof(*c->beat));
    if (c->meta)
        munmap(c->meta, sizeof(*c->meta));
    if (c->taken)
        munmap(c->taken, taken_bytes());
    lectr_bpf__destroy(c->skel);
    if (c->cgroup_fd >= 0)
        close(c->cgroup_fd);
    free(c);
}

/* ---- maps ---- */

struct lectr_beat *capture_beat(struct capture *c)
{
    return c->beat;
}

struct lectr_meta *capture_meta(struct capture *c)
{
    return c->meta;
}

const struct lectr_meta *capture_meta_before(const struct capture *c)
{
    return &c->meta_before;
}

int capture_beat_fd(const struct capture *c)
{
    return bpf_map__fd(c->skel->maps.beat);
}

int capture_taken_fd(const struct capture *c)
{
    return bpf_map__fd(c->skel->maps.taken);
}

int capture_origins_fd(const struct capture *c)
{
    return bpf_map__fd(c->skel->maps.origins);
}

uint32_t capture_origins_bytes(const struct capture *c)
{
    return bpf_map__max_entries(c->skel->maps.origins);
}

int capture_events_fd(const struct capture *c)
{
    /* The ring itself, not libbpf's epoll around it: one wake-up less. */
    return bpf_map__fd(c->skel->maps.netns_events);
}

void capture_events_read(struct capture *c, capture_event_fn fn, void *user)
{
    c->event_fn = fn;
    c->event_user = user;
    (void)ring_buffer__consume(c->events);
}

int capture_own(struct capture *c, int socket_fd, uint32_t generation, bool listener)
{
    struct lectr_own own = {.generation = generation, .listener = listener};

    return bpf_map_update_elem(bpf_map__fd(c->skel->maps.own_sock), &socket_fd, &own, BPF_ANY);
}

int capture_consent_cgroup(struct capture *c, uint64_t cgroup_id)
{
    uint32_t one = 1;

    return bpf_map_update_elem(bpf_map__fd(c->skel->maps.consent_cgroup), &cgroup_id, &one,
                               BPF_ANY);
}

void capture_consent_drop(struct capture *c, uint64_t cgroup_id)
{
    bpf_map_delete_elem(bpf_map__fd(c->skel->maps.consent_cgroup), &cgroup_id);
}

int capture_consent_netns(struct capture *c, uint64_t cookie)
{
    uint32_t one = 1;

    return bpf_map_update_elem(bpf_map__fd(c->skel->maps.consent_netns), &cookie, &one, BPF_ANY);
}

int capture_netns_put(struct capture *c, uint64_t cookie, const struct lectr_netns *value)
{
    return bpf_map_update_elem(bpf_map__fd(c->skel->maps.netns), &cookie, value, BPF_ANY);
}

void capture_netns_drop(struct capture *c, uint64_t cookie)
{
    bpf_map_delete_elem(bpf_map__fd(c->skel->maps.netns), &cookie);
    bpf_map_delete_elem(bpf_map__fd(c->skel->maps.consent_netns), &cookie);
    bpf_map_delete_elem(bpf_map__fd(c->skel->maps.netns_told), &cookie);
}

int capture_told_get(struct capture *c, const struct lectr_census_key *key,
                     struct lectr_told *ret_told)
{
    return bpf_map_lookup_elem(bpf_map__fd(c->skel->maps.census_told), key, ret_told);
}

int capture_told_put(struct capture *c, const struct lectr_census_key *key,
                     const struct lectr_told *told)
{
    return bpf_map_update_elem(bpf_map__fd(c->skel->maps.census_told), key, told, BPF_ANY);
}

void capture_census_drop(struct capture *c, const struct lectr_census_key *key)
{
    struct lectr_census row;
    bool found = bpf_map_lookup_elem(bpf_map__fd(c->skel->maps.census), key, &row) == 0;

    bpf_map_delete_elem(bpf_map__fd(c->skel->maps.census), key);
    bpf_map_delete_elem(bpf_map__fd(c->skel->maps.census_told), key);
    if (!found || row.slot == 0 || row.slot > LECTR_CENSUS_MAX)
        return;
    __atomic_store_n(&c->taken[row.slot], 0, __ATOMIC_RELAXED);
    bpf_map_update_elem(bpf_map__fd(c->skel->maps.free_slots), NULL, &row.slot, BPF_ANY);
}

void capture_census_each(struct capture *c, capture_row_fn fn, void *user)
{
    int fd = bpf_map__fd(c->skel->maps.census);
    struct lectr_census_key next;
    bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;

    while (more) {
        struct capture_row row = {.key = next};

        /* Before the row is handed out: it may be dropped meanwhile. */
        more = bpf_map_get_next_key(fd, &row.key, &next) == 0;
        if (bpf_map_lookup_elem(fd, &row.key, &row.seen) < 0)
            continue;
        if (capture_told_get(c, &row.key, &row.told) < 0)
            row.told = (struct lectr_told){0};
        if (row.seen.slot > 0 && row.seen.slot <= LECTR_CENSUS_MAX)
            row.taken = __atomic_load_n(&c->taken[row.seen.slot], __ATOMIC_ACQUIRE);
        fn(user, &row);
    }
}

void capture_provider_name(struct capture *c, uint32_t provider, char ret_name[32])
{
    struct lectr_provider_name name;

    if (bpf_map_lookup_elem(bpf_map__fd(c->skel->maps.providers), &provider, &name) < 0)
        name.name[0] = '\0';
    name.name[sizeof(name.name) - 1] = '\0';
    memcpy(ret_name, name.name, sizeof(name.name));
}
