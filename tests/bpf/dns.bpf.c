/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The very programs of the agent, with a skeleton of their own. */
#include "bpf/lectr.bpf.c"
