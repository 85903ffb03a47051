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

{{/* Of a pod: the restricted standard. OpenShift assigns the ids itself. */}}
{{- define "tradewind.podSecurity" -}}
{{- $user := .user | default 50000 -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- if not .root.Values.openshift }}
  runAsUser: {{ $user }}
  runAsGroup: {{ $user }}
  fsGroup: {{ $user }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
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

{{/* The lake's connection, for a container that reads it; `connections` are those of its namespace. */}}
{{- define "tradewind.lakeConnection" -}}
{{- with .root.Values.lake.connection }}
{{- $held := required (printf "connections: names no Secret for the lake's connection %q" .) (get $.connections .) }}
{{ include "tradewind.fromSecret" (dict "name" (printf "AIRFLOW_CONN_%s" (upper .)) "held" $held) }}
{{- end }}
{{- end }}

{{/* The connections that a Secret holds: an empty one is left out, so that a default can be taken away. */}}
{{- define "tradewind.connections" -}}
{{- $held := dict }}
{{- range $id, $where := . }}
{{- if $where }}{{ $_ := set $held $id $where }}{{ end }}
{{- end }}
{{- toJson $held }}
{{- end }}

{{/* Where steps run, as a JSON list: the release's own namespace, then each team's. */}}
{{- define "tradewind.namespaces" -}}
{{- $own := dict "name" "cluster" "namespace" .Release.Namespace "pipelines" .Values.pipelines "quota" .Values.quota
  "limits" .Values.limits "own" true "connections" .Values.connections }}
{{- $all := list $own }}
{{- range .Values.teams }}
{{- $connections := deepCopy $.Values.connections }}
{{- range $id, $where := .connections }}{{ $_ := set $connections $id $where }}{{ end }}
{{- $all = append $all (merge (dict "own" false "connections" $connections) .) }}
{{- end }}
{{- toJson $all }}
{{- end }}

{{/* MLflow's PostgreSQL: Secret/key of its password. */}}
{{- define "tradewind.postgresqlPassword" -}}
{{ .Values.mlflow.postgresql.password | default (printf "%s-mlflow-postgresql/password" (include "tradewind.name" .)) }}
{{- end }}

{{/* Whether MLflow's database is a PostgreSQL: text, or nothing. */}}
{{- define "tradewind.mlflowOnPostgresql" -}}
{{- if or .Values.mlflow.database .Values.mlflow.postgresql.enabled }}yes{{ end }}
{{- end }}

{{- define "tradewind.mlflowEnv" -}}
- {name: HOME, value: /scratch}
- {name: MLFLOW_SERVER_ENABLE_JOB_EXECUTION, value: "false"}
{{- if .Values.mlflow.database }}
{{ include "tradewind.fromSecret" (dict "name" "MLFLOW_BACKEND_STORE_URI" "held" .Values.mlflow.database) }}
{{- else if .Values.mlflow.postgresql.enabled }}
- {name: MLFLOW_BACKEND_STORE_URI, value: "postgresql://{{ include "tradewind.name" . }}-mlflow-postgresql/mlflow"}
- {name: PGUSER, value: mlflow}
{{ include "tradewind.fromSecret" (dict "name" "PGPASSWORD" "held" (include "tradewind.postgresqlPassword" .)) }}
{{- else }}
- {name: MLFLOW_BACKEND_STORE_URI, value: "sqlite:////data/mlflow.db"}
{{- end }}
{{- end }}

{{/* A claim that outlives the release, so that an uninstall loses no run. Not a StatefulSet's template, which could
never be changed, not even to a larger size. */}}
{{- define "tradewind.volume" }}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ .name }}
  labels: {{- include "tradewind.labels" . | nindent 4 }}
  annotations: {helm.sh/resource-policy: keep}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .storage.className }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .storage.size }}}}
{{- end }}

{{/* NetworkPolicyPeers: steps of all namespaces, and Airflow. */}}
{{- define "tradewind.clients" -}}
{{- range include "tradewind.namespaces" . | fromJsonArray }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .namespace }}}}
  podSelector: {{- include "tradewind.steps" $ | nindent 4 }}
{{- end }}
- podSelector: {{- include "tradewind.airflow" . | nindent 4 }}
- podSelector:
    matchLabels: {{- include "tradewind.selector" (dict "root" . "component" "test") | nindent 6 }}
{{- $away := dict }}
{{- range .Values.launchers }}
{{- if and .namespace (ne .namespace $.Release.Namespace) }}{{ $_ := set $away .namespace true }}{{ end }}
{{- end }}
{{- range keys $away | sortAlpha }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ . }}}}
{{- end }}
{{- end }}

{{/* NetworkPolicyEgressRules: MLflow and the model servers. */}}
{{- define "tradewind.toServers" -}}
{{- range $component, $port := dict "mlflow" 5000 "serving" 8085 }}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $.Release.Namespace }}}}
      podSelector:
        matchLabels: {{- include "tradewind.selector" (dict "root" $ "component" $component) | nindent 10 }}
  ports: [{port: {{ $port }}}]
{{- end }}
{{- if .Values.launcherServers }}
{{- range include "tradewind.namespaces" . | fromJsonArray }}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .namespace }}}}
      podSelector: {{- include "tradewind.servers" $ | nindent 8 }}
  ports: [{port: 8085}]
{{- end }}
{{- end }}
{{- end }}

{{/* Label selectors of pods that are not of this chart: steps, and Airflow of the official one. */}}
{{- define "tradewind.steps" -}}
matchLabels: {app.kubernetes.io/managed-by: tradewind, app.kubernetes.io/component: step}
{{- end }}

{{- define "tradewind.servers" -}}
matchLabels: {app.kubernetes.io/managed-by: tradewind, app.kubernetes.io/component: server}
{{- end }}

{{- define "tradewind.executors" -}}
matchLabels: {app.kubernetes.io/managed-by: tradewind, app.kubernetes.io/component: executor}
{{- end }}

{{/* Of a namespace: the names of its pipelines whose steps may start more pods. */}}
{{- define "tradewind.companions" -}}
{{- $found := list -}}
{{- range .pipelines }}{{ if .companions }}{{ $found = append $found .name }}{{ end }}{{ end -}}
{{ toJson $found }}
{{- end }}

{{- define "tradewind.airflow" -}}
matchLabels: {tier: airflow}
{{- end }}

{{/* Airflow's service accounts, as subjects of a binding. */}}
{{- define "tradewind.launchers" -}}
{{- range .Values.launchers }}
- {kind: ServiceAccount, name: {{ .name }}, namespace: {{ .namespace | default $.Release.Namespace }}}
{{- else }}
{{- range list "scheduler" "worker" "triggerer" }}
- {kind: ServiceAccount, name: {{ $.Release.Name }}-{{ . }}, namespace: {{ $.Release.Namespace }}}
{{- end }}
{{- end }}
{{- end }}
