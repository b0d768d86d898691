/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unprivileged process: accepts steered connections, meters, publishes.
 * Started by the helper with its socket as descriptor IPC_FD. Reads the CA as
 * root, then gives up everything and lives off descriptors it is passed.
 */
#pragma once

struct config;

/* Returns the process's exit code: 0 after a drain, 1 when it could not start. */
int proxy_main(const struct config *config);
