/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `lectr-agent prices check|update [-c CONFIG] [FILE]`; argv[0] is "prices".
 * check: reads the price table and the supplement beside it, says what is in
 * them and what has no price. update: fetches the newest prices with node and
 * npm, checks them, and only then replaces FILE; the supplement is kept.
 * FILE is the settings' data.prices_file unless named. Exit status. */
int prices_main(int argc, char **argv);
