#include "collector/rollup.h"
