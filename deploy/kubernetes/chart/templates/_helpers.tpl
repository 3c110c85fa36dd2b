{{/* How the objects are called: the name of a Service begins with a letter and has no dots, while
that of a release may be otherwise. */}}
{{- define "keyward.name" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else if not (regexMatch "^[a-z]" $release) -}}
{{- printf "keyward-%s" $release | trunc 53 | trimSuffix "-" -}}
{{- else if contains "keyward" $release -}}
{{- $release | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-keyward" $release | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the pods are found by: it never changes. */}}
{{- define "keyward.selector" -}}
app.kubernetes.io/name: keyward
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: edge
{{- end -}}

{{- define "keyward.labels" -}}
{{ include "keyward.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "keyward.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The configuration as TOML. */}}
{{- define "keyward.config" -}}
{{- .Values.config | default (.Files.Get "files/keyward.toml") -}}
{{- end -}}

{{/* What the schema of the values cannot say. */}}
{{- define "keyward.check" -}}
{{- $scales := .Values.autoscaling -}}
{{- if and $scales.enabled (gt (int $scales.min) (int $scales.max)) -}}
{{- fail "autoscaling.min is larger than autoscaling.max" -}}
{{- end -}}
{{- if eq (int .Values.ports.http) (int .Values.ports.admin) -}}
{{- fail "ports.http and ports.admin are the same: health and metrics are not public" -}}
{{- end -}}
{{- $fewest := ternary $scales.min .Values.replicas $scales.enabled | int -}}
{{- if and (gt $fewest 1) (ge (int .Values.disruptionBudget.maxUnavailable) $fewest) -}}
{{- fail (printf "disruptionBudget.maxUnavailable lets all of %d pods be away" $fewest) -}}
{{- end -}}
{{- if and (ne .Values.service.type "LoadBalancer") .Values.service.loadBalancerSourceRanges -}}
{{- fail "service.loadBalancerSourceRanges is for service.type LoadBalancer" -}}
{{- end -}}
{{- if and (eq .Values.service.type "ClusterIP") .Values.service.externalTrafficPolicy -}}
{{- fail "service.externalTrafficPolicy is for service.type LoadBalancer or NodePort" -}}
{{- end -}}
{{- end -}}
