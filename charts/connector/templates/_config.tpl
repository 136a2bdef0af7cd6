{{/* The connector's configuration as YAML: the values' own, and the count of replicas. */}}
{{- define "connector.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if hasKey ($config.replicas | default dict) "count" -}}
{{- fail (printf "config.replicas.count is %v: expected rosterCount or replicaCount instead, which the pods' number goes by" $config.replicas.count) -}}
{{- end -}}
{{- if hasKey ($config.replicas | default dict) "index" -}}
{{- fail (printf "config.replicas.index is %v: expected nothing, as every pod has its own" $config.replicas.index) -}}
{{- end -}}
{{- /* Longer than a ConfigMap takes to reach every pod: the default of the binary is for files that change at once. */ -}}
{{- $_ := set $config "replicas" (merge (dict "count" (include "connector.rosterCount" . | int)) ($config.replicas | default dict) (dict "gain_delay" "2m30s")) -}}
{{- toYaml $config -}}
{{- end }}

{{/* How many pods share the roster; at least one, also while all are stopped. */}}
{{- define "connector.rosterCount" -}}
{{- .Values.rosterCount | default .Values.replicaCount | int | max 1 -}}
{{- end }}

{{/* The port of an address such as ":8080": key, address. */}}
{{- define "connector.port" -}}
{{- if not (regexMatch "^(\\[[^\\]]*\\]|[^:]*):[0-9]{1,5}$" (toString .address)) -}}
{{- fail (printf "%s is %q: expected host:port with a number as the port, which the chart opens" .key (toString .address)) -}}
{{- end -}}
{{- $port := regexFind "[0-9]+$" .address | atoi -}}
{{- if or (lt $port 1) (gt $port 65535) -}}
{{- fail (printf "%s is %q: expected a port from 1 to 65535" .key .address) -}}
{{- end -}}
{{- $port -}}
{{- end }}

{{/* The host of an address, without brackets. */}}
{{- define "connector.host" -}}
{{- regexReplaceAll ":[0-9]+$" . "" | trimPrefix "[" | trimSuffix "]" -}}
{{- end }}

{{/* "true" for an address that only its own pod reaches. */}}
{{- define "connector.isLoopback" -}}
{{- if regexMatch "^(127\\.[0-9.]+|localhost|\\[::1\\]):" . }}true{{ end -}}
{{- end }}

{{/*
The ports that others reach, as a YAML list of {name, port, role}, each once:
health, relay, callback, public, admin, nats.
*/}}
{{- define "connector.ports" -}}
{{- $found := list -}}
{{- $http := .Values.config.http | default dict -}}
{{- if not $http.health -}}
{{- fail (printf "config.http.health is %q: expected an address such as \":8080\", where the kubelet asks how the pod is" (toString ($http.health | default ""))) -}}
{{- end -}}
{{- if include "connector.isLoopback" $http.health -}}
{{- fail (printf "config.http.health is %q: expected an address such as \":8080\", as the kubelet reaches no loopback address" $http.health) -}}
{{- end -}}
{{- $found = append $found (dict "role" "health" "name" "health" "port" (include "connector.port" (dict "key" "config.http.health" "address" $http.health) | int)) -}}
{{- range $i, $source := .Values.config.sources -}}
{{- if and (eq (toString $source.type) "relay") (not $source.listen) -}}
{{- $found = append $found (dict "role" "relay" "name" "relay-7628" "port" 7628) -}}
{{- else if has (toString $source.type) (list "relay" "callback") -}}
{{- $key := printf "config.sources[%d].listen" $i -}}
{{- $port := include "connector.port" (dict "key" $key "address" ($source.listen | default "")) | int -}}
{{- if include "connector.isLoopback" $source.listen -}}
{{- fail (printf "%s is %q: expected an address such as \"0.0.0.0:%d\", as nothing outside the pod reaches a loopback address" $key $source.listen $port) -}}
{{- end -}}
{{- $found = append $found (dict "role" $source.type "name" (printf "%s-%d" $source.type $port) "port" $port) -}}
{{- end -}}
{{- end -}}
{{- range $role := list "public" "admin" -}}
{{- with get $http $role -}}
{{- if not (include "connector.isLoopback" .) -}}
{{- $found = append $found (dict "role" $role "name" $role "port" (include "connector.port" (dict "key" (printf "config.http.%s" $role) "address" .) | int)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with (.Values.config.embedded | default dict).listen -}}
{{- if not (include "connector.isLoopback" .) -}}
{{- $found = append $found (dict "role" "nats" "name" "nats" "port" (include "connector.port" (dict "key" "config.embedded.listen" "address" .) | int)) -}}
{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- $taken := dict -}}
{{- range $found -}}
{{- $other := get $taken (toString .port) -}}
{{- if not $other -}}
{{- $ports = append $ports . -}}
{{- $_ := set $taken (toString .port) .name -}}
{{- else if or (ne $other .name) (ne .role "callback") -}}
{{- fail (printf "config: %s and %s both listen on port %d: expected a port for each" $other .name .port) -}}
{{- end -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end }}

{{/* Refuses what cannot work on Kubernetes, each with the name of the value. */}}
{{- define "connector.check" -}}
{{- $config := .Values.config -}}
{{- if not $config.sources -}}
{{- fail "config.sources is empty: expected at least one source. To see it work without an LQ server, install with the values of examples/trial.yaml" -}}
{{- end -}}
{{- $dir := ($config.spool | default dict).dir | default "./data" -}}
{{- if not (hasPrefix (printf "%s/" (trimSuffix "/" .Values.persistence.mountPath)) $dir) -}}
{{- fail (printf "config.spool.dir is %q: expected a directory below persistence.mountPath, %s, where the volume is" $dir .Values.persistence.mountPath) -}}
{{- end -}}
{{- if gt (include "connector.rosterCount" . | int) (max 1 (int .Values.replicaCount)) -}}
{{- fail (printf "rosterCount is %v and replicaCount %v: expected at most as many, or agents would have no owner" .Values.rosterCount .Values.replicaCount) -}}
{{- end -}}
{{- $drain := include "connector.seconds" (dict "key" "config.shutdown_timeout" "value" ($config.shutdown_timeout | default "20s")) | int -}}
{{- with .Values.terminationGracePeriodSeconds -}}
{{- if le (int .) $drain -}}
{{- fail (printf "terminationGracePeriodSeconds is %v: expected more than config.shutdown_timeout, %d seconds, or what is under way would be killed" . $drain) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled .Values.metrics.serviceMonitor.enabled -}}
{{- fail "metrics.podMonitor.enabled and metrics.serviceMonitor.enabled are both true: expected one of them, or everything would be counted twice" -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
{{- $public := ($config.http | default dict).public -}}
{{- if or (not $public) (include "connector.isLoopback" $public) -}}
{{- fail (printf "ingress.enabled is true and config.http.public is %q: expected an address such as \":8090\", which the Ingress leads to" (toString ($public | default ""))) -}}
{{- end -}}
{{- if not .Values.ingress.hosts -}}
{{- fail "ingress.hosts is empty: expected a host name, or everything that reaches the Ingress controller would" -}}
{{- end -}}
{{- end -}}
{{- $own := list "CONNECTOR_REPLICAS__INDEX" "GOMEMLIMIT" "GOMAXPROCS" -}}
{{- if .Values.otlp.endpoint -}}
{{- $own = concat $own (list "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_EXPORTER_OTLP_PROTOCOL" "OTEL_TRACES_EXPORTER" "OTEL_METRICS_EXPORTER" "OTEL_RESOURCE_ATTRIBUTES" "K8S_POD_NAME" "K8S_NODE_NAME") -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $i, $variable := .Values.extraEnv -}}
{{- if has $variable.name $own -}}
{{- fail (printf "extraEnv[%d].name is %q: expected another name, as the chart sets this one" $i $variable.name) -}}
{{- end -}}
{{- if hasKey $seen $variable.name -}}
{{- fail (printf "extraEnv[%d].name is %q: expected another name, as an entry before has this one" $i $variable.name) -}}
{{- end -}}
{{- $_ := set $seen $variable.name true -}}
{{- end -}}
{{- range $name, $file := .Values.files -}}
{{- if eq (empty $file.secret) (empty $file.configMap) -}}
{{- fail (printf "files.%s: expected either secret or configMap" $name) -}}
{{- end -}}
{{- end -}}
{{- include "connector.checkFiles" (dict "root" . "key" "config" "value" $config) -}}
{{- end }}

{{/* Walks through the configuration: each *_file must be on something that is mounted. */}}
{{- define "connector.checkFiles" -}}
{{- $root := .root -}}
{{- $key := .key -}}
{{- if kindIs "map" .value -}}
{{- range $name, $value := .value -}}
{{- if and (hasSuffix "_file" $name) (kindIs "string" $value) $value -}}
{{- include "connector.checkFile" (dict "root" $root "key" (printf "%s.%s" $key $name) "path" $value) -}}
{{- else -}}
{{- include "connector.checkFiles" (dict "root" $root "key" (printf "%s.%s" $key $name) "value" $value) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $i, $value := .value -}}
{{- include "connector.checkFiles" (dict "root" $root "key" (printf "%s[%d]" $key $i) "value" $value) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "connector.checkFile" -}}
{{- $path := .path -}}
{{- $mounted := list (printf "%s/" (trimSuffix "/" .root.Values.persistence.mountPath)) -}}
{{- range $name, $_ := .root.Values.files -}}
{{- $mounted = append $mounted (printf "/etc/connector/files/%s/" $name) -}}
{{- end -}}
{{- range .root.Values.extraVolumeMounts -}}
{{- $mounted = append $mounted (trimSuffix "/" .mountPath) -}}
{{- end -}}
{{- $ok := contains "${" $path -}}
{{- range $mounted -}}
{{- if hasPrefix . $path -}}{{- $ok = true -}}{{- end -}}
{{- end -}}
{{- if not $ok -}}
{{- $given := keys .root.Values.files | sortAlpha | join ", " | default "none" -}}
{{- fail (printf "%s is %q: nothing is mounted there: expected /etc/connector/files/<name>/<key> with a name of files (%s), or a path of extraVolumeMounts" .key $path $given) -}}
{{- end -}}
{{- end }}
