#include "proto/event.h"
#include <nats/nats.h>
