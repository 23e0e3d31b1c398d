package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

const refreshHelp = `Ask for a new token now, instead of when it is due.

Each request is one exchange with the provider. It never ends the freeze of a login that
was refused (see thaw), and waits its turn where a provider throttles.

With --wait, the exit code is 0 when every token was replaced, 3 when one was refused or
cannot be asked for, and 4 when --timeout was over before that was known.`

func newRefreshCommand(p *plugin) *cobra.Command {
	var chosen selection
	var wait patience
	cmd := &cobra.Command{
		Use: "refresh NAME...", GroupID: groupSteer,
		Short: "Ask for a new token now", Long: refreshHelp,
		Example: `  kubectl providertoken refresh up42-token --wait
  kubectl providertoken refresh -l app=viewer
  kubectl providertoken refresh --all -n imagery --yes`,
		Args: chosen.check, ValidArgsFunction: p.completeNames,
	}
	chosen.steering(cmd)
	wait.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.cluster()
		if err != nil {
			return err
		}
		found, err := chosen.chosen(cmd.Context(), c, "refresh", args)
		if err != nil {
			return err
		}
		requests := make([]*request, 0, len(found))
		var failed error
		for i := range found {
			r, err := p.request(cmd.Context(), c, &found[i])
			if err != nil {
				failed = worse(failed, p.complain(&found[i], err))
				continue
			}
			requests = append(requests, r)
		}
		return worse(failed, p.conclude(cmd.Context(), c, requests, wait))
	}
	return cmd
}

// patience is --wait and --timeout.
type patience struct {
	wanted  bool
	timeout time.Duration
}

func (w *patience) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&w.wanted, "wait", "w", false, "wait for the outcome, and tell it")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 2*time.Minute, "how long to wait with --wait")
}

// request is a refresh that was asked for.
type request struct {
	name client.ObjectKey
	// value of the annotation.
	value string
	// before is when the token was issued that is to be replaced; zero when there is none.
	before metav1.Time
	// known is what kept the token from being replaced when it was asked for; empty when nothing did.
	known string
}

// request asks for a refresh, unless that cannot be answered.
func (p *plugin) request(ctx context.Context, c *cluster, pt *v1alpha1.ProviderToken) (*request, error) {
	if pt.Spec.Suspend {
		return nil, &failure{exitRefused, fmt.Errorf("it is suspended, so that no token is asked for: kubectl providertoken resume %s -n %s", pt.Name, pt.Namespace)}
	}
	r := &request{name: client.ObjectKeyFromObject(pt), value: p.clock.Now().UTC().Format(time.RFC3339Nano)}
	if r.value == pt.Annotations[v1alpha1.RefreshRequestedAtAnnotation] {
		r.value += "-again" // two requests within one tick of the clock
	}
	if pt.Status.Token != nil {
		r.before = pt.Status.Token.IssuedAt
	}
	if pt.Status.Failure != nil {
		r.known = because(pt)
	}
	return r, c.patch(ctx, pt, map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{v1alpha1.RefreshRequestedAtAnnotation: r.value},
	}})
}

// patch changes what a person may change of a ProviderToken, and nothing else.
func (c *cluster) patch(ctx context.Context, pt *v1alpha1.ProviderToken, change map[string]any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	meant := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: pt.Namespace, Name: pt.Name}}
	err = c.Patch(ctx, meant, client.RawPatch(types.MergePatchType, body), client.FieldOwner(userAgent))
	return c.explain(err, "changing the ProviderToken")
}

// complain tells of one among several, and lets the others go on.
func (p *plugin) complain(pt *v1alpha1.ProviderToken, err error) error {
	_ = say(p.Err(), "%s/%s: %v", pt.Namespace, pt.Name, err)
	return told(err)
}

// told is an error that was said already, with the exit code that it has.
func told(err error) error {
	code := exitFailed
	if f, ok := errors.AsType[*failure](err); ok {
		code = f.code
	}
	return &failure{code, errUsage}
}

// worse of two errors; one with a larger exit code is.
func worse(a, b error) error {
	rank := func(err error) int {
		if f, ok := errors.AsType[*failure](err); ok {
			return f.code
		}
		return exitFailed
	}
	switch {
	case a == nil:
		return b
	case b == nil || rank(a) >= rank(b):
		return a
	}
	return b
}

// conclude tells what became of requests, where that is wanted.
func (p *plugin) conclude(ctx context.Context, c *cluster, requests []*request, w patience) error {
	if !w.wanted {
		for _, r := range requests {
			if err := say(p.Out(), "%s/%s: a refresh is requested; \"kubectl providertoken status %s -n %s\" tells what becomes of it", r.name.Namespace, r.name.Name, r.name.Name, r.name.Namespace); err != nil {
				return err
			}
		}
		return nil
	}
	patient, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	var failed error
	for _, r := range requests {
		failed = worse(failed, p.await(patient, c, r, w.timeout))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return failed
}

// await tells the outcome of one request.
func (p *plugin) await(ctx context.Context, c *cluster, r *request, timeout time.Duration) error {
	last := "the operator has not answered: does it run, and does it watch this namespace?"
	progress := r.known
	var final outcome
	err := c.follow(ctx, r.name, func(pt *v1alpha1.ProviderToken) bool {
		final = r.outcome(pt, p.clock.Now())
		if final.text != "" {
			last = final.text
		}
		if !final.done && final.text != "" && final.text != progress {
			progress = final.text
			_ = say(p.Err(), "%s/%s: still trying: %s", r.name.Namespace, r.name.Name, progress)
		}
		return final.done
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		_ = say(p.Err(), "%s/%s: no outcome within %s; %s", r.name.Namespace, r.name.Name, timeout, last)
		return &failure{exitTimeout, errUsage}
	case err != nil:
		return err
	case !final.worked:
		_ = say(p.Err(), "%s/%s: %s", r.name.Namespace, r.name.Name, final.text)
		return &failure{exitRefused, errUsage}
	}
	return say(p.Out(), "%s/%s: %s", r.name.Namespace, r.name.Name, final.text)
}

// outcome of a request, as far as it is known.
type outcome struct {
	done, worked bool
	text         string
}

// outcome reads status.
func (r *request) outcome(pt *v1alpha1.ProviderToken, now time.Time) outcome {
	t := pt.Status.Token
	refused := meta.IsStatusConditionFalse(pt.Status.Conditions, v1alpha1.TokenIssuedCondition)
	switch {
	case pt.Status.RefreshHandled == r.value && t != nil && !t.IssuedAt.Equal(&r.before) && !refused:
		text := fmt.Sprintf("refreshed; the token is good until %s (%s)", stamp(t.ExpiresAt.Time), from(now, t.ExpiresAt.Time))
		if pt.Status.RefreshAt != nil {
			text += ", and will be replaced at " + stamp(pt.Status.RefreshAt.Time)
		}
		return outcome{true, true, text}
	case pt.Status.RefreshHandled == r.value && pt.Status.Failure != nil:
		return outcome{done: true, text: "not refreshed: " + because(pt)}
	case pt.Status.RefreshHandled == r.value:
		return outcome{done: true, text: "not refreshed: the operator answered the request without a new token; its log says why"}
	case pt.Annotations[v1alpha1.RefreshRequestedAtAnnotation] != r.value:
		return outcome{done: true, text: "somebody else asked for another refresh meanwhile, which answers this one, too"}
	case pt.Spec.Suspend:
		return outcome{done: true, text: "somebody suspended it meanwhile: kubectl providertoken resume " + pt.Name}
	case pt.Status.Failure != nil && hopeless(pt):
		return outcome{done: true, text: "not refreshed: " + because(pt)}
	case pt.Status.Failure != nil:
		return outcome{text: because(pt)}
	}
	return outcome{}
}

// because is what the operator says of the failure.
func because(pt *v1alpha1.ProviderToken) string {
	for _, k := range pt.Status.Conditions {
		if k.Reason == pt.Status.Failure.Reason && k.Status == metav1.ConditionFalse {
			return k.Reason + ": " + k.Message
		}
	}
	return pt.Status.Failure.Reason
}

// hopeless tells that the operator does not even ask the provider before a person mends something.
func hopeless(pt *v1alpha1.ProviderToken) bool {
	if pt.Status.ObservedGeneration != pt.Generation {
		return false
	}
	reason := pt.Status.Failure.Reason
	if k := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.CredentialsResolvedCondition); k != nil && k.Status == metav1.ConditionFalse {
		return true
	}
	return slices.Contains([]string{
		v1alpha1.ReasonTargetConflict, v1alpha1.ReasonTargetImmutable, v1alpha1.ReasonTargetTypeMismatch,
		v1alpha1.ReasonTargetTooLarge, v1alpha1.ReasonInvalidTemplate,
	}, reason)
}

// follow calls look with a ProviderToken as it is and whenever it changed, until that
// is done or ctx ends.
func (c *cluster) follow(ctx context.Context, name client.ObjectKey, look func(*v1alpha1.ProviderToken) bool) error {
	what := fmt.Sprintf("following ProviderToken %s", name)
	for {
		var pt v1alpha1.ProviderToken
		err := c.Get(ctx, name, &pt)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case apierrors.IsNotFound(err):
			return fmt.Errorf("%s: somebody deleted it", what)
		case err != nil:
			return c.explain(err, what)
		case look(&pt):
			return nil
		}
		w, err := c.Watch(ctx, &v1alpha1.ProviderTokenList{}, client.InNamespace(name.Namespace), client.MatchingFields{"metadata.name": name.Name},
			&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: pt.ResourceVersion}})
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return c.explain(err, what)
		}
		done := lookAt(ctx, w, look)
		w.Stop()
		if done {
			return ctx.Err()
		}
	}
}

// lookAt lives as long as one watch. It tells whether nothing more is to be looked at.
func lookAt(ctx context.Context, w watch.Interface, look func(*v1alpha1.ProviderToken) bool) bool {
	for {
		select {
		case <-ctx.Done():
			return true
		case e, open := <-w.ResultChan():
			pt, known := e.Object.(*v1alpha1.ProviderToken)
			if !open || !known || e.Type == watch.Deleted {
				return false
			}
			if look(pt) {
				return true
			}
		}
	}
}
