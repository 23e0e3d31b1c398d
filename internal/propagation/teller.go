package propagation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/alarms"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/mounts"
)

const (
	// inFlight is how many patches for one target are under way at a time.
	inFlight = 8
	// slack is for clocks: a pod that began this long after a change, by the clock
	// of its node, mounted the changed Secret.
	slack = 10 * time.Second
	// rememberedHints bounds the memory of whom a hint was given about.
	rememberedHints = 256
	// publishing is how long after its issue a token may have been written.
	publishing = time.Minute
)

// Teller tells pods of changed targets. All fields but Told are required.
type Teller struct {
	// Client reads ProviderTokens from the cache.
	Client client.Reader
	// Targets reads target Secrets from their cache.
	Targets client.Reader
	// Pods reads pods that ask to be told from their cache, indexed by IndexField.
	Pods client.Reader
	// Live patches pods.
	Live client.Client
	// Clock is the only source of time.
	Clock clock.WithDelayedExecution
	// Events takes hints and failures.
	Events events.EventRecorder
	// Metrics counts.
	Metrics *metrics.Metrics
	// PerSecond bounds the pods that are told in a second.
	PerSecond int
	// Told is called when all pods of a ProviderToken have been told.
	Told func(owner types.NamespacedName)

	alarms *alarms.Alarms
	limits *limits

	mu       sync.Mutex
	progress map[types.NamespacedName]*progress
}

// Report is when the last pod that mounts a target was told of its content, and
// how many such pods run.
type Report struct {
	At   time.Time
	Pods int
}

// progress is what is known of one target.
type progress struct {
	// version of the Secret when it was last looked at.
	version string
	// changed is when this process saw it change; zero when it was found as it is.
	changed time.Time
	// hinted are the owners of pods that read the target in a way that never changes.
	hinted map[types.UID]bool
	// refused is true once an event told that pods cannot be told.
	refused bool
	report  Report
}

// Report tells what is known of a target since this process began; false when no pod was told.
func (t *Teller) Report(target types.NamespacedName) (Report, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.progress[target]
	if p == nil || p.report.At.IsZero() {
		return Report{}, false
	}
	return p.report, true
}

// Reconcile tells the pods that mount one target, as far as the limits allow.
func (t *Teller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var secret corev1.Secret
	if err := t.Targets.Get(ctx, req.NamespacedName, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			t.forget(req.NamespacedName)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading target Secret: %w", err)
	}
	owner, err := t.owner(ctx, &secret)
	if err != nil || owner == nil {
		return reconcile.Result{}, err
	}
	var pods corev1.PodList
	err = t.Pods.List(ctx, &pods, client.InNamespace(secret.Namespace),
		client.MatchingFields{IndexField: secret.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("listing the pods that mount the target: %w", err)
	}
	r := &round{Teller: t, secret: &secret, owner: owner, progress: t.look(&secret)}
	return reconcile.Result{}, r.run(ctx, pods.Items)
}

// owner is the ProviderToken that a target belongs to; nil when it is none of this
// operator's, as with several shards.
func (t *Teller) owner(ctx context.Context, secret *corev1.Secret) (*v1alpha1.ProviderToken, error) {
	namespace, name, found := strings.Cut(secret.Annotations[v1alpha1.OwnerAnnotation], "/")
	if !found || namespace != secret.Namespace { // references never cross a namespace
		return nil, nil
	}
	var pt v1alpha1.ProviderToken
	if err := t.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &pt); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return &pt, nil
}

// look notes whether a target changed.
func (t *Teller) look(secret *corev1.Secret) *progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(secret)
	p := t.progress[key]
	switch {
	case p == nil:
		p = &progress{hinted: map[types.UID]bool{}}
		t.progress[key] = p
	case older(p.version, secret.ResourceVersion):
		p.changed = t.Clock.Now()
	}
	p.version = secret.ResourceVersion
	return p
}

func (t *Teller) forget(target types.NamespacedName) {
	t.alarms.Set(target, time.Time{})
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.progress, target)
}

// round is one look at the pods of one target. No other runs for the same target.
type round struct {
	*Teller
	secret   *corev1.Secret
	owner    *v1alpha1.ProviderToken
	progress *progress
}

func (r *round) run(ctx context.Context, pods []corev1.Pod) error {
	var due []*corev1.Pod
	mounting := 0
	for i := range pods {
		pod := &pods[i]
		reads := mounts.Of(pod)[r.secret.Name]
		if !mounts.Running(pod) {
			continue
		}
		r.hint(pod, reads)
		if !reads.Mounted {
			continue
		}
		mounting++
		if r.due(pod) {
			due = append(due, pod)
		}
	}
	key := client.ObjectKeyFromObject(r.secret)
	now, later := r.admit(due)
	if later > 0 {
		r.alarms.Set(key, r.Clock.Now().Add(later))
	}
	if len(now) == 0 {
		return nil
	}
	if err := r.tell(ctx, now); err != nil {
		return fmt.Errorf("telling pods of a changed Secret: %w", err)
	}
	log.FromContext(ctx).V(1).Info("told pods of a changed Secret", "pods", len(now), "later", len(due)-len(now))
	if later == 0 {
		r.finish(mounting)
	}
	return nil
}

// due tells whether a pod may still show an older content than the target has.
func (r *round) due(pod *corev1.Pod) bool {
	version := parseTold(pod.Annotations[v1alpha1.ToldAnnotation])[r.secret.Name]
	if version != "" {
		return older(version, r.secret.ResourceVersion)
	}
	// It was never told: what it mounted when it began may be recent enough.
	began := pod.Status.StartTime.Time
	if issued, err := time.Parse(time.RFC3339, r.secret.Annotations[v1alpha1.IssuedAtAnnotation]); err == nil && began.Before(issued.Add(publishing)) {
		return true
	}
	changed := r.changed()
	return !changed.IsZero() && began.Before(changed.Add(slack))
}

// admit takes as many pods as may be told now, and says when the next may.
func (r *round) admit(due []*corev1.Pod) (now []*corev1.Pod, later time.Duration) {
	for i, pod := range due {
		if wait := r.limits.take(pod.Namespace, r.Clock.Now()); wait > 0 {
			r.Metrics.Nudged(metrics.NudgeDeferred, len(due)-i, 0)
			return due[:i], wait
		}
	}
	return due, 0
}

// tell patches the annotation of each pod. A pod that is gone needs no telling, and
// one that cannot be told keeps no other from it.
func (r *round) tell(ctx context.Context, pods []*corev1.Pod) error {
	var group errgroup.Group
	group.SetLimit(inFlight)
	for _, pod := range pods {
		group.Go(func() error {
			err := r.patch(ctx, pod)
			switch {
			case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
				r.Metrics.Nudged(metrics.NudgeGone, 1, 0)
				return nil
			case err != nil:
				r.Metrics.Nudged(metrics.NudgeFailed, 1, 0)
				r.complain(pod, err)
				return fmt.Errorf("pod %q: %w", pod.Name, err)
			}
			r.note()
			return nil
		})
	}
	return group.Wait()
}

func (r *round) patch(ctx context.Context, pod *corev1.Pod) error {
	value := parseTold(pod.Annotations[v1alpha1.ToldAnnotation]).with(r.secret.Name, r.secret.ResourceVersion, mounts.Of(pod))
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         pod.UID, // another pod of the same name is not meant
		"annotations": map[string]string{v1alpha1.ToldAnnotation: value},
	}})
	if err != nil {
		return err
	}
	meant := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	return r.Live.Status().Patch(ctx, meant, client.RawPatch(types.MergePatchType, body))
}

// changed is when this process saw the target change; zero when it did not.
func (r *round) changed() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress.changed
}

// note counts a pod that was told.
func (r *round) note() {
	var took time.Duration
	if changed := r.changed(); !changed.IsZero() {
		took = r.Clock.Since(changed)
	}
	r.Metrics.Nudged(metrics.NudgeTold, 1, took)
}

// finish reports that all pods know.
func (r *round) finish(pods int) {
	r.mu.Lock()
	r.progress.report = Report{At: r.Clock.Now(), Pods: pods}
	r.progress.refused = false
	r.mu.Unlock()
	if r.Told != nil {
		r.Told(client.ObjectKeyFromObject(r.owner))
	}
}

// hint tells once for each workload that reads a target in a way that never changes.
func (r *round) hint(pod *corev1.Pod, reads mounts.Reading) {
	if reads.Mounted && reads.Once == "" {
		return
	}
	workload := pod.UID
	if owner := metav1.GetControllerOf(pod); owner != nil {
		workload = owner.UID
	}
	r.mu.Lock()
	known := r.progress.hinted[workload]
	if len(r.progress.hinted) >= rememberedHints {
		clear(r.progress.hinted) // each run of a CronJob is a workload of its own
	}
	r.progress.hinted[workload] = true
	r.mu.Unlock()
	if known {
		return
	}
	how := "does not mount it at all"
	if reads.Once != "" {
		how = fmt.Sprintf("reads it by %s while a container runs", reads.Once)
	}
	r.Events.Eventf(r.owner, pod, corev1.EventTypeWarning, v1alpha1.ReasonPodReadsOnce, "Tell",
		"Pod %q asks to be told of Secret %q, but %s: mount the Secret as a volume without subPath, or restart the pod after each refresh",
		pod.Name, r.secret.Name, how)
}

// complain tells once that a pod cannot be told.
func (r *round) complain(pod *corev1.Pod, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	r.mu.Lock()
	known := r.progress.refused
	r.progress.refused = true
	r.mu.Unlock()
	if known {
		return
	}
	// What a policy of the cluster says may be anything; its reason is a known word.
	r.Events.Eventf(r.owner, pod, corev1.EventTypeWarning, v1alpha1.ReasonPropagationFailed, "Tell",
		"Pod %q could not be told of the new content of Secret %q (%s): check that config/propagation is applied, and that no admission policy or webhook "+
			"of the cluster refuses patches of pods/status; the operator tries again, and the file follows by itself within 90 s",
		pod.Name, r.secret.Name, apierrors.ReasonForError(err))
}
