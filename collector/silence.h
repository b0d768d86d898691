/* SPDX-License-Identifier: Apache-2.0 */
/* When nobody wants to hear of it: the silences of the file and of the store, as one list. Pure. */
#pragma once

#include "collector/alerting.h"
#include "proto/base/cleanup.h"

#define SILENCES_MAX 4096

struct silences;

int silences_new(struct silences **ret_silences) LECTR_MUST_USE;
void silences_free(struct silences **silences);
void silences_clear(struct silences *s);
/* Copied; "" in a name is any. -ENOSPC beyond SILENCES_MAX, -ENOMEM. */
int silences_add(struct silences *s, const char *id,
                 const struct alerting_silence *silence) LECTR_MUST_USE;
unsigned silences_count(const struct silences *s);

/* The id of a silence that covers the alert at that time; NULL: none. A planned one comes
 * before others. */
const char *silences_find(const struct silences *s, const struct alerting_scope *scope,
                          int64_t at_s, bool *ret_is_planned);
/* Was that time planned for this traffic? Of silences that name no rule and no severity:
 * those are about alerts, not about traffic. */
bool silences_is_planned(const struct silences *s, const struct alerting_scope *scope,
                         int64_t at_s);
