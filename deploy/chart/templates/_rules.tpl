{{/* Of deploy/rbac and deploy/mongodb, by make generate. */}}
{{- define "phasegate.rules" }}
- apiGroups:
  - phasegate.dev
  resources:
  - apigateways
  verbs:
  - get
  - list
  - watch
- apiGroups:
  - phasegate.dev
  resources:
  - environments
  verbs:
  - list
  - watch
- apiGroups:
  - phasegate.dev
  resources:
  - apigateways/status
  - environments/status
  verbs:
  - update
  - patch
- apiGroups:
  - phasegate.dev
  resources:
  - apigateways/finalizers
  verbs:
  - update
- apiGroups:
  - apps
  resources:
  - deployments
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - delete
- apiGroups:
  - ""
  resources:
  - services
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - delete
- apiGroups:
  - networking.k8s.io
  resources:
  - ingresses
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - delete
- apiGroups:
  - gateway.networking.k8s.io
  resources:
  - httproutes
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - delete
- apiGroups:
  - policy
  resources:
  - poddisruptionbudgets
  verbs:
  - get
  - list
  - watch
  - create
  - update
  - delete
- apiGroups:
  - ""
  resources:
  - pods
  verbs:
  - list
  - watch
- apiGroups:
  - events.k8s.io
  resources:
  - events
  verbs:
  - list
  - create
{{- end }}
{{- define "phasegate.rules.namespaces" }}
- apiGroups:
  - ""
  resources:
  - namespaces
  verbs:
  - list
  - watch
- apiGroups:
  - apiextensions.k8s.io
  resourceNames:
  - httproutes.gateway.networking.k8s.io
  resources:
  - customresourcedefinitions
  verbs:
  - list
  - watch
{{- end }}
{{- define "phasegate.rules.lease" }}
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - get
  - create
  - update
{{- end }}
{{- define "phasegate.rules.mongodb" }}
- apiGroups:
  - phasegate.dev
  resources:
  - apigateways
  verbs:
  - create
  - patch
  - delete
- apiGroups:
  - phasegate.dev
  resources:
  - environments
  verbs:
  - get
  - create
  - patch
  - delete
{{- end }}
