{{/* The configuration of certrotd as the chart completes it, as YAML. What cannot go together ends here: every template comes by. */}}
{{- define "certrotd.config" -}}
{{- include "certrotd.refused" . }}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "state_dir" "/var/lib/certrotd/state" }}
{{- if eq .Values.mode "sidecar" }}
{{- $_ := set $config "store_dir" "/certrotd/certificates" }}
{{- else }}
{{- $own := dict "type" "kubernetes" "namespace" .Release.Namespace "instance" (include "certrotd.fullname" .) }}
{{- $_ := set $config "state" (merge (default dict $config.state) $own) }}
{{- if not .Values.persistence.enabled }}
{{- $_ := set $config "log" (merge (default dict $config.log) (dict "audit" true)) }}
{{- end }}
{{- $certificates := list }}
{{- range $config.certificates }}
{{- if and .store (not (default dict .store).kubeconfig) }}
{{- $place := dict "namespace" $.Release.Namespace "generations" $.Release.Namespace "instance" $own.instance }}
{{- $_ := set . "store" (merge .store $place) }}
{{- end }}
{{- $certificates = append $certificates . }}
{{- end }}
{{- if $certificates }}
{{- $_ := set $config "certificates" $certificates }}
{{- end }}
{{- $targets := dict }}
{{- range $name, $target := $config.targets }}
{{- if and (eq $target.type "kubernetes") (not $target.kubeconfig) }}
{{- $target = merge $target (dict "namespace" $.Release.Namespace) }}
{{- end }}
{{- $_ := set $targets $name $target }}
{{- end }}
{{- if $targets }}
{{- $_ := set $config "targets" $targets }}
{{- end }}
{{- end }}
{{- if ne .Values.mode "cronjob" }}
{{- $name := include "certrotd.fullname" . }}
{{- $in := printf "%s.%s" $name .Release.Namespace }}
{{- $hosts := list $name $in (printf "%s.svc" $in) (printf "%s.svc.%s" $in .Values.clusterDomain) }}
{{- $http := default dict $config.http }}
{{- $hosts = concat $hosts (default list $http.hosts) | uniq }}
{{- $listen := printf "%s:%v" .Values.http.address .Values.http.port }}
{{- $http = mergeOverwrite $http (dict "listen" $listen "allow_remote" true "hosts" $hosts) }}
{{- $_ := set $config "http" $http }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* The same for the init container of a sidecar: it has certificates made before there is a service to tell. */}}
{{- define "certrotd.sidecar.initConfig" -}}
{{- $config := include "certrotd.config" . | fromYaml }}
{{- $certificates := list }}
{{- range $config.certificates }}
{{- $certificates = append $certificates (set . "targets" list) }}
{{- end }}
{{- toYaml (set (unset $config "http") "certificates" $certificates) }}
{{- end }}

{{/* What the configuration needs in each namespace of workloads, as YAML: {shop: {secrets: [shop-tls], …}}. */}}
{{- define "certrotd.rights" -}}
{{- $config := include "certrotd.config" . | fromYaml }}
{{- $rights := dict }}
{{- range $config.certificates }}
{{- with .store }}
{{- if not .kubeconfig }}
{{- $in := default dict (get $rights .namespace) }}
{{- $_ := set $in "secrets" (append (default list $in.secrets) .secret | uniq | sortAlpha) }}
{{- $_ := set $rights .namespace $in }}
{{- end }}
{{- end }}
{{- end }}
{{- range $config.targets }}
{{- if and (eq .type "kubernetes") (not .kubeconfig) }}
{{- $in := default dict (get $rights .namespace) }}
{{- $_ := set $in "pods" true }}
{{- if .selector }}
{{- $_ := set $in "selector" true }}
{{- end }}
{{- range .workloads }}
{{- $parts := splitList "/" . }}
{{- $kind := printf "%ss" (first $parts) }}
{{- $_ := set $in $kind (append (default list (get $in $kind)) (last $parts) | uniq | sortAlpha) }}
{{- end }}
{{- $_ := set $rights .namespace $in }}
{{- end }}
{{- end }}
{{- range $namespace, $rules := .Values.rbac.extraRules }}
{{- $in := default dict (get $rights $namespace) }}
{{- $_ := set $in "extra" $rules }}
{{- $_ := set $rights $namespace $in }}
{{- end }}
{{- toYaml $rights }}
{{- end }}

{{/* The rules of one namespace of those. */}}
{{- define "certrotd.rules" -}}
{{- with .secrets -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get, create, patch]
{{- end }}
{{- if .selector }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, list, patch]
{{- else }}
{{- range $plural := list "deployments" "statefulsets" "daemonsets" }}
{{- with get $ $plural }}
- apiGroups: [apps]
  resources: [{{ $plural }}]
  resourceNames: {{ toJson . }}
  verbs: [get, patch]
{{- end }}
{{- end }}
{{- end }}
{{- if .pods }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list{{ if .statefulsets }}, delete{{ end }}]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}
