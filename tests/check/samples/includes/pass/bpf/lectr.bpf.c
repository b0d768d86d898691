#include "vmlinux.h"
#include "bpf/abi.h"
#include <bpf/bpf_helpers.h>
