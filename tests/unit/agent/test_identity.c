/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/identity.c agent/cgroup.c agent/cert.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/config.h"
#include "agent/identity.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "6b4d7e2a-1111-2222-3333-444455556666"
#define UID_ "6b4d7e2a_1111_2222_3333_444455556666"

static void cgroup_paths(void **state)
{
    const struct {
        const char *path, *owner, *pod, *container;
    } rows[] = {
        /* kubelet, cgroupfs driver */
        {"/kubepods/burstable/pod" UID "/" CID, UID, UID, "0123456789ab"},
        {"/kubepods/pod" UID "/" CID, UID, UID, "0123456789ab"},
        {"/node1/kubepods/besteffort/pod" UID "/" CID, UID, UID, "0123456789ab"},
        /* kubelet, systemd driver */
        {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
         ".slice/cri-containerd-" CID ".scope",
         UID, UID, "0123456789ab"},
        {"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" CID ".scope", UID, UID, "0123456789ab"},
        /* engines without Kubernetes */
        {"/system.slice/docker-" CID ".scope", "0123456789ab", "", "0123456789ab"},
        {"/docker/" CID, "0123456789ab", "", "0123456789ab"},
        {"/machine.slice/libpod-" CID ".scope/container", "0123456789ab", "", "0123456789ab"},
        /* systemd */
        {"/system.slice/nginx.service", "nginx.service", "", ""},
        {"/system.slice/nginx.service/worker", "nginx.service", "", ""},
        {"/user.slice/user-1000.slice/user@1000.service/app.slice/app-code.scope", "app-code.scope",
         "", ""},
        /* none of these */
        {"/lab/pods/web", "web", "", ""},
        {"/", "", "", ""},
        {"", "", "", ""},
        {"/kubepods", "kubepods", "", ""},
        {"/lab/podium", "podium", "", ""},
        /* lectr-agent run: named for the command */
        {"/lectr-run/node-4711-2", "node", "", ""},
        {"/lab/lectr-run/python3.11-4711-2/sub", "python3.11", "", ""},
        {"/system.slice/nginx.service/lectr-run-node-4711-2", "node", "", ""},
        {"/kubepods/pod" UID "/" CID "/lectr-run-node-4711-2", "node", UID, "0123456789ab"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct caller c;

        memset(&c, 'x', sizeof(c));
        identity_parse_cgroup(rows[i].path, &c);
        if (strcmp(c.owner, rows[i].owner) != 0 || strcmp(c.pod, rows[i].pod) != 0 ||
            strcmp(c.container, rows[i].container) != 0)
            fail_msg("%s: owner '%s' pod '%s' container '%s'", rows[i].path, c.owner, c.pod,
                     c.container);
    }
}

static void feed(struct identity_env *env, const char *bytes, size_t len, size_t piece)
{
    memset(env, 0, sizeof(*env));
    for (size_t at = 0; at < len; at += piece)
        identity_env_feed(env, slice_of(bytes + at, len - at < piece ? len - at : piece));
    identity_env_end(env);
}

static void environment_in_any_pieces(void **state)
{
    const char env_bytes[] = "PATH=/bin\0NOT_LECTR_FEATURE=no\0LECTR_FEATURE=chat/search\0"
                             "LECTR_FEATURE=second\0LECTR_ORG_KEY=lk_abc";
    struct identity_env env;

    (void)state;
    for (size_t piece = 1; piece <= sizeof(env_bytes); piece++) {
        feed(&env, env_bytes, sizeof(env_bytes) - 1, piece);
        assert_string_equal(env.feature, "chat/search");
        assert_string_equal(env.org_key, "lk_abc");
    }
}

static void environment_oddities(void **state)
{
    char big[4096];
    struct identity_env env;

    (void)state;
    feed(&env, "LECTR_FEATURE=a\nb\x1b[31m\xc3\xa4", 24, 24);
    assert_string_equal(env.feature, "a_b__31m__");
    feed(&env, "LECTR_FEATURE=", 14, 14);
    assert_string_equal(env.feature, "");
    /* Too long: no part of it is taken, and what follows is read again. */
    memset(big, 'v', sizeof(big));
    memcpy(big, "LECTR_ORG_KEY=", 14);
    big[3000] = '\0';
    memcpy(big + 3001, "LECTR_FEATURE=f", 16);
    feed(&env, big, 3017, 100);
    assert_string_equal(env.org_key, "");
    assert_string_equal(env.feature, "f");
    /* A long feature is cut. */
    memset(big, 'v', sizeof(big));
    memcpy(big, "LECTR_FEATURE=", 14);
    feed(&env, big, 200, 200);
    assert_int_equal(strlen(env.feature), sizeof(env.feature) - 1);
}

/* A child with the variables set, that waits to be looked at. */
static pid_t start_child(const char *key)
{
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        char var[128];
        char *env[] = {var, (char[]){"LECTR_FEATURE=unit"}, NULL};
        char *argv[] = {(char[]){"sleep"}, (char[]){"60"}, NULL};

        snprintf(var, sizeof(var), "LECTR_ORG_KEY=%s", key);
        execve("/bin/sleep", argv, env);
        _exit(1);
    }
    close(ready[1]);
    /* Closed by exec. */
    assert_int_equal(read(ready[0], &byte, 1), 0);
    close(ready[0]);
    return pid;
}

static void a_living_process_and_a_gone_one(void **state)
{
    /* sha256("lk_secret") */
    struct config_org_key keys[] = {
        {(char[]){"other"},
         (char[]){"0000000000000000000000000000000000000000000000000000000000000000"}},
        {(char[]){"search-team"},
         (char[]){"f50384FCDF9e2ecf57f26ac52e9c9dd8f0f9e4d9b2a2f1a3e6a5d9f55c7fd6aa"}},
    };
    struct config config = {.org_keys = keys, .org_keys_count = 2};
    struct identity *id = NULL;
    struct caller c;
    pid_t pid = start_child("lk_secret");
    char hex[65];
    FILE *f = popen("printf lk_secret | sha256sum", "r");

    (void)state;
    assert_non_null(f);
    assert_int_equal(fread(hex, 1, 64, f), 64);
    pclose(f);
    hex[64] = '\0';
    memcpy(keys[1].sha256, hex, 65);
    assert_int_equal(identity_new(&config, "/nowhere", &id), 0);
    identity_resolve(id, 0, 9, (uint32_t)pid, 1000, &c);
    assert_string_equal(c.process, "sleep");
    assert_string_equal(c.feature_env, "unit");
    assert_string_equal(c.org, "search-team");
    assert_int_equal(c.netns_cookie, 9);
    assert_int_equal(c.uid, 1000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    /* It is still known who that was. */
    identity_resolve(id, 0, 9, (uint32_t)pid, 1000, &c);
    assert_string_equal(c.process, "sleep");
    assert_string_equal(c.feature_env, "unit");
    /* Nobody is known as nobody. */
    identity_resolve(id, 12345678, 9, 0, 0, &c);
    assert_string_equal(c.process, "");
    assert_string_equal(c.cgroup, "");
    identity_free(&id);

    pid = start_child("another");
    assert_int_equal(identity_new(&config, "/nowhere", &id), 0);
    identity_resolve(id, 0, 9, (uint32_t)pid, 1000, &c);
    assert_string_equal(c.org, "");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    identity_free(&id);
}

/* The command keeps its number, its start and its name; only the environment is another. */
static void an_exec_of_the_same_command(void **state)
{
    struct config config = {0};
    struct identity *id = NULL;
    struct caller c;
    siginfo_t info;
    int ready[2];
    char byte;
    pid_t pid;

    (void)state;
    assert_int_equal(identity_new(&config, "/nowhere", &id), 0);
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        char script[96];
        char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, script, NULL};
        char *env[] = {(char[]){"LECTR_FEATURE=first"}, (char[]){"PATH=/bin:/usr/bin"}, NULL};

        dup2(ready[1], 9);
        snprintf(
            script, sizeof(script),
            "echo >&9; kill -STOP $$; LECTR_FEATURE=second exec sh -c 'echo >&9; kill -STOP $$'");
        execve("/bin/sh", argv, env);
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    identity_resolve(id, 0, 9, (uint32_t)pid, 0, &c);
    assert_string_equal(c.process, "sh");
    assert_string_equal(c.feature_env, "first");
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
    kill(pid, SIGCONT);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    identity_resolve(id, 0, 9, (uint32_t)pid, 0, &c);
    assert_string_equal(c.process, "sh");
    assert_string_equal(c.feature_env, "second");
    kill(pid, SIGKILL);
    /* Ended, and nobody asked yet how: it is what it was. */
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    identity_resolve(id, 0, 9, (uint32_t)pid, 0, &c);
    assert_string_equal(c.feature_env, "second");
    waitpid(pid, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    identity_free(&id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cgroup_paths),
        cmocka_unit_test(environment_in_any_pieces),
        cmocka_unit_test(environment_oddities),
        cmocka_unit_test(a_living_process_and_a_gone_one),
        cmocka_unit_test(an_exec_of_the_same_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
