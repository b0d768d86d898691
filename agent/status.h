/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct config;

/* `lectr-agent status`: what the running agent says of itself. Exit status: 0
 * running and ready, 1 not ready, 3 not running. */
int status_main(const struct config *config);
