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
{{- if not (or .Values.persistence.enabled (hasKey (default dict $config.log) "audit")) }}
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
{{- range $config.keyrings }}
{{- with (default dict .cutover).scale }}
{{- if not .kubeconfig }}
{{- $_ := set . "namespace" (default $.Release.Namespace .namespace) }}
{{- end }}
{{- end }}
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
{{- $_ := set $config "certificates" $certificates }}
{{- $_ := set $config "include" nil }}
{{- toYaml (unset $config "http") }}
{{- end }}

{{/* What the configuration needs in each namespace of workloads, as YAML: {shop: {secrets: [shop-tls], …}}; "" has
what it needs in all of them. */}}
{{- define "certrotd.rights" -}}
{{- $config := include "certrotd.config" . | fromYaml }}
{{- $rights := dict }}
{{- $secrets := list }}
{{- range $config.certificates }}
{{- with .store }}
{{- $secrets = append $secrets (dict "name" .secret "in" .namespace "elsewhere" .kubeconfig) }}
{{- end }}
{{- end }}
{{- range $config.keyrings }}
{{- range .outputs }}
{{- with .secret }}
{{- $secrets = append $secrets (dict "name" .name "in" .namespace "elsewhere" .kubeconfig) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $secrets }}
{{- if not .elsewhere }}
{{- $in := default $.Release.Namespace .in }}
{{- $place := default dict (get $rights $in) }}
{{- $_ := set $place "secrets" (append (default list $place.secrets) .name | uniq | sortAlpha) }}
{{- $_ := set $rights $in $place }}
{{- end }}
{{- end }}
{{- range $config.targets }}
{{- if and (eq .type "kubernetes") (not .kubeconfig) }}
{{- $place := default dict (get $rights .namespace) }}
{{- $_ := set $place "pods" true }}
{{- $mode := default "restart" .mode }}
{{- $verb := ternary "patch" "get" (eq $mode "restart") }}
{{- if or .selector .mounting }}
{{- $_ := set $place "all" (append (default list $place.all) $verb | uniq | sortAlpha) }}
{{- end }}
{{- range .workloads }}
{{- $parts := splitList "/" . }}
{{- $kinds := printf "%ss %s" (first $parts) $verb }}
{{- $_ := set $place $kinds (append (default list (get $place $kinds)) (last $parts) | uniq | sortAlpha) }}
{{- end }}
{{- if eq $mode "restart" }}
{{- $_ := set $place "budgets" true }}
{{- end }}
{{- if and (eq $mode "restart") (or .pod_probe (contains "statefulset/" (join " " .workloads))) }}
{{- $_ := set $place "delete" true }}
{{- end }}
{{- if has $mode (list "exec" "signal") }}
{{- $_ := set $place "exec" true }}
{{- end }}
{{- $_ := set $rights .namespace $place }}
{{- end }}
{{- end }}
{{- range $config.keyrings }}
{{- with (default dict .cutover).scale }}
{{- if not .kubeconfig }}
{{- $in := default $.Release.Namespace .namespace }}
{{- $place := default dict (get $rights $in) }}
{{- $_ := set $place "pods" true }}
{{- range .workloads }}
{{- $parts := splitList "/" . }}
{{- $kinds := printf "%ss patch" (first $parts) }}
{{- $_ := set $place $kinds (append (default list (get $place $kinds)) (last $parts) | uniq | sortAlpha) }}
{{- end }}
{{- $_ := set $rights $in $place }}
{{- end }}
{{- end }}
{{- range .datasets }}
{{- if and (eq .type "kubernetes") (not .kubeconfig) }}
{{- $resources := default (list "secrets") .resources }}
{{- range default (list "") .namespaces }}
{{- $place := default dict (get $rights .) }}
{{- $_ := set $place "rewritten" (concat (default list $place.rewritten) $resources | uniq | sortAlpha) }}
{{- $_ := set $rights . $place }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $namespace, $rules := .Values.rbac.extraRules }}
{{- $place := default dict (get $rights $namespace) }}
{{- $_ := set $place "extra" $rules }}
{{- $_ := set $rights $namespace $place }}
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
{{- with .all }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, list, watch{{ if has "patch" . }}, patch{{ end }}]
{{- end }}
{{- range $kind := list "deployments" "statefulsets" "daemonsets" }}
{{- range $verb, $verbs := dict "patch" "get, watch, patch" "get" "get, watch" }}
{{- with get $ (printf "%s %s" $kind $verb) }}
{{- if not (has $verb (default list $.all)) }}
- apiGroups: [apps]
  resources: [{{ $kind }}]
  resourceNames: {{ toJson . }}
  verbs: [{{ $verbs }}]
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if .pods }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch{{ if .delete }}, delete{{ end }}]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- if .budgets }}
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
{{- end }}
{{- if .exec }}
- apiGroups: [""]
  resources: [pods/exec]
  verbs: [get, create]
{{- end }}
{{- range .rewritten }}
{{- $parts := splitn "." 2 . }}
- apiGroups: [{{ default "" $parts._1 | quote }}]
  resources: [{{ $parts._0 }}]
  verbs: [list, patch]
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end }}
