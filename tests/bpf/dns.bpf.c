/* SPDX-License-Identifier: Apache-2.0 */
/* The very programs of the agent, with a skeleton of their own. */
#include "bpf/lectr.bpf.c"
