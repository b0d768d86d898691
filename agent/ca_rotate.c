/* SPDX-License-Identifier: Apache-2.0 */
/* From one authority to the next, with both trusted meanwhile. The present one
 * goes on to sign what it may, since clients that run already know no other. */
#include "agent/ca.h"
#include "agent/ca_impl.h"
#include "agent/cert.h"
#include "agent/provider.h"
#include "proto/base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SHOWN_MAX 8

/* In the order in which they are moved. */
static const char *const names[] = {"ca.crt", "ca.key", "intermediate.crt", "intermediate.key"};
#define NAMES_COUNT (sizeof(names) / sizeof(names[0]))

static int path_of(char *path, const char *dir, const char *folder, const char *name)
{
    int n = snprintf(path, PATH_MAX, "%s/%s%s%s", dir, folder, folder[0] ? "/" : "", name);

    return n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

bool ca_is_rotating(const char *dir)
{
    char path[PATH_MAX];

    return path_of(path, dir, CA_NEXT, "") == 0 && access(path, F_OK) == 0;
}

static int complain(const char *dir, int r)
{
    fprintf(stderr, "lectr-agent ca: %s: %s\n", dir, strerror(-r));
    return r;
}

static int need_authority(const char *dir)
{
    char path[PATH_MAX];
    int r = path_of(path, dir, "", "intermediate.key");

    if (r == 0 && access(path, F_OK) == 0)
        return 0;
    fprintf(stderr,
            "lectr-agent ca: %s holds no authority; make one: lectr-agent ca init --dir %s\n", dir,
            dir);
    return -ENOENT;
}

/* ---- the next authority ---- */

/* What an interrupted run left. */
static void remove_unfinished(const char *folder)
{
    char path[PATH_MAX];

    for (unsigned i = 0; i < NAMES_COUNT; i++)
        if (path_of(path, folder, "", names[i]) == 0)
            (void)unlink(path);
    (void)rmdir(folder);
}

static int begin(const struct ca_options *options)
{
    char made[PATH_MAX], next[PATH_MAX], root_name[64];
    time_t now = (time_t)(clock_wall_ns() / NSEC_PER_SEC);
    struct tm tm;
    int r = path_of(made, options->dir, "", CA_NEXT ".new");

    if (r == 0)
        r = path_of(next, options->dir, "", CA_NEXT);
    if (r < 0)
        return complain(options->dir, r);
    remove_unfinished(made);
    /* Two roots of one name would be taken for each other. */
    gmtime_r(&now, &tm);
    strftime(root_name, sizeof(root_name), "Lectr root %Y-%m-%d %H:%M:%S", &tm);
    r = ca_make(options, made, root_name);
    if (r < 0)
        return r;
    if (chmod(made, 0755) < 0 || rename(made, next) < 0)
        return complain(next, -errno);
    r = ca_write_bundle(options->dir);
    if (r < 0)
        return complain(options->dir, r);
    printf("%s: made. %s/bundle.crt trusts both roots now.\n"
           "1. Restart the agent: hosts that only the next root permits are served by it.\n"
           "2. Give every workload the new bundle.crt and restart it; what does not trust the\n"
           "   next root yet is passed on unmetered (untrusted_ca) for those hosts.\n"
           "3. Then: lectr-agent ca rotate --finish --dir %s\n",
           next, options->dir, options->dir);
    return 0;
}

/* ---- what the present one does not permit ---- */

int ca_hosts_outside(const struct cert_authority *ca, const struct provider_set *set,
                     const char **ret_patterns, unsigned max, unsigned *ret_count)
{
    unsigned count = provider_hosts(set, NULL, 0), outside = 0;
    CLEAN_FREE const char **patterns = calloc(count + 1, sizeof(*patterns));

    if (!patterns)
        return -ENOMEM;
    count = provider_hosts(set, patterns, count);
    for (unsigned i = 0; i < count; i++) {
        bool suffix = patterns[i][0] == '*';
        char host[256];
        int r;

        snprintf(host, sizeof(host), "%s%s", suffix ? "x" : "", patterns[i] + suffix);
        r = cert_authority_permits(ca, host);
        if (r < 0 && r != -EPERM)
            return r;
        if (r == -EPERM && outside++ < max)
            ret_patterns[outside - 1] = patterns[i];
    }
    *ret_count = outside;
    return 0;
}

static int find_outside(const struct ca_options *options, unsigned *ret_count)
{
    struct provider_set *set = NULL;
    struct provider_error error = {0};
    struct cert_authority *ca = NULL;
    const char *shown[SHOWN_MAX];
    int r = provider_set_load(options->providers, &set, &error);

    if (r < 0) {
        fprintf(stderr, "lectr-agent ca: %s\n", error.text[0] ? error.text : options->providers);
        return r;
    }
    r = cert_authority_load(options->dir, &ca);
    if (r < 0)
        fprintf(stderr,
                "lectr-agent ca: the authority in %s cannot be used: %s; if a rotation was "
                "interrupted, run lectr-agent ca rotate --finish\n",
                options->dir, strerror(-r));
    if (r == 0)
        r = ca_hosts_outside(ca, set, shown, SHOWN_MAX, ret_count);
    for (unsigned i = 0; r == 0 && i < *ret_count && i < SHOWN_MAX; i++)
        printf("outside the constraints: %s\n", shown[i]);
    if (r == 0 && *ret_count > SHOWN_MAX)
        printf("and %u more\n", *ret_count - SHOWN_MAX);
    cert_authority_free(&ca);
    provider_set_free(&set);
    return r;
}

int ca_extend(const struct ca_options *options)
{
    unsigned outside = 0;
    int r = need_authority(options->dir);

    if (r == 0)
        r = find_outside(options, &outside);
    if (r < 0)
        return r;
    if (outside == 0) {
        printf("%s: every host of the profiles is permitted; nothing to do.\n", options->dir);
        return 0;
    }
    if (ca_is_rotating(options->dir)) {
        fprintf(stderr,
                "lectr-agent ca: the next root in %s/" CA_NEXT " does not permit them either; "
                "once every workload has the present bundle.crt, run lectr-agent ca rotate "
                "--finish, then ca extend again\n",
                options->dir);
        return -EEXIST;
    }
    return begin(options);
}

/* ---- the end of it ---- */

/* May be run again when it was interrupted: what was moved is not there any more. */
static int move_one(const char *dir, const char *name)
{
    char next[PATH_MAX], now[PATH_MAX], retired[PATH_MAX];
    int r = path_of(next, dir, CA_NEXT, name);

    if (r == 0)
        r = path_of(now, dir, "", name);
    if (r == 0)
        r = path_of(retired, dir, CA_RETIRED, name);
    if (r < 0)
        return r;
    if (access(next, F_OK) < 0)
        return errno == ENOENT && access(now, F_OK) == 0 ? 0 : -errno;
    if (rename(now, retired) < 0 && errno != ENOENT)
        return -errno;
    return rename(next, now) < 0 ? -errno : 0;
}

static int finish(const char *dir)
{
    char folder[PATH_MAX];
    int r;

    if (!ca_is_rotating(dir)) {
        fprintf(stderr,
                "lectr-agent ca: no rotation is under way in %s; begin one: lectr-agent ca "
                "rotate\n",
                dir);
        return -ENOENT;
    }
    r = path_of(folder, dir, "", CA_RETIRED);
    if (r == 0 && mkdir(folder, 0700) < 0 && errno != EEXIST)
        r = -errno;
    for (unsigned i = 0; r == 0 && i < NAMES_COUNT; i++)
        r = move_one(dir, names[i]);
    if (r == 0)
        r = path_of(folder, dir, "", CA_NEXT);
    if (r == 0 && rmdir(folder) < 0)
        r = -errno;
    if (r == 0)
        r = ca_write_bundle(dir);
    if (r < 0)
        return complain(dir, r);
    printf("%s: the next root is the present one. Restart the agent. bundle.crt no longer trusts\n"
           "the one before; its files are in %s/" CA_RETIRED ": delete them when nothing has to go "
           "back.\n",
           dir, dir);
    return 0;
}

int ca_rotate(const struct ca_options *options)
{
    int r;

    if (options->finish)
        return finish(options->dir);
    r = need_authority(options->dir);
    if (r < 0)
        return r;
    if (ca_is_rotating(options->dir)) {
        fprintf(stderr,
                "lectr-agent ca: a rotation is under way in %s; once every workload has the "
                "present bundle.crt, end it: lectr-agent ca rotate --finish\n",
                options->dir);
        return -EEXIST;
    }
    return begin(options);
}
