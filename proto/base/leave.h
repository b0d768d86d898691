/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the end of a program, once all that matters is kept: the NATS library can wait for a
 * thread of its own for ever when a connection that was made anew is destroyed (seen with
 * 3.4.1).
 */
#pragma once

/* From now on the process has so long to end by itself; then it ends with `status`, and says
 * so. Without memory for a thread nothing happens. */
void leave_within(unsigned seconds, int status);
