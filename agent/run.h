/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `lectr-agent run [--feature NAME] [-c FILE] -- CMD…`: asks the running agent
 * to capture this process, sets the trust variables that are not set, and
 * becomes CMD. Needs no root. Returns only on failure: an exit code. */
int run_main(int argc, char **argv);
