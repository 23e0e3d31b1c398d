package propagation

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
)

// way is how a container reads a Secret that never changes while it runs.
type way string

const (
	byEnvironment way = "environment variables, which never change"
	bySubPath     way = "a subPath mount, which never changes"
)

// reading is what a pod has of a Secret.
type reading struct {
	// mounted: a volume shows it, and the kubelet keeps that up to date.
	mounted bool
	// once is how a container reads it besides, if that never changes; empty when none does.
	once way
}

// readings lists the Secrets of a pod's volumes and environment by name.
func readings(pod *corev1.Pod) map[string]reading {
	found := map[string]reading{}
	volumes := map[string][]string{}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		for _, name := range secretsOf(v) {
			volumes[v.Name] = append(volumes[v.Name], name)
			found[name] = reading{mounted: true}
		}
	}
	for _, c := range containers(pod) {
		for name, w := range readOnce(c, volumes) {
			r := found[name]
			r.once = w
			found[name] = r
		}
	}
	return found
}

// readOnce lists the Secrets that a container reads in a way that never changes.
// volumes are the Secrets of each volume.
func readOnce(c corev1.Container, volumes map[string][]string) map[string]way {
	found := map[string]way{}
	for _, m := range c.VolumeMounts {
		if m.SubPath == "" && m.SubPathExpr == "" {
			continue
		}
		for _, name := range volumes[m.Name] {
			found[name] = bySubPath
		}
	}
	for _, e := range c.EnvFrom {
		if e.SecretRef != nil {
			found[e.SecretRef.Name] = byEnvironment
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			found[e.ValueFrom.SecretKeyRef.Name] = byEnvironment
		}
	}
	return found
}

// containers that may run for long: an init container ends before the first refresh,
// unless it is a sidecar.
func containers(pod *corev1.Pod) []corev1.Container {
	all := slices.Clone(pod.Spec.Containers)
	for i := range pod.Spec.InitContainers {
		if p := pod.Spec.InitContainers[i].RestartPolicy; p != nil && *p == corev1.ContainerRestartPolicyAlways {
			all = append(all, pod.Spec.InitContainers[i])
		}
	}
	return all
}

func secretsOf(v *corev1.Volume) []string {
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

// chosen lists the Secrets of which a pod asks to be told: the one that its label
// names, or, with an empty label, all that it reads.
func chosen(pod *corev1.Pod) []string {
	value, asks := pod.Labels[v1alpha1.MountsLabel]
	if !asks {
		return nil
	}
	if value != "" {
		return []string{value}
	}
	var names []string
	for name := range readings(pod) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// running tells whether a kubelet may have mounted the pod's volumes, and still serves them.
func running(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.StartTime != nil &&
		pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// Strip is a cache transform that keeps of a pod only what this package reads.
// Anything but a pod passes unchanged.
func Strip(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	slim := &corev1.Pod{
		TypeMeta: pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			DeletionTimestamp: pod.DeletionTimestamp, OwnerReferences: pod.OwnerReferences,
			Labels:      only(pod.Labels, v1alpha1.MountsLabel),
			Annotations: only(pod.Annotations, v1alpha1.ToldAnnotation),
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, StartTime: pod.Status.StartTime},
	}
	for i := range pod.Spec.Volumes {
		if len(secretsOf(&pod.Spec.Volumes[i])) > 0 {
			slim.Spec.Volumes = append(slim.Spec.Volumes, pod.Spec.Volumes[i])
		}
	}
	for _, c := range containers(pod) {
		slim.Spec.Containers = append(slim.Spec.Containers, strip(c))
	}
	return slim, nil
}

func strip(c corev1.Container) corev1.Container {
	slim := corev1.Container{Name: c.Name}
	for _, m := range c.VolumeMounts {
		if m.SubPath != "" || m.SubPathExpr != "" {
			slim.VolumeMounts = append(slim.VolumeMounts, m)
		}
	}
	for _, e := range c.EnvFrom {
		if e.SecretRef != nil {
			slim.EnvFrom = append(slim.EnvFrom, e)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			slim.Env = append(slim.Env, e)
		}
	}
	return slim
}

func only(m map[string]string, key string) map[string]string {
	if value, found := m[key]; found {
		return map[string]string{key: value}
	}
	return nil
}
