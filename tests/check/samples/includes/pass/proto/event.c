#include "proto/base/buf.h"
#include "proto/lectr.pb-c.h"
#include <protobuf-c/protobuf-c.h>
