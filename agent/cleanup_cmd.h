/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct config;

/* `lectr-agent cleanup`: removes what a daemon leaves behind (pins, the BPF
 * file system if it was mounted for them, cgroups of commands, the control
 * socket) and says what it removed. Refuses while a daemon runs. The spool is
 * kept: it may hold events. Returns the process's exit code. */
int cleanup_main(const struct config *config);
