/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML file -> a C struct by a libcyaml schema, with what libcyaml does not
 * keep: the line of every key (for checks made afterwards) and which keys were
 * given at all. Aliases, repeated keys and second documents are refused.
 *
 * Limits: YAMLDOC_FILE_MAX_BYTES, YAMLDOC_KEYS_MAX keys, YAMLDOC_DEPTH_MAX levels.
 */
#pragma once

#include "proto/base/cleanup.h"

#include <stdbool.h>

#define YAMLDOC_FILE_MAX_BYTES (1024 * 1024)
#define YAMLDOC_KEYS_MAX 4096
#define YAMLDOC_DEPTH_MAX 16
#define YAMLDOC_FIELD_MAX 160

struct cyaml_schema_value;
struct yamldoc;

/* What is wrong, and where. `field` is a path as in "capture.ports[1]", empty
 * when the whole file is meant; `line` counts from 1, 0 when there is none. */
struct yaml_fault {
    unsigned line;
    char field[YAMLDOC_FIELD_MAX];
    char problem[256];
    bool wrong_value; /* the key is known, its value is not of the right kind */
};

/* Loads `path` by `schema` (a mapping with CYAML_FLAG_POINTER). *ret_data is
 * NULL for a file without content; else it is the caller's, to be released by
 * yamldoc_free_data(). -EINVAL: refused; another -errno: could not be read.
 * ret_fault is filled on failure, the other outputs are untouched then. */
int yamldoc_load(const char *path, const struct cyaml_schema_value *schema, void **ret_data,
                 struct yamldoc **ret_doc, struct yaml_fault *ret_fault) LECTR_MUST_USE;
void yamldoc_free(struct yamldoc **doc);
/* Also for a struct made with calloc() and strdup(). NULL-safe. */
void yamldoc_free_data(const struct cyaml_schema_value *schema, void *data);

/* The line of a key or sequence entry, 0 when the file has none such. */
unsigned yamldoc_line(const struct yamldoc *doc, const char *field);
