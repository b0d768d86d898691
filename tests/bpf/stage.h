/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage of the tests that attach the programs: this very process puts itself
 * into a cgroup and a network namespace of its own and plays all parts: resolver,
 * client, provider and agent. Needs root; leaves nothing behind.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/capture.h"
#include "agent/config.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#define PROVIDER_IP "198.51.100.7"
#define GENERATION 3
#define CLEAR_PORT 11434 /* the provider speaks HTTP in clear there */

struct provider_set {
    int unused;
};

extern struct stage {
    char cgroup[256], bpffs[64], home[256];
    uint16_t ports[1];
    char mode[16];
    struct config config;
    struct provider_set providers;
    struct capture *capture;
    uint64_t cookie, cgroup_id;
    int agent4, agent6; /* the agent's listeners */
    uint16_t agent_port4, agent_port6;
    int provider; /* what is reached when nobody steers */
} st;

struct result {
    bool steered, direct;
    char peer[64];
    uint16_t local_port;
};

struct counts {
    uint64_t of[LECTR_VERDICT__COUNT];
    char provider[32];
};

void keep_alive(void);
/* The agent comes and goes; set_up() has opened it. */
void open_agent(void);
void close_agent(void);
/* A resolver's answer, as this namespace's clients receive it. */
void resolve(const char *name, const char *ip);
void note_peer(int fd, struct result *r);
/* Connects a socket (closed) and tells where it arrived. */
struct result connect_fd(int fd, const void *addr, socklen_t size);
struct result connect_out(void);
struct counts counts(void);
/* One connection, which must get this verdict, and be counted so. */
void expect(enum lectr_verdict verdict);
int listen_at(const char *ip, uint16_t port);
struct sockaddr_in at4(const char *ip, uint16_t port);
/* -errno: there is no cgroup2 tree, or no right to it. */
int build_stage(void);
void strike_stage(void);
int set_up(void **state);
int tear_down(void **state);
