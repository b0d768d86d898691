/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Lectr's kernel side, a contents page. Programs see only the cgroup that they
 * are attached to, and what lies below it.
 *
 *   abi.h          what user space shares
 *   maps.bpf.h     every map: why, who writes, what when full
 *   compat.bpf.h   kernel differences
 *   steer.bpf.h    the decision, pure
 *   census.bpf.h   counts what was seen and what became of it
 *   dns.bpf.h      learns the addresses of providers from DNS answers
 *   connect.bpf.h  connect4/6: steers
 *   origdst.bpf.h  where a steered connection was going
 *
 * The programs of census and dns are pinned, they alter nothing; those of
 * connect and origdst go away with the helper.
 */
#include "bpf/vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

#include "bpf/maps.bpf.h"
#include "bpf/compat.bpf.h"
#include "bpf/steer.bpf.h"
#include "bpf/census.bpf.h"
#include "bpf/dns.bpf.h"
#include "bpf/connect.bpf.h"
#include "bpf/origdst.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";
