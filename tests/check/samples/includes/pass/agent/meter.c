#include "agent/http1.h"
#include "proto/base/buf.h"
