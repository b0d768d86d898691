/* SPDX-License-Identifier: Apache-2.0 */
/* `lectr-agent ca`: makes the name-constrained authority, shows it. */
#pragma once

/* argv[0] is "ca". Returns the process's exit code. */
int ca_main(int argc, char **argv);
