/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lectr-agent daemon`: the privileged side. Attaches the kernel's programs,
 * serves namespaces, tells who is calling, counts, and keeps a proxy running.
 */
#pragma once

struct config;

/* Runs until SIGTERM or SIGINT. Returns the process's exit code. `config_path`
 * (may be NULL) is handed to the proxy. */
int helper_main(const struct config *config, const char *config_path);
