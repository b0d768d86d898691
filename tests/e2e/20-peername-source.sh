#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A captured client sees the provider's address as its peer, and the provider sees the pod's.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin peername
command -v tcpdump >/dev/null || skip_all "tcpdump is not installed"

lab_up
stack_init
stack_start nats agent
lab pod add a

# The first connection of a new namespace is another script's matter.
client a www.example.com >/dev/null

# All SYNs that reach the provider side, whatever their source.
background tcpdump nsenter --net="/run/netns/$lab_prefix.inet" tcpdump -i any -n -l --immediate-mode \
    '(ip and tcp port 443 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn) or (ip6 and tcp port 443 and ip6[53] & 0x12 == 2)'
wait_for 5 grep -q 'listening on' "$log/tcpdump"

own4=$(pod_address a)
own6=$(ip -n "$lab_prefix.pod.a" -j -6 addr show eth0 scope global | jq -r '.[0].addr_info[0].local')
for family in 4 6; do
    own=own$family
    for host in api.openai.com api.anthropic.com api.groq.com generativelanguage.googleapis.com; do
        line=$(client a "$host" --family $family)
        column=$((family == 4 ? 2 : 3))
        want=$(awk -v h="$host" -v c=$column '$1 == h { print $c }' "$tmp/lab/$id/hosts")
        same "IPv$family $host: captured" true "$(jq -r .captured <<<"$line")"
        same "IPv$family $host: getpeername()" "$want 443" "$(jq -r '.peer | join(" ")' <<<"$line")"
        same "IPv$family $host: the call succeeded" 200 "$(jq -r .status <<<"$line")"
        sleep 0.3
        seen=$(sed -nE "s/.* IP6? ([0-9a-f.:]+)\.[0-9]+ > ${want//./\\.}\.443: .*/\1/p" "$log/tcpdump" |
            sort -u | tr '\n' ' ')
        same "IPv$family $host: source address at the provider" "${!own} " "$seen"
    done
done
# The agent's own side of the connection is in the pod's namespace, not in the node's.
same "sockets to providers in the node's own namespace" 0 \
    "$(ss -Htan 'dport = :443' | grep -cE '203\.0\.113\.|2001:db8:113:')"
