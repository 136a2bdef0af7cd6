{{/* Bytes of a Kubernetes quantity or one of the connector's sizes, "512Mi" or "4GiB": key, value. */}}
{{- define "connector.bytes" -}}
{{- /* Helm reads numbers as floats, and writes large ones as 5e+09. */ -}}
{{- $text := kindIs "float64" .value | ternary (int64 .value | toString) (toString .value) -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?([KMGTkmgt]i?)?B?$" $text) -}}
{{- fail (printf "%s is %q: expected a size such as 512Mi" .key $text) -}}
{{- end -}}
{{- $factors := dict "" 1 "k" 1000 "m" 1000000 "g" 1000000000 "t" 1000000000000 "ki" 1024 "mi" 1048576 "gi" 1073741824 "ti" 1099511627776 -}}
{{- $unit := regexReplaceAll "^[0-9.]+" $text "" | trimSuffix "B" | lower -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $factors $unit | float64) | int64 -}}
{{- end }}

{{/* Seconds of one of the connector's durations, "1m30s", rounded up: key, value. */}}
{{- define "connector.seconds" -}}
{{- $text := toString .value -}}
{{- if not (regexMatch "^([0-9]+(\\.[0-9]+)?(ms|h|m|s))+$" $text) -}}
{{- fail (printf "%s is %q: expected a duration such as 20s" .key $text) -}}
{{- end -}}
{{- $factors := dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|h|m|s)" $text -1 -}}
{{- $sum = addf $sum (mulf (regexFind "^[0-9.]+" . | float64) (get $factors (regexFind "[hms]+$" .))) -}}
{{- end -}}
{{- ceil $sum | int -}}
{{- end }}

{{/* Whole CPUs of a Kubernetes quantity, rounded up: key, value. */}}
{{- define "connector.cpus" -}}
{{- $text := toString .value -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?m?$" $text) -}}
{{- fail (printf "%s is %q: expected CPUs such as 500m or 2" .key $text) -}}
{{- end -}}
{{- if hasSuffix "m" $text -}}
{{- divf (trimSuffix "m" $text | float64) 1000.0 | ceil | int -}}
{{- else -}}
{{- float64 $text | ceil | int -}}
{{- end -}}
{{- end }}

{{/* Go's limits for a container: GOMEMLIMIT and GOMAXPROCS, as YAML; needs root and resources. */}}
{{- define "connector.goLimits" -}}
{{- $limits := (.resources | default dict).limits | default dict -}}
{{- $requests := (.resources | default dict).requests | default dict -}}
{{- if and $limits.memory (gt (int .root.Values.goMemoryLimitPercent) 0) }}
- name: GOMEMLIMIT
  value: {{ divf (mulf (include "connector.bytes" (dict "key" "resources.limits.memory" "value" $limits.memory) | float64) (float64 .root.Values.goMemoryLimitPercent)) 100.0 | int64 | quote }}
{{- end }}
{{- if .root.Values.goMaxProcs }}
- name: GOMAXPROCS
  value: {{ .root.Values.goMaxProcs | int | quote }}
{{- else if $limits.cpu }}
- name: GOMAXPROCS
  value: {{ include "connector.cpus" (dict "key" "resources.limits.cpu" "value" $limits.cpu) | int | max 1 | quote }}
{{- else if $requests.cpu }}
- name: GOMAXPROCS
  value: {{ include "connector.cpus" (dict "key" "resources.requests.cpu" "value" $requests.cpu) | int | max 2 | quote }}
{{- end }}
{{- end }}
