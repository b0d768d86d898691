/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is calling, as the helper resolved it from (pid, cgroup, netns). Plain
 * data that crosses the helper/proxy socket as it is: fixed size, no pointers.
 */
#pragma once

#include <stdint.h>

struct caller {
    uint64_t cgroup_id;
    uint64_t netns_cookie;
    uint32_t pid;
    uint32_t uid;
    char process[16];        /* comm */
    char cgroup[256];        /* path below the cgroup2 root */
    char owner[128];         /* unit, container owner or last cgroup component */
    char namespace_name[64]; /* Kubernetes; empty outside */
    char pod[128];
    char container[128];
    char feature_env[96]; /* LECTR_FEATURE of the process, sanitised */
    char feature_pod[96]; /* lectr.dev/feature; empty outside Kubernetes */
    char org[64];         /* from LECTR_ORG_KEY's hash; empty: the configured one */
};
