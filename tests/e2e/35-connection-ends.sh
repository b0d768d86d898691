#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How connections begin and end: the same through the proxy as without it, on both sides. Without
# BPF: a stand-in for the helper, and a preloaded connect() that does what the hook does.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin connection-ends

[ -x "$B/tests/harness/fake_helper" ] || skip_all "$B/tests/harness/fake_helper is not built"
command -v gcc >/dev/null || skip_all "gcc is not installed"
gcc -std=gnu17 -D_GNU_SOURCE -I"$top" -O1 -shared -fPIC "$top/tests/harness/steer_preload.c" -ldl -o "$tmp/steer.so" || exit 1

# --- a root for the servers, one for Lectr, a namespace for all ----------------------------------
pki=$tmp/pki
mkdir "$pki"
ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
exec 3>&2 2>"$log/pki"
openssl req -x509 "${ec[@]}" -keyout "$pki/root.key" -out "$pki/root.crt" -subj "/CN=test root" -days 2
openssl req -x509 "${ec[@]}" -keyout "$pki/bad.key" -out "$pki/bad.crt" -subj "/CN=api.openai.com" \
    -addext subjectAltName=DNS:api.openai.com -days 2
openssl req "${ec[@]}" -keyout "$pki/good.key" -out "$pki/good.csr" -subj "/CN=api.openai.com"
openssl x509 -req -in "$pki/good.csr" -CA "$pki/root.crt" -CAkey "$pki/root.key" -CAcreateserial \
    -out "$pki/good.crt" -days 2 -extfile <(echo "subjectAltName=DNS:api.openai.com")
exec 2>&3 3>&-
"$B/lectr-agent" ca init --dir "$tmp/ca" --providers "$top/agent/providers" >/dev/null
cat "$pki/root.crt" "$tmp/ca/ca.crt" >"$tmp/trust.crt"
cat >"$tmp/agent.yaml" <<END
state_dir: $tmp/state
run_dir: $tmp/run
tls: {ca_dir: $tmp/ca}
upstream: {ca_file: $pki/root.crt}
nats: {url: "nats://127.0.0.1:9"}
metrics: {listen: "127.0.0.1:9463"}
data: {providers_dir: $top/agent/providers, prices_file: $top/agent/prices.json}
END

background netns unshare -n sleep 600
netns=$started
inside() { nsenter -t "$netns" -n "$@"; }
has_loopback() { inside ip link set lo up && inside ip -o addr show lo | grep -q 127.0.0.1; }
wait_for 5 has_loopback || exit 1
background servers nsenter -t "$netns" -n /usr/bin/python3 "$top/tests/e2e/tools/ends.py" serve "$pki"
wait_for 10 grep -q serving "$log/servers" || exit 1
background helper nsenter -t "$netns" -n "$B/tests/harness/fake_helper" --ring "$tmp/ring" --port 28443 \
    -- "$B/lectr-agent" proxy -c "$tmp/agent.yaml"
check "the proxy is ready" wait_for 20 grep -q '^ready' "$log/helper" || exit 1

ask() { inside timeout 120 "$@" /usr/bin/python3 "$top/tests/e2e/tools/ends.py" ask "$tmp/trust.crt" 2>&1; }
metric() { inside curl -s 127.0.0.1:9463/metrics | awk -v n="$1" '$1 == n { print $2 }'; }
is() { [ "$(metric "$1")" = "$2" ]; }

# --- the same with and without -------------------------------------------------------------------
: >"$log/servers"
ask >"$tmp/without"
sort "$log/servers" >"$tmp/seen-without"
: >"$log/servers"
same "nothing is steered without the preload" 0 "$(metric lectr_agent_connections_accepted_total)"
ask env LD_PRELOAD="$tmp/steer.so" STEER_RING="$tmp/ring" STEER_TO=28443 \
    STEER_PORTS="$(seq -s, 8441 8459)" >"$tmp/with"
sort "$log/servers" >"$tmp/seen-with"
check "every kind was asked for" [ "$(wc -l <"$tmp/without")" = 20 ]
while IFS= read -r line; do
    kind=${line%%:*}
    same "client, $kind" "$line" "$(grep -m1 "^$kind:" "$tmp/with")"
done <"$tmp/without"
while IFS= read -r line; do
    kind=${line%%:*}
    same "server, $kind" "$line" "$(grep -m1 "^$kind:" "$tmp/seen-with")"
done <"$tmp/seen-without"
check "the servers saw ends to compare" [ "$(wc -l <"$tmp/seen-without")" = 3 ]

# --- and every connection has one verdict --------------------------------------------------------
check "nothing is left open" wait_for 10 is lectr_agent_connections_open 0
total=$(metric lectr_agent_connections_accepted_total)
sum=$(inside curl -s 127.0.0.1:9463/metrics | awk '/^lectr_agent_connections_total/ { n += $2 } END { print n }')
same "accepted connections and verdicts agree" "$total" "$sum"
# Four that are no TLS, and an answer that is no HTTP.
for pair in not_http:5 http2_unmetered:1 client_cert:1 upstream_untrusted:1 upstream_tls:2 untrusted_ca:0 overload:0; do
    same "verdict ${pair%:*}" "${pair#*:}" "$(metric "lectr_agent_connections_total{result=\"${pair%:*}\"}")"
done

# --- a name with two addresses, of which the client tried the dead one ----------------------------
# Packets to these two vanish: the neighbour is known and nobody is there.
silent() {
    inside ip link add v0 type veth peer name v1 && inside ip link set v0 up && inside ip link set v1 up &&
        inside ip addr add 198.18.0.1/24 dev v0 && inside ip -6 addr add fd00:18::1/64 dev v0 nodad &&
        inside ip neigh add 198.18.0.9 lladdr 02:00:00:00:00:09 dev v0 nud permanent &&
        inside ip -6 neigh add fd00:18::9 lladdr 02:00:00:00:00:09 dev v0 nud permanent
}
to() { # ADDRESS [VAR=VALUE...]: the status, or how curl failed
    inside env LD_PRELOAD="$tmp/steer.so" STEER_RING="$tmp/ring" STEER_TO=28443 STEER_PORTS=8450 "${@:2}" \
        curl -s --http1.1 --max-time 30 -o /dev/null -w '%{http_code} %{exitcode}' --cacert "$tmp/trust.crt" \
        --resolve "api.openai.com:8450:$1" https://api.openai.com:8450/v1/models
}
check "a network in which packets vanish" silent
for address in 127.0.0.9 198.18.0.9 "[fd00:18::9]"; do
    check "the other address serves when $address does not" [ "$(to "$address" STEER_ALT=127.0.0.1)" = "200 0" ]
done
same "the other address was tried" 3 "$(metric lectr_agent_upstream_other_address_total)"
# Silent at first, the other one refuses: the first has its time all the same.
(sleep 2 && inside ip addr add 198.18.0.9/32 dev lo && inside ip neigh del 198.18.0.9 dev v0) &
said=$(to 198.18.0.9 STEER_ALT=127.0.0.7)
check "back to the first when the other one fails ($said)" [ "${said% *}" = 000 ]
wait "$!"
same "both were tried, and the first again" 5 "$(metric lectr_agent_upstream_other_address_total)"
said=$(to 127.0.0.9) # 7 when the reset is there before curl looks, 35 after
check "no other address: reset as before ($said)" [ "${said% *}" = 000 ]
