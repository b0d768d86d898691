#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# TLS stays as strong as it was: a provider's bad certificate fails the client exactly as without
# Lectr; a client that does not trust Lectr's root is let through after one refusal; what is not a
# provider's name, or is HTTP/2, passes untouched; IPv6 as IPv4.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin tls

lab_up
lab pod add direct --no-consent
lab pod add a
stack_init
stack_start nats agent

# The certificate that curl is shown: issuer common name. (A handshake without a request would be
# taken for a refusal.)
issuer_for() { # POD HOST [CA]
    pod "$1" -- curl -sv --http1.1 -o /dev/null --cacert "${3:-$trust}" "https://$2/v1/models" 2>&1 |
        sed -n 's/.* issuer:.*CN=//p'
}

curl_rc() { # POD HOST [curl option...]
    local in=$1 host=$2 rc=0
    shift 2
    pod "$in" -- curl -sS --http1.1 -o /dev/null "$@" "https://$host/v1/models" 2>"$tmp/said" || rc=$?
    echo "$rc $(sed 's/^curl: //;q' "$tmp/said")"
}

# --- the provider's certificate ------------------------------------------------------------------
is_captured() { [[ $(issuer_for "$1" "$2") == Lectr* ]]; }
check "a good certificate: captured" is_captured a api.openai.com
for kind in expired selfsigned wrongname; do
    lab sim POST /certs "{\"api.openai.com\": \"$kind\"}" >/dev/null
    without=$(curl_rc direct api.openai.com)
    with=$(curl_rc a api.openai.com)
    check "$kind: the client fails without Lectr (${without:0:80})" [ "${without%% *}" != 0 ]
    same "$kind: the client fails in the same words with Lectr" "$without" "$with"
    # A client that does not verify gets what it asked for, from the provider's own certificate.
    without=$(curl_rc direct api.openai.com --insecure)
    same "$kind: with verification off, as without Lectr" "$without" "$(curl_rc a api.openai.com --insecure)"
done
wait_for 10 gaps_reach upstream_untrusted 3
check "connections to an untrusted provider are gaps ($(gap_connections upstream_untrusted))" gaps_reach upstream_untrusted 3
lab sim POST /certs '{"api.openai.com": "good"}' >/dev/null
wait_for 20 is_captured a api.openai.com
check "captured again when the certificate is good" is_captured a api.openai.com

# --- a client that does not trust Lectr ------------------------------------------------------------
lab pod add refuses
refuse() { curl_rc refuses api.groq.com --cacert "$lab_trust"; }
first=$(refuse)
second=$(refuse)
check "a client without Lectr's root refuses once (${first:0:60})" [ "${first%% *}" = 60 ]
same "and is let through when it tries again" 0 "${second%% *}"
same "with the provider's own certificate" "Lab Root" "$(issuer_for refuses api.groq.com "$lab_trust")"
wait_for 10 gaps_reach untrusted_ca 1
check "the refusal is an untrusted_ca gap ($(gap_connections untrusted_ca))" gaps_reach untrusted_ca 1
line=$(client a api.groq.com)
same "another workload is captured as before" true "$(jq -r .captured <<<"$line")" || note "$line"

# --- not a provider, though at a provider's address -----------------------------------------------
lab pod add shared
client shared generativelanguage.googleapis.com >"$tmp/google"
same "the provider at the shared address is captured" true "$(jq -r .captured "$tmp/google")"
calls=$(count_events lectr.v1.call)
same "another name at that address keeps its certificate" "Lab Root" "$(issuer_for shared shared.example.com)"
same "and its answers" "$(curl_rc direct shared.example.com)" "$(curl_rc shared shared.example.com)"
same "www.example.com, never steered, keeps its certificate" "Lab Root" "$(issuer_for shared www.example.com)"
sleep 1
same "nothing of it is a call" "$calls" "$(count_events lectr.v1.call)"

# --- HTTP/2 ---------------------------------------------------------------------------------------
h2() { pod a -- "$top/tests/harness/clients/curl-client" --http2 api.openai.com 2>>"$log/curl"; }
line=$(h2)
same "HTTP/2 passes" "true 200 2" "$(jq -r '"\(.ok) \(.status) \(.http_version)"' <<<"$line")" || note "$line"
calls=$(count_events lectr.v1.call)
h2 >/dev/null
check "and is metered" wait_for 10 events_reach lectr.v1.call $((calls + 1))
same "HTTP/2 connections are no gaps" 0 "$(gap_connections http2_unmetered)"

# --- a client certificate is asked for ------------------------------------------------------------
lab pod add mtls
pki=$tmp/lab/$id/pki
lab sim POST /modes '{"api.anthropic.com": "mtls"}' >/dev/null
mtls() { # POD
    pod "$1" -- curl -sS --http1.1 -o /dev/null -w '%{response_code}' --cert "$pki/client.crt" \
        --key "$pki/client.key" -d '{}' https://api.anthropic.com/v1/messages 2>"$tmp/said" || sed 's/^curl: //' "$tmp/said"
}
without=$(mtls direct)
mtls mtls >/dev/null # it may take one connection to learn
same "a provider that asks for a client certificate gets the client's own" "$without" "$(mtls mtls)"
lab sim POST /modes '{}' >/dev/null

# --- IPv6 alone -----------------------------------------------------------------------------------
lab pod add six --family 6
line=$(client six api.openai.com)
same "a pod with IPv6 alone: captured, and the call succeeds" "true 200" "$(jq -r '"\(.captured) \(.status)"' <<<"$line")"
lab pod add four --family 4
line=$(client four api.openai.com)
same "a pod with IPv4 alone: captured, and the call succeeds" "true 200" "$(jq -r '"\(.captured) \(.status)"' <<<"$line")"
# IPv6 has no route here: the client must learn it as without Lectr, and fall back.
line=$(pod four -- curl -sS -6 -o /dev/null https://api.openai.com/ 2>&1 | sed 's/ after [0-9]* ms//')
note "IPv6 from a pod without it: $line"
line=$(pod four -- curl -sS -o /dev/null -w '%{remote_ip}' -d '{"model":"gpt-4o-mini","messages":[]}' https://api.openai.com/v1/chat/completions)
same "a client that tries both families falls back to IPv4" 203.0.113.10 "$line"
