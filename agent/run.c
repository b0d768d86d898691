/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/run.h"

#include "agent/config.h"
#include "agent/control.h"
#include "agent/trustvars.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG LECTR_SYSCONFDIR "/lectr/agent.yaml"
#define DEFAULT_RUN_DIR "/run/lectr"
#define EXIT_USAGE 2
#define EXIT_FAILED 125 /* ours, not the command's; as env(1) and friends do */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

struct options {
    const char *feature;
    const char *config_path;
    char **command;
};

#define USAGE "usage: lectr-agent run [--feature NAME] [-c FILE] -- CMD…\n"

static int usage(const char *why)
{
    fprintf(stderr, "lectr-agent run: %s\n" USAGE, why);
    return EXIT_USAGE;
}

static int parse(int argc, char **argv, struct options *ret_options)
{
    struct options o = {0};
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        bool has_value = i + 1 < argc;

        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "--feature") == 0 && has_value)
            o.feature = argv[++i];
        else if (strncmp(argv[i], "--feature=", 10) == 0)
            o.feature = argv[i] + 10;
        else if ((strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) && has_value)
            o.config_path = argv[++i];
        else
            return usage("unknown option, or one without its value");
    }
    if (i >= argc)
        return usage("no command given");
    o.command = argv + i;
    *ret_options = o;
    return 0;
}

/* The settings may be unreadable for this user; then the agent's are the usual ones. */
static int run_dir_of(const struct options *o, char *ret_dir, size_t size)
{
    const char *path = o->config_path;
    struct config *config = NULL;
    struct config_error error;

    if (!path && access(DEFAULT_CONFIG, R_OK) == 0)
        path = DEFAULT_CONFIG;
    if (!path) {
        snprintf(ret_dir, size, "%s", DEFAULT_RUN_DIR);
        return 0;
    }
    if (config_load(path, &config, &error) < 0) {
        fprintf(stderr, "lectr-agent run: %s\n", error.text);
        return EXIT_USAGE;
    }
    snprintf(ret_dir, size, "%s", config->run_dir);
    config_free(&config);
    return 0;
}

static int capture_self(const char *run_dir, const char *command, char *ret_ca_dir, size_t size)
{
    char request[CONTROL_NAME_MAX + 8], name[CONTROL_NAME_MAX + 1];
    int r;

    control_run_name(command, name);
    snprintf(request, sizeof(request), "run %s", name);
    r = control_ask(run_dir, request, ret_ca_dir, size);
    if (r == 0)
        return 0;
    if (r == -ENOENT || r == -ECONNREFUSED)
        fprintf(stderr,
                "lectr-agent run: the agent is not running (no answer at %s/control.sock).\n"
                "Start it: sudo systemctl start lectr-agent, or sudo lectr-agent daemon\n",
                run_dir);
    else if (r == -EREMOTE)
        fprintf(stderr, "lectr-agent run: the agent refused: %s\n", ret_ca_dir);
    else
        fprintf(stderr, "lectr-agent run: the agent does not answer: %s\n", strerror(-r));
    return EXIT_FAILED;
}

/* Somebody at a terminal is told why a client may go on refusing. */
static void tell_kept(void *user, const char *variable, const char *value)
{
    (void)user;
    if (isatty(STDERR_FILENO))
        fprintf(stderr,
                "lectr-agent run: %s=%s is kept; calls are metered only if Lectr's root is in it\n",
                variable, value);
}

static int set_trust(const char *ca_dir)
{
    char path[TRUSTVARS_PATH_MAX] = "";
    int r = trustvars_set(ca_dir, tell_kept, NULL, path);

    if (r == 0)
        return 0;
    if (path[0])
        fprintf(stderr,
                "lectr-agent run: cannot read %s: %s\n"
                "Make the authority: sudo lectr-agent ca init\n",
                path, strerror(-r));
    else
        fprintf(stderr, "lectr-agent run: the environment cannot be set: %s\n", strerror(-r));
    return EXIT_FAILED;
}

int run_main(int argc, char **argv)
{
    char run_dir[256], ca_dir[CONTROL_MESSAGE_MAX];
    struct options o;
    int r;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(USAGE "\nCMD's calls are captured; --feature names them (LECTR_FEATURE).\n", stdout);
        return 0;
    }
    r = parse(argc, argv, &o);
    if (r == 0)
        r = run_dir_of(&o, run_dir, sizeof(run_dir));
    if (r == 0)
        r = capture_self(run_dir, o.command[0], ca_dir, sizeof(ca_dir));
    if (r == 0)
        r = set_trust(ca_dir);
    if (r == 0 && o.feature && setenv("LECTR_FEATURE", o.feature, 1) < 0)
        r = EXIT_FAILED;
    if (r != 0)
        return r;
    execvp(o.command[0], o.command);
    r = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
    fprintf(stderr, "lectr-agent run: %s: %s\n", o.command[0], strerror(errno));
    return r;
}
