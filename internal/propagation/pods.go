package propagation

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/mounts"
)

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
	for name := range mounts.Of(pod) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
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
		if len(mounts.Secrets(&pod.Spec.Volumes[i])) > 0 {
			slim.Spec.Volumes = append(slim.Spec.Volumes, pod.Spec.Volumes[i])
		}
	}
	for _, c := range mounts.Containers(pod) {
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
