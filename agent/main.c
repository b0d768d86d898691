/* SPDX-License-Identifier: Apache-2.0 */
/* lectr-agent: the contents page. Every subcommand is one line of the table. */
#include "agent/ca.h"
#include "agent/cleanup_cmd.h"
#include "agent/config.h"
#include "agent/doctor.h"
#include "agent/helper.h"
#include "agent/prices_cmd.h"
#include "agent/providers_cmd.h"
#include "agent/proxy.h"
#include "agent/run.h"
#include "agent/status.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG LECTR_SYSCONFDIR "/lectr/agent.yaml"

/* Commands that need the settings get them loaded; the others parse their own words. */
struct command {
    const char *name;
    int (*with_config)(const struct config *config, const char *config_path);
    int (*with_args)(int argc, char **argv);
    const char *help;
};

static int run_daemon(const struct config *config, const char *config_path)
{
    return helper_main(config, config_path);
}

static int run_proxy(const struct config *config, const char *config_path)
{
    (void)config_path;
    return proxy_main(config);
}

static int run_doctor(const struct config *config, const char *config_path)
{
    (void)config_path;
    return doctor_main(config);
}

static int run_status(const struct config *config, const char *config_path)
{
    (void)config_path;
    return status_main(config);
}

static int run_cleanup(const struct config *config, const char *config_path)
{
    (void)config_path;
    return cleanup_main(config);
}

static int run_providers(const struct config *config, const char *config_path)
{
    (void)config_path;
    return providers_main(config);
}

static int run_check_config(const struct config *config, const char *config_path)
{
    (void)config;
    printf("%s: ok\n", config_path ? config_path : "defaults");
    return 0;
}

static int run_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("lectr-agent " LECTR_VERSION);
    return 0;
}

static const struct command commands[] = {
    {"daemon", run_daemon, NULL, "capture, meter and publish until told to stop (needs root)"},
    {"run", NULL, run_main, "run a command captured: lectr-agent run [--feature NAME] -- CMD…"},
    {"status", run_status, NULL, "what the running agent does"},
    {"doctor", run_doctor, NULL, "check this machine; each finding with its remedy"},
    {"check-config", run_check_config, NULL, "read the settings, report file, line and field"},
    {"ca", NULL, ca_main, "ca init|extend|rotate|show: the name-constrained certificate authority"},
    {"providers", run_providers, NULL, "the providers, hosts and ports in clear that are known"},
    {"prices", NULL, prices_main, "prices check|update: the price table and its supplement"},
    {"cleanup", run_cleanup, NULL, "remove every trace that a daemon left (needs root)"},
    {"version", NULL, run_version, "print the version"},
    {"proxy", run_proxy, NULL, NULL}, /* started by the daemon */
};

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void usage(FILE *out)
{
    fprintf(out, "usage: lectr-agent COMMAND [-c FILE] …\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (commands[i].help)
            fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\nSettings are read from %s unless -c names another file.\n", DEFAULT_CONFIG);
}

/* Takes "-c FILE" only; anything else is the user's mistake. */
static int parse_config_path(int argc, char **argv, const char **ret_path)
{
    const char *path = access(DEFAULT_CONFIG, R_OK) == 0 ? DEFAULT_CONFIG : NULL;

    for (int i = 1; i < argc; i++) {
        if ((strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) && i + 1 < argc) {
            path = argv[++i];
        } else if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            return -ECANCELED;
        } else {
            fprintf(stderr, "lectr-agent %s: unknown argument '%s'; see lectr-agent --help\n",
                    argv[0], argv[i]);
            return -EINVAL;
        }
    }
    *ret_path = path;
    return 0;
}

static int run_configured(const struct command *command, int argc, char **argv)
{
    struct config *config = NULL;
    struct config_error error;
    enum log_level level = LOG_LEVEL_INFO;
    const char *path = NULL;
    int r;

    r = parse_config_path(argc, argv, &path);
    if (r < 0)
        return r == -ECANCELED ? 0 : 2;
    r = config_load(path, &config, &error);
    if (r < 0) {
        fprintf(stderr, "lectr-agent: %s\n", error.text);
        return 2;
    }
    if (log_level_parse(config->log_level, &level) == 0)
        log_setup(command->help ? "lectr-agent" : "lectr-agent-proxy", level);
    r = command->with_config(config, path);
    config_free(&config);
    return r;
}

int main(int argc, char **argv)
{
    const struct command *command;

    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0)
        return run_version(0, NULL);
    command = command_find(argv[1]);
    if (!command) {
        fprintf(stderr, "lectr-agent: unknown command '%s'; see lectr-agent --help\n", argv[1]);
        return 2;
    }
    if (command->with_args)
        return command->with_args(argc - 1, argv + 1);
    return run_configured(command, argc - 1, argv + 1);
}
