{{/* Values that cannot go together end in words. */}}
{{- define "certrotd.refused" -}}
{{- $mode := .Values.mode }}
{{- if not (has $mode (list "deployment" "cronjob" "sidecar")) }}
{{- fail (printf "mode is %q: it is deployment, cronjob or sidecar" $mode) }}
{{- end }}
{{- $config := .Values.config }}
{{- if not $config }}
{{- fail "config is empty: write certrotd's configuration there, as in config.example.yaml" }}
{{- end }}
{{- if $config.state_dir }}
{{- fail "config.state_dir is set: the chart has a place for it; see persistence" }}
{{- end }}
{{- if or (default dict $config.http).listen (hasKey (default dict $config.http) "allow_remote") }}
{{- fail "config.http has listen or allow_remote: set http.address and http.port of the chart instead" }}
{{- end }}
{{- if and (eq $mode "cronjob") (ne (int .Values.replicas) 1) }}
{{- fail "mode cronjob has no replicas: one Job runs at a time" }}
{{- end }}
{{- if and (eq $mode "cronjob") .Values.podDisruptionBudget.enabled }}
{{- fail "mode cronjob has no podDisruptionBudget: nothing runs between two Jobs" }}
{{- end }}
{{- if and (eq $mode "cronjob") .Values.serviceMonitor.enabled }}
{{- fail "mode cronjob has no serviceMonitor: nothing answers between two Jobs" }}
{{- end }}
{{- if and (eq $mode "cronjob") $config.http }}
{{- fail "mode cronjob has no page: remove config.http" }}
{{- end }}
{{- range $key := list "notifications" "watch" "key_server" }}
{{- if and (eq $mode "cronjob") (get $config $key) }}
{{- fail (printf "mode cronjob has no %s: nothing runs between two Jobs; remove config.%s, and alert on failed Jobs" $key $key) }}
{{- end }}
{{- end }}
{{- if and .Values.rbac.create (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create is false and has no name: every pod of the namespace would get the rights; set serviceAccount.name, or rbac.create=false" }}
{{- end }}
{{- if and .Values.persistence.existingClaim (not .Values.persistence.enabled) }}
{{- fail "persistence.existingClaim is set, but persistence.enabled is false" }}
{{- end }}
{{- range $key, $_ := .Values.podLabels }}
{{- if or (hasPrefix "app.kubernetes.io/" $key) (hasKey $.Values.commonLabels $key) }}
{{- fail (printf "podLabels has %s, which the chart sets itself" $key) }}
{{- end }}
{{- end }}
{{- if and .Values.podDisruptionBudget.enabled (lt (int .Values.replicas) 2) }}
{{- fail "podDisruptionBudget needs two replicas or more: with one, its node could not be drained" }}
{{- end }}
{{- $least := .Values.podDisruptionBudget.minAvailable }}
{{- if and .Values.podDisruptionBudget.enabled (not (kindIs "string" $least)) (ge (int $least) (int .Values.replicas)) }}
{{- fail "podDisruptionBudget.minAvailable is as many as there are replicas: no node could be drained" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.serviceMonitor.enabled (not .Values.networkPolicy.from) }}
{{- fail "networkPolicy.from is empty, which keeps Prometheus out: name its pods there, or set serviceMonitor.enabled=false" }}
{{- end }}
{{- if and .Values.persistence.enabled (gt (int .Values.replicas) 1) }}
{{- fail "persistence is for one replica: a volume of state_dir cannot be shared" }}
{{- end }}
{{- if and .Values.persistence.enabled (eq (dig "type" "" .Values.strategy) "RollingUpdate") }}
{{- fail "strategy RollingUpdate cannot be had with persistence: a new pod would wait for the volume for ever" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (eq .Values.serviceMonitor.ifMissing "fail") }}
{{- if not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor") }}
{{- fail "serviceMonitor is enabled, but the cluster has no ServiceMonitor (monitoring.coreos.com/v1): install the Prometheus operator, or set serviceMonitor.ifMissing to skip or always" }}
{{- end }}
{{- end }}
{{- include (printf "certrotd.refused.%s" (ternary "sidecar" "cluster" (eq $mode "sidecar"))) . }}
{{- end }}

{{- define "certrotd.refused.cluster" -}}
{{- $config := .Values.config }}
{{- with $config.state }}
{{- if .kubeconfig }}
{{- fail "config.state has a kubeconfig: a release keeps its state in its own cluster" }}
{{- end }}
{{- if and .namespace (ne .namespace $.Release.Namespace) }}
{{- fail (printf "config.state.namespace is %s: the state is in the release's namespace, %s" .namespace $.Release.Namespace) }}
{{- end }}
{{- $shards := int (default 1 .shards) }}
{{- if and (gt $shards 1) (eq $.Values.mode "cronjob") }}
{{- fail "mode cronjob has no shards: a Job looks after everything; remove config.state.shards" }}
{{- end }}
{{- if and (gt (int $.Values.replicas) 0) (gt $shards (int $.Values.replicas)) }}
{{- fail (printf "config.state.shards is %d: each needs a replica, set replicas=%d or more" $shards $shards) }}
{{- end }}
{{- end }}
{{- range $name, $target := $config.targets }}
{{- if has $target.type (list "nginx" "systemd" "signal") }}
{{- fail (printf "target %s is of type %s: nothing else runs in certrotd's pod; use type kubernetes, or mode sidecar" $name $target.type) }}
{{- end }}
{{- end }}
{{- range $name, $target := $config.targets }}
{{- if and (has (default "restart" $target.mode) (list "exec" "signal")) (not $target.kubeconfig) (not $.Values.rbac.podsExec) }}
{{- fail (printf "target %s has mode %s: that takes the right to run anything in every pod of its namespace; set rbac.podsExec=true, or use another mode" $name $target.mode) }}
{{- end }}
{{- end }}
{{- range $name, $keyring := $config.keyrings }}
{{- range $dataset, $objects := $keyring.datasets }}
{{- if and (eq $objects.type "kubernetes") (not $objects.kubeconfig) $.Values.rbac.create (not $.Values.rbac.rewriteObjects) }}
{{- $what := join ", " (default (list "secrets") $objects.resources) }}
{{- $where := ternary "its namespaces" "all namespaces" (not (empty $objects.namespaces)) }}
{{- fail (printf "keyring %s has dataset %s of type kubernetes: that takes the right to read and to change all %s in %s; set rbac.rewriteObjects=true, or give it the kubeconfig of an account of its own" $name $dataset $what $where) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $solver := $config.solvers }}
{{- if eq $solver.type "responder" }}
{{- fail (printf "solver %s is of type responder: name servers of others do not reach a pod; use another type" $name) }}
{{- end }}
{{- end }}
{{- range $name, $kek := $config.keks }}
{{- if and (eq $kek.type "file") (not $.Values.persistence.enabled) }}
{{- range $lost := list "/var/lib/certrotd/" "/tmp/" }}
{{- if hasPrefix $lost (default "" $kek.path) }}
{{- fail (printf "KEK %s is in %s, which ends with the pod, and what it wraps stays: mount a Secret for it" $name $lost) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $config.certificates }}
{{- if not .store }}
{{- fail (printf "certificate %s has no store: nobody else reads the files of this pod; set store, of type kubernetes" .name) }}
{{- end }}
{{- $store := default dict .store }}
{{- if and $store.generations (not $store.kubeconfig) (ne $store.generations $.Release.Namespace) }}
{{- fail (printf "certificate %s keeps its generations in %s: they are in the release's namespace, %s" .name $store.generations $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "certrotd.refused.sidecar" -}}
{{- $config := .Values.config }}
{{- if $config.state }}
{{- fail "mode sidecar has its state in its own pod: remove config.state, of which only one pod could be at work" }}
{{- end }}
{{- if $config.store_dir }}
{{- fail "config.store_dir is set: mode sidecar has certificates in /certrotd/certificates" }}
{{- end }}
{{- range $config.certificates }}
{{- if .store }}
{{- fail (printf "certificate %s has a store: mode sidecar has certificates in memory alone" .name) }}
{{- end }}
{{- end }}
{{- range $name, $target := $config.targets }}
{{- if has $target.type (list "kubernetes" "systemd") }}
{{- fail (printf "target %s is of type %s: mode sidecar tells processes of its own pod alone, by type signal" $name $target.type) }}
{{- end }}
{{- end }}
{{- if and $config.keyrings (not .Values.persistence.enabled) }}
{{- fail "config.keyrings needs persistence.enabled=true in mode sidecar: the keys would end with their pod" }}
{{- end }}
{{- range $name, $keyring := $config.keyrings }}
{{- range $keyring.outputs }}
{{- if .secret }}
{{- fail (printf "keyring %s has an output in a Secret: mode sidecar has no rights in the cluster" $name) }}
{{- end }}
{{- end }}
{{- range $dataset, $objects := $keyring.datasets }}
{{- if and (eq $objects.type "kubernetes") (not $objects.kubeconfig) }}
{{- fail (printf "keyring %s has dataset %s of type kubernetes: mode sidecar has no rights in the cluster" $name $dataset) }}
{{- end }}
{{- end }}
{{- end }}
{{- if not .Values.sidecar.nginx.enabled }}
{{- range $name := list "podDisruptionBudget" "networkPolicy" "serviceMonitor" }}
{{- if (get $.Values $name).enabled }}
{{- fail (printf "%s is enabled, but with sidecar.nginx.enabled=false the release has no pods" $name) }}
{{- end }}
{{- end }}
{{- if .Values.strategy }}
{{- fail "strategy is set, but with sidecar.nginx.enabled=false the release has no pods" }}
{{- end }}
{{- end }}
{{- end }}
