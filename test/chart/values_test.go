package chart_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	deployment = "Deployment providertoken-manager"
	pod        = "/spec/template/spec"
	manager    = pod + "/containers/0"
	policy     = "NetworkPolicy providertoken-manager"
	monitor    = "ServiceMonitor providertoken-metrics"
)

// valueCase sets one value, on top of those that it needs to have an effect.
type valueCase struct {
	value string // a leaf of values.yaml
	to    string // YAML
	given string // YAML; what else must be set
	args  []string
	wants []want
	every want // holds for each object
}

// what the operator's role may do, as one of its rules.
const secretsRule = `{apiGroups: [""], resources: [secrets], verbs: [create, get, list, update, watch]}`

var valueCases = []valueCase{
	{value: "nameOverride", to: "tokens", wants: []want{
		{"Deployment providertoken-tokens-manager", "/metadata/labels/app.kubernetes.io~1name", "tokens"},
		{"Deployment providertoken-tokens-manager", "/spec/selector/matchLabels/app.kubernetes.io~1name", "tokens"},
		{"Deployment providertoken-tokens-manager", "/spec/template/metadata/labels/app.kubernetes.io~1name", "tokens"},
		{"Service providertoken-tokens-metrics", "/spec/selector/app.kubernetes.io~1name", "tokens"},
	}},
	{value: "fullnameOverride", to: "shard-b", wants: []want{
		{"Deployment shard-b-manager", pod + "/serviceAccountName", "shard-b-manager"},
		{"ServiceAccount shard-b-manager", "/kind", "ServiceAccount"},
		{"ClusterRoleBinding shard-b-manager-rolebinding", "/roleRef/name", "shard-b-manager-role"},
		{"ClusterRoleBinding shard-b-manager-rolebinding", "/subjects/0/name", "shard-b-manager"},
		{deployment, "", "absent"},
	}},
	{value: "commonLabels", to: "{team: platform}", every: want{pointer: "/metadata/labels/team", value: "platform"}, wants: []want{{deployment, "/spec/template/metadata/labels/team", "platform"}, {deployment, "/spec/selector/matchLabels/team", "absent"}}},
	{value: "crds.install", given: "crds: {install: true}", to: "false", wants: []want{{"CustomResourceDefinition providertokens.providertoken.dev", "", "absent"}}},

	{value: "image.repository", given: "image: {tag: v9}", to: "mirror.example.com:5000/pt", wants: []want{{deployment, manager + "/image", "mirror.example.com:5000/pt:v9"}}},
	{value: "image.tag", to: "v9", wants: []want{{deployment, manager + "/image", "ghcr.io/providertoken/operator:v9"}}},
	{value: "image.digest", to: "sha256:" + strings.Repeat("0", 64), wants: []want{{deployment, manager + "/image", "ghcr.io/providertoken/operator@sha256:" + strings.Repeat("0", 64)}}},
	{value: "image.digest", given: "image: {tag: v9}", to: "sha256:" + strings.Repeat("0", 64), wants: []want{{deployment, manager + "/image", "ghcr.io/providertoken/operator:v9@sha256:" + strings.Repeat("0", 64)}}},
	{value: "image.pullPolicy", to: "Always", wants: []want{{deployment, manager + "/imagePullPolicy", "Always"}}},
	{value: "imagePullSecrets", to: "[{name: regcred}]", wants: []want{{deployment, pod + "/imagePullSecrets", "[{name: regcred}]"}}},
	{value: "replicas", to: "3", wants: []want{{deployment, "/spec/replicas", "3"}}},
	{value: "replicas", to: "0", wants: []want{{deployment, "/spec/replicas", "0"}}},
	{value: "leaderElection.enabled", given: "replicas: 1", to: "false", wants: []want{{deployment, manager + "/args/0", "--leader-elect=false"}}},

	{value: "watchNamespaces", to: "[team-a, team-b]", args: []string{"--watch-namespaces=team-a,team-b"}, wants: []want{
		{"ClusterRole providertoken-manager-role", "", "absent"},
		{"ClusterRoleBinding providertoken-manager-rolebinding", "", "absent"},
		{"Role team-a/providertoken-manager-role", "/rules/3", secretsRule},
		{"Role team-b/providertoken-manager-role", "/rules/3", secretsRule},
		{"RoleBinding team-b/providertoken-manager-rolebinding", "/roleRef", "{apiGroup: rbac.authorization.k8s.io, kind: Role, name: providertoken-manager-role}"},
		{"RoleBinding team-b/providertoken-manager-rolebinding", "/subjects", "[{kind: ServiceAccount, name: providertoken-manager, namespace: providertoken-system}]"},
		{"Role providertoken-manager-role", "", "absent"},
	}},
	{value: "watchOwnNamespace", to: "true", args: []string{"--watch-namespaces=$(POD_NAMESPACE)"}, wants: []want{
		{"ClusterRole providertoken-manager-role", "", "absent"},
		{"Role providertoken-manager-role", "/rules/3", secretsRule},
	}},
	{value: "watchOwnNamespace", given: "watchNamespaces: [team-a, providertoken-system]", to: "true", args: []string{"--watch-namespaces=$(POD_NAMESPACE),team-a,providertoken-system"}, wants: []want{
		{"Role providertoken-manager-role", "/rules/3", secretsRule},
		{"Role team-a/providertoken-manager-role", "/rules/3", secretsRule},
	}},
	{value: "shards", to: "[b, c]", args: []string{"--watch-label-selector=providertoken.dev/shard notin (b,c)"}, wants: []want{
		{deployment, "/spec/template/metadata/labels/providertoken.dev~1shard", "absent"},
		{deployment + "-b", manager + "/args/3", "--watch-label-selector=providertoken.dev/shard=b"},
		{deployment + "-c", manager + "/args/3", "--watch-label-selector=providertoken.dev/shard=c"},
		{deployment + "-b", "/spec/replicas", "2"},
		{deployment + "-b", "/spec/selector/matchLabels/providertoken.dev~1shard", "b"},
		{deployment + "-b", "/spec/template/metadata/labels/providertoken.dev~1shard", "b"},
		{deployment + "-b", pod + "/serviceAccountName", "providertoken-manager"},
		{deployment + "-b", pod + "/topologySpreadConstraints/0/labelSelector/matchLabels/providertoken.dev~1shard", "b"},
	}},
	{value: "watchLabelSelector", to: "shard=a", args: []string{"--watch-label-selector=shard=a"}},
	{value: "maxConcurrentReconciles", to: "4", args: []string{"--max-concurrent-reconciles=4"}},
	{value: "inlineProviders", to: "false", args: []string{"--inline-providers=false"}},
	{value: "clusterName", to: "prod-1", args: []string{"--cluster-name=prod-1"}},
	{value: "allowNetworks", to: "[10.1.0.0/16, 'fd00:1::/64']", args: []string{"--allow-networks=10.1.0.0/16,fd00:1::/64"}},
	{value: "egressProxy.url", to: "http://proxy.example.com:3128", args: []string{"--egress-proxy=http://proxy.example.com:3128"}, wants: []want{{policy, "/spec/egress/1/ports/2", "{port: 3128, protocol: TCP}"}}},
	{value: "egressProxy.url", to: "http://proxy.example.com", args: []string{"--egress-proxy=http://proxy.example.com"}, wants: []want{{policy, "/spec/egress/1/ports/2", "{port: 80, protocol: TCP}"}}},
	{value: "egressProxy.url", to: "https://proxy.example.com", args: []string{"--egress-proxy=https://proxy.example.com"}, wants: []want{{policy, "/spec/egress/1/ports/2", "absent"}}},
	{value: "egressProxy.url", to: "'https://[fd00::1]:8080'", args: []string{"--egress-proxy=https://[fd00::1]:8080"}, wants: []want{{policy, "/spec/egress/1/ports/2", "{port: 8080, protocol: TCP}"}}},
	{value: "egressProxy.secret.name", to: "proxy", args: []string{"--egress-proxy=$(EGRESS_PROXY)"}, wants: []want{
		{deployment, manager + "/env/1", "{name: EGRESS_PROXY, valueFrom: {secretKeyRef: {name: proxy, key: url}}}"},
	}},
	{value: "egressProxy.secret.key", given: "egressProxy: {secret: {name: proxy}}", to: "address", wants: []want{{deployment, manager + "/env/1/valueFrom/secretKeyRef/key", "address"}}},
	{value: "log.level", to: "debug", args: []string{"--zap-log-level=debug"}},
	{value: "log.level", to: "3", args: []string{"--zap-log-level=3"}},
	{value: "log.encoder", to: "console", args: []string{"--zap-encoder=console"}},
	{value: "extraArgs", to: "[--zap-stacktrace-level=panic]", args: []string{"--zap-stacktrace-level=panic"}},
	{value: "extraEnv", to: "[{name: GOMEMLIMIT, value: 400MiB}]", wants: []want{{deployment, manager + "/env/1", "{name: GOMEMLIMIT, value: 400MiB}"}, {deployment, manager + "/env/2", "absent"}}},

	{value: "propagation.enabled", to: "true", args: []string{"--propagation"}, wants: []want{
		{"ClusterRole providertoken-propagation", "/rules/1", "{apiGroups: [''], resources: [pods/status], verbs: [patch]}"},
		{"ClusterRoleBinding providertoken-propagation", "/subjects/0/name", "providertoken-manager"},
		{"ValidatingAdmissionPolicy providertoken-propagation", "/spec/failurePolicy", "Fail"},
		{"ValidatingAdmissionPolicyBinding providertoken-propagation", "/spec", "{policyName: providertoken-propagation, validationActions: [Deny]}"},
	}},
	{value: "propagation.enabled", given: "watchNamespaces: [team-a, team-b]", to: "true", args: []string{"--propagation"}, wants: []want{
		{"ClusterRole providertoken-propagation", "", "absent"},
		{"ClusterRoleBinding providertoken-propagation", "", "absent"},
		{"Role team-a/providertoken-propagation", "/rules/1/resources", "[pods/status]"},
		{"RoleBinding team-b/providertoken-propagation", "/roleRef/kind", "Role"},
		{"RoleBinding team-b/providertoken-propagation", "/subjects", "[{kind: ServiceAccount, name: providertoken-manager, namespace: providertoken-system}]"},
	}},
	{value: "propagation.rate", given: "propagation: {enabled: true}", to: "7", args: []string{"--propagation", "--propagation-rate=7"}},
	{value: "propagation.policy", given: "propagation: {enabled: true}", to: "false", wants: []want{
		{"ValidatingAdmissionPolicy providertoken-propagation", "", "absent"},
		{"ValidatingAdmissionPolicyBinding providertoken-propagation", "", "absent"},
		{"ClusterRole providertoken-propagation", "/rules/1/verbs", "[patch]"},
	}},

	{value: "workloadIdentity.enabled", to: "true", args: []string{"--workload-identity"}, wants: []want{
		{"ClusterRole providertoken-workload-identity", "/rules/1", "{apiGroups: [''], resources: [serviceaccounts/token], verbs: [create]}"},
		{"ClusterRoleBinding providertoken-workload-identity", "/subjects/0/name", "providertoken-manager"},
		{"ClusterRoleBinding providertoken-workload-identity-reviewer", "/roleRef/name", "providertoken-workload-identity-reviewer"},
		{"ValidatingAdmissionPolicy providertoken-workload-identity", "/spec/failurePolicy", "Fail"},
		{"ValidatingAdmissionPolicy providertoken-workload-identity", "/spec/variables/0", "{name: others, expression: '[]'}"},
		{"ValidatingAdmissionPolicyBinding providertoken-workload-identity", "/spec", "{policyName: providertoken-workload-identity, validationActions: [Deny]}"},
	}},
	{value: "workloadIdentity.enabled", given: "watchNamespaces: [team-a, team-b]", to: "true", args: []string{"--workload-identity"}, wants: []want{
		{"ClusterRole providertoken-workload-identity", "", "absent"},
		{"ClusterRoleBinding providertoken-workload-identity", "", "absent"},
		{"Role team-a/providertoken-workload-identity", "/rules/1/resources", "[serviceaccounts/token]"},
		{"RoleBinding team-b/providertoken-workload-identity", "/roleRef/kind", "Role"},
		{"RoleBinding team-b/providertoken-workload-identity", "/subjects", "[{kind: ServiceAccount, name: providertoken-manager, namespace: providertoken-system}]"},
		{"ClusterRole providertoken-workload-identity-reviewer", "/rules", "[{apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}]"},
		{"ClusterRoleBinding providertoken-workload-identity-reviewer", "/subjects", "[{kind: ServiceAccount, name: providertoken-manager, namespace: providertoken-system}]"},
	}},
	{value: "workloadIdentity.apiAudiences", given: "workloadIdentity: {enabled: true}", to: "[https://api.example, x]",
		args: []string{"--workload-identity", "--api-audiences=https://api.example,x"}, wants: []want{
			{"ValidatingAdmissionPolicy providertoken-workload-identity", "/spec/variables/0/expression", `'["https://api.example","x"]'`},
		}},
	{value: "workloadIdentity.policy", given: "workloadIdentity: {enabled: true}", to: "false", wants: []want{
		{"ValidatingAdmissionPolicy providertoken-workload-identity", "", "absent"},
		{"ValidatingAdmissionPolicyBinding providertoken-workload-identity", "", "absent"},
		{"ClusterRole providertoken-workload-identity", "/rules/1/verbs", "[create]"},
	}},

	{value: "credentialPolicy.enabled", to: "true", wants: []want{
		{"ValidatingAdmissionPolicy providertoken-credentials", "/spec/failurePolicy", "Fail"},
		{"ValidatingAdmissionPolicyBinding providertoken-credentials", "/spec", "{policyName: providertoken-credentials, validationActions: [Deny]}"},
	}},

	{value: "metrics.enabled", to: "false", wants: []want{
		{deployment, manager + "/args/1", "--metrics-bind-address=0"},
		{deployment, manager + "/ports", "[{name: probes, containerPort: 8081, protocol: TCP}]"},
		{"Service providertoken-metrics", "", "absent"},
		{"ClusterRole providertoken-metrics-auth-role", "", "absent"},
		{"ClusterRoleBinding providertoken-metrics-auth-rolebinding", "", "absent"},
		{"ClusterRole providertoken-metrics-reader", "", "absent"},
		{policy, "/spec/ingress", "absent"},
		{policy, "/spec/policyTypes", "[Ingress, Egress]"},
	}},
	{value: "metrics.port", to: "9443", wants: []want{
		{deployment, manager + "/args/1", "--metrics-bind-address=:9443"},
		{deployment, manager + "/ports/0/containerPort", "9443"},
		{"Service providertoken-metrics", "/spec/ports/0/port", "9443"},
	}},
	{value: "metrics.secure", given: "metrics: {serviceMonitor: {enabled: true}}", to: "false", args: []string{"--metrics-secure=false"}, wants: []want{
		{"Service providertoken-metrics", "/spec/ports/0/name", "http"},
		{"ClusterRole providertoken-metrics-auth-role", "", "absent"},
		{monitor, "/spec/endpoints", "[{port: http, path: /metrics, scheme: http}]"},
	}},
	{value: "metrics.serviceMonitor.enabled", to: "true", wants: []want{{monitor, "/spec/endpoints/0/scheme", "https"}}},
	{value: "metrics.serviceMonitor.labels", given: "metrics: {serviceMonitor: {enabled: true}}", to: "{release: prometheus}", wants: []want{{monitor, "/metadata/labels/release", "prometheus"}}},
	{value: "metrics.serviceMonitor.labels", given: "{commonLabels: {release: x}, metrics: {serviceMonitor: {enabled: true}}}", to: "{release: prometheus}", wants: []want{{monitor, "/metadata/labels/release", "prometheus"}}},
	{value: "metrics.serviceMonitor.interval", given: "metrics: {serviceMonitor: {enabled: true}}", to: "15s", wants: []want{{monitor, "/spec/endpoints/0/interval", "15s"}}},
	{value: "metrics.prometheusRule.enabled", to: "true", wants: []want{{"PrometheusRule providertoken", "/spec/groups/0/rules/0/alert", "ProviderTokenLoginFrozen"}}},
	{value: "metrics.prometheusRule.labels", given: "metrics: {prometheusRule: {enabled: true}}", to: "{release: prometheus}", wants: []want{{"PrometheusRule providertoken", "/metadata/labels/release", "prometheus"}}},
	{value: "metrics.dashboard.enabled", to: "true", wants: []want{{"ConfigMap providertoken-dashboard", "/metadata/labels/grafana_dashboard", `"1"`}}},
	{value: "metrics.dashboard.labels", given: "metrics: {dashboard: {enabled: true}}", to: "{folder: tokens}", wants: []want{{"ConfigMap providertoken-dashboard", "/metadata/labels/folder", "tokens"}}},
	{value: "metrics.perObject", to: "false", args: []string{"--object-metrics=false"}},
	{value: "auditLog", to: "none", args: []string{"--audit-log=none"}},
	{value: "otlpEndpoint", to: "http://collector.tracing:4317", args: []string{"--otlp-endpoint=http://collector.tracing:4317"}},
	{value: "probePort", to: "9091", wants: []want{
		{deployment, manager + "/args/2", "--health-probe-bind-address=:9091"},
		{deployment, manager + "/ports/1/containerPort", "9091"},
		{deployment, manager + "/livenessProbe/httpGet/port", "probes"},
	}},
	{value: "livenessProbe.initialDelaySeconds", to: "60", wants: []want{{deployment, manager + "/livenessProbe/initialDelaySeconds", "60"}}},
	{value: "livenessProbe.periodSeconds", to: "30", wants: []want{{deployment, manager + "/livenessProbe/periodSeconds", "30"}}},
	{value: "readinessProbe.periodSeconds", to: "7", wants: []want{{deployment, manager + "/readinessProbe/periodSeconds", "7"}}},

	{value: "serviceAccount.create", given: "serviceAccount: {name: theirs}", to: "false", wants: []want{
		{"ServiceAccount theirs", "", "absent"}, {deployment, pod + "/serviceAccountName", "theirs"},
	}},
	{value: "serviceAccount.name", to: "mine", wants: []want{
		{"ServiceAccount mine", "/kind", "ServiceAccount"},
		{deployment, pod + "/serviceAccountName", "mine"},
		{"ClusterRoleBinding providertoken-manager-rolebinding", "/subjects/0/name", "mine"},
		{"ClusterRoleBinding providertoken-metrics-auth-rolebinding", "/subjects/0/name", "mine"},
		{"RoleBinding providertoken-own-namespace-rolebinding", "/subjects/0/name", "mine"},
	}},
	{value: "serviceAccount.annotations", to: "{example.com/role: x}", wants: []want{{"ServiceAccount providertoken-manager", "/metadata/annotations/example.com~1role", "x"}}},
	{value: "rbac.create", to: "false", wants: []want{
		{"ClusterRole providertoken-manager-role", "", "absent"},
		{"Role providertoken-own-namespace-role", "", "absent"},
		{"ClusterRole providertoken-metrics-auth-role", "", "absent"},
		{"ClusterRole providertoken-viewer", "/kind", "ClusterRole"},
	}},
	{value: "userRoles.create", to: "false", wants: []want{
		{"ClusterRole providertoken-viewer", "", "absent"}, {"ClusterRole providertoken-admin", "", "absent"}, {"ClusterRole providertoken-manager-role", "/kind", "ClusterRole"},
	}},
	{value: "userRoles.aggregate", to: "false", wants: []want{
		{"ClusterRole providertoken-viewer", "/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-view", "absent"},
		{"ClusterRole providertoken-editor", "/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-edit", "absent"},
		{"ClusterRole providertoken-editor", "/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-admin", "absent"},
	}},

	{value: "priorityClass.create", to: "false", wants: []want{{"PriorityClass providertoken-manager", "", "absent"}, {deployment, pod + "/priorityClassName", "absent"}}},
	{value: "priorityClass.name", given: "priorityClass: {create: false}", to: "system-cluster-critical", wants: []want{{deployment, pod + "/priorityClassName", "system-cluster-critical"}}},
	{value: "priorityClass.name", to: "tokens", wants: []want{{"PriorityClass tokens", "/value", "100000000"}, {deployment, pod + "/priorityClassName", "tokens"}}},
	{value: "priorityClass.value", to: "1000000000", wants: []want{{"PriorityClass providertoken-manager", "/value", "1000000000"}}},
	{value: "priorityClass.preemptionPolicy", to: "Never", wants: []want{{"PriorityClass providertoken-manager", "/preemptionPolicy", "Never"}}},
	{value: "podDisruptionBudget.create", to: "false", wants: []want{{"PodDisruptionBudget providertoken-manager", "", "absent"}}},
	{value: "podDisruptionBudget.maxUnavailable", to: "50%", wants: []want{{"PodDisruptionBudget providertoken-manager", "/spec/maxUnavailable", "50%"}}},
	{value: "podDisruptionBudget.unhealthyPodEvictionPolicy", to: "IfHealthyBudget", wants: []want{{"PodDisruptionBudget providertoken-manager", "/spec/unhealthyPodEvictionPolicy", "IfHealthyBudget"}}},

	{value: "networkPolicy.create", to: "false", wants: []want{{policy, "", "absent"}}},
	{value: "networkPolicy.extraEgressPorts", to: "[8443, 3128]", wants: []want{{policy, "/spec/egress/1/ports/2/port", "8443"}, {policy, "/spec/egress/1/ports/3", "{port: 3128, protocol: TCP}"}}},
	{value: "networkPolicy.extraEgress", to: "[{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]", wants: []want{{policy, "/spec/egress/2", "{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}"}}},
	{value: "networkPolicy.blockMetadata", to: "true", wants: []want{
		{policy, "/spec/egress/1/to/0/ipBlock/except/0", "169.254.0.0/16"},
		{policy, "/spec/egress/1/to/1/ipBlock/cidr", "'::/0'"},
		{policy, "/spec/egress/0/to", "absent"},
	}},
	{value: "networkPolicy.metricsFrom", to: "[{namespaceSelector: {matchLabels: {a: b}}}]", wants: []want{{policy, "/spec/ingress", "[{ports: [{port: metrics, protocol: TCP}], from: [{namespaceSelector: {matchLabels: {a: b}}}]}]"}}},

	{value: "podLabels", to: "{example.com/cost: x}", wants: []want{{deployment, "/spec/template/metadata/labels/example.com~1cost", "x"}, {deployment, "/metadata/labels/example.com~1cost", "absent"}}},
	{value: "podLabels", given: "commonLabels: {team: a}", to: "{team: b}", wants: []want{{deployment, "/spec/template/metadata/labels/team", "b"}, {deployment, "/metadata/labels/team", "a"}}},
	{value: "podAnnotations", to: "{example.com/scrape: 'yes'}", wants: []want{{deployment, "/spec/template/metadata/annotations/example.com~1scrape", "'yes'"}}},
	{value: "podAntiAffinity", to: "required", wants: []want{
		{deployment, pod + "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/topologyKey", "kubernetes.io/hostname"},
		{deployment, pod + "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector/matchLabels/app.kubernetes.io~1instance", "providertoken"},
		{deployment, pod + "/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution", "absent"},
	}},
	{value: "podAntiAffinity", to: "none", wants: []want{{deployment, pod + "/affinity", "absent"}}},
	{value: "zoneSpread", to: "false", wants: []want{{deployment, pod + "/topologySpreadConstraints", "absent"}}},
	{value: "topologySpreadConstraints", to: "[{topologyKey: rack, maxSkew: 1, whenUnsatisfiable: DoNotSchedule}]", wants: []want{
		{deployment, pod + "/topologySpreadConstraints/0/topologyKey", "topology.kubernetes.io/zone"},
		{deployment, pod + "/topologySpreadConstraints/1/topologyKey", "rack"},
	}},
	{value: "affinity", to: "{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}", wants: []want{
		{deployment, pod + "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0/key", "a"},
		{deployment, pod + "/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/weight", "100"},
	}},
	{value: "affinity", to: "{podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: rack}]}}", wants: []want{
		{deployment, pod + "/affinity", "{podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: rack}]}}"},
	}},
	{value: "nodeSelector", to: "{kubernetes.io/os: linux}", wants: []want{{deployment, pod + "/nodeSelector", "{kubernetes.io/os: linux}"}}},
	{value: "tolerations", to: "[{key: infra, operator: Exists, effect: NoSchedule}]", wants: []want{{deployment, pod + "/tolerations", "[{key: infra, operator: Exists, effect: NoSchedule}]"}}},
	{value: "terminationGracePeriodSeconds", to: "3000000", wants: []want{{deployment, pod + "/terminationGracePeriodSeconds", "3000000"}}},
	{value: "resources.requests.cpu", to: "100m", wants: []want{{deployment, manager + "/resources/requests/cpu", "100m"}}},
	{value: "resources.requests.memory", to: "200Mi", wants: []want{{deployment, manager + "/resources/requests/memory", "200Mi"}}},
	{value: "resources.limits.memory", to: "null", wants: []want{{deployment, manager + "/resources/limits/memory", "absent"}, {deployment, manager + "/env/1", "absent"}}},
	{value: "resources.limits.memory", to: "1000Mi", wants: []want{{deployment, manager + "/env/1", "{name: GOMEMLIMIT, value: 900MiB}"}}},
	{value: "resources.limits.memory", to: "2Gi", wants: []want{{deployment, manager + "/env/1", "{name: GOMEMLIMIT, value: 1843MiB}"}}},
	{value: "resources.limits.memory", to: "1500M", wants: []want{{deployment, manager + "/env/1", "absent"}}}, // no whole number of MiB: Go's default then
	{value: "podSecurityContext.runAsNonRoot", to: "null", wants: []want{{deployment, pod + "/securityContext/runAsNonRoot", "absent"}}},
	{value: "podSecurityContext.runAsUser", to: "null", wants: []want{{deployment, pod + "/securityContext/runAsUser", "absent"}}},
	{value: "podSecurityContext.runAsGroup", to: "1000", wants: []want{{deployment, pod + "/securityContext/runAsGroup", "1000"}}},
	{value: "podSecurityContext.seccompProfile.type", to: "Unconfined", wants: []want{{deployment, pod + "/securityContext/seccompProfile", "{type: Unconfined}"}}},
	{value: "securityContext.allowPrivilegeEscalation", to: "true", wants: []want{{deployment, manager + "/securityContext/allowPrivilegeEscalation", "true"}}},
	{value: "securityContext.readOnlyRootFilesystem", to: "false", wants: []want{{deployment, manager + "/securityContext/readOnlyRootFilesystem", "false"}}},
	{value: "securityContext.capabilities.drop", to: "[NET_RAW]", wants: []want{{deployment, manager + "/securityContext/capabilities/drop", "[NET_RAW]"}}},
}

// set is the value alone, as a values file.
func (c valueCase) set(t *testing.T) string {
	t.Helper()
	parts := strings.Split(c.value, ".")
	value := fromYAML(t, c.to)
	for _, part := range slices.Backward(parts) {
		value = map[string]any{part: value}
	}
	content, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// withoutCRDs is where all cases begin: rendering is much quicker.
const withoutCRDs = "crds: {install: false}"

func (c valueCase) values(t *testing.T) []string {
	t.Helper()
	return []string{withoutCRDs, c.given, c.set(t)}
}

func TestEachValueHasItsEffect(t *testing.T) {
	t.Parallel()
	before := map[string]objects{}
	for _, c := range valueCases {
		if before[c.given] == nil {
			before[c.given] = mustRender(t, withoutCRDs, c.given)
		}
		t.Run(c.value, func(t *testing.T) {
			after := mustRender(t, c.values(t)...)
			if canonical(t, before[c.given]) == canonical(t, after) {
				t.Error("the value changes nothing")
			}
			if len(c.wants) == 0 && len(c.args) == 0 && c.every.pointer == "" {
				t.Error("the case claims nothing")
			}
			expect(t, after, c.wants)
			args, _ := at(after[deployment], manager+"/args")
			for _, arg := range c.args {
				if list, _ := args.([]any); !slices.Contains(list, any(arg)) {
					t.Errorf("flags are %v, without %s", args, arg)
				}
			}
			for key := range after {
				if c.every.pointer != "" {
					expect(t, after, []want{{key, c.every.pointer, c.every.value}})
				}
			}
		})
	}
}

func TestNoValueIsWithoutATest(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, c := range valueCases {
		tested[c.value] = true
	}
	for _, leaf := range leaves(t) {
		if !tested[leaf] {
			t.Errorf("no case of valueCases sets %s", leaf)
		}
		delete(tested, leaf)
	}
	for _, name := range slices.Sorted(maps.Keys(tested)) {
		t.Errorf("valueCases sets %s, which values.yaml does not have", name)
	}
}

// leaves are the paths of all values in values.yaml that are no map with content.
func leaves(t *testing.T) []string {
	t.Helper()
	var paths []string
	var walk func(prefix string, value any)
	walk = func(prefix string, value any) {
		children, _ := value.(map[string]any)
		for key, child := range children {
			walk(strings.TrimPrefix(prefix+"."+key, "."), child)
		}
		if len(children) == 0 {
			paths = append(paths, prefix)
		}
	}
	walk("", fromYAML(t, read(t, chartDir+"/values.yaml")))
	slices.Sort(paths)
	return paths
}

func TestContradictionsAreExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ values, message string }{
		{"{leaderElection: {enabled: false}}", "Set replicas to 1, or enable leader election"},
		{"{metrics: {enabled: false, serviceMonitor: {enabled: true}}}", "metrics.enabled is false: there is nothing to scrape"},
		{"{metrics: {enabled: false, prometheusRule: {enabled: true}}}", "metrics.enabled is false: there is nothing to scrape"},
		{"{egressProxy: {url: 'http://p:1', secret: {name: p}}}", "egressProxy.url and egressProxy.secret.name are both set"},
		{"{egressProxy: {url: 'socks5://h'}}", "egressProxy.url: write an http or https URL"},
		{"{egressProxy: {url: 'socks5://user:secret@h'}}", "put the URL into a Secret"},
		{"{egressProxy: {url: 'http://user:secret@h:3128'}}", "put the URL into a Secret"},
		{"{serviceAccount: {create: false}}", "write into serviceAccount.name which existing ServiceAccount to use"},
	} {
		_, err := render(t, c.values)
		if err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: got %v, want %q in it", c.values, err, c.message)
		}
		if err != nil && strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: the message repeats a password: %v", c.values, err)
		}
	}
}

// TestNamesStayTexts: what YAML would take for a boolean, a number or nothing.
func TestNamesStayTexts(t *testing.T) {
	t.Parallel()
	out, err := runHelm(t, nil, "template", "y", chartDir, "--namespace", "n", "--set", strings.Join([]string{
		"nameOverride=on", "watchNamespaces={no,1e3}", "propagation.enabled=true", "workloadIdentity.enabled=true", "metrics.serviceMonitor.enabled=true",
		"egressProxy.secret.name=off", "egressProxy.secret.key=yes", "serviceAccount.name=no", "priorityClass.name=null1", "podLabels.a=b",
	}, ","))
	if err != nil {
		t.Fatal(err)
	}
	var check func(key, field string, value any)
	check = func(key, field string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for name, child := range v {
				isText := slices.Contains([]string{"name", "namespace", "key", "serviceAccountName", "priorityClassName"}, name) ||
					slices.Contains([]string{"labels", "matchLabels", "annotations"}, field) || strings.Contains(name, "/")
				if _, text := child.(string); isText && !text {
					t.Errorf("%s: %s/%s is %v, not a text", key, field, name, child)
				}
				check(key, name, child)
			}
		case []any:
			for _, child := range v {
				check(key, field, child)
			}
		default:
		}
	}
	found := parse(t, out)
	for key, object := range found {
		if object["kind"] != "CustomResourceDefinition" {
			check(key, "", object)
		}
	}
	expect(t, found, []want{
		{"Deployment n/y-on-manager", pod + "/serviceAccountName", "'no'"},
		{"Role 1e3/y-on-manager-role", "/metadata/labels/app.kubernetes.io~1name", "'on'"},
	})
}

func TestTwoReleasesInOneNamespaceDoNotMeet(t *testing.T) {
	t.Parallel()
	selectors := map[string]string{}
	names := map[string]string{}
	for _, name := range []string{"shard-a", "shard-b"} {
		out, err := runHelm(t, nil, "template", name, chartDir, "--namespace", namespace, "--set", "crds.install=false", "--set", "watchLabelSelector=shard="+name)
		if err != nil {
			t.Fatal(err)
		}
		for key, object := range parse(t, out) {
			if other := names[key]; other != "" {
				t.Errorf("%s and %s both have %s", other, name, key)
			}
			names[key] = name
			for _, pointer := range []string{"/spec/selector", "/spec/podSelector"} {
				selector, found := at(object, pointer)
				if !found {
					continue
				}
				if other := selectors[canonical(t, selector)]; other != "" && other != name {
					t.Errorf("%s and %s both select %s", other, name, canonical(t, selector))
				}
				selectors[canonical(t, selector)] = name
			}
		}
	}
	if len(selectors) == 0 {
		t.Error("found no selector")
	}
}
