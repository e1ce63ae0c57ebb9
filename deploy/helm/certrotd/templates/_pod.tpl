{{/* Parts of certrotd's pods. */}}

{{- define "certrotd.podSecurityContext" -}}
{{- $user := ternary .Values.sidecar.user .Values.user (eq .Values.mode "sidecar") }}
{{- $own := dict "runAsNonRoot" true }}
{{- if $user }}
{{- $_ := merge $own (dict "runAsUser" (int64 $user) "runAsGroup" (int64 $user) "fsGroup" (int64 $user)) }}
{{- end }}
{{- $_ := set $own "fsGroupChangePolicy" "OnRootMismatch" }}
{{- $_ := set $own "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- toYaml (mergeOverwrite $own .Values.podSecurityContext) }}
{{- end }}

{{- define "certrotd.securityContext" -}}
{{- $own := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true }}
{{- $_ := set $own "capabilities" (dict "drop" (list "ALL")) }}
{{- toYaml (mergeOverwrite $own .Values.securityContext) }}
{{- end }}

{{/* A probe by HTTP with what the values say; another handler takes the place of HTTP. */}}
{{- define "certrotd.probe" -}}
{{- $own := first . }}
{{- range $key := list "exec" "tcpSocket" "grpc" }}
{{- if hasKey (last $) $key }}
{{- $_ := unset $own "httpGet" }}
{{- end }}
{{- end }}
{{- toYaml (mergeOverwrite $own (last .)) }}
{{- end }}

{{/* Where pods run, and as whom; with the addresses of Services in their environment if "links". */}}
{{- define "certrotd.placement" -}}
serviceAccountName: {{ include "certrotd.serviceAccountName" . }}
automountServiceAccountToken: {{ ne .Values.mode "sidecar" }}
enableServiceLinks: {{ default false .links }}
securityContext:
  {{- include "certrotd.podSecurityContext" . | nindent 2 }}
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
{{- range $key := list "imagePullSecrets" "priorityClassName" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
{{- with get $.Values $key }}
{{ $key }}: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "certrotd.podMetadata" -}}
labels:
  {{- include "certrotd.labels" . | nindent 2 }}
  app.kubernetes.io/component: {{ .Values.mode }}
{{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
{{- end }}
annotations:
  checksum/config: {{ include "certrotd.files" . | sha256sum }}
{{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What the ConfigMap has. */}}
{{- define "certrotd.files" -}}
config.yaml: |
  {{- include "certrotd.config" . | nindent 2 }}
{{- if eq .Values.mode "sidecar" }}
init.yaml: |
  {{- include "certrotd.sidecar.initConfig" . | nindent 2 }}
{{- if .Values.sidecar.nginx.enabled }}
nginx.conf: {{ toYaml .Values.sidecar.nginx.config | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* A container of certrotd without its name and its arguments. */}}
{{- define "certrotd.container" -}}
image: {{ include "certrotd.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "certrotd.securityContext" . | nindent 2 }}
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  # the file alone, so that others can be mounted beside it; a changed one restarts the pod
  - {name: certrotd-config, mountPath: /etc/certrotd/config.yaml, subPath: config.yaml, readOnly: true}
  - {name: certrotd-state, mountPath: /var/lib/certrotd}
  - {name: certrotd-tmp, mountPath: /tmp}
{{- if .Values.existingSecret }}
  - {name: certrotd-secrets, mountPath: /run/secrets/certrotd, readOnly: true}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
  - {name: certrotd-certificates, mountPath: /certrotd/certificates}
  - {name: certrotd-run, mountPath: /certrotd/run}
  - {name: certrotd-config, mountPath: /etc/certrotd/init.yaml, subPath: init.yaml, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The volumes that it mounts; state_dir is lost with the pod if "lost". */}}
{{- define "certrotd.volumes" -}}
- name: certrotd-config
  configMap: {name: {{ include "certrotd.fullname" . }}}
- name: certrotd-state
{{- if and .Values.persistence.enabled (not .lost) }}
  persistentVolumeClaim: {claimName: {{ default (include "certrotd.fullname" .) .Values.persistence.existingClaim }}}
{{- else }}
  emptyDir: {}
{{- end }}
- name: certrotd-tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- with .Values.existingSecret }}
- name: certrotd-secrets
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
- name: certrotd-certificates
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.sidecar.size }}}
- name: certrotd-run
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.sidecar.size }}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A configuration that is wrong keeps the pods before it at work. */}}
{{- define "certrotd.check" -}}
- name: check
  args: [config, check]
  {{- include "certrotd.container" . | nindent 2 }}
{{- end }}

{{/* The daemon: port and liveness. */}}
{{- define "certrotd.daemon" -}}
args:
  - run
  {{- range .Values.extraArgs }}
  - {{ . | quote }}
  {{- end }}
{{ include "certrotd.container" . }}
ports:
  - {name: http, containerPort: {{ .Values.http.port }}}
livenessProbe:
  {{- $own := dict "httpGet" (dict "path" "/livez" "port" "http") "periodSeconds" 10 "failureThreshold" 12 "timeoutSeconds" 5 }}
  {{- include "certrotd.probe" (list $own .Values.livenessProbe) | nindent 2 }}
{{- end }}
