package controller

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/providertoken/operator/internal/audit"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"
	"github.com/providertoken/operator/internal/traces"
)

// exchangeRecord is what the audit log and the traces tell of one exchange.
type exchangeRecord struct {
	r      *Reconciler
	began  time.Time
	entry  audit.Entry
	span   *traces.Span
	status int
}

// begin opens the record of an exchange that is about to be made. refresh is the refresh
// token that it uses in place of the definition's own grant, if any.
func (a *attempt) begin(ctx context.Context, refresh token.Secret) context.Context {
	now := a.r.Clock.Now()
	e := audit.Entry{
		Time:        now,
		Object:      audit.Object{Namespace: a.name.Namespace, Name: a.name.Name, UID: string(a.uid)},
		Credentials: a.sources.secrets(),
		Provider:    a.origin, Host: a.res.Host(), Grant: string(a.res.Grant),
		Scopes: a.input.Scopes, Audience: a.input.Audience,
	}
	if !refresh.IsZero() {
		e.Grant = string(provider.RefreshToken)
	}
	if a.identity != nil {
		e.ServiceAccount = a.identity.account.Name
	}
	rec := &exchangeRecord{r: a.r, began: now, entry: e}
	ctx, rec.span = a.r.Tracer.Begin(ctx, e.Object.UID, "exchange", map[string]string{
		"providertoken.namespace": e.Object.Namespace, "providertoken.name": e.Object.Name, "providertoken.uid": e.Object.UID,
		"providertoken.provider": e.Provider, "server.address": e.Host, "providertoken.grant": e.Grant,
	})
	a.exchange = rec
	return ctx
}

// end closes the record: what was got, or why not.
func (x *exchangeRecord) end(got token.Token, failed *provider.Error) {
	if x == nil {
		return
	}
	e := x.entry
	e.Outcome, e.Status = audit.Success, x.status
	if failed != nil {
		e.Outcome, e.Failure = audit.Failure, string(failed.Kind)
		if failed.Status != 0 {
			e.Status = failed.Status
		}
	} else if !got.ExpiresAt.IsZero() {
		expires := got.ExpiresAt.UTC()
		e.ExpiresAt = &expires
	}
	e.Seconds = x.r.Clock.Now().Sub(x.began).Seconds()
	x.r.Audit.Write(e)
	x.span.End(e.Failure)
}

// traced is what spans say about an object.
func (f *facts) traced() map[string]string {
	return map[string]string{
		"providertoken.namespace": f.pt.Namespace, "providertoken.name": f.pt.Name, "providertoken.uid": string(f.pt.UID),
	}
}

// failureClass is the kind of an error of the API server: what it says may quote a Secret.
func failureClass(err error) string {
	if err == nil {
		return ""
	}
	if te, ok := errors.AsType[*target.Error](err); ok {
		return string(te.Reason)
	}
	if reason := apierrors.ReasonForError(err); reason != "" {
		return string(reason)
	}
	return "NoAnswer"
}

// traceStatus is the span of a status that tells what came of an exchange; nil for any other.
func (r *Reconciler) traceStatus(ctx context.Context, f *facts) *traces.Span {
	if !f.refreshed && f.mem.failure == nil {
		return nil
	}
	_, span := r.Tracer.Continue(ctx, string(f.pt.UID), "status", f.traced())
	r.Tracer.Finish(string(f.pt.UID))
	return span
}
