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

{{- define "lectr.agentConfig" -}}
{{- $own := dict
  "org" .Values.org
  "cluster" .Values.cluster
  "capture" (dict "cgroup" "" "consent_netns" .Values.agent.consentNetns)
  "nats" (dict "url" .Values.nats.url)
  "metrics" (dict "listen" "0.0.0.0:9463") -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.agent.config)) -}}
{{- end -}}

{{- define "lectr.collectorConfig" -}}
{{- $own := dict
  "nats" (dict "url" .Values.nats.url)
  "store" (dict "path" "/var/lib/lectr/collector.db")
  "http" (dict "listen" "0.0.0.0:9464") -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.collector.config)) -}}
{{- end -}}
