/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The only header shared by BPF and user space: keys, values, flags. Fixed
 * widths, host byte order unless a name ends in _be. */
#pragma once

#ifndef __bpf__
#include <stdint.h>
typedef uint8_t __lectr_u8;
#endif

#define LECTR_ABI_VERSION 1
