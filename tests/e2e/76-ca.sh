#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A provider's host that came with newer profiles: outside the authority's constraints, told by
# doctor and passed on as outside_ca, until `ca extend` makes the next root. Clients that know only
# the present root go on as before; `ca rotate --finish` ends it.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin ca

lab_up
for name in old new; do lab pod add $name; done
stack_init
ca_dir=$tmp/stack/ca
agent() { "$B/lectr-agent" "$@" -c "$agent_config"; }
doctor_says() { agent doctor 2>&1 | grep -q "$1"; }
ca() { "$B/lectr-agent" ca "$@" --dir "$ca_dir" --providers "$profiles" >"$tmp/said" 2>&1; }
restart() {
    stack stop agent
    stack_start agent
}
# The bundle of this moment, and the lab's root in the place of the system's.
keep_trust() { cat "$ca_dir/ca.crt" "$ca_dir"/next/ca.crt "$lab_trust" >"$tmp/$1.pem" 2>/dev/null || true; }
call() { trust=$tmp/$1.pem client "$1" "$2" | jq -r '"\(.status) \(.captured)"'; }

stack_start nats agent
keep_trust old
check "doctor: every host is permitted" doctor_says 'ok.*within the authority'
same "before: captured" "200 true" "$(call old api.openai.com)"

# --- newer profiles -----------------------------------------------------------------------------
mkdir "$tmp/providers"
cat >"$tmp/providers/labai.yaml" <<EOF
providers:
  - name: labai
    like: openai
    hosts: [www.example.com]
EOF
profiles=$(sed -n 's/^  providers_dir: //p' "$agent_config"):$tmp/providers
sed -i "s|^  providers_dir: .*|  providers_dir: $profiles|" "$agent_config"
restart
check "doctor tells of the host outside, and what to do" doctor_says 'outside.*www.example.com'
check "and that ca extend helps" doctor_says 'lectr-agent ca extend'
client old www.example.com >"$tmp/line" # status 404: the simulator has no such recording
same "the new host is passed on" false "$(jq -r .captured "$tmp/line")"
wait_for 10 gaps_reach outside_ca 1
same "and told as outside_ca" 1 "$(gap_connections outside_ca)"

# --- extend --------------------------------------------------------------------------------------
check "ca extend" ca extend || sed 's/^/# /' "$tmp/said"
check "doctor: every host is permitted" doctor_says 'ok.*within the authority'
restart
keep_trust new
captured() { [ "$(trust=$tmp/$1.pem client "$1" www.example.com | jq -r .captured)" = true ]; }
check "the new host is captured where the new bundle is" captured new
same "and the others too" "200 true" "$(call new api.openai.com)"
same "a client with the bundle before is captured as before" "200 true" "$(call old api.openai.com)"
trust=$tmp/old.pem client old www.example.com >"$tmp/line"
check "for the new host it refuses once" holds '.error == "SSLCertVerificationError"' <"$tmp/line"
trust=$tmp/old.pem client old www.example.com >"$tmp/line"
same "and is passed on then" "false" "$(jq -r .captured "$tmp/line")"
check "extend again: nothing to do" ca extend
check "rotate: one is under way" eval '! ca rotate && grep -q "rotate --finish" "$tmp/said"'

# --- finish ---------------------------------------------------------------------------------------
check "ca rotate --finish" ca rotate --finish || sed 's/^/# /' "$tmp/said"
restart
same "the new bundle is enough" "200 true" "$(call new api.openai.com)"
check "for the new host as well" captured new
keep_trust after
cp "$tmp/after.pem" "$tmp/new.pem"
same "so is the one of now" "200 true" "$(call new api.openai.com)"

# --- rotate ----------------------------------------------------------------------------------------
check "ca rotate, without anything new" ca rotate
restart
same "while it is under way: captured" "200 true" "$(call new api.openai.com)"
check "what lectr-agent run trusts knows both roots" eval \
    '[ "$(grep -c "BEGIN CERT" "$ca_dir/bundle.crt")" -ge 2 ] && openssl verify -CAfile "$ca_dir/bundle.crt" \
    "$ca_dir/intermediate.crt" "$ca_dir/next/intermediate.crt" >/dev/null'
