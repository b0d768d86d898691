# SPDX-License-Identifier: Apache-2.0
# Reads "file:line:#include …" lines; the tables come from includes.sh.

function breach(what) {
    print file ":" line ": " what
}

function stem(path) {
    sub(/^.*\//, "", path)
    sub(/\.[^.]*$/, "", path)
    return path
}

function quoted(header,   l) {
    if (header !~ /\//) {
        if (file !~ /^bpf\// || header != "vmlinux.h")
            breach("\"" header "\" is not written from the repository root")
        return
    }
    for (l = 1; l <= layer_count; l++) {
        if (index(file, layer_dir[l] "/") != 1)
            continue
        if (header !~ layer_may[l])
            breach(layer_dir[l] "/ may not include \"" header "\"")
        break
    }
    if (header == "proto/lectr.pb-c.h" && file !~ ENVIRON["contract"])
        breach("only what makes or reads events includes the generated contract")
    stage(header)
}

function stage(header,   dir, mine, theirs) {
    dir = file
    sub(/\/.*$/, "", dir)
    if (file ~ /\/.*\// || header !~ "^" dir "/[^/]*$")
        return
    mine = position[dir "/" stem(file)]
    theirs = position[dir "/" stem(header)]
    if (mine && theirs > mine)
        breach("stage " stem(file) " includes \"" header "\", which is downstream of it")
}

function angled(header,   o) {
    for (o = 1; o <= owner_count; o++) {
        if (header ~ owner_header[o]) {
            if (file !~ owner_files[o] && file !~ /^tests\//)
                breach("<" header "> belongs to other files")
            return
        }
    }
    if (header !~ ENVIRON["system"])
        breach("<" header "> has no owner; name one in tests/check/includes.sh")
}

BEGIN {
    n = split(ENVIRON["layers"], lines, "\n")
    for (i = 1; i <= n; i++)
        if (split(lines[i], words, " ") == 2) {
            layer_dir[++layer_count] = words[1]
            layer_may[layer_count] = words[2]
        }
    n = split(ENVIRON["flows"], lines, "\n")
    for (i = 1; i <= n; i++) {
        count = split(lines[i], words, " ")
        for (k = 2; k <= count; k++)
            position[words[1] "/" words[k]] = k
    }
    n = split(ENVIRON["owners"], lines, "\n")
    for (i = 1; i <= n; i++)
        if (split(lines[i], words, " ") == 2) {
            owner_header[++owner_count] = words[1]
            owner_files[owner_count] = words[2]
        }
}

{
    split($0, part, ":")
    file = part[1]
    line = part[2]
    if (match($0, /"[^"]+"/))
        quoted(substr($0, RSTART + 1, RLENGTH - 2))
    else if (match($0, /<[^>]+>/))
        angled(substr($0, RSTART + 1, RLENGTH - 2))
}
