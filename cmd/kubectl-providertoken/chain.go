package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/consent"
	"github.com/providertoken/operator/internal/mounts"
)

// state of a link in the chain.
type state string

const (
	good    state = "ok"
	bad     state = "BAD"
	unclear state = "?"
	// absent: it is not there yet, which is as it should be.
	absent state = "-"
)

// link is one object of the chain: provider, credentials, target, pods.
type link struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	State state  `json:"state"`
	Says  string `json:"says"`
}

// shownPods is how many groups of pods are told.
const shownPods = 20

// chain of objects from the provider to the pods. What cannot be seen is said.
func (p *plugin) chain(ctx context.Context, c *cluster, pt *v1alpha1.ProviderToken, now time.Time) []link {
	provider, platform := p.providerLink(ctx, c, pt)
	links := []link{provider}
	links = append(links, c.credentialLinks(ctx, pt, platform)...)
	target, exists := c.targetLink(ctx, pt, now)
	links = append(links, target)
	return append(links, c.podLinks(ctx, pt, exists, now)...)
}

// providerLink is the definition, and the platform's credentials where it has some.
func (p *plugin) providerLink(ctx context.Context, c *cluster, pt *v1alpha1.ProviderToken) (link, *v1alpha1.PlatformCredentials) {
	ref := pt.Spec.ProviderRef
	if ref == nil {
		return link{"provider", "Inline", good, "defined in this ProviderToken, spec.provider"}, nil
	}
	l := link{Kind: "provider", Name: string(ref.Kind) + " " + ref.Name}
	switch ref.Kind {
	case v1alpha1.NamespacedProvider:
		var tp v1alpha1.TokenProvider
		l.State, l.Says = seen(c.Get(ctx, client.ObjectKey{Namespace: pt.Namespace, Name: ref.Name}, &tp), "is there", "create it in this namespace")
	case v1alpha1.ClusterProvider:
		var cp v1alpha1.ClusterTokenProvider
		l.State, l.Says = seen(c.Get(ctx, client.ObjectKey{Name: ref.Name}, &cp), "is there", "ask the platform team for it")
		if l.State == good {
			return l, cp.Spec.Credentials
		}
	default:
		l.Name = ref.Name
		l.State, l.Says = unclear, "the catalog of this plugin could not be read"
		if catalog, err := p.catalog(); err == nil {
			l.State, l.Says = good, "in the catalog"
			if _, known := catalog.Get(ref.Name); !known {
				near := nearest(ref.Name, catalog.Names())
				l.State, l.Says = unclear, "not in the catalog of this plugin; the operator's version may know it"
				if near != "" {
					l.Says = fmt.Sprintf("not in the catalog of this plugin, which knows %q; the operator's version may know it", near)
				}
			}
		}
	}
	return l, nil
}

// seen tells of a read what can be told.
func seen(err error, there, fix string) (state, string) {
	switch {
	case err == nil:
		return good, there
	case apierrors.IsNotFound(err):
		return bad, "is not there: " + fix
	}
	return unclear, "could not be seen: " + short(err)
}

// short says why something could not be read.
func short(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return "you have no right to it"
	case errors.Is(err, context.DeadlineExceeded):
		return "the API server took too long"
	}
	return err.Error()
}

// marks of an object: its labels and annotations, without its content.
func (c *cluster) marks(ctx context.Context, kind, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return o, c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
}

// credentialLinks are the Secrets (or the ServiceAccount) that the provider wants to see.
func (c *cluster) credentialLinks(ctx context.Context, pt *v1alpha1.ProviderToken, platform *v1alpha1.PlatformCredentials) []link {
	var links []link
	for _, name := range pt.CredentialSecrets() {
		links = append(links, c.credentialLink(ctx, pt, pt.Namespace, name))
	}
	if k := pt.Spec.Credentials; k != nil && k.Provision != nil {
		l := link{Kind: "credentials", Name: "Secret " + k.Provision.SecretName}
		_, err := c.marks(ctx, "Secret", pt.Namespace, k.Provision.SecretName)
		l.State, l.Says = seen(err, "is there: the credentials that the provider made", "the operator makes it with the login")
		links = append(links, l)
	}
	if k := pt.Spec.Credentials; k != nil && k.ServiceAccount != nil {
		links = append(links, c.accountLink(ctx, pt, k.ServiceAccount.Name))
	}
	if platform != nil && len(links) == 0 {
		for _, name := range platform.SecretNames() {
			l := c.credentialLink(ctx, pt, platform.Namespace, name)
			l.Name = fmt.Sprintf("Secret %s/%s", platform.Namespace, name)
			l.Says += " (held by the platform)"
			links = append(links, l)
		}
	}
	return links
}

func (c *cluster) credentialLink(ctx context.Context, pt *v1alpha1.ProviderToken, namespace, name string) link {
	l := link{Kind: "credentials", Name: "Secret " + name}
	want := binding(pt)
	secret, err := c.marks(ctx, "Secret", namespace, name)
	if apierrors.IsForbidden(err) {
		l.State, l.Says = unclear, "you may not read Secrets here; the operator says: "+resolved(pt)
		return l
	}
	l.State, l.Says = seen(err, fmt.Sprintf("is there, bound to %s", want),
		fmt.Sprintf("create it, with the label %s=%s", v1alpha1.CredentialsForLabel, want))
	if err != nil {
		return l
	}
	if is := secret.Labels[v1alpha1.CredentialsForLabel]; is != want {
		l.State = bad
		l.Says = fmt.Sprintf("is bound to %q, not to %q: kubectl label secret %s -n %s --overwrite %s=%s", is, want, name, namespace, v1alpha1.CredentialsForLabel, want)
		return l
	}
	if host := untrusted(pt); host != "" && !consent.Hosts(secret.Annotations[v1alpha1.AllowedHostsAnnotation], host) {
		l.State = bad
		l.Says = fmt.Sprintf("may not be sent to %s: kubectl annotate secret %s -n %s %s=%s", host, name, namespace, v1alpha1.AllowedHostsAnnotation, host)
	}
	return l
}

// binding is the label that a credential Secret must have.
func binding(pt *v1alpha1.ProviderToken) string {
	if ref := pt.Spec.ProviderRef; ref != nil {
		return v1alpha1.CredentialsForValue(ref.Kind, ref.Name)
	}
	return "ProviderToken." + pt.Name
}

// untrusted is the host that a credential Secret must name itself; empty where the
// catalog or the platform vouches for it, or where it is not known yet.
func untrusted(pt *v1alpha1.ProviderToken) string {
	if pt.Status.Provider == nil {
		return ""
	}
	if ref := pt.Spec.ProviderRef; ref != nil && ref.Kind != v1alpha1.NamespacedProvider {
		return ""
	}
	host := pt.Status.Provider.Host
	if host != "" && !strings.Contains(host, ":") {
		host += ":443"
	}
	return host
}

// resolved is what the operator says of the credentials.
func resolved(pt *v1alpha1.ProviderToken) string {
	if k := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.CredentialsResolvedCondition); k != nil {
		return k.Message
	}
	return "nothing yet"
}

func (c *cluster) accountLink(ctx context.Context, pt *v1alpha1.ProviderToken, name string) link {
	l := link{Kind: "credentials", Name: "ServiceAccount " + name}
	account, err := c.marks(ctx, "ServiceAccount", pt.Namespace, name)
	l.State, l.Says = seen(err, "is there, and opts in", "create it, with the annotations of docs/workload-identity.md")
	if err != nil {
		return l
	}
	for _, key := range []string{v1alpha1.AllowedAudiencesAnnotation, v1alpha1.AllowedHostsAnnotation} {
		if account.Annotations[key] == "" {
			l.State, l.Says = bad, fmt.Sprintf("does not opt in: it lacks the annotation %s; see docs/workload-identity.md", key)
		}
	}
	return l
}

// targetLink judges the target by its annotations, and tells whether it is there as far as is known.
func (c *cluster) targetLink(ctx context.Context, pt *v1alpha1.ProviderToken, now time.Time) (link, bool) {
	l := link{Kind: "target", Name: "Secret " + pt.TargetName()}
	secret, err := c.marks(ctx, "Secret", pt.Namespace, pt.TargetName())
	if apierrors.IsForbidden(err) {
		l.State, l.Says = unclear, "you may not read Secrets here; the operator says: "+published(pt)
		return l, pt.Status.Token != nil
	}
	l.State, l.Says = seen(err, "", "it is made with the first token")
	if apierrors.IsNotFound(err) && pt.Status.Token == nil {
		l.State = absent
	}
	if err != nil {
		return l, false
	}
	owner := secret.Annotations[v1alpha1.OwnerAnnotation]
	expires, unreadable := time.Parse(time.RFC3339, secret.Annotations[v1alpha1.ExpiresAtAnnotation])
	switch {
	case owner == "":
		l.State, l.Says = bad, "was not made by the operator: delete it, or choose another name in target.secretName of a new ProviderToken"
	case owner != pt.Namespace+"/"+pt.Name:
		l.State, l.Says = bad, fmt.Sprintf("belongs to ProviderToken %s: choose another name in target.secretName of a new ProviderToken", owner)
	case unreadable != nil:
		l.State, l.Says = bad, "does not say when its token expires: somebody edited its annotations, which the operator repairs"
	case !expires.After(now):
		l.State, l.Says = bad, fmt.Sprintf("holds a token that expired at %s", stamp(expires))
	default:
		l.State, l.Says = good, fmt.Sprintf("holds a token until %s", stamp(expires))
	}
	return l, true
}

// published is what the operator says of the target.
func published(pt *v1alpha1.ProviderToken) string {
	if k := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.SecretPublishedCondition); k != nil {
		return k.Message
	}
	return "nothing yet"
}

// podLinks are the pods that read the target, grouped by what made them.
func (c *cluster) podLinks(ctx context.Context, pt *v1alpha1.ProviderToken, targetExists bool, now time.Time) []link {
	pods, err := c.pods(ctx, pt.Namespace)
	if err != nil {
		return []link{{"pods", "", unclear, "could not be seen: " + short(err)}}
	}
	groups := map[string]*group{}
	for i := range pods {
		pod := &pods[i]
		l, reads := podLink(pod, pt, targetExists, now)
		if !reads {
			continue
		}
		owner := "Pod " + pod.Name
		if o := metav1.GetControllerOf(pod); o != nil {
			owner = o.Kind + " " + o.Name
		}
		key := owner + "|" + string(l.State) + "|" + l.Says
		if groups[key] == nil {
			l.Name = owner
			groups[key] = &group{link: l}
		}
		groups[key].pods++
	}
	return listed(groups, pt.TargetName())
}

// group of pods with the same maker, which read the target in the same way.
type group struct {
	link
	pods int
}

func listed(groups map[string]*group, target string) []link {
	if len(groups) == 0 {
		return []link{{"pods", "none", absent, fmt.Sprintf("no pod of this namespace reads Secret %q", target)}}
	}
	all := make([]link, 0, len(groups))
	for _, g := range groups {
		if g.pods > 1 {
			g.Name += fmt.Sprintf(" (%s)", plural(g.pods, "pod"))
		}
		all = append(all, g.link)
	}
	slices.SortFunc(all, func(a, b link) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Says, b.Says))
	})
	if len(all) > shownPods {
		more := len(all) - shownPods
		all = append(all[:shownPods], link{"pods", fmt.Sprintf("%d more", more), unclear, "not shown"})
	}
	return all
}

// pods of a namespace, in parts.
func (c *cluster) pods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	var found []corev1.Pod
	next := ""
	for {
		var list corev1.PodList
		if err := c.List(ctx, &list, client.InNamespace(namespace), client.Limit(pageSize), client.Continue(next)); err != nil {
			return nil, err
		}
		found = append(found, list.Items...)
		if next = list.Continue; next == "" {
			return found, nil
		}
	}
}

// podLink tells how a pod reads the target, if it does.
func podLink(pod *corev1.Pod, pt *v1alpha1.ProviderToken, targetExists bool, now time.Time) (link, bool) {
	target := pt.TargetName()
	reading := mounts.Of(pod)[target]
	pulls := slices.ContainsFunc(pod.Spec.ImagePullSecrets, func(r corev1.LocalObjectReference) bool { return r.Name == target })
	over := pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	l := link{Kind: "pods", State: good}
	switch {
	case over || !reading.Mounted && reading.Once == "" && !pulls:
		return l, false
	case !mounts.Running(pod) && !targetExists:
		l.State, l.Says = bad, "waits for the Secret before it can start"
	case reading.Once != "":
		l.State, l.Says = bad, fmt.Sprintf("reads it by %s: %s", reading.Once, never(pod, pt, now))
	case reading.Mounted:
		l.Says = "mounts it as a volume, which follows within 90 s"
		if _, told := pod.Labels[v1alpha1.MountsLabel]; told {
			l.Says = "mounts it as a volume, and asks to be told of changes at once (needs --propagation)"
		}
	default:
		l.Says = "pulls its images with it, and reads it for each pull"
	}
	return l, true
}

// never says what becomes of a pod that reads a token once.
func never(pod *corev1.Pod, pt *v1alpha1.ProviderToken, now time.Time) string {
	const fix = "mount it as a volume without subPath, or restart the pod after each refresh"
	t := pt.Status.Token
	if t == nil || pod.Status.StartTime == nil {
		return fix
	}
	if pod.Status.StartTime.Time.Before(t.IssuedAt.Time) {
		return fmt.Sprintf("it began %s, before the present token; %s", from(now, pod.Status.StartTime.Time), fix)
	}
	return fmt.Sprintf("it has the present token, and will not get the next one; %s", fix)
}
