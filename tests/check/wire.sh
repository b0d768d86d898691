#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What proto/wire.txt promises is kept by lectr.proto: every field with its number, label and type,
# every value of an enum, every subject. New ones are free to come; once they are promised they have
# a line in wire.txt, and no number means two things. `wire.sh --print` writes the list of the tree
# as it is: its new lines are what a release adds.
[ "${1:-}" = --print ] || source "$(dirname "$0")/prove.bash"

# One line for each thing on the wire, as it stands in lectr.proto.
wire() {
    awk '/^\/\/   lectr\.v1\./ { print "subject " $2 }
        { sub(/\/\/.*/, "") }
        /^package / { sub(/;/, ""); print "package " $2 }
        /^[ \t]*(message|enum|oneof)[ \t]/ { depth++; name[depth] = $2; is_enum[depth] = $1 == "enum"; next }
        /^[ \t]*}/ { depth--; next }
        !depth || !/=/ { next }
        {
            path = ""
            for (i = 1; i <= depth; i++) path = path name[i] "."
            line = $0
            gsub(/[=;\[]/, " ", line)
            n = split(line, word, " ")
            if (is_enum[depth]) print "value " path word[1] " " word[2]
            else print "field " path word[3] " " word[4] " " word[1] " " word[2] (line ~ /packed/ ? " packed" : "")
        }' proto/lectr.proto
}

find_breaches() {
    local key
    comm -23 <(sort -u proto/wire.txt) <(wire | sort -u) | grep -v '^#' | sed 's,.*,proto/wire.txt:1: broken: &,'
    # A number that is used twice in one message or enum.
    wire | awk '$1 != "subject" && $1 != "package" {
            message = $2
            sub(/\.[^.]*$/, "", message)
            if (used[message " " $3]++) print "proto/lectr.proto:1: number " $3 " of " message " is used twice"
        }'
    for key in package subject field value; do
        grep -q "^$key " proto/wire.txt || echo "proto/wire.txt:1: promises no $key"
    done
}

if [ "${1:-}" = --print ]; then
    cd "$(dirname "$0")/../.." && wire
else
    prove wire
fi
