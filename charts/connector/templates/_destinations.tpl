{{/*
Where the connector connects to, as a YAML list of {key, host, port, exact}, each
host and port once. exact: the host is all there is; a broker names the others of
its cluster by addresses of their own.
*/}}
{{- define "connector.destinations" -}}
{{- $found := list -}}
{{- range $i, $source := .Values.config.sources -}}
{{- if has (toString $source.type) (list "session" "relay") -}}
{{- $key := printf "config.sources[%d].address" $i -}}
{{- $address := toString ($source.address | default "") -}}
{{- $found = append $found (dict "host" (include "connector.host" $address) "port" (include "connector.port" (dict "key" $key "address" $address) | int) "exact" true) -}}
{{- end -}}
{{- end -}}
{{- range $i, $sink := .Values.config.sinks -}}
{{- if eq (toString $sink.type) "nats" -}}
{{- range splitList "," (toString $sink.url) -}}
{{- $found = append $found (include "connector.urlDestination" (dict "key" (printf "config.sinks[%d].url" $i) "url" (trim .) "scheme" "nats") | fromYaml) -}}
{{- end -}}
{{- else if eq (toString $sink.type) "kafka" -}}
{{- range $j, $broker := $sink.brokers -}}
{{- $port := include "connector.port" (dict "key" (printf "config.sinks[%d].brokers[%d]" $i $j) "address" $broker) | int -}}
{{- $found = append $found (dict "host" (include "connector.host" $broker) "port" $port "exact" false) -}}
{{- end -}}
{{- with ((($sink.sasl | default dict).oauth) | default dict).token_url -}}
{{- $found = append $found (include "connector.urlDestination" (dict "key" (printf "config.sinks[%d].sasl.oauth.token_url" $i) "url" . "scheme" "https") | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.otlp.endpoint -}}
{{- $found = append $found (include "connector.urlDestination" (dict "key" "otlp.endpoint" "url" . "scheme" "http") | fromYaml) -}}
{{- end -}}
{{- $once := list -}}
{{- $seen := dict -}}
{{- range $found -}}
{{- $id := printf "%s %v" .host .port -}}
{{- if not (hasKey $seen $id) -}}
{{- $once = append $once . -}}
{{- $_ := set $seen $id true -}}
{{- end -}}
{{- end -}}
{{- toYaml $once -}}
{{- end }}

{{/* A destination of a URL: key, url, and the scheme where it has none. */}}
{{- define "connector.urlDestination" -}}
{{- $url := .url -}}
{{- if not (contains "://" $url) -}}{{- $url = printf "%s://%s" .scheme $url -}}{{- end -}}
{{- /* Not urlParse: its errors would show a password. */ -}}
{{- $scheme := regexFind "^[a-z]+" $url -}}
{{- $address := regexReplaceAll "^[a-z]+://([^/@]*@)?([^/?#]*).*$" $url "${2}" -}}
{{- $default := get (dict "nats" "4222" "tls" "4222" "ws" "80" "wss" "443" "http" "80" "https" "443") $scheme -}}
{{- if and $default (not (contains "${" $address)) (not (regexMatch ":[^\\]:]*$" $address)) -}}{{- $address = printf "%s:%s" $address $default -}}{{- end -}}
{{- if not (regexMatch "^(\\[[^\\]]+\\]|[^:]+):[0-9]{1,5}$" $address) -}}
{{- fail (printf "%s: expected a URL such as %s://host:port, from which networkPolicy takes host and port; or networkPolicy.enabled: false" .key .scheme) -}}
{{- end -}}
{{- toYaml (dict "host" (include "connector.host" $address) "port" (regexFind "[0-9]+$" $address | int) "exact" false) -}}
{{- end }}

{{/* The NetworkPolicy peers of a destination as YAML, empty for every address: root, destination. */}}
{{- define "connector.peers" -}}
{{- $host := .destination.host -}}
{{- with get .root.Values.networkPolicy.peers $host -}}
{{- toYaml . -}}
{{- else -}}
{{- if .destination.exact -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+){3}$" $host -}}
- ipBlock: {cidr: {{ $host }}/32}
{{- else if contains ":" $host -}}
- ipBlock: {cidr: "{{ $host }}/128"}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
