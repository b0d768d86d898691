#include <bpf/libbpf.h>
#include "bpf/lectr.skel.h"
