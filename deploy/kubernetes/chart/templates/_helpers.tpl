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

{{/* What the pods are found by: it never changes. The component is another than that of ../edge, so
that neither takes the other's pods for its own. */}}
{{- define "keyward.selector" -}}
app.kubernetes.io/name: keyward
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
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

{{/* Thousandths of a core. */}}
{{- define "keyward.milli" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}
{{- trimSuffix "m" $text | float64 -}}
{{- else -}}
{{- mulf (float64 $text) 1000 -}}
{{- end -}}
{{- end -}}

{{/* What the schema of the values cannot say. */}}
{{- define "keyward.check" -}}
{{- if eq (toString .Values.enabled) "false" -}}
{{- fail "enabled is for a chart that has this one as a dependency, with it as the condition" -}}
{{- end -}}
{{- if and .Values.config .Values.exampleConfig -}}
{{- fail "config and exampleConfig are both given: remove exampleConfig" -}}
{{- end -}}
{{- if not (or (trim .Values.config) .Values.exampleConfig) -}}
{{- fail (printf "%s %s" "config is empty: give it each time, best in a file of values (-f), as"
    "Helm resets it. exampleConfig=true takes files/keyward.toml, to try the chart out") -}}
{{- end -}}
{{- if gt (len .Values.config) 200000 -}}
{{- fail "config has more than 200000 bytes, which is too much for an annotation" -}}
{{- end -}}
{{- $scales := .Values.autoscaling -}}
{{- if and $scales.enabled (gt (int $scales.min) (int $scales.max)) -}}
{{- fail "autoscaling.min is larger than autoscaling.max" -}}
{{- end -}}
{{- if and $scales.enabled .Values.resources.limits.cpu -}}
{{- $most := include "keyward.milli" .Values.resources.limits.cpu | float64 -}}
{{- if ge (include "keyward.milli" $scales.cpu | float64) $most -}}
{{- fail "autoscaling.cpu is not less than resources.limits.cpu: no pod would ever be added" -}}
{{- end -}}
{{- end -}}
{{- $names := list "http" "admin" -}}
{{- $ports := list (int .Values.ports.http) (int .Values.ports.admin) -}}
{{- $service := list (int .Values.service.port) -}}
{{- range .Values.listeners -}}
{{- $names = append $names .name -}}
{{- $ports = append $ports (int .port) -}}
{{- $service = append $service (int .servicePort) -}}
{{- end -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- fail (printf "%s %s" "a port is there twice in ports and listeners: each has its own, and"
    "health and metrics are not public") -}}
{{- end -}}
{{- if or (ne (len $names) (len (uniq $names))) (ne (len $service) (len (uniq $service))) -}}
{{- fail (printf "%s %s" "a name or servicePort of listeners is there twice, or is service.port,"
    "http or admin") -}}
{{- end -}}
{{- $fewest := ternary $scales.min .Values.replicas $scales.enabled | int -}}
{{- if and (gt $fewest 1) (ge (int .Values.disruptionBudget.maxUnavailable) $fewest) -}}
{{- fail (printf "disruptionBudget.maxUnavailable lets all of %d pods be away" $fewest) -}}
{{- end -}}
{{- if and (ne .Values.service.type "LoadBalancer") .Values.service.loadBalancerSourceRanges -}}
{{- fail "service.loadBalancerSourceRanges is for service.type LoadBalancer" -}}
{{- end -}}
{{- if and (ne .Values.service.type "LoadBalancer") .Values.service.loadBalancerClass -}}
{{- fail "service.loadBalancerClass is for service.type LoadBalancer" -}}
{{- end -}}
{{- if eq .Values.service.type "ClusterIP" -}}
{{- if .Values.service.externalTrafficPolicy -}}
{{- fail "service.externalTrafficPolicy is for service.type LoadBalancer or NodePort" -}}
{{- end -}}
{{- range concat (list .Values.service) .Values.listeners -}}
{{- if .nodePort -}}
{{- fail "nodePort is for service.type NodePort or LoadBalancer" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
