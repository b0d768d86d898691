/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/trustvars.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JAVA_VARIABLE "JAVA_TOOL_OPTIONS"
#define JAVA_STORE "javax.net.ssl.trustStore"
#define JAVA_OPTIONS_MAX 8192

/* The first replace a client's store and so get the public roots as well; the
 * others add to it. */
static const struct trust {
    const char *variable;
    const char *file;
} trusts[] = {
    {"SSL_CERT_FILE", "bundle.crt"},
    {"REQUESTS_CA_BUNDLE", "bundle.crt"},
    {"CURL_CA_BUNDLE", "bundle.crt"},
    {"AWS_CA_BUNDLE", "bundle.crt"},
    {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "bundle.crt"},
    {"NODE_EXTRA_CA_CERTS", "roots.crt"},
    {"DENO_CERT", "roots.crt"},
};

static int path_of(const char *ca_dir, const char *file, char ret_path[TRUSTVARS_PATH_MAX])
{
    int n = snprintf(ret_path, TRUSTVARS_PATH_MAX, "%s/%s", ca_dir, file);

    if (n < 0 || n >= TRUSTVARS_PATH_MAX)
        return -ENAMETOOLONG;
    return access(ret_path, R_OK) < 0 ? -errno : 0;
}

static int set_java(const char *ca_dir, trustvars_kept_fn kept, void *user)
{
    const char *theirs = getenv(JAVA_VARIABLE);
    char path[TRUSTVARS_PATH_MAX], options[JAVA_OPTIONS_MAX];
    int n, r = path_of(ca_dir, "truststore.p12", path);

    if (r < 0)
        return 0; /* an authority made before there was one */
    if (theirs && strstr(theirs, JAVA_STORE)) {
        if (kept && !strstr(theirs, path))
            kept(user, JAVA_VARIABLE, theirs);
        return 0;
    }
    /* What they set stays; ours is added. */
    n = snprintf(options, sizeof(options), "%s%s-D%s=%s -D%sType=PKCS12", theirs ? theirs : "",
                 theirs && theirs[0] ? " " : "", JAVA_STORE, path, JAVA_STORE);
    if (n < 0 || (size_t)n >= sizeof(options))
        return -E2BIG;
    return setenv(JAVA_VARIABLE, options, 1) < 0 ? -errno : 0;
}

int trustvars_set(const char *ca_dir, trustvars_kept_fn kept, void *user,
                  char ret_path[TRUSTVARS_PATH_MAX])
{
    char path[TRUSTVARS_PATH_MAX];

    for (size_t i = 0; i < sizeof(trusts) / sizeof(trusts[0]); i++) {
        const struct trust *t = &trusts[i];
        const char *theirs = getenv(t->variable);
        int r = path_of(ca_dir, t->file, path);

        if (r < 0) {
            memcpy(ret_path, path, sizeof(path));
            return r;
        }
        /* What the workload chose stands, even if it makes it refuse us. */
        if (theirs && kept && strcmp(theirs, path) != 0)
            kept(user, t->variable, theirs);
        if (!theirs && setenv(t->variable, path, 0) < 0)
            return -errno;
    }
    return set_java(ca_dir, kept, user);
}
