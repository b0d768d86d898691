# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For e2e scripts: the programs of proto/examples as somebody outside the tree would have them.
#
#   subscribers_init                     makes them; `languages` are those that can be run
#   subscriber LANGUAGE PROGRAM WORDS…   runs one; its errors go to $log/LANGUAGE-PROGRAM

subscribers_init() {
    local name programs=$tmp/programs
    mkdir -p "$programs" "$tmp/bin" "$B/go" "$tmp/go/src/lectr.example"
    cp -r "$top/proto" "$programs"
    ln -s "$top/tests/harness/node_modules" "$programs/node_modules"
    cp "$proto_dir/lectr_pb2.py" "$programs/proto/examples/python"
    cp -r "$top/proto/examples/go" "$tmp/go/src/lectr.example/subscribers"
    languages=(node python)
    if [ ! -d /usr/share/gocode/src/github.com/nats-io/nats.go ] || ! command -v go >/dev/null; then
        skip "go: golang-go and golang-github-nats-io-go-nats-dev are not installed"
    elif subscribers_build_go >"$log/go" 2>&1; then
        languages+=(go)
    else
        not_ok "the Go programs are not built: $(tail -n 3 "$log/go")"
    fi
}

# Debian has the libraries as sources; the modules' proxy is not asked.
subscribers_build_go() {
    (
        export GO111MODULE=off GOPATH=$tmp/go:/usr/share/gocode GOCACHE=$B/go/cache GOFLAGS=
        go build -o "$B/go/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go &&
            PATH=$B/go:$PATH protoc -I "$top/proto" --go_out="$tmp/go/src/lectr.example/subscribers" \
                --go_opt=module=lectr.example/subscribers \
                --go_opt=Mlectr.proto=lectr.example/subscribers/lectrpb lectr.proto || exit
        for name in cost rollups alerts; do
            go vet "lectr.example/subscribers/$name" &&
                go build -o "$tmp/bin/$name" "lectr.example/subscribers/$name" || exit
        done
    )
}

subscriber() {
    local language=$1 program=$2
    shift 2
    case $language in
    node) timeout 60 node "$tmp/programs/proto/examples/node/$program.mjs" "$@" ;;
    python) PYTHONDONTWRITEBYTECODE=1 timeout 60 /usr/bin/python3 "$tmp/programs/proto/examples/python/$program.py" "$@" ;;
    go) timeout 60 "$tmp/bin/$program" "$@" ;;
    esac 2>>"$log/$language-$program"
}
