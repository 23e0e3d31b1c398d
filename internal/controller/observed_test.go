package controller_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/audit"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// gathered are the values of a metric, by "label=value,…" in the order of label names.
func gathered(registry *prometheus.Registry, name string) map[string]float64 {
	GinkgoHelper()
	families, err := registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	values := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			values[strings.Join(labels, ",")] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func total(values map[string]float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum
}

var _ = Describe("what others see of a ProviderToken", func() {
	It("warns before a credential ends, says so when nobody can tell, and shows it in a column's field", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Sim.PlantPredict.SetLifetime(time.Hour)
		secret := w.Credentials(ctx, "plantpredict", map[string]string{
			"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
		})
		pt := w.Create(ctx, w.Wanted("plantpredict"))
		Expect(w.Ready(ctx, pt).Status.CredentialExpiresAt).To(BeNil())
		annotate := func(value string) {
			GinkgoHelper()
			was := secret.DeepCopy()
			secret.Annotations = map[string]string{v1alpha1.CredentialExpiresAtAnnotation: value}
			Expect(k8s.Patch(ctx, secret, client.MergeFrom(was))).To(Succeed())
		}
		resolved := func(reason string) *v1alpha1.ProviderToken {
			GinkgoHelper()
			got := w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionTrue, reason)
			w.Ready(ctx, pt)
			return got
		}

		annotate("next summer, hunter2-hunter2")
		got := resolved(v1alpha1.ReasonCredentialExpiryUnreadable)
		Expect(w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Message).To(And(
			ContainSubstring(`annotation providertoken.dev/credential-expires-at of Secret "plantpredict-login" is not an instant such as 2027-01-31T00:00:00Z`),
			Not(ContainSubstring("summer"))))
		Expect(got.Status.CredentialExpiresAt).To(BeNil())

		end := w.Clock.Now().Add(14*24*time.Hour + 10*time.Minute)
		annotate(end.In(time.FixedZone("", 3600)).Format(time.RFC3339))
		got = resolved(v1alpha1.ReasonResolved)
		Expect(got.Status.CredentialExpiresAt.UTC()).To(Equal(end.UTC()))
		Expect(gathered(w.Registry, "providertoken_credential_expiry_timestamp_seconds")).To(HaveLen(1))
		Expect(total(gathered(w.Registry, "providertoken_credential_expiry_timestamp_seconds"))).To(Equal(float64(end.Unix())))

		w.Clock.Step(10 * time.Minute)
		resolved(v1alpha1.ReasonCredentialExpiresSoon)
		Expect(w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Message).To(ContainSubstring("end at " + end.UTC().Format(time.RFC3339)))
		w.Clock.SetTime(end)
		resolved(v1alpha1.ReasonCredentialExpired)
	})

	It("has series with the object's severity while it exists, and none when it was deleted", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "wrong"})
		wanted := w.Wanted("up42")
		wanted.Labels = map[string]string{v1alpha1.SeverityLabel: "critical"}
		pt := w.Create(ctx, wanted)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		group := "credential=" + w.Namespace + "/up42-login,host=" + w.Sim.UP42.Address()
		Expect(gathered(w.Registry, "providertoken_failing_tokens")).To(Equal(map[string]float64{
			group + ",phase=missing,provider=" + w.Cluster("up42") + ",reason=LoginFrozen,severity=critical": 1,
		}))
		Expect(gathered(w.Registry, "providertoken_failing_since_timestamp_seconds")).To(HaveKey("name=up42,namespace=" + w.Namespace + ",reason=LoginFrozen"))
		Expect(total(gathered(w.Registry, "providertoken_login_freezes_total"))).To(Equal(1.0))

		By("following the label")
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Labels[v1alpha1.SeverityLabel] = "whatever" })
		Eventually(func() map[string]float64 { return gathered(w.Registry, "providertoken_failing_tokens") }).
			Should(HaveKey(HaveSuffix("severity=warning")))

		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		for _, name := range []string{
			"providertoken_failing_tokens", "providertoken_failing_since_timestamp_seconds", "providertoken_ready", "providertoken_info", "providertoken_tokens",
		} {
			Eventually(func() map[string]float64 { return gathered(w.Registry, name) }).Should(BeEmpty(), name)
		}
	})

	It("writes status only when there is news, while a refresh fails for an hour", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Sim.PlantPredict.SetLifetime(4 * time.Hour)
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		before := w.Sent()
		w.Sim.PlantPredict.Always(providersim.JSON(http.StatusBadGateway, "{}"))
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		failures := func() float64 { return total(gathered(w.Registry, "providertoken_exchanges_total")) - 1 }
		const steps = 12
		for i := range steps {
			Eventually(failures).Should(BeNumerically(">", i))
			w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable)
			w.Clock.Step(time.Hour / steps)
		}
		sent := w.Sent().Since(before)
		AddReportEntry("requests of an hour of failures", sent)
		Expect(sent["PATCH providertokens"]).To(Equal(1), "writes of status")
		message := w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message
		Expect(message).To(ContainSubstring("works until " + w.Ready(ctx, pt).Status.Token.ExpiresAt.UTC().Format(time.RFC3339)))

		By("telling, once, that it works again")
		w.Sim.PlantPredict.Clear()
		w.Clock.Step(5 * time.Minute)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued)
		Expect(w.Sent().Since(before)["PATCH providertokens"]).To(Equal(2))
		Expect(gathered(w.Registry, "providertoken_refresh_lateness_seconds")).To(HaveLen(1), "it was late")
	})

	It("gets an event of its own each time that it works again, though the API server is away for a moment", func(ctx SpecContext) {
		w := newWorld(ctx)
		var away atomic.Int32
		away.Store(2)
		w.Faults = func(next http.RoundTripper) http.RoundTripper {
			return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(r.URL.Path, "/events") {
					return next.RoundTrip(r)
				}
				switch away.Add(-1) {
				case 1:
					return nil, io.ErrUnexpectedEOF
				case 0: // its answer is lost
					resp, err := next.RoundTrip(r)
					if err != nil {
						return nil, err
					}
					_ = resp.Body.Close()
					return nil, io.ErrUnexpectedEOF
				}
				return next.RoundTrip(r)
			})
		}
		w.Operator()
		pt := w.PlantPredict(ctx)
		got := w.Ready(ctx, pt)
		events := func() []string {
			var list eventsv1.EventList
			Expect(k8s.List(ctx, &list, client.InNamespace(w.Namespace))).To(Succeed())
			var told []string
			for i := range list.Items {
				e := &list.Items[i]
				Expect(e.Regarding.UID).To(Equal(got.UID))
				Expect(e.ReportingController).To(Equal("providertoken"))
				told = append(told, fmt.Sprint(e.Type, " ", e.Action, " ", e.Reason, " ", e.Series == nil))
			}
			slices.Sort(told)
			return told
		}
		Eventually(events).Should(Equal([]string{"Normal Refresh Ready true"}))
		Eventually(away.Load).Should(BeNumerically("<", 0), "it is not sent again")
		Expect(events()).To(HaveLen(1))

		w.Sim.PlantPredict.Always(providersim.Status(http.StatusBadGateway))
		w.Clock.SetTime(got.Status.Token.ExpiresAt.Time)
		w.Becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
		w.Sim.PlantPredict.Clear()
		w.Clock.Step(5 * time.Minute)
		w.Ready(ctx, pt)
		Eventually(events).Should(ContainElements("Normal Refresh Ready true", "Normal Refresh Ready true"), "not a series, which keeps the first one's text")
	})

	It("leaves a line for each exchange, with the state of the Secret that was used, and never a value", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		secret := w.Credentials(ctx, "plantpredict", map[string]string{
			"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
		})
		pt := w.Create(ctx, w.Wanted("plantpredict"))
		got := w.Ready(ctx, pt)
		expires := got.Status.Token.ExpiresAt.UTC()
		host := w.Sim.PlantPredict.Address()
		want := audit.Entry{
			Time:        w.Clock.Now().UTC(),
			Object:      audit.Object{Namespace: w.Namespace, Name: "plantpredict", UID: string(got.UID)},
			Credentials: []audit.Secret{{Namespace: w.Namespace, Name: secret.Name, ResourceVersion: secret.ResourceVersion}},
			Provider:    "ClusterTokenProvider." + w.Cluster("plantpredict"), Host: host, Grant: "ClientCredentials",
			Outcome: audit.Success, Status: http.StatusOK, ExpiresAt: &expires,
		}
		Expect(w.Audit.Entries()).To(Equal([]audit.Entry{want}))

		w.Sim.PlantPredict.Always(providersim.JSON(http.StatusServiceUnavailable, "{}"))
		w.Clock.SetTime(got.Status.RefreshAt.Time)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable)
		want.Time, want.ExpiresAt = w.Clock.Now().UTC(), nil
		want.Outcome, want.Failure, want.Status = audit.Failure, "Unavailable", http.StatusServiceUnavailable
		Expect(w.Audit.Entries()[1]).To(Equal(want))
	})

	It("makes one trace of an exchange, the write of the target and that of status", func(ctx SpecContext) {
		w := newWorld(ctx)
		stop := w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		stop()
		spans, names := map[string]*tracepb.Span{}, []string{}
		for _, s := range w.Collector.Spans() {
			names = append(names, s.GetName())
			spans[s.GetName()] = s
		}
		Expect(names).To(ConsistOf("exchange", "publish", "status"))
		for _, name := range []string{"publish", "status"} {
			Expect(spans[name].GetTraceId()).To(Equal(spans["exchange"].GetTraceId()))
			Expect(spans[name].GetParentSpanId()).To(Equal(spans["exchange"].GetSpanId()))
		}
		Expect(attributesOf(spans["exchange"])).To(HaveKeyWithValue("providertoken.grant", "ClientCredentials"))
		Expect(attributesOf(spans["exchange"])).NotTo(HaveKey("error.type"))
	})
})

func attributesOf(s *tracepb.Span) map[string]string {
	values := map[string]string{}
	for _, a := range s.GetAttributes() {
		values[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return values
}
