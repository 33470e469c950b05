{{/* The name of all that there is once: that of the release, which says phasegate. */}}
{{- define "phasegate.name" -}}
{{- .Release.Name | contains "phasegate" | ternary .Release.Name (printf "%s-phasegate" (trunc 40 .Release.Name)) | replace "." "-" }}
{{- end }}

{{/* What pods are selected by. A selector cannot be changed, so nothing that an upgrade changes is in it. */}}
{{- define "phasegate.selector" -}}
app.kubernetes.io/name: phasegate
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Of an object in the operator's namespace. */}}
{{- define "phasegate.metadata" -}}
name: {{ include "phasegate.name" . }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "phasegate.selector" . | nindent 2 }}
{{- end }}

{{/* Whom a binding is for. */}}
{{- define "phasegate.subjects" -}}
- kind: ServiceAccount
  name: {{ include "phasegate.name" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{- define "phasegate.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* A setting as its variable has it. Helm reads every number as a fraction, and would write a large one as 1e+06. */}}
{{- define "phasegate.setting" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if kindIs "map" . }}{{ range $at, $key := keys . | sortAlpha }}{{ if $at }}{{ "\n" }}{{ end }}{{ $key }}={{ get $ $key }}{{ end }}
{{- else if kindIs "float64" . }}{{ int64 . }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{/* What no schema can say in a sentence: values that do not fit each other. */}}
{{- define "phasegate.check" -}}
{{- with .Values }}
{{- if and (gt (int .replicas) 1) (not .leaderElection) }}
{{- fail (printf "replicas: %d replicas need leader election. Set leaderElection: true, or replicas: 1." (int .replicas)) }}
{{- end }}
{{- if and .mongodb.enabled .settings.selector }}
{{- fail "settings.selector: cannot be used with mongodb.enabled, because documents have no labels. Remove one of the two." }}
{{- end }}
{{- if and .mongodb.enabled (not .settings.gatewayNamespace) }}
{{- fail "settings.gatewayNamespace: required by mongodb.enabled as the default namespace of gateways." }}
{{- end }}
{{- $named := .settings.gatewayAllowedNamespaces | default (list .settings.gatewayNamespace) }}
{{- if and .mongodb.enabled (not (has .settings.gatewayNamespace $named)) }}
{{- fail (printf "settings.gatewayNamespace: %s must be one of settings.gatewayAllowedNamespaces (%s)." .settings.gatewayNamespace (join ", " $named)) }}
{{- end }}
{{- range $namespace := ternary $named list (and .mongodb.enabled (not (empty .namespaces))) }}
{{- if not (has $namespace $.Values.namespaces) }}
{{- fail (printf "namespaces: %s is allowed for documents but not watched. Add it, or change settings.gatewayAllowedNamespaces." $namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
