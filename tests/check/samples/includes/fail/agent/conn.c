#include "collector/rollup.h"
#include "bpf/maps.bpf.h"
#include "proto/lectr.pb-c.h"
#include <uv.h>
#include <glib.h>
