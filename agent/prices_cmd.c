/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/prices_cmd.h"

#include "agent/config.h"
#include "agent/price.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#define DEFAULT_CONFIG LECTR_SYSCONFDIR "/lectr/agent.yaml"
#define UPDATER LECTR_DATADIR "/prices-update.mjs"
#define USAGE "usage: lectr-agent prices check|update [-c CONFIG] [FILE]\n"
#define HELP                                                                                       \
    USAGE                                                                                          \
    "\ncheck reads the price table (prices.json) and " PRICE_SUPPLEMENT_NAME                       \
    " beside it, and says\n"                                                                       \
    "which models have no price at which tier. update fetches the newest table (needs\n"           \
    "node and npm) and replaces it once it reads well; the supplement stays.\n"

extern char **environ;

static void print_unpriced(void *ctx, const struct price_unpriced *u)
{
    unsigned shown = u->unpriced < PRICE_UNPRICED_NAMES ? u->unpriced : PRICE_UNPRICED_NAMES;

    (void)ctx;
    printf("unpriced: %s%s%s: %u of %u models:", u->provider, u->tier[0] ? ", tier " : "", u->tier,
           u->unpriced, u->models);
    for (unsigned i = 0; i < shown; i++)
        printf(" %s", u->name[i]);
    printf("%s\n", shown < u->unpriced ? " …" : "");
}

static int check(const char *path, bool with_supplement)
{
    struct price_table *table = NULL;
    struct price_error error;
    struct price_summary summary;
    int r =
        with_supplement ? price_load(path, &table, &error) : price_table_load(path, &table, &error);

    if (r < 0) {
        fprintf(stderr, "lectr-agent: %s\n", error.text);
        return 2;
    }
    price_table_summary(table, &summary);
    printf("%s: ok, %s, %u providers, %u models\n", path, summary.version, summary.providers,
           summary.models);
    if (summary.supplement)
        printf(PRICE_SUPPLEMENT_NAME ": ok, %s, %u rules\n", summary.supplement, summary.rules);
    else if (with_supplement)
        printf("no " PRICE_SUPPLEMENT_NAME
               " beside it: tiers, images and characters are unpriced\n");
    if (with_supplement)
        price_each_unpriced(table, print_unpriced, NULL);
    price_table_free(&table);
    return 0;
}

static int run_updater(const char *out)
{
    char node[] = "node", script[] = UPDATER, option[] = "--out", target[PATH_MAX];
    char *argv[] = {node, script, option, target, NULL};
    int status, r;
    pid_t pid;

    snprintf(target, sizeof(target), "%s", out);
    if (access(UPDATER, R_OK) < 0) {
        fprintf(stderr, "lectr-agent: %s: %s; install Lectr, or run \"make prices-update\"\n",
                UPDATER, strerror(errno));
        return 2;
    }
    r = posix_spawnp(&pid, node, NULL, NULL, argv, environ);
    if (r) {
        fprintf(stderr, "lectr-agent: cannot run node: %s; install nodejs and npm\n", strerror(r));
        return 2;
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return 2;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    fprintf(stderr, "lectr-agent: the prices could not be fetched; the table is as it was\n");
    return 2;
}

static int update(const char *path)
{
    char fresh[PATH_MAX];
    int r;

    if (snprintf(fresh, sizeof(fresh), "%s.fetched", path) >= (int)sizeof(fresh))
        return 2;
    r = run_updater(fresh);
    if (r == 0)
        r = check(fresh, false);
    if (r == 0 && rename(fresh, path) < 0) {
        fprintf(stderr, "lectr-agent: %s: %s\n", path, strerror(errno));
        r = 2;
    }
    if (r) {
        unlink(fresh);
        return r;
    }
    printf("%s: replaced; restart lectr-agent to use it\n", path);
    /* The supplement is kept by hand: it stays, and must still fit. */
    return check(path, true);
}

/* The file that a daemon with these settings reads. */
static int configured_file(const char *config_path, char *ret_path, size_t size)
{
    struct config *config = NULL;
    struct config_error error;

    if (config_load(config_path, &config, &error) < 0) {
        fprintf(stderr, "lectr-agent: %s\n", error.text);
        return -EINVAL;
    }
    snprintf(ret_path, size, "%s", config->data.prices_file);
    config_free(&config);
    return 0;
}

int prices_main(int argc, char **argv)
{
    const char *config = access(DEFAULT_CONFIG, R_OK) == 0 ? DEFAULT_CONFIG : NULL;
    const char *file = NULL;
    char path[PATH_MAX];

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(HELP, stdout);
            return 0;
        }
    for (int i = 2; i < argc; i++) {
        if ((strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) && i + 1 < argc)
            config = argv[++i];
        else if (argv[i][0] != '-' && !file)
            file = argv[i];
        else
            argc = 0;
    }
    if (argc < 2 || (strcmp(argv[1], "check") != 0 && strcmp(argv[1], "update") != 0)) {
        fputs(USAGE, stderr);
        return 2;
    }
    if (file)
        snprintf(path, sizeof(path), "%s", file);
    else if (configured_file(config, path, sizeof(path)) < 0)
        return 2;
    return argv[1][0] == 'c' ? check(path, true) : update(path);
}
