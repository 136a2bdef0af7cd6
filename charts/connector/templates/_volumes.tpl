{{/* Mounts of the configuration and of files. */}}
{{- define "connector.volumeMounts" -}}
# A directory: a single file (subPath) would never change in a running pod.
- {name: config, mountPath: /etc/connector/config, readOnly: true}
{{- range $name, $_ := .Values.files }}
- {name: {{ printf "file-%s" $name }}, mountPath: {{ printf "/etc/connector/files/%s" $name }}, readOnly: true}
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "connector.volumes" -}}
- name: config
  configMap:
    name: {{ include "connector.fullname" . }}
{{- range $name, $file := .Values.files }}
- name: {{ printf "file-%s" $name }}
  {{- if $file.secret }}
  secret:
    secretName: {{ $file.secret }}
    # For the pod's group: the process is not root.
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ $file.configMap }}
  {{- end }}
    {{- with $file.items }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if $file.optional }}
    optional: true
    {{- end }}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
