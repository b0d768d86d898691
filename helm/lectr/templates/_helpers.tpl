{{- define "lectr.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "lectr.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if contains (include "lectr.name" .) .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "lectr.name" .) | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "lectr.selector" -}}
app.kubernetes.io/name: {{ include "lectr.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "lectr.labels" -}}
{{ include "lectr.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "lectr.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "lectr.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "lectr.image" -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}

{{- /* How one of the programs (.of: its values) connects, with the files of natsSources. */ -}}
{{- define "lectr.natsConfig" -}}
url: {{ .root.Values.nats.url | quote }}
{{- if .root.Values.nats.caSecret.name }}
ca_file: /etc/lectr/nats/ca.crt
{{- end }}
{{- if .of.natsCredsSecret.name }}
creds: /etc/lectr/nats/nats.creds
{{- end }}
{{- if .of.natsNkeySecret.name }}
nkey_seed: /etc/lectr/nats/seed.nk
{{- end }}
{{- if .of.natsTlsSecret }}
cert_file: /etc/lectr/nats/tls.crt
key_file: /etc/lectr/nats/tls.key
{{- end }}
{{- end -}}

{{- define "lectr.secretFile" -}}
{{- if .secret.name }}
- secret: {name: {{ .secret.name }}, items: [{key: {{ .secret.key | quote }}, path: {{ .path }}}]}
{{- end }}
{{- end -}}

{{- /* Sources of a projected volume; empty when there is no secret. */ -}}
{{- define "lectr.natsSources" -}}
{{- include "lectr.secretFile" (dict "secret" .root.Values.nats.caSecret "path" "ca.crt") }}
{{- include "lectr.secretFile" (dict "secret" .of.natsCredsSecret "path" "nats.creds") }}
{{- include "lectr.secretFile" (dict "secret" .of.natsNkeySecret "path" "seed.nk") }}
{{- with .of.natsTlsSecret }}
- secret: {name: {{ . }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
{{- end }}
{{- end -}}

{{- define "lectr.agentConfig" -}}
{{- $nats := dict "root" . "of" .Values.agent -}}
{{- $own := dict
  "org" .Values.org
  "cluster" .Values.cluster
  "capture" (dict "cgroup" "" "consent_netns" .Values.agent.consentNetns)
  "nats" (include "lectr.natsConfig" $nats | fromYaml)
  "metrics" (dict "listen" "0.0.0.0:9463") -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.agent.config)) -}}
{{- end -}}

{{- define "lectr.collectorConfig" -}}
{{- $nats := dict "root" . "of" .Values.collector -}}
{{- $own := dict
  "nats" (include "lectr.natsConfig" $nats | fromYaml)
  "store" (dict "path" "/var/lib/lectr/collector.db")
  "http" (dict "listen" "0.0.0.0:9464") -}}
{{- if .Values.collector.postgres.urlSecret.name }}
{{- $_ := set $own "store" (dict "url_file" "/etc/lectr/database/url") }}
{{- end }}
{{- if .Values.collector.alerting }}
{{- $_ := set $own "alerting" (dict "file" "/etc/lectr/alerting/alerting.yaml") }}
{{- end }}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.collector.config)) -}}
{{- end -}}

{{- /* Not empty: the store is PostgreSQL. */ -}}
{{- define "lectr.isPostgres" -}}
{{- $store := default (dict) .Values.collector.config.store -}}
{{- if or .Values.collector.postgres.urlSecret.name $store.url $store.url_file }}yes{{ end -}}
{{- end -}}

{{- define "lectr.alerting" -}}
{{- if kindIs "string" .Values.collector.alerting -}}
{{- .Values.collector.alerting -}}
{{- else -}}
{{- toYaml .Values.collector.alerting -}}
{{- end -}}
{{- end -}}

{{- define "lectr.scrape" -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ . | quote }}
prometheus.io/path: /metrics
{{- end -}}

{{- /* What values.schema.json cannot say. */ -}}
{{- define "lectr.check" -}}
{{- $c := .Values.collector -}}
{{- $store := default (dict) $c.config.store -}}
{{- $alerting := default (dict) $c.config.alerting -}}
{{- if and $c.postgres.urlSecret.name (or $store.url $store.url_file) -}}
{{- fail "collector.postgres.urlSecret and collector.config.store name a database each: keep one" -}}
{{- end -}}
{{- if and (gt (int $c.replicas) 1) (not (include "lectr.isPostgres" .)) -}}
{{- fail (printf "collector.replicas is %d, but SQLite has one writer: name a PostgreSQL database in collector.postgres.urlSecret, or use 1" (int $c.replicas)) -}}
{{- end -}}
{{- if and $c.persistence.enabled (include "lectr.isPostgres" .) -}}
{{- fail "collector.persistence is the volume of SQLite, and the store is PostgreSQL: set collector.persistence.enabled=false" -}}
{{- end -}}
{{- if and $c.alerting $alerting.file -}}
{{- fail "collector.alerting and collector.config.alerting.file name the rules each: keep one" -}}
{{- end -}}
{{- range $name, $of := dict "agent" .Values.agent "collector" $c -}}
{{- if and $of.natsCredsSecret.name $of.natsNkeySecret.name -}}
{{- fail (printf "%s.natsCredsSecret and natsNkeySecret say who it is each: keep one" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
