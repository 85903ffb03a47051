{{- define "tradewind.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "tradewind.selector" -}}
app.kubernetes.io/name: tradewind
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "tradewind.labels" -}}
{{ include "tradewind.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "tradewind.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "tradewind.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 50000
  runAsGroup: 50000
  fsGroup: 50000
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "tradewind.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* An environment variable from "Secret/key". */}}
{{- define "tradewind.fromSecret" -}}
{{- $parts := splitn "/" 2 .held -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ $parts._0 }}, key: {{ $parts._1 }}}}
{{- end }}

{{/* The lake's connection, for a container that reads it. */}}
{{- define "tradewind.lakeConnection" -}}
{{- with .Values.lake.connection }}
{{- $held := required (printf "connections: names no Secret for the lake's connection %q" .) (get $.Values.connections .) }}
{{ include "tradewind.fromSecret" (dict "name" (printf "AIRFLOW_CONN_%s" (upper .)) "held" $held) }}
{{- end }}
{{- end }}

{{/* The connections that a Secret holds: an empty one is left out, so that a default can be taken away. */}}
{{- define "tradewind.connections" -}}
{{- $held := dict }}
{{- range $id, $where := .Values.connections }}
{{- if $where }}{{ $_ := set $held $id $where }}{{ end }}
{{- end }}
{{- toJson $held }}
{{- end }}
