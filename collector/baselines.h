/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lectr-collector baselines: what would be told of each series now, quiet ones too, from
 * the newest snapshot in the store: silence must not look like safety.
 */
#pragma once

#include "collector/config.h"

#include <stdio.h>

/* `format`: NULL or "text", "json": one object a line. What main() returns; mistakes are
 * told on stderr. */
int baselines_run(const struct config *config, const char *format, FILE *out);
