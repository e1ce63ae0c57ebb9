{{/*
certrotd beside another container of one pod. A chart with this one as the dependency "certrotd" includes them with
".Subcharts.certrotd" as the context; README.md has an example.
*/}}

{{/* First it has the certificates made, then it stays: a native sidecar. */}}
{{- define "certrotd.sidecar.initContainers" -}}
{{- if ne .Values.mode "sidecar" }}
{{- fail (printf "certrotd.sidecar.initContainers is for mode sidecar, and mode is %s" .Values.mode) }}
{{- end -}}
- name: certrotd-init
  args: [--config=/etc/certrotd/init.yaml, rotate, --all, --quiet]
  {{- include "certrotd.container" . | nindent 2 }}
- name: certrotd
  restartPolicy: Always
  {{- include "certrotd.daemon" . | nindent 2 }}
{{- end }}

{{- define "certrotd.sidecar.volumes" -}}
{{ include "certrotd.volumes" . }}
{{- end }}

{{/* For the container that uses the certificates: they are read-only there, and its pid file is in /certrotd/run. */}}
{{- define "certrotd.sidecar.volumeMounts" -}}
- {name: certrotd-certificates, mountPath: /certrotd/certificates, readOnly: true}
- {name: certrotd-run, mountPath: /certrotd/run}
{{- end }}

{{/* For the pod: one list of processes, one user. */}}
{{- define "certrotd.sidecar.pod" -}}
shareProcessNamespace: true
{{ include "certrotd.placement" . }}
{{- end }}

{{/* For the metadata of the pod: a changed configuration restarts it. */}}
{{- define "certrotd.sidecar.annotations" -}}
checksum/config: {{ include "certrotd.files" . | sha256sum }}
{{- end }}
