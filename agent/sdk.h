/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client library says of itself in a request's headers: who it is, which
 * attempt this is, and which call it belongs to. Pure.
 */
#pragma once

#include "proto/base/slice.h"

#include <stdint.h>

/*
 * user-agent (or x-goog-api-client) -> "name/version", or "name": the first
 * product that is no browser's or runtime's, else the first. Version words
 * apart from their name are joined to it, further slashes become '-':
 *   OpenAI/JS 5.1.0  OpenAI-JS/5.1.0      Faraday v2.14.3      Faraday/2.14.3
 *   ai-sdk/openai/4  ai-sdk-openai/4      Python/3.11 aiohttp/3.8.4  aiohttp/3.8.4
 * Returns false, with a text, where there is only a runtime's name.
 */
bool sdk_name(struct slice user_agent, char *ret_name, size_t size);

/* "…attempt=2; max=3" (amz-sdk-request); 0: it does not say. */
uint32_t sdk_attempt(struct slice value);

/* Whether a header's value can stand in an event as an id: 1 to 64 letters,
 * digits, '-', '_', '.'. */
bool sdk_is_id(struct slice value);
