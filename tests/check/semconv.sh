#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every field of the wire contract has one row in the table of OpenTelemetry names, no row is of a
# field that there is not, and every gen_ai name is one of the conventions'.
source "$(dirname "$0")/prove.bash"

# Attributes and metrics that are not deprecated, of schema gen-ai/1.42.0.
conventions='operation.name provider.name request.model request.stream request.max_tokens
response.model response.id response.finish_reasons response.time_to_first_chunk output.type
token.type usage.input_tokens usage.output_tokens usage.cache_read.input_tokens
usage.cache_creation.input_tokens usage.reasoning.output_tokens client.token.usage
client.operation.duration client.operation.time_to_first_chunk client.operation.time_per_output_chunk'

# "Message.field" of each field, nested messages as Outer.Inner; enums are no fields.
fields() {
    awk '{ sub(/\/\/.*/, "") }
        /^[ \t]*(message|enum|oneof)[ \t]/ { depth++; name[depth] = $1 == "message" ? $2 : ""; next }
        /^[ \t]*}/ { depth--; next }
        /^[ \t]*(optional|repeated|required)[ \t]/ {
            path = ""
            for (i = 1; i <= depth; i++)
                if (name[i] != "") path = path name[i] "."
            print path $3
        }' proto/lectr.proto
}

rows() { sed -nE 's/^\| `([A-Z][A-Za-z]*(\.[A-Za-z_0-9]+)+)` \|.*/\1/p' proto/semconv.md; }

find_breaches() {
    local line
    comm -23 <(fields | sort) <(rows | sort -u) | sed 's,.*,proto/semconv.md:1: no row for &,'
    comm -13 <(fields | sort) <(rows | sort -u) | sed 's,.*,proto/semconv.md:1: a row for &\, which is no field,'
    rows | sort | uniq -d | sed 's,.*,proto/semconv.md:1: two rows for &,'
    awk -F' *[|] *' '/^\| `[A-Z]/ && $3 == "" { print "proto/semconv.md:" NR ": no name for " $2 }' proto/semconv.md
    grep -noE 'gen_ai\.[a-z_.]+[a-z]' proto/semconv.md | sort -u | while IFS=: read -r line name; do
        grep -qwF -- "${name#gen_ai.}" <<<"${conventions//$'\n'/ }" ||
            [ "$name" = gen_ai.usage ] || echo "proto/semconv.md:$line: $name is no name of the conventions"
    done
}

prove semconv
