// Package mounts tells how pods read Secrets, and which of these ways follow a
// Secret that changes.
//
// It must not import other packages of the operator.
package mounts

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Way is how a container reads a Secret that never changes while it runs.
type Way string

const (
	// ByEnvironment: a container's variables are those that it began with.
	ByEnvironment Way = "environment variables, which never change"
	// BySubPath: such a mount is bound to the file that was there first.
	BySubPath Way = "a subPath mount, which never changes"
)

// Reading is what a pod has of a Secret.
type Reading struct {
	// Mounted: a volume shows it, and the kubelet keeps that up to date.
	Mounted bool
	// Once is how a container reads it besides, if that never changes; empty when none does.
	Once Way
}

// Of lists the Secrets of a pod's volumes and environment by name.
func Of(pod *corev1.Pod) map[string]Reading {
	found := map[string]Reading{}
	volumes := map[string][]string{}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		for _, name := range Secrets(v) {
			volumes[v.Name] = append(volumes[v.Name], name)
			found[name] = Reading{Mounted: true}
		}
	}
	for _, c := range Containers(pod) {
		for name, w := range readOnce(c, volumes) {
			r := found[name]
			r.Once = w
			found[name] = r
		}
	}
	return found
}

// readOnce lists the Secrets that a container reads in a way that never changes.
// volumes are the Secrets of each volume.
func readOnce(c corev1.Container, volumes map[string][]string) map[string]Way {
	found := map[string]Way{}
	for _, m := range c.VolumeMounts {
		if m.SubPath == "" && m.SubPathExpr == "" {
			continue
		}
		for _, name := range volumes[m.Name] {
			found[name] = BySubPath
		}
	}
	for _, e := range c.EnvFrom {
		if e.SecretRef != nil {
			found[e.SecretRef.Name] = ByEnvironment
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			found[e.ValueFrom.SecretKeyRef.Name] = ByEnvironment
		}
	}
	return found
}

// Containers that may run for long: an init container ends before the first refresh,
// unless it is a sidecar.
func Containers(pod *corev1.Pod) []corev1.Container {
	all := slices.Clone(pod.Spec.Containers)
	for i := range pod.Spec.InitContainers {
		if p := pod.Spec.InitContainers[i].RestartPolicy; p != nil && *p == corev1.ContainerRestartPolicyAlways {
			all = append(all, pod.Spec.InitContainers[i])
		}
	}
	return all
}

// Secrets that a volume shows.
func Secrets(v *corev1.Volume) []string {
	switch {
	case v.Secret != nil:
		return []string{v.Secret.SecretName}
	case v.Projected != nil:
		var names []string
		for _, s := range v.Projected.Sources {
			if s.Secret != nil {
				names = append(names, s.Secret.Name)
			}
		}
		return names
	}
	return nil
}

// Running tells whether a kubelet may have mounted the pod's volumes, and still serves them.
func Running(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.StartTime != nil &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}
