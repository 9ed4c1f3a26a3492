{{- define "tcpwatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tcpwatch.fullname" -}}
{{- $name := include "tcpwatch.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tcpwatch.selector" -}}
app.kubernetes.io/name: {{ include "tcpwatch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tcpwatch.labels" -}}
{{ include "tcpwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tcpwatch.serviceAccount" -}}
{{- default (ternary (include "tcpwatch.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "tcpwatch.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- /* Room for maxSize, which the daemon keeps to, and for what the file system takes beside it. */}}
{{- define "tcpwatch.recordLimit" -}}
{{- $size := .maxSize | toString }}
{{- if not (kindIs "string" .maxSize) }}{{ $size = .maxSize | int64 | toString }}{{ end }}
{{- $number := regexFind "^[0-9]+" $size | int64 }}
{{- if .sizeLimit }}{{ .sizeLimit }}
{{- else if hasSuffix "GiB" $size }}{{ mul $number 1280 }}Mi
{{- else if hasSuffix "MiB" $size }}{{ mul $number 1280 }}Ki
{{- else if hasSuffix "KiB" $size }}{{ mul $number 1280 }}
{{- else }}{{ div (mul $number 5) 4 }}
{{- end }}
{{- end }}

{{- /* The configuration file. JSON of a number, of text and of true is TOML, too. */}}
{{- define "tcpwatch.config" -}}
# Made by the chart; `tcpwatch run --print-config` tells every option. What changes here is taken over within a minute or two.
{{- range $section, $options := .Values.config }}

[{{ $section }}]
{{- range $name, $value := $options }}
{{ $name }} = {{ $value | toJson }}
{{- end }}
{{- end }}
{{- if .Values.record.enabled }}

[record]
max_size = {{ .Values.record.maxSize | toJson }}
{{- end }}
{{ end }}
