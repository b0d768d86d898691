/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct config;

/* `lectr-agent doctor`: each requirement with what was found, and the remedy
 * where it is not met. Exit code 1 if something is missing that the agent
 * cannot do without. */
int doctor_main(const struct config *config);
