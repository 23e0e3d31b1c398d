package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/lockout"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// world is a real operator and simulated providers, at noon.
type world struct{ *testworld.World }

func newWorld(ctx SpecContext) *world {
	GinkgoHelper()
	w := &world{testworld.New(ctx, server)}
	w.Clock.SetTime(noon())
	return w
}

// person who uses this world's namespace.
func (w *world) person(as string) *person {
	p := newPerson(w.Clock, as)
	p.flags.Namespace = new(w.Namespace)
	return p
}

// plain is text without what differs from run to run.
func (w *world) plain(text string) string {
	text = strings.ReplaceAll(text, "-"+w.Namespace, "")
	text = strings.ReplaceAll(text, w.Namespace, "imagery")
	text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "login.example.com")
	text = regexp.MustCompile(`login-[0-9a-f]{40}`).ReplaceAllString(text, "login-2f1d…")
	// A refresh is spread by the object's UID.
	spread := regexp.MustCompile(`good until (\S+) \(in (\d+)m\), and will be replaced at \S+`)
	text = spread.ReplaceAllStringFunc(text, func(s string) string {
		part := spread.FindStringSubmatch(s)
		until, _ := time.Parse(time.RFC3339, part[1])
		left, _ := time.ParseDuration(part[2] + "m")
		return fmt.Sprintf("good until %s (in %sm), and will be replaced at %s", part[1], part[2], stamp(until.Add(-left*2/5)))
	})
	return strings.ReplaceAll(text, " --operator-namespace imagery", "")
}

func (w *world) get(ctx SpecContext, pt *v1alpha1.ProviderToken) *v1alpha1.ProviderToken {
	GinkgoHelper()
	got := &v1alpha1.ProviderToken{}
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), got)).To(Succeed())
	return got
}

// grant gives user the role of docs/kubectl-plugin.md in this world's namespace, which is
// also the operator's, and the role edit of ProviderTokens.
func (w *world) grant(ctx SpecContext, user string) {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "kubectl-plugin.md"))
	Expect(err).NotTo(HaveOccurred())
	_, block, found := strings.Cut(string(text), "```yaml\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n")
	Expect(found).To(BeTrue())
	block, _, _ = strings.Cut(block, "```")
	var role rbacv1.Role
	Expect(yaml.UnmarshalStrict([]byte(block), &role)).To(Succeed())
	role.Namespace = w.Namespace
	Expect(k8s.Create(ctx, &role)).To(Succeed())
	for kind, name := range map[string]string{"Role": role.Name, "ClusterRole": "editor"} {
		Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, GenerateName: "person-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})).To(Succeed())
	}
	awaitRight(ctx, user, authorizationv1.ResourceAttributes{Namespace: w.Namespace, Verb: "update", Resource: "configmaps"})
	awaitRight(ctx, user, authorizationv1.ResourceAttributes{Namespace: w.Namespace, Verb: "patch", Group: "providertoken.dev", Resource: "providertokens"})
}

var _ = Describe("refresh", func() {
	It("brings one new token for each request, and tells how it went", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		calls := len(w.Sim.PlantPredict.Calls())
		w.Clock.Step(5 * time.Minute)
		text := w.person("").types(ctx, "refresh", "plantpredict", "--wait")
		Expect(w.Sim.PlantPredict.Calls()).To(HaveLen(calls + 1))
		w.Clock.Step(time.Minute)
		text += w.person("").types(ctx, "refresh", "plantpredict")
		Eventually(func() int { return len(w.Sim.PlantPredict.Calls()) }).WithPolling(10 * time.Millisecond).Should(Equal(calls + 2))
		Eventually(func() string { return stamp(w.get(ctx, pt).Status.Token.IssuedAt.Time) }).WithPolling(10 * time.Millisecond).Should(Equal("2026-03-04T12:06:00Z"))

		By("and when it was refused")
		w.Clock.Step(time.Minute)
		w.Sim.PlantPredict.Next(providersim.JSON(400, `{"error":"invalid_client"}`))
		text += w.person("").types(ctx, "refresh", "plantpredict", "--wait")
		golden(GinkgoT(), "refresh.txt", w.plain(text))
		Expect(w.get(ctx, pt).Status.Token).NotTo(BeNil(), "a refusal must leave the token that works")
	})

	It("says when nobody answers, and what is not asked for at all", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Credentials(ctx, "plantpredict", map[string]string{"client_id": "x"})
		pt := w.Create(ctx, w.Wanted("plantpredict"))
		p := w.person("")
		Expect(p.types(ctx, "refresh", "plantpredict", "--wait", "--timeout", "50ms")).To(And(
			ContainSubstring("no outcome within 50ms; the operator has not answered: does it run"), ContainSubstring("exit code 4")))
		w.Operator()
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonInvalidCredentials)
		w.Clock.Step(time.Second)
		Expect(p.types(ctx, "refresh", "plantpredict", "--wait")).To(And(
			ContainSubstring("not refreshed: InvalidCredentials"), ContainSubstring("client_secret"), ContainSubstring("exit code 3")))
	})

	It("asks before it touches many", func(ctx SpecContext) {
		w := newWorld(ctx)
		for name := range strings.FieldsSeq("a b c d e f g h i j k") {
			pt := w.Wanted("plantpredict")
			pt.Name = name
			pt.Labels = map[string]string{"half": map[bool]string{true: "yes", false: "no"}[name < "e"]}
			w.Create(ctx, pt)
		}
		p := w.person("")
		asked := func() int {
			var list v1alpha1.ProviderTokenList
			Expect(k8s.List(ctx, &list, client.InNamespace(w.Namespace))).To(Succeed())
			n := 0
			for i := range list.Items {
				if list.Items[i].Annotations[v1alpha1.RefreshRequestedAtAnnotation] != "" {
					n++
				}
			}
			return n
		}
		text := p.types(ctx, "refresh", "--all")
		Expect(asked()).To(BeZero())
		golden(GinkgoT(), "refresh-many.txt", w.plain(text))
		Expect(p.types(ctx, "refresh", "-l", "half=yes")).To(ContainSubstring("a refresh is requested"))
		Expect(asked()).To(Equal(4))
		Expect(p.types(ctx, "refresh", "--all", "a")).To(ContainSubstring("either names"))
		Expect(p.types(ctx, "refresh", "-l", "half=maybe")).To(ContainSubstring("there is no ProviderToken"))
		Expect(p.types(ctx, "refresh", "--all", "--yes")).To(ContainSubstring("/k: a refresh is requested"))
		Expect(asked()).To(Equal(11))
	})
})

var _ = Describe("thaw", func() {
	It("allows one login, to somebody who may write the operator's records", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "later"})
		pt := w.Create(ctx, w.Wanted("up42"))
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		other := w.Wanted("up42")
		other.Name = "up42-tiles"
		w.Becomes(ctx, w.Create(ctx, other), v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		Expect(w.Sim.UP42.FailedLogins()).To(Equal(1))

		By("which a refresh is not")
		w.Clock.Step(time.Minute)
		p := w.person("")
		text := p.types(ctx, "refresh", "up42", "--wait")
		Expect(w.Sim.UP42.FailedLogins()).To(Equal(1))

		By("and freezes it again when it was wrong to thaw it")
		text += p.types(ctx, "thaw", "up42", "--wait", "--operator-namespace", w.Namespace)
		Expect(w.Sim.UP42.FailedLogins()).To(Equal(2))
		w.Clock.Step(time.Minute)
		text += p.types(ctx, "thaw", "up42", "--operator-namespace", w.Namespace)
		Expect(w.Sim.UP42.FailedLogins()).To(Equal(2))

		By("until the account is as the Secret says")
		w.Sim.UP42.SetLogin(providersim.UP42Username, "later")
		text += p.types(ctx, "thaw", "up42", "--wait", "--yes", "--operator-namespace", w.Namespace)
		w.Ready(ctx, pt)
		golden(GinkgoT(), "thaw.txt", w.plain(text))

		By("done by somebody with the role of the documentation, and edit")
		w.Sim.UP42.SetLogin(providersim.UP42Username, "changed")
		w.Sim.UP42.KillSessions()
		w.grant(ctx, "thawer@example.com")
		w.Clock.Step(20 * time.Minute)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		w.Sim.UP42.SetLogin(providersim.UP42Username, "later")
		Expect(w.person(editor).types(ctx, "thaw", "up42", "--operator-namespace", w.Namespace)).To(ContainSubstring("exit code 1"))
		Expect(w.person("thawer@example.com").types(ctx, "thaw", "up42", "--wait", "--yes", "--operator-namespace", w.Namespace)).To(ContainSubstring("refreshed"))

		By("leaving a record that says who thawed what, and when")
		var records corev1.ConfigMapList
		Expect(k8s.List(ctx, &records, client.InNamespace(w.Namespace), client.HasLabels{lockout.Label})).To(Succeed())
		Expect(records.Items).To(HaveLen(1))
		Expect(records.Items[0].Annotations).To(HaveKeyWithValue(lockout.ThawedAnnotation, stamp(w.Clock.Now())))
		Expect(lockout.Users(records.Items[0].Annotations[lockout.UsersAnnotation])).To(ConsistOf(w.Namespace+"/up42", w.Namespace+"/up42-tiles"))
	})

	It("does nothing that an annotation could do", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "wrong"})
		pt := w.Create(ctx, w.Wanted("up42"))
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Annotations = map[string]string{
				lockout.ThawedAnnotation: stamp(w.Clock.Now()), v1alpha1.ConfirmAnnotation: "now", v1alpha1.RefreshRequestedAtAnnotation: "now",
			}
		})
		Eventually(func() string { return w.get(ctx, pt).Status.RefreshHandled }).WithPolling(10 * time.Millisecond).Should(Equal("now"))
		Expect(w.Sim.UP42.FailedLogins()).To(Equal(1))
	})
})

var _ = Describe("watch", func() {
	It("tells every change in a line, where there is no terminal", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		seen, stop := w.person("").watches(false, "watch")
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		tells := func(what string) {
			GinkgoHelper()
			Eventually(seen.String).WithPolling(10 * time.Millisecond).Should(ContainSubstring(what))
		}
		tells("Ready, token until")
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		tells(stamp(w.get(ctx, pt).Status.Token.ExpiresAt.Time))
		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		tells("deleted")
		Expect(stop()).To(Succeed(), "Ctrl-C is how a person ends it")
		Expect(seen.String()).NotTo(ContainSubstring("\x1b"))
	})

	It("draws a table over itself, where there is one", func(_ SpecContext) {
		p := newPerson(clocktesting.NewFakeClock(noon()), "")
		seen, stop := p.watches(true, "watch", "-A", "-l", "app=viewer")
		Eventually(seen.String).WithPolling(10 * time.Millisecond).Should(ContainSubstring("2 ProviderTokens"))
		first := seen.String()
		golden(GinkgoT(), "watch-table.txt", "$ kubectl providertoken watch -A -l app=viewer\n"+first)
		Expect(first).NotTo(ContainSubstring("\x1b["), "nothing is drawn over what was there before")
		p.clock.(*clocktesting.FakeClock).Step(9 * time.Minute)
		Eventually(seen.String).WithPolling(10 * time.Millisecond).Should(MatchRegexp(`(?s)\x1b\[\d+A\x1b\[J.*imagery/spatiafi +TokenExpired`))
		Expect(stop()).To(Succeed())
	})

	It("names what it does not know", func(ctx SpecContext) {
		w := newWorld(ctx)
		Expect(w.person("").types(ctx, "watch", "nothing")).To(ContainSubstring(`there is no ProviderToken "nothing"`))
		Expect(newPerson(w.Clock, nobody).types(ctx, "watch")).To(ContainSubstring("you have no right to it"))
	})
})
