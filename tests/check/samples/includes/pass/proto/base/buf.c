/* s */
#include "proto/base/buf.h"
#include <stdint.h>
