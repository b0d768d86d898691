/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML text -> the struct of a libcyaml schema, taken as a whole or refused
 * with line and field. Stricter than libcyaml, which reads "10k" as 10, "010" as
 * 8, "maybe" as true, and stops at a NUL or a second document without a word.
 * Pure.
 */
#pragma once

#include "collector/places.h"

struct cyaml_schema_value;

/* The schema's root is a mapping with CYAML_FLAG_POINTER. `ret_data` is NULL for a
 * text without content. -EINVAL with ret_fault filled, -ENOMEM. */
int yamlread(struct slice text, const struct cyaml_schema_value *schema, struct places **ret_places,
             void **ret_data, struct places_fault *ret_fault) LECTR_MUST_USE;
/* `data` may be NULL. */
void yamlread_free(const struct cyaml_schema_value *schema, void *data);
