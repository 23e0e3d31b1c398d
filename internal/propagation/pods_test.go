package propagation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/mounts"
)

func noon() time.Time { return time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC) }

// everyWay is a pod that reads Secrets in every way that there is.
func everyWay() *corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	secret := func(name string) *corev1.SecretKeySelector {
		return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "token"}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "imagery", Name: "viewer", UID: "u", ResourceVersion: "7",
			Labels:      map[string]string{v1alpha1.MountsLabel: "", "app": "viewer"},
			Annotations: map[string]string{v1alpha1.ToldAnnotation: "plain=1", "note": "x"},
		},
		Spec: corev1.PodSpec{
			NodeName: "n",
			Volumes: []corev1.Volume{
				{Name: "plain", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "plain"}}},
				{Name: "part", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "part"}}},
				{Name: "projected", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ConfigMap: &corev1.ConfigMapProjection{}},
					{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "projected"}}},
				}}}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			InitContainers: []corev1.Container{
				{Name: "sidecar", RestartPolicy: &always, EnvFrom: []corev1.EnvFromSource{
					{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "sidecar"}}},
				}},
				{Name: "once", Env: []corev1.EnvVar{{Name: "T", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: secret("init")}}}},
			},
			Containers: []corev1.Container{{
				Name: "main", Image: "viewer",
				Env: []corev1.EnvVar{{Name: "A", Value: "b"}, {Name: "T", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: secret("variable")}}},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "plain", MountPath: "/plain"}, {Name: "part", MountPath: "/part", SubPath: "token"}, {Name: "scratch", MountPath: "/s", SubPath: "x"},
				},
			}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: noon()}, Message: "long"},
	}
}

func TestReadingsTellsFilesThatFollowFromThoseThatDoNot(t *testing.T) {
	want := map[string]mounts.Reading{
		"plain":     {Mounted: true},
		"projected": {Mounted: true},
		"part":      {Mounted: true, Once: mounts.BySubPath},
		"variable":  {Once: mounts.ByEnvironment},
		"sidecar":   {Once: mounts.ByEnvironment},
	}
	if diff := cmp.Diff(want, mounts.Of(everyWay())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStripKeepsAllThatIsRead(t *testing.T) {
	stripped, err := Strip(everyWay())
	if err != nil {
		t.Fatal(err)
	}
	slim, ok := stripped.(*corev1.Pod)
	if !ok {
		t.Fatalf("got a %T", stripped)
	}
	whole := everyWay()
	if diff := cmp.Diff(mounts.Of(whole), mounts.Of(slim)); diff != "" {
		t.Errorf("readings (-whole +stripped):\n%s", diff)
	}
	if diff := cmp.Diff(chosen(whole), chosen(slim)); diff != "" {
		t.Errorf("chosen (-whole +stripped):\n%s", diff)
	}
	if !mounts.Running(slim) || slim.UID != whole.UID || slim.ResourceVersion != whole.ResourceVersion {
		t.Errorf("the stripped pod lost what it is: %+v", slim)
	}
	if slim.Annotations[v1alpha1.ToldAnnotation] != "plain=1" || len(slim.Annotations) != 1 || len(slim.Labels) != 1 {
		t.Errorf("metadata: %v %v", slim.Annotations, slim.Labels)
	}
	if slim.Spec.Containers[0].Image != "" || len(slim.Spec.Volumes) != 3 || slim.Status.Message != "" {
		t.Errorf("the stripped pod keeps what nobody reads: %+v", slim)
	}
}

func TestStripLeavesOtherObjectsAlone(t *testing.T) {
	s := &corev1.Secret{}
	if got, err := Strip(s); err != nil || got != any(s) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestChosen(t *testing.T) {
	pod := everyWay()
	if diff := cmp.Diff([]string{"part", "plain", "projected", "sidecar", "variable"}, chosen(pod)); diff != "" {
		t.Errorf("an empty label chooses all: %s", diff)
	}
	pod.Labels[v1alpha1.MountsLabel] = "plain"
	if diff := cmp.Diff([]string{"plain"}, chosen(pod)); diff != "" {
		t.Errorf("a label with a name chooses that: %s", diff)
	}
	delete(pod.Labels, v1alpha1.MountsLabel)
	if got := chosen(pod); got != nil {
		t.Errorf("without the label nothing is chosen: %v", got)
	}
}

func TestRunning(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*corev1.Pod)
		want bool
	}{
		"running":                  {func(*corev1.Pod) {}, true},
		"started, not yet running": {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, true},
		"not yet on a node":        {func(p *corev1.Pod) { p.Status.StartTime = nil }, false},
		"succeeded":                {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, false},
		"failed":                   {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false},
		"being deleted":            {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon()} }, false},
	} {
		pod := everyWay()
		c.edit(pod)
		if mounts.Running(pod) != c.want {
			t.Errorf("%s: got %v", name, !c.want)
		}
	}
}
