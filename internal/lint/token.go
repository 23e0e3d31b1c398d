package lint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/consent"
	"github.com/providertoken/operator/internal/manifest"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/schedule"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/target"
)

// definition judges a definition by itself. What a ProviderToken fills in is still open.
func (r *repository) definition(ctx context.Context, d manifest.Document, path string, spec v1alpha1.ProviderDefinition, namespace string) {
	def, problem, err := r.finder.Define(ctx, &spec, namespace)
	switch {
	case err != nil:
		return // a reference that is not of the right shape is told elsewhere
	case problem != nil:
		r.source(d, path, problem)
	default:
		if err := def.Validate(); err != nil {
			r.add(d, path, Error, "definition", err.Error(), "")
		}
	}
}

// source reports a problem that the operator would tell in status.
func (r *repository) source(d manifest.Document, path string, p *source.Problem) {
	severity, rule, message, fix := Error, "credentials", p.Message, ""
	switch p.Reason {
	case v1alpha1.ReasonWaitingForProvider:
		severity, rule = Warning, "provider-elsewhere"
		message = "what it refers to is not among the files, so that little can be said about it"
		if p.Late == v1alpha1.ReasonInvalidProvider {
			message = "the ConfigMap of its caBundleRef is not among the files, or lacks the label " + v1alpha1.CABundleLabel
		}
		fix = "lint both together, or --disable provider-elsewhere"
	case v1alpha1.ReasonProviderNotFound:
		rule = "provider"
	case v1alpha1.ReasonInvalidProvider:
		rule = "definition"
	case v1alpha1.ReasonNotAllowed:
		rule = "allow"
	}
	r.add(d, path, severity, rule, message, fix)
}

// judgeToken asks what the operator would ask, as far as the files tell.
func (r *repository) judgeToken(ctx context.Context, t tokenDocument) {
	if err := target.Check(t.pt.Spec.Target); err != nil {
		r.targetProblem(t, err)
	}
	r.lead(t)
	where := "spec.providerRef.name"
	if t.pt.Spec.Provider != nil {
		where = "spec.provider"
	}
	origin, problem, err := r.finder.Find(ctx, &t.pt)
	if err != nil {
		return // the object that it names is not of the right shape, which is told there
	}
	if problem != nil {
		r.source(t.Document, where, problem)
		return
	}
	if problem := r.permit(ctx, t, origin); problem != nil {
		r.source(t.Document, permitPath(t.pt, origin), problem)
		return
	}
	r.resolve(t, origin)
}

func (r *repository) targetProblem(t tokenDocument, err error) {
	path := "spec.target"
	if te, ok := errors.AsType[*target.Error](err); ok && te.Reason == target.InvalidTemplate && t.pt.Spec.Target.Template != nil {
		path = "spec.target.template"
		for _, key := range sortedKeys(t.pt.Spec.Target.Template.Data) {
			if strings.Contains(te.Error(), fmt.Sprintf("%q", key)) || strings.Contains(te.Error(), "["+key+"]") || strings.Contains(te.Error(), key+":") {
				path = "spec.target.template.data[" + key + "]"
			}
		}
	}
	r.add(t.Document, path, Error, "template", err.Error(), "")
}

// permit is the operator's decision, without what only a cluster knows: the labels of
// namespaces that are not among the files, and a namespace that kustomize adds later.
func (r *repository) permit(ctx context.Context, t tokenDocument, o source.Origin) *source.Problem {
	held := o.Platform != nil && t.pt.Spec.Credentials == nil
	if held && !r.knowsNamespace(t.pt.Namespace, o.Allow) {
		return source.AskedTooMuch(&t.pt, o)
	}
	problem, err := r.finder.Permit(ctx, &t.pt, o)
	if err != nil {
		return nil
	}
	return problem
}

func (r *repository) knowsNamespace(name string, allow *v1alpha1.Allow) bool {
	if name == "" {
		return false
	}
	return allow == nil || allow.Namespaces.Selector == nil || slices.Contains(allow.Namespaces.Names, name) ||
		r.shelf.Find("", "Namespace", types.NamespacedName{Name: name}) != nil
}

// permitPath is where in the ProviderToken it asks for too much.
func permitPath(pt v1alpha1.ProviderToken, o source.Origin) string {
	switch {
	case o.Platform == nil || pt.Spec.Credentials != nil:
		return "spec.credentials"
	case len(pt.Spec.Scopes) > 0:
		return "spec.scopes"
	case pt.Spec.Audience != "":
		return "spec.audience"
	case len(pt.Spec.Resources) > 0:
		return "spec.resources"
	}
	return "spec.providerRef"
}

// resolve makes the choices that the definition leaves open, with the Secrets that are
// among the files.
func (r *repository) resolve(t tokenDocument, o source.Origin) {
	wallet := r.wallet(t, o)
	if !wallet.bound {
		// What it holds is for somebody else; parameters are judged all the same.
		wallet.whole, wallet.complete, wallet.documents = false, false, nil
	}
	parameters := source.Parameters(&t.pt)
	if problem := wallet.unknownKey(); problem != nil {
		r.source(t.Document, "spec.credentials.keys", problem)
		return
	}
	resolved, err := wallet.resolve(o.Definition, parameters, t.pt)
	if err != nil {
		rule, path := r.blame(t, o, parameters)
		r.add(t.Document, path, Error, rule, err.Error(), "")
		return
	}
	r.lifetime(t, resolved)
	r.hosts(t, o, resolved, wallet)
	if wallet.whole && !resolved.NeedsDiscovery() && !wallet.placeholders {
		in := source.Wish(&t.pt)
		in.Credentials, in.ID = wallet.Credentials(), "lint"
		in.Now = time.Unix(0, 0) // of no consequence: the request is not sent
		if _, err := resolved.NewRequest(in); err != nil && t.pt.Spec.Credentials != nil && t.pt.Spec.Credentials.ServiceAccount == nil {
			r.add(t.Document, "spec.credentials", Error, "credentials", err.Error(), "")
		}
		return
	}
	r.wishes(t, resolved)
}

// blame tells whether it is the parameters that are wrong, or the credentials: with all
// credentials there, only parameters are left to complain about.
func (r *repository) blame(t tokenDocument, o source.Origin, parameters map[string]string) (rule, path string) {
	if _, err := resolveWith(o.Definition, parameters, everything); err != nil {
		if t.pt.Spec.Provider != nil {
			return "definition", "spec.provider"
		}
		return "parameters", "spec.providerRef.parameters"
	}
	return "credentials", "spec.credentials"
}

// everything is a Secret that holds all that anybody may want.
func everything(string) bool { return true }

// resolveWith prefers a way in that signs its own assertion, as a Secret rarely holds one.
func resolveWith(d *source.Definition, parameters map[string]string, has func(string) bool) (provider.Resolved, error) {
	resolved, err := d.Resolve(parameters, func(name string) bool { return name != provider.CredAssertion && has(name) })
	if err != nil {
		return d.Resolve(parameters, has)
	}
	return resolved, nil
}

// wishes tries whether there is a place for what is asked for, with credentials that stand for real ones.
func (r *repository) wishes(t tokenDocument, resolved provider.Resolved) {
	how := resolved.Request
	switch {
	case len(t.pt.Spec.Scopes) > 0 && (how.Scopes == provider.NoScopes || how.Method == http.MethodGet && how.Scopes == provider.ScopesInBody):
		r.add(t.Document, "spec.scopes", Error, "refused-request", "this endpoint takes no scopes", "leave them out")
	case how.Method == http.MethodGet && t.pt.Spec.Audience != "":
		r.add(t.Document, "spec.audience", Error, "refused-request", "this endpoint takes no audience", "leave it out")
	case how.Method == http.MethodGet && len(t.pt.Spec.Resources) > 0:
		r.add(t.Document, "spec.resources", Error, "refused-request", "this endpoint takes no resources", "leave them out")
	}
}

// hosts asks the Secrets among the files whether their content may go where it would.
func (r *repository) hosts(t tokenDocument, o source.Origin, resolved provider.Resolved, w wallet) {
	if o.Vouches(resolved) || len(w.documents) == 0 {
		return
	}
	host := source.HostOf(resolved.IssuerURL)
	if !resolved.NeedsDiscovery() {
		host = resolved.Host()
	}
	for _, name := range sortedKeys(w.documents) {
		d := w.documents[name]
		if !consent.Hosts(annotationsOf(d)[v1alpha1.AllowedHostsAnnotation], host) {
			r.add(d, annotationsPath(d), Error, "allowed-hosts",
				fmt.Sprintf("its content would be sent to %s for %s, which it does not allow", host, t.Name()),
				fmt.Sprintf("add the annotation %s: %s, if that is right", v1alpha1.AllowedHostsAnnotation, strings.TrimSuffix(host, ":443")))
		}
	}
}

// mountDelay is how long a kubelet may take to show a changed Secret in a mounted volume.
const mountDelay = 90 * time.Second

// lead looks at a policy by itself.
func (r *repository) lead(t tokenDocument) {
	p := t.pt.Spec.Refresh
	if p == nil || p.MinimumLead == nil || p.MinimumLead.Duration >= mountDelay || r.told(t) {
		return
	}
	r.add(t.Document, "spec.refresh.minimumLead", Warning, "refresh-policy",
		fmt.Sprintf("a lead of %s is shorter than the 90 s that a kubelet may take to show a changed Secret in a mounted volume", p.MinimumLead.Duration),
		"raise it to 2m or leave it out, unless pods that mount the Secret carry the label "+v1alpha1.MountsLabel+" and the operator runs with --propagation")
}

// lifetime holds the policy against what the definition says about tokens.
func (r *repository) lifetime(t tokenDocument, resolved provider.Resolved) {
	life := resolved.TokenLifetime.Duration
	policy := source.Policy(t.pt.Spec.Refresh)
	if life == 0 || !schedule.LifetimeTooShort(life, policy) || t.pt.Spec.Refresh == nil && life <= schedule.DefaultMinimumLead {
		return
	}
	r.add(t.Document, "spec.refresh", Warning, "refresh-policy",
		fmt.Sprintf("tokens that live %s cannot be refreshed %s before they expire without being refreshed before 40 %% of their life", life, policy.Effective().MinimumLead),
		"lower refresh.minimumLead")
}

// conflicts finds targets with two writers.
func (r *repository) conflicts() {
	first := map[types.NamespacedName]tokenDocument{}
	for _, t := range r.tokens {
		key := types.NamespacedName{Namespace: t.pt.Namespace, Name: t.pt.TargetName()}
		if other, twice := first[key]; twice && other.pt.Name != t.pt.Name {
			r.add(t.Document, "spec.target.secretName", Error, "target-conflict",
				fmt.Sprintf("writes Secret %q, as %s does (%s:%d)", key.Name, other.Name(), other.File, other.LineOf("metadata.name")),
				"give one of them another target.secretName")
		}
		first[key] = t
		if slices.Contains(t.pt.CredentialSecrets(), key.Name) {
			r.add(t.Document, "spec.target.secretName", Error, "target-conflict",
				fmt.Sprintf("Secret %q holds the credentials, and cannot be the target as well", key.Name), "set target.secretName to another name")
			continue
		}
		if d := r.shelf.Find("", "Secret", key); d != nil {
			r.add(*d, "metadata.name", Error, "target-conflict",
				fmt.Sprintf("is the target of %s (%s:%d): whoever applies this file overwrites the token, or the operator refuses to write a Secret that is not its own",
					t.Name(), t.File, t.LineOf("metadata.name")), "remove it from the files")
		}
	}
}
