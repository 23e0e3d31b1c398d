package mounts

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func secretVolume(volume, secret string) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}
}

func TestOf(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	variables := []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}}}
	variable := []corev1.EnvVar{
		{Name: "LITERAL", Value: "s"},
		{Name: "FIELD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: "token"}}},
	}
	projected := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "other"}}},
	}}}}
	for name, c := range map[string]struct {
		spec corev1.PodSpec
		want map[string]Reading
	}{
		"no Secret at all": {corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}}, map[string]Reading{}},
		"a volume":         {corev1.PodSpec{Volumes: []corev1.Volume{secretVolume("v", "s")}}, map[string]Reading{"s": {Mounted: true}}},
		"a projected volume": {
			corev1.PodSpec{Volumes: []corev1.Volume{projected}},
			map[string]Reading{"s": {Mounted: true}, "other": {Mounted: true}},
		},
		"a file of a volume": {
			corev1.PodSpec{Volumes: []corev1.Volume{secretVolume("v", "s")}, Containers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "v", SubPath: "token"}}}}},
			map[string]Reading{"s": {Mounted: true, Once: BySubPath}},
		},
		"a file of a volume, by an expression": {
			corev1.PodSpec{Volumes: []corev1.Volume{secretVolume("v", "s")}, Containers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "v", SubPathExpr: "$(X)"}}}}},
			map[string]Reading{"s": {Mounted: true, Once: BySubPath}},
		},
		"all variables": {corev1.PodSpec{Containers: []corev1.Container{{EnvFrom: variables}}}, map[string]Reading{"s": {Once: ByEnvironment}}},
		"one variable":  {corev1.PodSpec{Containers: []corev1.Container{{Env: variable}}}, map[string]Reading{"s": {Once: ByEnvironment}}},
		"a sidecar": {
			corev1.PodSpec{InitContainers: []corev1.Container{{RestartPolicy: &always, EnvFrom: variables}}},
			map[string]Reading{"s": {Once: ByEnvironment}},
		},
		"an init container, which has ended": {corev1.PodSpec{InitContainers: []corev1.Container{{EnvFrom: variables}}}, map[string]Reading{}},
	} {
		if diff := cmp.Diff(c.want, Of(&corev1.Pod{Spec: c.spec})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRunning(t *testing.T) {
	now := metav1.NewTime(time.Unix(0, 0))
	started := corev1.PodStatus{StartTime: &now, Phase: corev1.PodPending} // of which containers may be pulled, and volumes mounted
	for name, c := range map[string]struct {
		pod  corev1.Pod
		want bool
	}{
		"accepted by a kubelet": {corev1.Pod{Status: started}, true},
		"on no node yet":        {corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending}}, false},
		"being deleted":         {corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}, Status: started}, false},
		"succeeded":             {corev1.Pod{Status: corev1.PodStatus{StartTime: &now, Phase: corev1.PodSucceeded}}, false},
		"failed":                {corev1.Pod{Status: corev1.PodStatus{StartTime: &now, Phase: corev1.PodFailed}}, false},
	} {
		if got := Running(&c.pod); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
