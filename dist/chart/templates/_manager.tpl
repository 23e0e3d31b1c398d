{{/* The manager's flags: the three that config/manager has, and what differs from the manager's own defaults. */}}
{{- define "providertoken.args" -}}
{{- $args := list (ternary "--leader-elect" "--leader-elect=false" .Values.leaderElection.enabled) }}
{{- $args = append $args (printf "--metrics-bind-address=%s" (ternary (printf ":%d" (int .Values.metrics.port)) "0" .Values.metrics.enabled)) }}
{{- $args = append $args (printf "--health-probe-bind-address=:%d" (int .Values.probePort)) }}
{{- if not .Values.metrics.secure }}{{ $args = append $args "--metrics-secure=false" }}{{ end }}
{{- with include "providertoken.watch" . }}{{ $args = append $args (printf "--watch-namespaces=%s" .) }}{{ end }}
{{- with include "providertoken.shard" . }}{{ $args = append $args (printf "--watch-label-selector=%s" .) }}{{ end }}
{{- if ne (int .Values.maxConcurrentReconciles) 16 }}{{ $args = append $args (printf "--max-concurrent-reconciles=%d" (int .Values.maxConcurrentReconciles)) }}{{ end }}
{{- if not .Values.inlineProviders }}{{ $args = append $args "--inline-providers=false" }}{{ end }}
{{- with .Values.clusterName }}{{ $args = append $args (printf "--cluster-name=%s" .) }}{{ end }}
{{- with .Values.allowNetworks }}{{ $args = append $args (printf "--allow-networks=%s" (join "," .)) }}{{ end }}
{{- with .Values.egressProxy.url }}{{ $args = append $args (printf "--egress-proxy=%s" .) }}{{ end }}
{{- if .Values.egressProxy.secret.name }}{{ $args = append $args "--egress-proxy=$(EGRESS_PROXY)" }}{{ end }}
{{- if .Values.propagation.enabled }}
{{- $args = append $args "--propagation" }}
{{- if ne (int .Values.propagation.rate) 50 }}{{ $args = append $args (printf "--propagation-rate=%d" (int .Values.propagation.rate)) }}{{ end }}
{{- end }}
{{- if .Values.workloadIdentity.enabled }}
{{- $args = append $args "--workload-identity" }}
{{- with .Values.workloadIdentity.apiAudiences }}{{ $args = append $args (printf "--api-audiences=%s" (join "," .)) }}{{ end }}
{{- end }}
{{- if ne (toString .Values.log.level) "info" }}{{ $args = append $args (printf "--zap-log-level=%v" .Values.log.level) }}{{ end }}
{{- if ne .Values.log.encoder "json" }}{{ $args = append $args (printf "--zap-encoder=%s" .Values.log.encoder) }}{{ end }}
{{- if not .Values.metrics.perObject }}{{ $args = append $args "--object-metrics=false" }}{{ end }}
{{- if ne .Values.auditLog "stdout" }}{{ $args = append $args (printf "--audit-log=%s" .Values.auditLog) }}{{ end }}
{{- with .Values.otlpEndpoint }}{{ $args = append $args (printf "--otlp-endpoint=%s" .) }}{{ end }}
{{- toYaml (concat $args .Values.extraArgs) }}
{{- end }}

{{/* Nine tenths of resources.limits.memory in Mi or Gi; nothing without one, or where extraEnv has its own. */}}
{{- define "providertoken.goMemLimit" -}}
{{- $own := false }}
{{- range .Values.extraEnv }}{{ if eq .name "GOMEMLIMIT" }}{{ $own = true }}{{ end }}{{ end }}
{{- $limit := toString (dig "limits" "memory" "" (.Values.resources | default dict)) }}
{{- if and (not $own) (regexMatch "^[1-9][0-9]*[MG]i$" $limit) }}
{{- $mebibytes := int (regexFind "^[0-9]+" $limit) }}
{{- if hasSuffix "Gi" $limit }}{{ $mebibytes = mul $mebibytes 1024 }}{{ end }}
{{- printf "%dMiB" (div (mul $mebibytes 9) 10) }}
{{- end }}
{{- end }}

{{/* Different nodes; by revision, so that pods that are about to go do not count. */}}
{{- define "providertoken.affinity" -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "matchLabelKeys" (list "pod-template-hash")
    "labelSelector" (dict "matchLabels" (include "providertoken.podSelector" . | fromYaml)) }}
{{- $rules := dict
    "preferred" (dict "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term))))
    "required" (dict "podAntiAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term)))
    "none" dict }}
{{- $affinity := index $rules .Values.podAntiAffinity }}
{{- with .Values.affinity.podAntiAffinity }}{{ $_ := unset $affinity "podAntiAffinity" }}{{ end }}
{{- toYaml (merge (deepCopy .Values.affinity) $affinity) }}
{{- end }}
