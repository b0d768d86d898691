#include "proto/base/clock.h"
