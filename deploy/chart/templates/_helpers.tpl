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
