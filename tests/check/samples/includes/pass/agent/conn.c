#include "agent/meter.h"
#include "agent/http1.h"
#include "agent/publish.h"
#include "bpf/abi.h"
