#include "agent/meter.h"
#include <openssl/ssl.h>
#include "meter.h"
