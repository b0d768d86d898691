/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/config.h"

#include "collector/yamlread.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILE_BYTES_MAX (256 * 1024)
#define TEXT_BYTES_MAX 1024
#define DEFAULT_ALERTING LECTR_SYSCONFDIR "/lectr/alerting.yaml"

/* The file as it was written: what is NULL was left out. */
struct file_nats {
    char *url, *creds, *nkey_seed, *ca_file, *cert_file, *key_file, *stream, *durable;
    uint32_t *stream_max_age_h;
    uint64_t *stream_max_bytes;
    bool *publish_rollups;
};
struct file_store {
    char *path, *url, *url_file;
    uint32_t *lease_ttl_ms;
    uint32_t *series_max;
};
struct file_limits {
    uint32_t *orgs, *features, *providers, *models, *workloads, *series, *forget_d;
};
struct file_http {
    char *listen;
    uint32_t *metrics_series;
};
struct file_ingest {
    uint32_t *batch;
};
struct file_detect {
    bool *enabled, *open_minute;
    uint32_t *windows_s;
    unsigned windows_s_count;
    uint32_t *history_h, *lateness_ms, *idle_ms, *resolve_after_min;
    double *target_weeks, *ratio_min;
    char *clock;
};
struct file_alerting {
    char *file;
};
struct file_retention {
    uint32_t *calls_h, *minutes_d, *hours_d, *days_d, *alerts_d;
};
struct file {
    char *log_level;
    struct file_nats nats;
    struct file_store store;
    struct file_limits limits;
    struct file_http http;
    struct file_ingest ingest;
    struct file_detect detect;
    struct file_alerting alerting;
    struct file_retention retention;
};

#define OPTIONAL (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER)
#define TEXT(type, name)                                                                           \
    CYAML_FIELD_STRING_PTR(#name, OPTIONAL, struct type, name, 0, TEXT_BYTES_MAX)
#define UINT(type, name) CYAML_FIELD_UINT_PTR(#name, OPTIONAL, struct type, name)
#define BOOL(type, name) CYAML_FIELD_BOOL_PTR(#name, OPTIONAL, struct type, name)
#define REAL(type, name) CYAML_FIELD_FLOAT_PTR(#name, OPTIONAL, struct type, name)
#define SECTION(name)                                                                              \
    CYAML_FIELD_MAPPING(#name, CYAML_FLAG_OPTIONAL, struct file, name, name##_fields)

static const cyaml_schema_value_t window_value = {CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint32_t)};

static const cyaml_schema_field_t nats_fields[] = {
    TEXT(file_nats, url),
    TEXT(file_nats, creds),
    TEXT(file_nats, nkey_seed),
    TEXT(file_nats, ca_file),
    TEXT(file_nats, cert_file),
    TEXT(file_nats, key_file),
    TEXT(file_nats, stream),
    TEXT(file_nats, durable),
    BOOL(file_nats, publish_rollups),
    UINT(file_nats, stream_max_age_h),
    UINT(file_nats, stream_max_bytes),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t store_fields[] = {
    TEXT(file_store, path),         TEXT(file_store, url),        TEXT(file_store, url_file),
    UINT(file_store, lease_ttl_ms), UINT(file_store, series_max), CYAML_FIELD_END,
};
static const cyaml_schema_field_t limits_fields[] = {
    UINT(file_limits, orgs),      UINT(file_limits, features),
    UINT(file_limits, providers), UINT(file_limits, models),
    UINT(file_limits, workloads), UINT(file_limits, series),
    UINT(file_limits, forget_d),  CYAML_FIELD_END,
};
static const cyaml_schema_field_t http_fields[] = {
    TEXT(file_http, listen),
    UINT(file_http, metrics_series),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t ingest_fields[] = {UINT(file_ingest, batch), CYAML_FIELD_END};
static const cyaml_schema_field_t detect_fields[] = {
    BOOL(file_detect, enabled),
    BOOL(file_detect, open_minute),
    CYAML_FIELD_SEQUENCE("windows_s", OPTIONAL, struct file_detect, windows_s, &window_value, 1,
                         CONFIG_DETECT_WINDOWS_MAX),
    UINT(file_detect, history_h),
    UINT(file_detect, lateness_ms),
    UINT(file_detect, idle_ms),
    UINT(file_detect, resolve_after_min),
    REAL(file_detect, target_weeks),
    REAL(file_detect, ratio_min),
    TEXT(file_detect, clock),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t alerting_fields[] = {TEXT(file_alerting, file), CYAML_FIELD_END};
static const cyaml_schema_field_t retention_fields[] = {
    UINT(file_retention, calls_h), UINT(file_retention, minutes_d), UINT(file_retention, hours_d),
    UINT(file_retention, days_d),  UINT(file_retention, alerts_d),  CYAML_FIELD_END,
};
static const cyaml_schema_field_t file_fields[] = {
    TEXT(file, log_level), SECTION(nats),   SECTION(store),    SECTION(limits),    SECTION(http),
    SECTION(ingest),       SECTION(detect), SECTION(alerting), SECTION(retention), CYAML_FIELD_END,
};
static const cyaml_schema_value_t file_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct file, file_fields),
};

static int read_file(const char *path, char **ret_text, size_t *ret_len,
                     struct config_error *ret_error)
{
    CLEAN_FILE FILE *f = fopen(path, "re");
    CLEAN_FREE char *text = calloc(1, FILE_BYTES_MAX + 1);
    size_t len;

    if (!text)
        return -ENOMEM;
    if (!f) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%s: cannot be read: %m", path);
        return -EINVAL;
    }
    len = fread(text, 1, FILE_BYTES_MAX + 1, f);
    if (len > FILE_BYTES_MAX || ferror(f)) {
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "%s: cannot be read, or longer than %d bytes", path, FILE_BYTES_MAX);
        return -EINVAL;
    }
    *ret_text = TAKE_PTR(text);
    *ret_len = len;
    return 0;
}

/* What the schema cannot say. `bad` names the field. */
struct rule {
    const char *field;
    const char *needs;
    bool (*holds)(const struct config *c);
};

static bool has_level(const struct config *c)
{
    enum log_level level;

    return log_level_parse(c->log_level, &level) == 0;
}

static bool has_clock(const struct config *c)
{
    return strcmp(c->detect.clock, "auto") == 0 || strcmp(c->detect.clock, "event") == 0;
}

static bool has_windows(const struct config *c)
{
    for (unsigned i = 0; i < c->detect.windows_count; i++)
        if (c->detect.windows_s[i] < 60 || c->detect.windows_s[i] > 3600 ||
            c->detect.windows_s[i] % 60 ||
            (i && c->detect.windows_s[i] <= c->detect.windows_s[i - 1]))
            return false;
    return true;
}

static bool has_history(const struct config *c)
{
    return c->detect.history_h >= 24 && c->detect.history_h <= 24 * 28;
}

static bool has_target(const struct config *c)
{
    return isfinite(c->detect.target_weeks) && c->detect.target_weeks >= 1;
}

static bool has_ratio(const struct config *c)
{
    return isfinite(c->detect.ratio_min) && c->detect.ratio_min > 1;
}

static bool has_batch(const struct config *c)
{
    return c->ingest.batch >= 1 && c->ingest.batch <= 100000;
}

static bool has_listen(const struct config *c)
{
    const char *port = strrchr(c->http.listen, ':');
    char *end;

    if (!c->http.listen[0])
        return true;
    return port && port[1] >= '0' && port[1] <= '9' && strtol(port + 1, &end, 10) <= 65535 &&
           *end == '\0';
}

static bool has_nats(const struct config *c)
{
    return c->nats.url[0];
}

static bool has_path(const struct config *c)
{
    return c->store.url[0] || c->store.url_file[0] || c->store.path[0];
}

static bool has_alerting(const struct config *c)
{
    return c->alerting.file[0];
}

static bool has_waits(const struct config *c)
{
    return c->detect.lateness_ms <= 3600000 && c->detect.idle_ms <= 3600000;
}

static bool has_resolve(const struct config *c)
{
    return c->detect.resolve_after_min >= 1 && c->detect.resolve_after_min <= 1440;
}

/* In nanoseconds it must be less than 64 bits. */
static bool has_calls(const struct config *c)
{
    return c->retention.calls_h <= 87600;
}

/* Eight bytes a name, of the guard alone: some hundred megabytes at the most. */
static bool has_limits(const struct config *c)
{
    const uint32_t limits[] = {c->limits.orgs,      c->limits.features,  c->limits.providers,
                               c->limits.models,    c->limits.workloads, c->limits.series,
                               c->store.series_max, c->limits.forget_d};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        if (limits[i] < 1 || limits[i] > 10000000)
            return false;
    return true;
}

static bool has_metrics(const struct config *c)
{
    return c->http.metrics_series >= 1 && c->http.metrics_series <= 100000;
}

static bool has_minutes(const struct config *c)
{
    return c->retention.minutes_d >= 3 && c->retention.hours_d >= c->retention.minutes_d &&
           c->retention.days_d >= c->retention.hours_d && c->retention.days_d <= 36500 &&
           c->retention.alerts_d >= 1 && c->retention.alerts_d <= 36500;
}

static bool is_url(const char *url)
{
    return strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0;
}

static bool has_url(const struct config *c)
{
    return !c->store.url[0] || is_url(c->store.url);
}

static bool has_one_url(const struct config *c)
{
    return !c->store.url[0] || !c->store.url_file[0];
}

static bool has_ttl(const struct config *c)
{
    return c->store.lease_ttl_ms >= 1000 && c->store.lease_ttl_ms <= 60000;
}

static bool has_certificate(const struct config *c)
{
    return !c->nats.cert_file[0] == !c->nats.key_file[0];
}

static bool has_stream(const struct config *c)
{
    return c->nats.stream[0] && !strpbrk(c->nats.stream, " .*>/\\") && c->nats.durable[0] &&
           !strpbrk(c->nats.durable, " .*>/\\");
}

static bool has_age(const struct config *c)
{
    return c->nats.stream_max_age_h <= 87600;
}

static bool has_bytes(const struct config *c)
{
    return c->nats.stream_max_bytes <= 1ULL << 40;
}

static const struct rule rules[] = {
    {"log_level", "error, warn, info or debug", has_level},
    {"nats.url", "nats://host:port", has_nats},
    {"nats.cert_file", "a file, and nats.key_file as well, or neither", has_certificate},
    {"nats.stream", "a name without blank, dot, slash or wildcard (durable likewise)", has_stream},
    {"nats.stream_max_age_h", "1 to 87600, or 0 for no limit", has_age},
    {"nats.stream_max_bytes", "up to 1 TiB, or 0 for no limit", has_bytes},
    {"store.url", "postgresql://…, or \"\" for SQLite at store.path", has_url},
    {"store.url_file", "either this or store.url", has_one_url},
    {"store.path", "a path, or say store.url or url_file", has_path},
    {"store.lease_ttl_ms", "1000 to 60000", has_ttl},
    {"http.listen", "host:port, or \"\" to switch it off", has_listen},
    {"limits", "1 to 10000000 for each (store.series_max likewise)", has_limits},
    {"http.metrics_series", "1 to 100000", has_metrics},
    {"ingest.batch", "1 to 100000", has_batch},
    {"detect.clock", "auto or event", has_clock},
    {"detect.windows_s", "rising multiples of 60, at most 3600", has_windows},
    {"detect.history_h", "24 to 672: a day must have been seen", has_history},
    {"detect.target_weeks", "at least 1", has_target},
    {"detect.ratio_min", "more than 1", has_ratio},
    {"detect.lateness_ms", "up to 3600000 (idle_ms likewise)", has_waits},
    {"detect.resolve_after_min", "1 to 1440", has_resolve},
    {"retention.calls_h", "up to 87600; 0: none are kept", has_calls},
    {"retention.minutes_d",
     "at least 3, minutes_d <= hours_d <= days_d <= 36500, and alerts_d 1 to 36500", has_minutes},
    {"alerting.file", "a path", has_alerting},
};

/* "file:line: field: problem"; a field that is not there is its section's. */
static int refuse(const char *path, const struct places *places, const char *field,
                  const char *problem, struct config_error *ret_error)
{
    unsigned line = places_line(places, field);
    char section[64];

    snprintf(section, sizeof(section), "%.*s", (int)strcspn(field, "."), field);
    snprintf(ret_error->text, sizeof(ret_error->text), "%.100s:%u: %.100s: use %.200s", path,
             line ? line : places_line(places, section), field, problem);
    return -EINVAL;
}

static int check_rules(const struct config *c, const char *path, const struct places *places,
                       struct config_error *ret_error)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (!rules[i].holds(c))
            return refuse(path, places, rules[i].field, rules[i].needs, ret_error);
    }
    return 0;
}

/* The first line of the file. Not to wait for whoever might write into a pipe. */
static int read_line(const char *path, char *ret_line, size_t size)
{
    CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, ret_line, size - 1) : -1;
    size_t len;

    if (n < 0)
        return -errno;
    ret_line[n] = '\0';
    len = strcspn(ret_line, "\r\n");
    if (len == size - 1)
        return -EFBIG;
    if (len < (size_t)n && ret_line[len] == '\0')
        return -EILSEQ;
    ret_line[len] = '\0';
    return 0;
}

/* What the file says stands in the URL's place. It may hold a password: no message shows it. */
static int take_url(struct config *c, const char *path, const struct places *places,
                    struct config_error *ret_error)
{
    static const char needs[] = "a file whose first line is postgresql://…";
    char line[TEXT_BYTES_MAX + 2], problem[200];
    int r = read_line(c->store.url_file, line, sizeof(line));

    if (r < 0)
        snprintf(problem, sizeof(problem), "%s: %s", needs, strerror(-r));
    else
        snprintf(problem, sizeof(problem), "%s", needs);
    if (r < 0 || !is_url(line))
        r = refuse(path, places, "store.url_file", problem, ret_error);
    if (r == 0) {
        free(c->store.url);
        c->store.url = strdup(line);
        r = c->store.url ? 0 : -ENOMEM;
    }
    explicit_bzero(line, sizeof(line));
    return r;
}

/* The value of the file moves over; the default is copied. */
static int settle_text(char **from, const char *fallback, char **ret_to)
{
    *ret_to = *from ? TAKE_PTR(*from) : strdup(fallback);
    return *ret_to ? 0 : -ENOMEM;
}

static int settle_texts(struct file *f, struct config *c)
{
    const struct {
        char **from;
        const char *fallback;
        char **to;
    } texts[] = {
        {&f->log_level, "info", &c->log_level},
        {&f->nats.url, "nats://127.0.0.1:4222", &c->nats.url},
        {&f->nats.creds, "", &c->nats.creds},
        {&f->nats.nkey_seed, "", &c->nats.nkey_seed},
        {&f->nats.ca_file, "", &c->nats.ca_file},
        {&f->nats.cert_file, "", &c->nats.cert_file},
        {&f->nats.key_file, "", &c->nats.key_file},
        {&f->nats.stream, "LECTR", &c->nats.stream},
        {&f->nats.durable, "lectr-collector", &c->nats.durable},
        {&f->store.path, "/var/lib/lectr/collector.db", &c->store.path},
        {&f->store.url, "", &c->store.url},
        {&f->store.url_file, "", &c->store.url_file},
        {&f->http.listen, "127.0.0.1:9464", &c->http.listen},
        {&f->detect.clock, "auto", &c->detect.clock},
        {&f->alerting.file, DEFAULT_ALERTING, &c->alerting.file},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int r = settle_text(texts[i].from, texts[i].fallback, texts[i].to);

        if (r < 0)
            return r;
    }
    return 0;
}

#define OR(pointer, fallback) ((pointer) ? *(pointer) : (fallback))

static void settle_numbers(const struct file *f, struct config *c)
{
    static const uint32_t windows[] = {60, 300, 900, 3600};
    const struct file_detect *d = &f->detect;

    c->nats.publish_rollups = OR(f->nats.publish_rollups, true);
    c->nats.stream_max_age_h = OR(f->nats.stream_max_age_h, 168);
    c->nats.stream_max_bytes = OR(f->nats.stream_max_bytes, 1ULL << 30);
    c->store.lease_ttl_ms = OR(f->store.lease_ttl_ms, 3000);
    c->store.series_max = OR(f->store.series_max, 50000);
    c->limits.orgs = OR(f->limits.orgs, 200);
    c->limits.features = OR(f->limits.features, 1000);
    c->limits.providers = OR(f->limits.providers, 100);
    c->limits.models = OR(f->limits.models, 1000);
    c->limits.workloads = OR(f->limits.workloads, 2000);
    c->limits.series = OR(f->limits.series, 20000);
    c->limits.forget_d = OR(f->limits.forget_d, 30);
    c->http.metrics_series = OR(f->http.metrics_series, 500);
    c->ingest.batch = OR(f->ingest.batch, 60000);
    c->detect.enabled = OR(d->enabled, true);
    c->detect.open_minute = OR(d->open_minute, true);
    c->detect.windows_count = d->windows_s ? d->windows_s_count : 4;
    memcpy(c->detect.windows_s, d->windows_s ? d->windows_s : windows,
           c->detect.windows_count * sizeof(windows[0]));
    c->detect.history_h = OR(d->history_h, 24);
    c->detect.target_weeks = OR(d->target_weeks, 100.0);
    c->detect.ratio_min = OR(d->ratio_min, 1.3);
    c->detect.lateness_ms = OR(d->lateness_ms, 2000);
    c->detect.idle_ms = OR(d->idle_ms, 1500);
    c->detect.resolve_after_min = OR(d->resolve_after_min, 5);
    c->retention.calls_h = OR(f->retention.calls_h, 24);
    c->retention.minutes_d = OR(f->retention.minutes_d, 14);
    c->retention.hours_d = OR(f->retention.hours_d, 400);
    c->retention.days_d = OR(f->retention.days_d, 3650);
    c->retention.alerts_d = OR(f->retention.alerts_d, 400);
}

static int settle(const char *path, struct file *file, const struct places *places,
                  struct config **ret_config, struct config_error *ret_error)
{
    CLEAN_CONFIG struct config *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    settle_numbers(file, c);
    r = settle_texts(file, c);
    if (r == 0)
        r = check_rules(c, path, places, ret_error);
    if (r == 0 && c->store.url_file[0])
        r = take_url(c, path, places, ret_error);
    if (r == 0)
        *ret_config = TAKE_PTR(c);
    return r;
}

static int build(const char *path, struct slice text, struct config **ret_config,
                 struct config_error *ret_error)
{
    CLEAN_PLACES struct places *places = NULL;
    struct places_fault fault = {.line = 0};
    struct file empty = {0};
    void *file = NULL;
    int r = yamlread(text, &file_schema, &places, &file, &fault);

    if (r == -EINVAL)
        snprintf(ret_error->text, sizeof(ret_error->text), "%.100s:%u: %.100s%s%.200s", path,
                 fault.line, fault.field, fault.field[0] ? ": " : "", fault.problem);
    if (r < 0)
        return r;
    r = settle(path, file ? file : &empty, places, ret_config, ret_error);
    yamlread_free(&file_schema, file);
    return r;
}

int config_load(const char *path, struct config **ret_config, struct config_error *ret_error)
{
    CLEAN_FREE char *text = NULL;
    size_t len = 0;
    int r;

    if (!path)
        return build("defaults", slice_str(""), ret_config, ret_error);
    r = read_file(path, &text, &len, ret_error);
    return r < 0 ? r : build(path, slice_of(text, len), ret_config, ret_error);
}

void config_free(struct config **config)
{
    struct config *c = *config;

    if (!c)
        return;
    free(c->log_level);
    free(c->nats.url);
    free(c->nats.creds);
    free(c->nats.nkey_seed);
    free(c->nats.ca_file);
    free(c->nats.cert_file);
    free(c->nats.key_file);
    free(c->nats.stream);
    free(c->nats.durable);
    free(c->store.path);
    free(c->store.url);
    free(c->store.url_file);
    free(c->http.listen);
    free(c->detect.clock);
    free(c->alerting.file);
    free(c);
    *config = NULL;
}

enum log_level config_log_level(const struct config *config)
{
    enum log_level level = LOG_LEVEL_INFO;

    /* The word was checked when the file was read. */
    return log_level_parse(config->log_level, &level) == 0 ? level : LOG_LEVEL_INFO;
}

const char *config_alerting_file(const struct config *config)
{
    bool is_default = strcmp(config->alerting.file, DEFAULT_ALERTING) == 0;

    return is_default && access(config->alerting.file, F_OK) < 0 ? NULL : config->alerting.file;
}
