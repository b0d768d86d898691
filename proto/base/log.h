/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON lines on stderr: {"time":…,"level":…,"component":…,"msg":…,<fields>}.
 * Only coordinators and main programs log; stages and proto/ do not.
 * Never pass content, header values, paths with a query or keys.
 */
#pragma once

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL__COUNT,
};

/* Returns -EINVAL for an unknown name. */
int log_level_parse(const char *name, enum log_level *ret_level);
void log_setup(const char *component, enum log_level max_level);

/* `fields` is a printf format of `key=value` pairs divided by spaces; a value
 * with spaces is written last or quoted by the caller. It may be NULL.
 *   log_msg(LOG_LEVEL_INFO, "listening", "netns=%llu port=%u", …) */
void log_msg(enum log_level level, const char *msg, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(msg, ...) log_msg(LOG_LEVEL_ERROR, msg, __VA_ARGS__)
#define log_warn(msg, ...) log_msg(LOG_LEVEL_WARN, msg, __VA_ARGS__)
#define log_info(msg, ...) log_msg(LOG_LEVEL_INFO, msg, __VA_ARGS__)
#define log_debug(msg, ...) log_msg(LOG_LEVEL_DEBUG, msg, __VA_ARGS__)
