{{/* The value of app.kubernetes.io/name. */}}
{{- define "providertoken.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The prefix of all names. Short enough for what follows it in a Service's name. */}}
{{- define "providertoken.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a release's objects have in common. */}}
{{- define "providertoken.labels" -}}
app.kubernetes.io/name: {{ include "providertoken.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What selects the pods. The instance tells shards in one namespace apart. */}}
{{- define "providertoken.selector" -}}
app.kubernetes.io/name: {{ include "providertoken.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: manager
{{- end }}

{{/* What selects the pods of one Deployment: of a shard, or of what is left besides shards. */}}
{{- define "providertoken.podSelector" -}}
{{ include "providertoken.selector" . }}
{{- with .shard }}
providertoken.dev/shard: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Which ProviderTokens the operator works on; empty for all. */}}
{{- define "providertoken.shard" -}}
{{- if .shard }}{{ printf "providertoken.dev/shard=%s" .shard }}
{{- else if .Values.shards }}{{ printf "providertoken.dev/shard notin (%s)" (join "," .Values.shards) }}
{{- else }}{{ .Values.watchLabelSelector }}
{{- end }}
{{- end }}

{{- define "providertoken.serviceAccount" -}}
{{- default (printf "%s-manager" (include "providertoken.fullname" .)) .Values.serviceAccount.name }}
{{- end }}

{{/* The name of the PriorityClass; empty for none. */}}
{{- define "providertoken.priorityClass" -}}
{{- if .Values.priorityClass.create }}
{{- default (printf "%s-manager" (include "providertoken.fullname" .)) .Values.priorityClass.name }}
{{- else }}
{{- .Values.priorityClass.name }}
{{- end }}
{{- end }}

{{- define "providertoken.image" -}}
{{- $digest := .Values.image.digest }}
{{- $tag := .Values.image.tag }}
{{- if and (not $digest) (not $tag) }}{{ $tag = .Chart.AppVersion }}{{ end }}
{{- .Values.image.repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The namespaces that get a Role, as a JSON list; empty for the whole cluster. */}}
{{- define "providertoken.namespaces" -}}
{{- $namespaces := .Values.watchNamespaces }}
{{- if .Values.watchOwnNamespace }}{{ $namespaces = prepend $namespaces .Release.Namespace }}{{ end }}
{{- $namespaces | uniq | toJson }}
{{- end }}

{{/* The value of --watch-namespaces; empty for the whole cluster. */}}
{{- define "providertoken.watch" -}}
{{- $namespaces := .Values.watchNamespaces }}
{{- if .Values.watchOwnNamespace }}{{ $namespaces = prepend $namespaces "$(POD_NAMESPACE)" }}{{ end }}
{{- join "," $namespaces }}
{{- end }}

{{/* Rules that hack/manifests.sh takes from config/. */}}
{{- define "providertoken.rules" -}}
{{- $file := printf "files/rules/%s.yaml" .role }}
{{- required (printf "%s is missing: run make build-installer" $file) (.files.Get $file) | trim }}
{{- end }}

{{/* The port of the proxy, where it is none that is open anyway; else empty. */}}
{{- define "providertoken.proxyPort" -}}
{{- with .Values.egressProxy.url }}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- if not $port }}{{ $port = ternary "443" "80" (eq $url.scheme "https") }}{{ end }}
{{- if not (has $port (list "443" "6443")) }}{{ $port }}{{ end }}
{{- end }}
{{- end }}

{{/* What the schema cannot say well: values that contradict each other. */}}
{{- define "providertoken.validate" -}}
{{- if and (not .Values.leaderElection.enabled) (gt (int .Values.replicas) 1) }}
{{- fail (printf "replicas is %d, but leaderElection.enabled is false: replicas would all work at once and refresh every token more than once. Set replicas to 1, or enable leader election." (int .Values.replicas)) }}
{{- end }}
{{- if and .Values.shards .Values.watchLabelSelector }}
{{- fail "shards and watchLabelSelector are both set: shards is all it takes, and leaves no ProviderToken without an operator. Keep one of them." }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) }}
{{- fail "metrics.serviceMonitor.enabled is true, but metrics.enabled is false: there is nothing to scrape. Enable both, or neither." }}
{{- end }}
{{- if and (or .Values.metrics.prometheusRule.enabled .Values.metrics.dashboard.enabled) (not .Values.metrics.enabled) }}
{{- fail "metrics.prometheusRule.enabled or metrics.dashboard.enabled is true, but metrics.enabled is false: there is nothing to scrape. Enable metrics, or neither." }}
{{- end }}
{{- /* Never repeated in a message: it may hold a password. */}}
{{- if and .Values.egressProxy.url (contains "@" .Values.egressProxy.url) }}
{{- fail "egressProxy.url holds a user or password, which everybody who may see pods could read: put the URL into a Secret and name it in egressProxy.secret.name." }}
{{- end }}
{{- if not (regexMatch "^(https?://[^/[:space:]]+/?)?$" .Values.egressProxy.url) }}
{{- fail "egressProxy.url: write an http or https URL, such as http://proxy.example.com:3128." }}
{{- end }}
{{- if and .Values.egressProxy.url .Values.egressProxy.secret.name }}
{{- fail "egressProxy.url and egressProxy.secret.name are both set: keep one of them." }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create is false: write into serviceAccount.name which existing ServiceAccount to use." }}
{{- end }}
{{- end }}
