/* SPDX-License-Identifier: Apache-2.0 */
/* lectr-collector: NATS -> config bus ingest rollup store | detect alert publish | serve */
#include "collector/alerting.h"
#include "collector/backtest.h"
#include "collector/baselines.h"
#include "collector/config.h"
#include "collector/dead_letters.h"
#include "collector/deliver.h"
#include "collector/history.h"
#include "collector/hush.h"
#include "collector/judge.h"
#include "collector/pipeline.h"
#include "collector/rules.h"
#include "collector/serve.h"
#include "proto/base/leave.h"
#include "proto/base/log.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Kubernetes gives 30 s. Whenever it ends, what is committed stands and the rest comes again. */
#define LEAVE_S 20
#define DEFAULT_CONFIG LECTR_SYSCONFDIR "/lectr/collector.yaml"

static atomic_bool stop;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stop, true);
}

static void on_hangup(int number)
{
    (void)number;
    rules_request_reload();
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = on_hangup;
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

/* The default file may be absent, a named one may not. */
static int load_config(const char *path, struct config **ret_config)
{
    struct config_error error = {.text = ""};
    int r;

    if (!path && access(DEFAULT_CONFIG, F_OK) == 0)
        path = DEFAULT_CONFIG;
    r = config_load(path, ret_config, &error);
    if (r < 0)
        fprintf(stderr, "%s\n", error.text[0] ? error.text : strerror(-r));
    return r;
}

struct args {
    const char *config_path;
    const char *format;
    char **operands; /* after the command's name, NULL at the end */
    struct hush_args hush;
    struct history_args history;
};

static int start_deliver(const struct config *config, struct deliver **ret_deliver)
{
    const struct deliver_settings settings = {
        .store = config_store_where(config),
        .alerting = config->alerting.file,
        .may_be_absent = !config_alerting_file(config),
    };

    return deliver_start(&settings, ret_deliver);
}

static void on_reload(void *ctx)
{
    deliver_reload(ctx);
}

static void on_active(void *ctx, bool is_active)
{
    deliver_set_active(ctx, is_active);
}

static int run_serve(const struct args *args)
{
    CLEAN_CONFIG struct config *config = NULL;
    struct pipeline *pipeline = NULL;
    struct deliver *deliver = NULL;
    struct serve *serve = NULL;
    int r = load_config(args->config_path, &config);

    if (r < 0)
        return 2;
    log_setup("lectr-collector", config_log_level(config));
    catch_signals();
    r = pipeline_new(config, &pipeline);
    if (r == 0)
        r = start_deliver(config, &deliver);
    if (r == 0)
        r = serve_start(config, pipeline, deliver, &serve);
    if (r == 0) {
        pipeline_set_hooks(pipeline, &(struct judge_hooks){on_reload, on_active, deliver});
        r = pipeline_run(pipeline, &stop);
    }
    leave_within(LEAVE_S, r == 0 ? 0 : 1);
    serve_stop(&serve);
    pipeline_free(&pipeline); /* its judge knows of the deliverer */
    deliver_stop(&deliver);
    return r == 0 ? 0 : 1;
}

static int run_check_config(const struct args *args)
{
    CLEAN_CONFIG struct config *config = NULL;
    CLEAN_ALERTING struct alerting *alerting = NULL;
    struct alerting_error error = {.text = ""};
    int r = load_config(args->config_path, &config);

    if (r < 0)
        return 2;
    r = alerting_load(config_alerting_file(config), &alerting, &error);
    if (r < 0) {
        fprintf(stderr, "%s\n", error.text[0] ? error.text : strerror(-r));
        return 2;
    }
    printf("ok\n");
    return 0;
}

static int run_silence(const struct args *args)
{
    CLEAN_CONFIG struct config *config = NULL;

    return load_config(args->config_path, &config) < 0
               ? 2
               : hush_silence(config, args->operands, &args->hush);
}

static int run_feedback(const struct args *args)
{
    CLEAN_CONFIG struct config *config = NULL;

    return load_config(args->config_path, &config) < 0 ? 2 : hush_feedback(config, args->operands);
}

static int run_history(const struct args *args)
{
    CLEAN_CONFIG struct config *config = NULL;
    struct history_args history = args->history;

    history.format = args->format;
    return load_config(args->config_path, &config) < 0 ? 2 : history_run(config, &history, stdout);
}

static int run_baselines(const struct args *args)
{
    CLEAN_CONFIG struct config *config = NULL;

    return load_config(args->config_path, &config) < 0
               ? 2
               : baselines_run(config, args->format, stdout);
}

static int run_backtest(const struct args *args)
{
    CLEAN_CONFIG struct config *config = NULL;
    char error[512] = "";
    bool as_json;

    if (!args->operands[0] || args->operands[1]) {
        fprintf(stderr, "usage: lectr-collector backtest SERIES.csv [--format csv|json]\n");
        return 2;
    }
    as_json = args->format && strcmp(args->format, "json") == 0;
    if (args->format && !as_json && strcmp(args->format, "csv") != 0) {
        fprintf(stderr, "unknown format '%s': csv or json\n", args->format);
        return 2;
    }
    if (load_config(args->config_path, &config) < 0)
        return 2;
    if (backtest_file(args->operands[0], &config->detect, as_json, stdout, error, sizeof(error)) <
        0) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    return 0;
}

static int run_dead_letters(const struct args *args)
{
    CLEAN_CONFIG struct config *config = NULL;
    const char *verb = args->operands[0] ? args->operands[0] : "list";
    bool is_retry = strcmp(verb, "retry") == 0;
    char error[512] = "";
    uint64_t count = 0;
    int r;

    if (!is_retry && strcmp(verb, "list") != 0) {
        fprintf(stderr, "usage: lectr-collector dead-letters list [--format json]\n"
                        "       lectr-collector dead-letters retry [NUMBER|RECEIVER]\n");
        return 2;
    }
    if (load_config(args->config_path, &config) < 0)
        return 2;
    if (is_retry)
        r = dead_letters_retry(config_store_where(config), args->operands[1], &count, error,
                               sizeof(error));
    else
        r = dead_letters_list(config_store_where(config),
                              args->format && strcmp(args->format, "json") == 0, stdout, error,
                              sizeof(error));
    if (r < 0)
        fprintf(stderr, "%s\n", error);
    else if (is_retry)
        printf("%llu to be tried again\n", (unsigned long long)count);
    return r < 0 ? 1 : 0;
}

static int run_version(const struct args *args)
{
    (void)args;
    printf("lectr-collector %s\n", LECTR_VERSION);
    return 0;
}

static int run_help(const struct args *args);

static const struct command {
    const char *name;
    const char *help;
    int (*run)(const struct args *args);
    bool takes_words; /* behind its name */
} commands[] = {
    {"serve", "collect, keep, judge, answer (the default)", run_serve, false},
    {"check-config", "read the settings; tell file, line and field of a mistake", run_check_config,
     false},
    {"backtest", "judge a file of timestamp,value as if it came in now", run_backtest, true},
    {"baselines", "what would be told of each series now, quiet ones too", run_baselines, false},
    {"replay-history", "which alerts given rules would have fired over what is stored", run_history,
     false},
    {"dead-letters", "list what receivers would not have, or retry it", run_dead_letters, true},
    {"silence", "add, list or remove: alerts nobody is to be told of", run_silence, true},
    {"feedback", "say of an alert that it was true, false or planned", run_feedback, true},
    {"version", "print the version", run_version, false},
    {"help", "print this", run_help, false},
};

static int run_help(const struct args *args)
{
    (void)args;
    printf(
        "usage: lectr-collector [COMMAND] [-c FILE]\n"
        "       lectr-collector backtest SERIES.csv [--format csv|json] [-c FILE]\n"
        "       lectr-collector replay-history [--since 30d] [--rules FILE] [--format text|json]\n"
        "       lectr-collector dead-letters list|retry [NUMBER|RECEIVER] [-c FILE]\n"
        "       lectr-collector silence add --match NAME=VALUE --for 2h [--planned]\n"
        "       lectr-collector silence list | remove ID\n"
        "       lectr-collector feedback FINGERPRINT true|false|planned\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        printf("  %-14s %s\n", commands[i].name, commands[i].help);
    printf("\n  -c FILE        settings, default %s\n"
           "  --format F     of backtest: csv (default) or json, one object a line;\n"
           "                 of dead-letters list: json\n",
           DEFAULT_CONFIG);
    return 0;
}

enum {
    OPTION_FORMAT = 256,
    OPTION_MATCH,
    OPTION_FOR,
    OPTION_FROM,
    OPTION_UNTIL,
    OPTION_COMMENT,
    OPTION_PLANNED,
    OPTION_SINCE,
    OPTION_RULES,
};

static int take_option(int option, char *value, struct args *args, const char **name)
{
    const struct {
        int option;
        const char **place;
    } texts[] = {
        {'c', &args->config_path},
        {OPTION_FORMAT, &args->format},
        {OPTION_FOR, &args->hush.duration},
        {OPTION_FROM, &args->hush.from},
        {OPTION_UNTIL, &args->hush.until},
        {OPTION_COMMENT, &args->hush.comment},
        {OPTION_SINCE, &args->history.since},
        {OPTION_RULES, &args->history.rules},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].option == option) {
            *texts[i].place = value;
            return 0;
        }
    if (option == OPTION_MATCH && args->hush.matches_count == HUSH_MATCHES_MAX) {
        fprintf(stderr, "--match: %d at most, of one name each\n", HUSH_MATCHES_MAX);
        return -E2BIG;
    }
    if (option == OPTION_MATCH)
        args->hush.matches[args->hush.matches_count++] = value;
    else if (option == OPTION_PLANNED)
        args->hush.is_planned = true;
    else if (option == 'h' || option == 'V')
        *name = option == 'h' ? "help" : "version";
    else
        return -EINVAL;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"format", required_argument, NULL, OPTION_FORMAT},
        {"match", required_argument, NULL, OPTION_MATCH},
        {"for", required_argument, NULL, OPTION_FOR},
        {"from", required_argument, NULL, OPTION_FROM},
        {"until", required_argument, NULL, OPTION_UNTIL},
        {"comment", required_argument, NULL, OPTION_COMMENT},
        {"planned", no_argument, NULL, OPTION_PLANNED},
        {"since", required_argument, NULL, OPTION_SINCE},
        {"rules", required_argument, NULL, OPTION_RULES},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    struct args args = {.operands = (char *[]){NULL}};
    const char *name = "serve";
    int opt;

    while ((opt = getopt_long(argc, argv, "c:hV", options, NULL)) != -1)
        if (take_option(opt, optarg, &args, &name) < 0)
            return 2;
    if (optind < argc) {
        name = argv[optind];
        args.operands = argv + optind + 1;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(name, commands[i].name) != 0)
            continue;
        /* "check-config FILE" would look at another file and say that it is good. */
        if (args.operands[0] && !commands[i].takes_words) {
            fprintf(stderr, "%s: what is '%s'? A file of settings comes behind -c\n", name,
                    args.operands[0]);
            return 2;
        }
        return commands[i].run(&args);
    }
    fprintf(stderr, "unknown command '%s'; see lectr-collector help\n", name);
    return 2;
}
