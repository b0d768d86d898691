#include "agent/meter.h"
