package world

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
)

// described are the keys of target Secrets that hold no secret.
func described() []string { return []string{"token-type", "expires-at", "previous-expires-at"} }

// read lets leaks know every version of every object that people can read, and
// every value that was ever in a Secret, until the suite ends; then it searches.
func (s *Server) read() {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(context.Background())
	watching, err := client.NewWithWatch(s.Config, client.Options{Scheme: s.Scheme})
	Expect(err).NotTo(HaveOccurred())
	lists := []client.ObjectList{
		&corev1.SecretList{}, &corev1.ConfigMapList{}, &corev1.PodList{}, &eventsv1.EventList{},
		&v1alpha1.ProviderTokenList{}, &v1alpha1.TokenProviderList{}, &v1alpha1.ClusterTokenProviderList{},
	}
	done := make(chan struct{}, len(lists))
	for _, list := range lists {
		Expect(watching.List(ctx, list)).To(Succeed())
		source := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			kind, ok := list.DeepCopyObject().(client.ObjectList)
			if !ok {
				return nil, context.Canceled
			}
			return watching.Watch(ctx, kind, &client.ListOptions{Raw: &o})
		}}
		events, err := toolswatch.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), source)
		Expect(err).NotTo(HaveOccurred())
		go func() {
			defer func() { done <- struct{}{} }()
			for e := range events.ResultChan() {
				s.Leaks.object(e.Object)
			}
		}()
	}
	DeferCleanup(func(ctx SpecContext) {
		for _, list := range lists {
			Expect(s.Client.List(ctx, list)).To(Succeed())
			s.Leaks.list(list)
		}
		cancel()
		for range lists {
			<-done
		}
		s.search()
	})
}

// search fails the suite when a secret turned up.
func (s *Server) search() {
	GinkgoHelper()
	secrets, places := s.Leaks.Sum()
	AddReportEntry("secrets searched for", secrets)
	GinkgoWriter.Printf("searched for %d secrets in bytes of text: %v\n", secrets, places)
	found := s.Leaks.Find()
	Expect(found[:min(len(found), 20)]).To(BeEmpty(), "%d secrets turned up where people read", len(found))
}

func (l *Leaks) list(list client.ObjectList) {
	switch list := list.(type) {
	case *corev1.SecretList:
		for i := range list.Items {
			l.object(&list.Items[i])
		}
	case *corev1.ConfigMapList:
		for i := range list.Items {
			l.object(&list.Items[i])
		}
	case *corev1.PodList:
		for i := range list.Items {
			l.object(&list.Items[i])
		}
	case *eventsv1.EventList:
		for i := range list.Items {
			l.object(&list.Items[i])
		}
	case *v1alpha1.ProviderTokenList:
		for i := range list.Items {
			l.object(&list.Items[i])
		}
	}
}

// object takes note of one version of an object.
func (l *Leaks) object(o runtime.Object) {
	switch o := o.(type) {
	case *corev1.Secret:
		for k, v := range o.Data {
			if !slices.Contains(described(), k) {
				l.Secret(string(v), "key "+k+" of Secret "+o.Namespace+"/"+o.Name)
			}
		}
		l.json(besideData, o.ObjectMeta)
	case *corev1.ConfigMap:
		l.json("a ConfigMap", o)
	case *corev1.Pod:
		l.json("metadata of a Pod", o.ObjectMeta)
	case *eventsv1.Event:
		l.json("an event", o)
	case *v1alpha1.ProviderToken:
		l.json("a ProviderToken's status", o.Status)
		l.open(o.Spec)
	case *v1alpha1.TokenProvider:
		l.open(o.Spec)
	case *v1alpha1.ClusterTokenProvider:
		l.open(o.Spec)
	}
}

func (l *Leaks) json(place string, v any) {
	text, err := json.Marshal(v)
	Expect(err).NotTo(HaveOccurred())
	l.Text(place, text)
}

// open takes note of every text in a spec.
func (l *Leaks) open(spec any) {
	text, err := json.Marshal(spec)
	Expect(err).NotTo(HaveOccurred())
	leaves(text, func(_, value string) { l.Public(value) })
}

// metrics takes note of what a scrape shows.
func (l *Leaks) metrics(from prometheus.Gatherer) {
	families, err := from.Gather()
	Expect(err).NotTo(HaveOccurred())
	var text bytes.Buffer
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&text, f)
		Expect(err).NotTo(HaveOccurred())
	}
	l.Text("metrics", text.Bytes())
}

// listener is an Exchanger that takes note of what goes over the wire.
type listener struct {
	next  controller.Exchanger
	leaks *Leaks
}

// Do implements controller.Exchanger.
func (x listener) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	x.sent(req)
	answer, err := x.next.Do(ctx, req, trust)
	x.answered(answer)
	if err != nil {
		x.leaks.Text("an error of an exchange", []byte(err.Error()))
	}
	return answer, err
}

// harmless are the fields whose values are the protocol's own words, or a user's.
func harmless() []string {
	return []string{
		"grant_type", "client_assertion_type", "subject_token_type", "actor_token_type", "requested_token_type", "issued_token_type",
		"scope", "audience", "resource", "token_type", "error", "error_uri", "expires_at", "issuer",
	}
}

func (x listener) sent(req provider.Request) {
	note := func(field, value string) {
		if !slices.Contains(harmless(), field) {
			x.leaks.Secret(value, "field "+field+" of a request")
		}
	}
	body := req.Body.Reveal()
	if strings.HasPrefix(req.Header.Get("Content-Type"), "application/json") {
		leaves([]byte(body), note)
	} else if fields, err := url.ParseQuery(body); err == nil {
		for field, values := range fields {
			note(field, values[0])
		}
	}
	scheme, credentials, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	note("Authorization", credentials)
	if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "Basic") {
		id, password, _ := strings.Cut(string(pair), ":")
		note("user of Basic", id)
		note("password of Basic", password)
	}
}

// answered takes note of everything that a provider said, except a metadata
// document, whose endpoints status shows.
func (x listener) answered(a provider.Answer) {
	if bytes.Contains(a.Body, []byte(`"issuer"`)) {
		return
	}
	leaves(a.Body, func(field, value string) {
		if !slices.Contains(harmless(), field) {
			x.leaks.Secret(value, "field "+field+ofAnswer)
		}
	})
	for _, name := range []string{"Location", "Www-Authenticate", "Set-Cookie"} {
		x.leaks.Secret(a.Header.Get(name), "header "+name+ofAnswer)
	}
}

// leaves calls f for each text in a JSON document, with the name of its field.
func leaves(document []byte, f func(field, value string)) {
	var v any
	if json.Unmarshal(document, &v) != nil {
		return
	}
	var walk func(field string, v any)
	walk = func(field string, v any) {
		switch v := v.(type) {
		case string:
			f(field, v)
		case []any:
			for _, e := range v {
				walk(field, e)
			}
		case map[string]any:
			for k, e := range v {
				walk(k, e)
			}
		}
	}
	walk("", v)
}
