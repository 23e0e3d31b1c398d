package lint

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/manifest"
)

// template is the specification of pods in an object that makes some, and where it is.
type podTemplate struct {
	manifest.Document
	path         string
	spec, labels map[string]any
}

// podPath is where objects of a kind keep the pods that they make; empty for those that make none.
func podPath(d manifest.Document) string {
	switch {
	case d.Is("", "Pod"):
		return "."
	case d.Is("apps", "Deployment"), d.Is("apps", "StatefulSet"), d.Is("apps", "DaemonSet"), d.Is("apps", "ReplicaSet"),
		d.Is("batch", "Job"), d.Is("", "ReplicationController"):
		return "spec.template"
	case d.Is("batch", "CronJob"):
		return "spec.jobTemplate.spec.template"
	}
	return ""
}

func podOf(d manifest.Document) (podTemplate, bool) {
	path := podPath(d)
	if path == "" {
		return podTemplate{}, false
	}
	at := d.Object.Object
	prefix := ""
	if path != "." {
		prefix = path + "."
		at, _, _ = unstructured.NestedMap(d.Object.Object, strings.Split(path, ".")...)
	}
	spec, _, _ := unstructured.NestedMap(at, "spec")
	labels, _, _ := unstructured.NestedMap(at, "metadata", "labels")
	return podTemplate{Document: d, path: prefix + "spec", spec: spec, labels: labels}, spec != nil
}

// pods finds those that read a target in a way that never changes while they run.
func (r *repository) pods() {
	targets := map[types.NamespacedName]tokenDocument{}
	for _, t := range r.tokens {
		targets[types.NamespacedName{Namespace: t.pt.Namespace, Name: t.pt.TargetName()}] = t
	}
	for _, d := range r.documents {
		pod, makes := podOf(d)
		if !makes || d.Is("batch", "Job") || d.Is("batch", "CronJob") {
			continue // what ends soon reads a token once
		}
		isTarget := func(name string) bool {
			_, found := targets[types.NamespacedName{Namespace: d.Object.GetNamespace(), Name: name}]
			return found
		}
		for _, field := range []string{"initContainers", "containers"} {
			containers, _, _ := unstructured.NestedSlice(pod.spec, field)
			for i, c := range containers {
				container, _ := c.(map[string]any)
				if field == "initContainers" && container["restartPolicy"] != "Always" {
					continue
				}
				r.container(pod, fmt.Sprintf("%s.%s[%d]", pod.path, field, i), container, isTarget)
			}
		}
	}
}

const readsOnce = "mount the Secret as a directory, and read the file each time the token is needed"

func (r *repository) container(pod podTemplate, path string, container map[string]any, isTarget func(string) bool) {
	name, _ := container["name"].(string)
	each(container, "env", func(i int, entry map[string]any) {
		secret, _, _ := unstructured.NestedString(entry, "valueFrom", "secretKeyRef", "name")
		if isTarget(secret) {
			r.add(pod.Document, fmt.Sprintf("%s.env[%d]", path, i), Warning, "read-once",
				fmt.Sprintf("container %s reads the token in Secret %q from its environment, which stays as it is when the token is replaced", name, secret), readsOnce)
		}
	})
	each(container, "envFrom", func(i int, entry map[string]any) {
		secret, _, _ := unstructured.NestedString(entry, "secretRef", "name")
		if isTarget(secret) {
			r.add(pod.Document, fmt.Sprintf("%s.envFrom[%d]", path, i), Warning, "read-once",
				fmt.Sprintf("container %s reads the token in Secret %q from its environment, which stays as it is when the token is replaced", name, secret), readsOnce)
		}
	})
	each(container, "volumeMounts", func(i int, mount map[string]any) {
		if mount["subPath"] == nil && mount["subPathExpr"] == nil {
			return
		}
		volume, _ := mount["name"].(string)
		for _, secret := range secretsOf(pod.spec, volume) {
			if isTarget(secret) {
				r.add(pod.Document, fmt.Sprintf("%s.volumeMounts[%d]", path, i), Warning, "read-once",
					fmt.Sprintf("container %s mounts one file of Secret %q by subPath, which stays as it is when the token is replaced", name, secret), readsOnce)
			}
		}
	})
}

func each(object map[string]any, field string, visit func(int, map[string]any)) {
	list, _, _ := unstructured.NestedSlice(object, field)
	for i, e := range list {
		if entry, ok := e.(map[string]any); ok {
			visit(i, entry)
		}
	}
}

// secretsOf lists the Secrets in a volume.
func secretsOf(spec map[string]any, volume string) []string {
	var names []string
	each(spec, "volumes", func(_ int, v map[string]any) {
		if v["name"] != volume {
			return
		}
		if name, _, _ := unstructured.NestedString(v, "secret", "secretName"); name != "" {
			names = append(names, name)
		}
		projected, _, _ := unstructured.NestedMap(v, "projected")
		each(projected, "sources", func(_ int, s map[string]any) {
			if name, _, _ := unstructured.NestedString(s, "secret", "name"); name != "" {
				names = append(names, name)
			}
		})
	})
	return names
}

// told tells whether a pod among the files asks to be told at once when the target changes.
func (r *repository) told(t tokenDocument) bool {
	for _, d := range r.documents {
		pod, makes := podOf(d)
		if !makes || d.Object.GetNamespace() != t.pt.Namespace {
			continue
		}
		if name, labelled := pod.labels[v1alpha1.MountsLabel]; labelled && (name == "" || name == t.pt.TargetName()) {
			return true
		}
	}
	return false
}
