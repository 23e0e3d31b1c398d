//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/test/e2e/wire"
)

// way in which a Pod gets at the token.
type way string

const (
	plainVolume     way = "volume"
	projectedVolume way = "projected"
	volumeWithItems way = "items"
	environment     way = "env"
	subPath         way = "subPath"
)

// follows tells whether the kubelet brings a new token to a running Pod. It never
// does for the environment and for subPath.
func (w way) follows() bool { return w != environment && w != subPath }

// workload is a Pod that uses the token of a source.
type workload struct {
	source *source
	way    way
	// told is true for a Pod that asks to be told of a new token at once.
	told bool
}

// name of the Pod, which must be in lower case.
func (w workload) name() string { return w.source.name + "-" + strings.ToLower(string(w.way)) }

// where the token is mounted.
const mounted = "/var/run/secrets/provider"

// start creates the Pod. It begins to run when the target Secret is there.
func (w workload) start(ctx context.Context, c *cluster) {
	GinkgoHelper()
	Expect(c.client.Create(ctx, w.pod())).To(Succeed())
}

func (w workload) pod() *corev1.Pod {
	container := corev1.Container{
		Name: "reader", Image: readerImage, ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            []string{"-name=" + w.name(), "-url=" + w.source.endpoints["resource"]},
		Env:             []corev1.EnvVar{{Name: "CA_BUNDLE", Value: w.source.caBundle}},
		SecurityContext: containerSecurity(),
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: w.name(), Namespace: workNamespace, Labels: map[string]string{readerLabel: string(w.way)},
		},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64),
			AutomountServiceAccountToken:  new(bool),
			SecurityContext:               podSecurity(),
		},
	}
	if w.told {
		pod.Labels[v1alpha1.MountsLabel] = w.source.target()
	}
	mount := corev1.VolumeMount{Name: "token", MountPath: mounted, ReadOnly: true}
	file := mounted + "/token"
	switch w.way {
	case plainVolume, subPath:
		pod.Spec.Volumes = []corev1.Volume{secretVolume(corev1.SecretVolumeSource{SecretName: w.source.target()})}
		if w.way == subPath {
			mount.SubPath, mount.MountPath = "token", file
		}
	case volumeWithItems:
		// The whole header's value, under another name, readable by its group only.
		mode, all := int32(0o440), int32(0o400)
		pod.Spec.Volumes = []corev1.Volume{secretVolume(corev1.SecretVolumeSource{
			SecretName: w.source.target(), DefaultMode: &all,
			Items: []corev1.KeyToPath{{Key: "authorization", Path: "http/authorization", Mode: &mode}},
		})}
		file = mounted + "/http/authorization"
	case projectedVolume:
		pod.Spec.Volumes = []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: w.source.target()}}},
				{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
					{Path: "pod", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}},
				}}},
			},
		}}}}
	case environment:
		container.Env = append(container.Env, corev1.EnvVar{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: w.source.target()}, Key: "token"},
		}})
	}
	if w.way == environment {
		container.Args = append(container.Args, "-env=TOKEN")
	} else {
		container.Args = append(container.Args, "-file="+file)
		container.VolumeMounts = []corev1.VolumeMount{mount}
	}
	pod.Spec.Containers = []corev1.Container{container}
	return pod
}

func secretVolume(s corev1.SecretVolumeSource) corev1.Volume {
	return corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &s}}
}

func (w workload) state(ctx context.Context, c *cluster) (wire.Reader, error) {
	var state wire.Reader
	err := c.fetch(ctx, workNamespace, w.name(), "state", &state)
	return state, err
}

// ask asks all workloads at once, until all have answered.
func ask(ctx context.Context, c *cluster, all []workload) map[string]wire.Reader {
	GinkgoHelper()
	states := map[string]wire.Reader{}
	Eventually(func() error {
		var mu sync.Mutex
		var group sync.WaitGroup
		var failures []error
		for _, w := range slices.DeleteFunc(slices.Clone(all), func(w workload) bool { return states[w.name()].Reads > 0 }) {
			group.Go(func() {
				state, err := w.state(ctx, c)
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
				states[w.name()] = state
			})
		}
		group.Wait()
		return errors.Join(failures...)
	}).WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
	return states
}

// read waits until the workload has read its token at least once.
func (w workload) read(ctx context.Context, c *cluster) {
	GinkgoHelper()
	Eventually(func() error {
		state, err := w.state(ctx, c)
		if err == nil && state.OK == 0 {
			err = fmt.Errorf("%s has not read a good token yet: %+v", w.name(), state)
		}
		return err
	}).WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
}

// seen tells whether the workload has seen one of the tokens.
func seen(state wire.Reader, tokens ...issue) bool {
	return slices.ContainsFunc(tokens, func(i issue) bool {
		return slices.ContainsFunc(state.Tokens, func(t wire.Token) bool { return t.Hash == i.Hash })
	})
}

// kubeletDelay is how long a kubelet may take to show a changed Secret in a
// mounted volume: a sync each 60 s, times 1 to 1.5.
const kubeletDelay = 90 * time.Second

// propagationDelay is how long it may take when the operator tells the Pod.
const propagationDelay = time.Second
