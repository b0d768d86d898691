/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct config;

/* `lectr-agent providers`: one line a profile with its hosts. Exit status. */
int providers_main(const struct config *config);
