package chart_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestWrongValuesAreRefusedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ values, key string }{
		{"replica: 3", "replica"},
		{"image: {name: x}", "image"},
		{"metrics: {serviceMonitor: {enable: true}}", "enable"},
		{"nameOverride: A_b", "nameOverride"},
		{"fullnameOverride: 9-lives", "fullnameOverride"},
		{"commonLabels: {app.kubernetes.io/name: x}", "commonLabels"},
		{"commonLabels: {team: 'not a value'}", "commonLabels/team"},
		{"crds: {install: 'yes'}", "crds/install"},
		{"image: {repository: 'operator:v1 '}", "image/repository"},
		{"image: {repository: 'ghcr.io/x/y@sha256:00'}", "image/repository"},
		{"image: {tag: 1.0}", "image/tag"},
		{"image: {tag: 'a b'}", "image/tag"},
		{"image: {digest: 'sha256:00'}", "image/digest"},
		{"image: {pullPolicy: Sometimes}", "image/pullPolicy"},
		{"imagePullSecrets: [regcred]", "imagePullSecrets/0"},
		{"replicas: -1", "replicas"},
		{"replicas: two", "replicas"},
		{"leaderElection: true", "leaderElection"},
		{"watchNamespaces: team-a", "watchNamespaces"},
		{"watchNamespaces: [Team_A]", "watchNamespaces/0"},
		{"watchNamespaces: [a, a]", "watchNamespaces"},
		{"maxConcurrentReconciles: 0", "maxConcurrentReconciles"},
		{"clusterName: 'a b'", "clusterName"},
		{"allowNetworks: [10.0.0.0]", "allowNetworks/0"},
		{"egressProxy: {url: 3128}", "egressProxy/url"},
		{"log: {level: loud}", "log/level"},
		{"log: {encoder: xml}", "log/encoder"},
		{"extraArgs: [cluster-name=x]", "extraArgs/0"},
		{"extraEnv: [{value: x}]", "extraEnv/0"},
		{"workloadIdentity: true", "workloadIdentity"},
		{"workloadIdentity: {apiAudiences: ['a,b']}", "workloadIdentity/apiAudiences/0"},
		{"metrics: {port: 70000}", "metrics/port"},
		{"metrics: {serviceMonitor: {interval: often}}", "metrics/serviceMonitor/interval"},
		{"probePort: 0", "probePort"},
		{"livenessProbe: {httpGet: {path: /}}", "livenessProbe"},
		{"readinessProbe: {periodSeconds: 0}", "readinessProbe/periodSeconds"},
		{"serviceAccount: {annotations: {a: 1}}", "serviceAccount/annotations/a"},
		{"priorityClass: {value: 2000000000}", "priorityClass/value"},
		{"priorityClass: {preemptionPolicy: Always}", "priorityClass/preemptionPolicy"},
		{"podDisruptionBudget: {maxUnavailable: half}", "podDisruptionBudget/maxUnavailable"},
		{"networkPolicy: {extraEgressPorts: ['8443']}", "networkPolicy/extraEgressPorts/0"},
		{"podLabels: {app.kubernetes.io/instance: x}", "podLabels"},
		{"podAnnotations: {a b: x}", "podAnnotations"},
		{"podAntiAffinity: false", "podAntiAffinity"},
		{"affinity: {podAffinities: {}}", "affinity"},
		{"tolerations: [{effect: Never}]", "tolerations/0/effect"},
		{"resources: {request: {cpu: 1}}", "resources"},
		{"resources: {limits: {memory: lots}}", "resources/limits/memory"},
	} {
		_, err := render(t, c.values)
		if err == nil {
			t.Errorf("%s was accepted", c.values)
			continue
		}
		if !strings.Contains(err.Error(), "values don't meet the specifications") || !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s: the message does not name %s: %v", c.values, c.key, err)
		}
	}
}

func TestChartServesAsADependency(t *testing.T) {
	t.Parallel()
	// Helm adds "global" for a chart below another; its parent's condition is "enabled".
	mustRender(t, "{global: {imageRegistry: x}, enabled: true}")
}

// TestSchemaKnowsTheValuesOfTheFile: each value is described, and each one that is
// described exists.
func TestSchemaKnowsTheValuesOfTheFile(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal([]byte(read(t, chartDir+"/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	// Not for everybody's eyes in values.yaml: further fields of objects that
	// Kubernetes defines, and what parent charts set.
	further := []string{
		"global", "enabled", "affinity.nodeAffinity", "affinity.podAffinity", "affinity.podAntiAffinity", "resources.claims",
		"livenessProbe.failureThreshold", "livenessProbe.timeoutSeconds",
		"readinessProbe.failureThreshold", "readinessProbe.initialDelaySeconds", "readinessProbe.successThreshold", "readinessProbe.timeoutSeconds",
	}
	var check func(path string, value, schema map[string]any)
	check = func(path string, value, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(value)) {
			child, at := value[key], strings.TrimPrefix(path+"."+key, ".")
			property, found := properties[key].(map[string]any)
			if !found {
				if schema["additionalProperties"] == false {
					t.Errorf("the schema does not know %s", at)
				}
				continue
			}
			if text, _ := property["description"].(string); text == "" {
				t.Errorf("the schema does not describe %s", at)
			}
			if fields, isMap := child.(map[string]any); isMap {
				check(at, fields, property)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(properties)) {
			at := strings.TrimPrefix(path+"."+key, ".")
			if _, found := value[key]; !found && properties[key] != false && !slices.Contains(further, at) {
				t.Errorf("the schema describes %s, which values.yaml does not have", at)
			}
		}
	}
	values, _ := fromYAML(t, read(t, chartDir+"/values.yaml")).(map[string]any)
	check("", values, schema)
}
