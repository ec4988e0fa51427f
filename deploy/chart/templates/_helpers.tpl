{{/* Labels of everything; Helm's own are left out of deploy/base. `merge` keeps ours where a value has the same key. */}}
{{- define "retention.labels" -}}
{{- toYaml (merge (dict
  "app.kubernetes.io/name" "retention-operator"
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version)
) .Values.commonLabels) }}
{{- end }}

{{/* These, and more special ones that win over them: a key in both must not be written twice. */}}
{{- define "retention.labelsAnd" -}}
{{- toYaml (merge (dict) .and (fromYaml (include "retention.labels" .root))) }}
{{- end }}

{{/* Tells the controller's Pods from the runners', which carry the same name. */}}
{{- define "retention.selector" -}}
app.kubernetes.io/name: retention-operator
app.kubernetes.io/component: controller
{{- end }}

{{- define "retention.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* Fails with a sentence, in helm lint too: that only notes what `fail` says, but not a template that there is not. */}}
{{- define "retention.fail" -}}
{{- fail . -}}
{{- include . . -}}
{{- end }}

{{/* What template and install would take, and a later upgrade or another release would suffer from. */}}
{{- define "retention.checks" -}}
{{- $names := dict }}
{{- range .Values.controller.extraEnv }}
  {{- if or (hasPrefix "RETENTION_" .name) (eq .name "LOG_LEVEL") }}
    {{- include "retention.fail" (printf "controller.extraEnv must not have %s: LOG_LEVEL and what begins with RETENTION_ are set by the chart's other values, such as controller.logLevel" .name) }}
  {{- end }}
  {{- if hasKey $names .name }}
    {{- include "retention.fail" (printf "controller.extraEnv must not have %s twice" .name) }}
  {{- end }}
  {{- $_ := set $names .name true }}
{{- end }}
{{- $own := dict "name" .Release.Name "namespace" .Release.Namespace }}
{{- if not .Values.controller.namespaces }}
  {{- range (lookup "rbac.authorization.k8s.io/v1" "Role" "" "").items }}
    {{- if and (eq .metadata.name "retention-controller") (eq (get (.metadata.labels | default dict) "app.kubernetes.io/name") "retention-operator") }}
      {{- include "retention.beside" (dict "own" $own "object" . "theirs" (printf "namespace %s (its Role retention-controller is there)" .metadata.namespace) "do" "list this one's namespaces in controller.namespaces") }}
    {{- end }}
  {{- end }}
{{- else if or .Values.crds.enabled .Values.admissionPolicy.enabled }}
  {{- /* Who may make nothing cluster-wide may not look there either, and a refused look would be an error. */}}
  {{- with lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "retention-controller" }}
    {{- include "retention.beside" (dict "own" $own "object" . "theirs" "all namespaces (its ClusterRole retention-controller is there)" "do" "give it a list in controller.namespaces") }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Fails where an object belongs to another installation: two controllers on one namespace undo each other's work. */}}
{{- define "retention.beside" -}}
{{- $by := .object.metadata.annotations | default dict }}
{{- $name := get $by "meta.helm.sh/release-name" }}
{{- $namespace := get $by "meta.helm.sh/release-namespace" }}
{{- if not (and (eq $name .own.name) (eq $namespace .own.namespace)) }}
  {{- $from := "not installed by Helm" }}
  {{- if $name }}
    {{- $from = printf "release %s in namespace %s" $name $namespace }}
  {{- end }}
  {{- include "retention.fail" (printf "another controller, %s, looks after %s: two on one namespace undo each other's work. Uninstall it, or %s" $from .theirs .do) }}
{{- end }}
{{- end }}

{{/* What the controller may do in the namespaces of policies: no Secrets, and neither `escalate` nor `bind`. */}}
{{- define "retention.rules" -}}
- apiGroups: [retention.agentdata.io]
  resources: [retentionpolicies]
  verbs: [get, list, watch]
# It may give a run's service account this right because it holds it itself.
- apiGroups: [retention.agentdata.io]
  resources: [retentionpolicies/status]
  verbs: [patch]
# Needed for owner references that block the owner's deletion, where a cluster checks that (OpenShift does).
- apiGroups: [retention.agentdata.io]
  resources: [retentionpolicies/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch]
# Why a Job has no Pod is told by its Events alone.
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
{{- end }}

{{- define "retention.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: retention-controller
    namespace: {{ .Release.Namespace }}
{{- end }}

{{/* Egress rules to the cluster's DNS and to the API server, which every Pod of ours needs. */}}
{{- define "retention.commonEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
    # OpenShift's DNS Pods.
    - {port: 5353, protocol: UDP}
    - {port: 5353, protocol: TCP}
- ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.apiServer.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
