/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"
#include "agent/yamldoc.h"

#include <cyaml/cyaml.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MIB (1024ULL * 1024ULL)
#define TEXT_MAX 1024
#define LIST_MAX 256
#define NAME_MAX_BYTES 63 /* what struct caller holds */

/* The shape of the file. What libcyaml cannot say (ranges, words, forms) is in RULES. */
#define TEXT(key, type, member)                                                                    \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_OPTIONAL, type, member, 0, TEXT_MAX)
#define NUMBER(key, type, member) CYAML_FIELD_UINT(key, CYAML_FLAG_OPTIONAL, type, member)
#define LIST(key, type, member, entry)                                                             \
    CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER, type, member, entry, 0,    \
                         LIST_MAX)
#define SECTION(key, member, fields)                                                               \
    CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, struct config, member, fields)

static const cyaml_schema_value_t TEXT_ENTRY = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, TEXT_MAX),
};
static const cyaml_schema_value_t PORT_ENTRY = {
    CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint16_t),
};

static const cyaml_schema_field_t ORG_KEY_FIELDS[] = {
    CYAML_FIELD_STRING_PTR("org", CYAML_FLAG_DEFAULT, struct config_org_key, org, 0, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("sha256", CYAML_FLAG_DEFAULT, struct config_org_key, sha256, 0,
                           TEXT_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t ORG_KEY_ENTRY = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_org_key, ORG_KEY_FIELDS),
};

static const cyaml_schema_field_t CAPTURE_FIELDS[] = {
    TEXT("cgroup", struct config_capture, cgroup),
    TEXT("bpffs", struct config_capture, bpffs),
    TEXT("mode", struct config_capture, mode),
    LIST("ports", struct config_capture, ports, &PORT_ENTRY),
    LIST("consent_cgroups", struct config_capture, consent_cgroups, &TEXT_ENTRY),
    LIST("consent_netns", struct config_capture, consent_netns, &TEXT_ENTRY),
    NUMBER("heartbeat_stale_ms", struct config_capture, heartbeat_stale_ms),
    NUMBER("pool_size", struct config_capture, pool_size),
    NUMBER("dns_ttl_min_s", struct config_capture, dns_ttl_min_s),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t TLS_FIELDS[] = {
    TEXT("ca_dir", struct config_tls, ca_dir),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t UPSTREAM_FIELDS[] = {
    TEXT("ca_file", struct config_upstream, ca_file),
    NUMBER("connect_timeout_ms", struct config_upstream, connect_timeout_ms),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t NATS_FIELDS[] = {
    TEXT("url", struct config_nats, url),
    TEXT("creds", struct config_nats, creds),
    TEXT("nkey_seed", struct config_nats, nkey_seed),
    TEXT("ca_file", struct config_nats, ca_file),
    TEXT("cert_file", struct config_nats, cert_file),
    TEXT("key_file", struct config_nats, key_file),
    TEXT("stream", struct config_nats, stream),
    NUMBER("stream_max_age_h", struct config_nats, stream_max_age_h),
    NUMBER("stream_max_bytes", struct config_nats, stream_max_bytes),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t SPOOL_FIELDS[] = {
    NUMBER("limit_bytes", struct config_spool, limit_bytes),
    NUMBER("segment_bytes", struct config_spool, segment_bytes),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t METRICS_FIELDS[] = {
    TEXT("listen", struct config_metrics, listen),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t DATA_FIELDS[] = {
    TEXT("providers_dir", struct config_data, providers_dir),
    TEXT("prices_file", struct config_data, prices_file),
    TEXT("estimates_file", struct config_data, estimates_file),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t CONFIG_FIELDS[] = {
    TEXT("org", struct config, org),
    TEXT("cluster", struct config, cluster),
    TEXT("node", struct config, node),
    TEXT("log_level", struct config, log_level),
    TEXT("state_dir", struct config, state_dir),
    TEXT("run_dir", struct config, run_dir),
    TEXT("user", struct config, user),
    LIST("org_keys", struct config, org_keys, &ORG_KEY_ENTRY),
    SECTION("capture", capture, CAPTURE_FIELDS),
    SECTION("tls", tls, TLS_FIELDS),
    SECTION("upstream", upstream, UPSTREAM_FIELDS),
    SECTION("nats", nats, NATS_FIELDS),
    SECTION("spool", spool, SPOOL_FIELDS),
    SECTION("metrics", metrics, METRICS_FIELDS),
    SECTION("data", data, DATA_FIELDS),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t CONFIG_SCHEMA = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, CONFIG_FIELDS),
};

static bool is_any(const char *s)
{
    (void)s;
    return true;
}

static bool is_filled(const char *s)
{
    return s[0] != '\0';
}

static bool is_name(const char *s)
{
    return s[0] != '\0' && strlen(s) <= NAME_MAX_BYTES;
}

static bool is_log_level(const char *s)
{
    return strcmp(s, "error") == 0 || strcmp(s, "warn") == 0 || strcmp(s, "info") == 0 ||
           strcmp(s, "debug") == 0;
}

static bool is_capture_mode(const char *s)
{
    return strcmp(s, "providers") == 0 || strcmp(s, "all") == 0;
}

static bool is_path(const char *s)
{
    return s[0] == '/';
}

static bool is_path_or_empty(const char *s)
{
    return s[0] == '\0' || s[0] == '/';
}

static bool is_path_list(const char *s)
{
    for (bool at_start = true;; at_start = *s++ == ':') {
        if (at_start && *s != '/')
            return false;
        if (!*s)
            return true;
    }
}

/* No component may be "..": a cgroup is named from the root downwards. */
static bool is_cgroup(const char *s)
{
    for (const char *at = s; (at = strstr(at, "..")); at += 2) {
        if ((at == s || at[-1] == '/') && (at[2] == '\0' || at[2] == '/'))
            return false;
    }
    return true;
}

static bool is_cgroup_below(const char *s)
{
    return is_filled(s) && strcmp(s, "/") != 0 && is_cgroup(s);
}

static bool is_netns_pattern(const char *s)
{
    const char *star = strchr(s, '*');

    return is_filled(s) && !strchr(s, '/') && (!star || star[1] == '\0') && strcmp(s, ".") != 0 &&
           strcmp(s, "..") != 0;
}

static bool is_sha256(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdefABCDEF") == 64;
}

static bool is_nats_url(const char *s)
{
    return (strncmp(s, "nats://", 7) == 0 && s[7]) || (strncmp(s, "tls://", 6) == 0 && s[6]);
}

static bool is_stream_name(const char *s)
{
    for (const char *c = s; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-')
            return false;
    }
    return is_name(s);
}

static bool is_listen_or_empty(const char *s)
{
    const char *colon = strrchr(s, ':');
    char *end;
    unsigned long port;

    if (!is_filled(s))
        return true;
    if (!colon || colon == s || !isdigit((unsigned char)colon[1]))
        return false;
    port = strtoul(colon + 1, &end, 10);
    return *end == '\0' && port >= 1 && port <= 65535;
}

/* One row per scalar key: its default and what is allowed. The width of a
 * number is the member's. `remedy` ends the error message. */
struct rule {
    const char *field;
    size_t offset;
    uint8_t width; /* bytes; 0: a text */
    const char *text_default;
    bool (*is_valid)(const char *text);
    uint64_t number_default, min, max;
    const char *remedy;
};

#define RULE_TEXT(name, member, def, valid, hint)                                                  \
    {                                                                                              \
        .field = name, .offset = offsetof(struct config, member), .text_default = def,             \
        .is_valid = valid, .remedy = hint                                                          \
    }
#define RULE_NUMBER(name, member, def, low, high, hint)                                            \
    {                                                                                              \
        .field = name, .offset = offsetof(struct config, member),                                  \
        .width = sizeof(((struct config *)0)->member), .number_default = def, .min = low,          \
        .max = high, .remedy = hint                                                                \
    }

static const struct rule RULES[] = {
    RULE_TEXT("org", org, "default", is_name, "use a name of 1 to 63 bytes"),
    RULE_TEXT("cluster", cluster, "", is_any, "use a name, or \"\" for none"),
    RULE_TEXT("node", node, NULL, is_filled, "use a name, or leave the key out for the host name"),
    RULE_TEXT("log_level", log_level, "info", is_log_level, "use error, warn, info or debug"),
    RULE_TEXT("state_dir", state_dir, "/var/lib/lectr", is_path, "use an absolute path"),
    RULE_TEXT("run_dir", run_dir, "/run/lectr", is_path, "use an absolute path"),
    RULE_TEXT("user", user, "nobody", is_filled, "use the name of an unprivileged user"),
    RULE_TEXT("capture.cgroup", capture.cgroup, "", is_cgroup,
              "use a path below the cgroup2 root, an absolute one, or \"\" for the root"),
    RULE_TEXT("capture.bpffs", capture.bpffs, "/sys/fs/bpf", is_path, "use an absolute path"),
    RULE_TEXT("capture.mode", capture.mode, "providers", is_capture_mode, "use providers or all"),
    RULE_NUMBER("capture.heartbeat_stale_ms", capture.heartbeat_stale_ms, 500, 50, 60000,
                "use 50 to 60000 [ms]"),
    RULE_NUMBER("capture.pool_size", capture.pool_size, 8, 1, 256, "use 1 to 256 [sockets]"),
    RULE_NUMBER("capture.dns_ttl_min_s", capture.dns_ttl_min_s, 3600, 0, 604800,
                "use 0 to 604800 [s]"),
    RULE_TEXT("tls.ca_dir", tls.ca_dir, LECTR_SYSCONFDIR "/lectr/ca", is_path,
              "use an absolute path; \"lectr-agent ca init\" fills it"),
    RULE_TEXT("upstream.ca_file", upstream.ca_file, "", is_path_or_empty,
              "use an absolute path to a PEM file, or \"\" for the system's trust store"),
    RULE_NUMBER("upstream.connect_timeout_ms", upstream.connect_timeout_ms, 10000, 100, 600000,
                "use 100 to 600000 [ms]"),
    RULE_TEXT("nats.url", nats.url, "nats://127.0.0.1:4222", is_nats_url,
              "use nats://host:port or tls://host:port"),
    RULE_TEXT("nats.creds", nats.creds, "", is_path_or_empty,
              "use an absolute path to a credentials file, or \"\""),
    RULE_TEXT("nats.nkey_seed", nats.nkey_seed, "", is_path_or_empty,
              "use an absolute path to a seed file, or \"\""),
    RULE_TEXT("nats.ca_file", nats.ca_file, "", is_path_or_empty,
              "use an absolute path to a PEM file, or \"\""),
    RULE_TEXT("nats.cert_file", nats.cert_file, "", is_path_or_empty,
              "use an absolute path to a PEM file, or \"\""),
    RULE_TEXT("nats.key_file", nats.key_file, "", is_path_or_empty,
              "use an absolute path to a PEM file, or \"\""),
    RULE_TEXT("nats.stream", nats.stream, "LECTR", is_stream_name,
              "use 1 to 63 letters, digits, - or _"),
    RULE_NUMBER("nats.stream_max_age_h", nats.stream_max_age_h, 168, 0, 87600,
                "use 1 to 87600 [h], or 0 for no limit"),
    RULE_NUMBER("nats.stream_max_bytes", nats.stream_max_bytes, 1024 * MIB, 0, 1024 * 1024 * MIB,
                "use up to 1 TiB [bytes], or 0 for no limit"),
    RULE_NUMBER("spool.limit_bytes", spool.limit_bytes, 256 * MIB, 1 * MIB, 1024 * 1024 * MIB,
                "use 1048576 (1 MiB) to 1099511627776 (1 TiB)"),
    RULE_NUMBER("spool.segment_bytes", spool.segment_bytes, 4 * MIB, 64 * 1024, 1024 * MIB,
                "use 65536 (64 KiB) to 1073741824 (1 GiB)"),
    RULE_TEXT("metrics.listen", metrics.listen, "127.0.0.1:9463", is_listen_or_empty,
              "use address:port, or \"\" for no listener"),
    RULE_TEXT("data.providers_dir", data.providers_dir,
              LECTR_DATADIR "/providers:" LECTR_SYSCONFDIR "/lectr/providers", is_path_list,
              "use absolute paths, joined by :"),
    RULE_TEXT("data.prices_file", data.prices_file, LECTR_DATADIR "/prices.json", is_path,
              "use an absolute path"),
    RULE_TEXT("data.estimates_file", data.estimates_file, LECTR_DATADIR "/estimates.prior", is_path,
              "use an absolute path"),
};
#define RULES_COUNT (sizeof(RULES) / sizeof(RULES[0]))

/* What to say of a list's entries, and of anything else below a list. */
static const struct {
    const char *prefix;
    const char *remedy;
} LIST_REMEDIES[] = {
    {"org_keys", "each entry needs org (a name) and sha256 (64 hex digits)"},
    {"capture.ports", "use 1 to 16 port numbers, as in [443]"},
    {"capture.consent_cgroups", "use a list of paths below the cgroup2 root, as in [app.slice]"},
    {"capture.consent_netns", "use a list of names in /run/netns; only a trailing * is allowed"},
};

static const char *remedy_of(const char *field)
{
    for (size_t i = 0; i < RULES_COUNT; i++) {
        if (strcmp(field, RULES[i].field) == 0)
            return RULES[i].remedy;
    }
    for (size_t i = 0; i < sizeof(LIST_REMEDIES) / sizeof(LIST_REMEDIES[0]); i++) {
        if (strncmp(field, LIST_REMEDIES[i].prefix, strlen(LIST_REMEDIES[i].prefix)) == 0)
            return LIST_REMEDIES[i].remedy;
    }
    return NULL;
}

/* The one form of every message: file:line: field: problem; remedy. */
static int refuse(const char *path, unsigned line, const char *field, const char *problem,
                  const char *remedy, struct config_error *ret_error)
{
    char where[16] = "";

    if (line)
        snprintf(where, sizeof(where), "%u:", line);
    snprintf(ret_error->text, sizeof(ret_error->text), "%s:%s %s%s%s%s%s", path, where, field,
             field[0] ? ": " : "", problem, remedy ? "; " : "", remedy ? remedy : "");
    return -EINVAL;
}

struct check {
    const char *path;
    const struct yamldoc *doc;
    struct config *config;
    struct config_error *error;
};

static int refuse_text(const struct check *c, const char *field, const char *text)
{
    char problem[160];

    if (text[0])
        snprintf(problem, sizeof(problem), "\"%.120s\" is not allowed", text);
    else
        snprintf(problem, sizeof(problem), "is empty");
    return refuse(c->path, yamldoc_line(c->doc, field), field, problem, remedy_of(field), c->error);
}

static uint64_t number_get(const void *member, uint8_t width)
{
    return width == sizeof(uint64_t) ? *(const uint64_t *)member : *(const uint32_t *)member;
}

static int apply_number(const struct check *c, const struct rule *rule)
{
    void *member = (char *)c->config + rule->offset;
    uint64_t value = number_get(member, rule->width);
    char problem[64];

    if (!yamldoc_line(c->doc, rule->field)) {
        if (rule->width == sizeof(uint64_t))
            *(uint64_t *)member = rule->number_default;
        else
            *(uint32_t *)member = (uint32_t)rule->number_default;
        return 0;
    }
    if (value >= rule->min && value <= rule->max)
        return 0;
    snprintf(problem, sizeof(problem), "%llu is out of range", (unsigned long long)value);
    return refuse(c->path, yamldoc_line(c->doc, rule->field), rule->field, problem, rule->remedy,
                  c->error);
}

/* In a pod the host name is the pod's; whoever deploys it tells the node's. */
static void node_name(char *name, size_t size)
{
    const char *told = getenv("LECTR_NODE");

    name[0] = name[size - 1] = '\0';
    if (told && told[0])
        snprintf(name, size, "%s", told);
    else if (gethostname(name, size - 1) < 0 || !name[0])
        snprintf(name, size, "localhost");
}

static int apply_text(const struct check *c, const struct rule *rule)
{
    char **member = (char **)(void *)((char *)c->config + rule->offset);
    char node[256];

    if (*member)
        return rule->is_valid(*member) ? 0 : refuse_text(c, rule->field, *member);
    if (!rule->text_default)
        node_name(node, sizeof(node));
    *member = strdup(rule->text_default ? rule->text_default : node);
    return *member ? 0 : -ENOMEM;
}

static int check_texts(const struct check *c, const char *list, char *const *texts, unsigned count,
                       bool (*is_valid)(const char *))
{
    char field[64];

    for (unsigned i = 0; i < count; i++) {
        snprintf(field, sizeof(field), "%s[%u]", list, i);
        if (!is_valid(texts[i]))
            return refuse_text(c, field, texts[i]);
    }
    return 0;
}

static int check_org_keys(const struct check *c)
{
    char field[64];

    for (unsigned i = 0; i < c->config->org_keys_count; i++) {
        const struct config_org_key *key = &c->config->org_keys[i];

        snprintf(field, sizeof(field), "org_keys[%u].org", i);
        if (!is_name(key->org))
            return refuse_text(c, field, key->org);
        snprintf(field, sizeof(field), "org_keys[%u].sha256", i);
        /* Not shown: somebody may have put the key itself here. */
        if (!is_sha256(key->sha256))
            return refuse(c->path, yamldoc_line(c->doc, field), field, "is not a SHA-256 in hex",
                          "make it with: printf %s \"$LECTR_ORG_KEY\" | sha256sum", c->error);
    }
    return 0;
}

static int apply_ports(const struct check *c)
{
    struct config_capture *capture = &c->config->capture;
    const char *remedy = remedy_of("capture.ports");
    char field[32];

    if (!yamldoc_line(c->doc, "capture.ports")) {
        capture->ports = malloc(sizeof(*capture->ports));
        if (!capture->ports)
            return -ENOMEM;
        capture->ports[0] = 443;
        capture->ports_count = 1;
        return 0;
    }
    if (capture->ports_count < 1 || capture->ports_count > 16)
        return refuse(c->path, yamldoc_line(c->doc, "capture.ports"), "capture.ports",
                      "has a wrong number of entries", remedy, c->error);
    for (unsigned i = 0; i < capture->ports_count; i++) {
        if (capture->ports[i])
            continue;
        snprintf(field, sizeof(field), "capture.ports[%u]", i);
        return refuse(c->path, yamldoc_line(c->doc, field), field, "0 is no port", remedy,
                      c->error);
    }
    return 0;
}

/* Segments are the unit in which the spool frees space. */
static int check_spool(const struct check *c)
{
    const struct config_spool *spool = &c->config->spool;
    const char *field =
        yamldoc_line(c->doc, "spool.segment_bytes") ? "spool.segment_bytes" : "spool.limit_bytes";

    if (spool->segment_bytes <= spool->limit_bytes / 2)
        return 0;
    return refuse(c->path, yamldoc_line(c->doc, field), field,
                  "the spool would hold less than two segments",
                  "use a segment_bytes of at most half of limit_bytes", c->error);
}

static int check_certificate(const struct check *c)
{
    const struct config_nats *nats = &c->config->nats;
    const bool has_cert = nats->cert_file[0];
    const char *field = has_cert ? "nats.cert_file" : "nats.key_file";

    if (has_cert == (nats->key_file[0] != '\0'))
        return 0;
    return refuse(c->path, yamldoc_line(c->doc, field), field, "is nothing by itself",
                  "set both nats.cert_file and nats.key_file, or neither", c->error);
}

static int apply_rules(const struct check *c)
{
    const struct config_capture *capture = &c->config->capture;
    int r = 0;

    for (size_t i = 0; i < RULES_COUNT && r == 0; i++)
        r = RULES[i].width ? apply_number(c, &RULES[i]) : apply_text(c, &RULES[i]);
    if (r == 0)
        r = apply_ports(c);
    if (r == 0)
        r = check_texts(c, "capture.consent_cgroups", capture->consent_cgroups,
                        capture->consent_cgroups_count, is_cgroup_below);
    if (r == 0)
        r = check_texts(c, "capture.consent_netns", capture->consent_netns,
                        capture->consent_netns_count, is_netns_pattern);
    if (r == 0)
        r = check_org_keys(c);
    if (r == 0)
        r = check_certificate(c);
    return r < 0 ? r : check_spool(c);
}

void config_free(struct config **config)
{
    yamldoc_free_data(&CONFIG_SCHEMA, *config);
    *config = NULL;
}

static int load_fault(const char *path, int r, const struct yaml_fault *fault,
                      struct config_error *ret_error)
{
    char problem[sizeof(fault->problem) + 32];

    if (r != -EINVAL) {
        snprintf(problem, sizeof(problem), "cannot be read: %s", fault->problem);
        refuse(path, 0, "", problem, "give the path of a YAML file that this user may read",
               ret_error);
        return r;
    }
    return refuse(path, fault->line, fault->field, fault->problem,
                  fault->wrong_value ? remedy_of(fault->field) : NULL, ret_error);
}

int config_load(const char *path, struct config **ret_config, struct config_error *ret_error)
{
    __attribute__((cleanup(config_free))) struct config *config = NULL;
    __attribute__((cleanup(yamldoc_free))) struct yamldoc *doc = NULL;
    struct yaml_fault fault;
    void *data = NULL;
    int r;

    if (path) {
        r = yamldoc_load(path, &CONFIG_SCHEMA, &data, &doc, &fault);
        if (r < 0)
            return load_fault(path, r, &fault, ret_error);
    }
    config = data ? data : calloc(1, sizeof(*config));
    r = config ? apply_rules(&(struct check){path, doc, config, ret_error}) : -ENOMEM;
    if (r == -ENOMEM)
        snprintf(ret_error->text, sizeof(ret_error->text), "out of memory");
    if (r < 0)
        return r;
    *ret_config = TAKE_PTR(config);
    return 0;
}
