#include "agent/call.h"
#include "bpf/abi.h"
#include "collector/alert.h"
