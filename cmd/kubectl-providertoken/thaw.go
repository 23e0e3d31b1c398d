package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/lockout"
)

// systemNamespace is where every install puts the operator that does not say otherwise.
const systemNamespace = "providertoken-system"

const thawHelp = `End the freeze of a login that the provider refused, because a person knows that the
credential is right by now: an account was unlocked, a password was set back.

A new credential in its Secret needs no thawing; it is tried at once. Thawing allows one
login with the present one. If that is refused, the login is frozen again, for longer. Of what
was refused before, nothing is forgotten; after two refusals within a quarter of an hour
--yes is needed, since many providers lock an account after three.

The record of the login is a ConfigMap in the operator's namespace. To thaw means to write
it, so that only those who may change ConfigMaps there can do it; no label and no annotation
of a ProviderToken does it.`

type thaw struct {
	*plugin
	namespace, record string
	yes               bool
	wait              patience
}

func newThawCommand(p *plugin) *cobra.Command {
	t := &thaw{plugin: p}
	cmd := &cobra.Command{
		Use: "thaw NAME", GroupID: groupSteer, Args: oneName,
		Short: "End the freeze of a login whose credential is right by now", Long: thawHelp,
		Example:           "  kubectl providertoken thaw up42-token -n imagery --wait",
		ValidArgsFunction: p.completeOneName,
		RunE:              func(cmd *cobra.Command, args []string) error { return t.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&t.namespace, "operator-namespace", systemNamespace, "namespace in which the operator runs")
	cmd.Flags().StringVar(&t.record, "record", "", "the record (a ConfigMap in the operator's namespace), where it does not name the ProviderToken")
	cmd.Flags().BoolVar(&t.yes, "yes", false, "allow a third login within a quarter of an hour")
	t.wait.flags(cmd)
	return cmd
}

func (t *thaw) run(ctx context.Context, name string) error {
	c, err := t.cluster()
	if err != nil {
		return err
	}
	pt, err := c.token(ctx, name)
	if err != nil {
		return err
	}
	if pt.Spec.Suspend {
		return fmt.Errorf("%s/%s is suspended, so that no login is tried: kubectl providertoken resume %s, then thaw it", pt.Namespace, pt.Name, pt.Name)
	}
	cm, rec, err := t.find(ctx, c, pt)
	if err != nil {
		return err
	}
	now := t.clock.Now()
	if n := len(rec.At(now).Tries); n >= lockout.Attempts && !t.yes {
		return misuse("%d logins with this credential were not accepted within the last %d minutes; a third one can lock the account. Wait until %s, or, if you are sure that the credential is right now, add --yes",
			n, int(lockout.Window.Minutes()), stamp(rec.At(now).Tries[n-lockout.Attempts].Add(lockout.Window)))
	}
	users := lockout.Users(cm.Annotations[lockout.UsersAnnotation])
	if err := t.write(ctx, c, cm, rec.Thawed(now)); err != nil {
		return err
	}
	_ = say(t.Out(), "%s/%s: thawed; one login is allowed", pt.Namespace, pt.Name)
	others := slices.DeleteFunc(users, func(u string) bool { return u == pt.Namespace+"/"+pt.Name })
	r, err := t.request(ctx, c, pt)
	if err != nil {
		return fmt.Errorf("%w; the operator tries the login when it would have done so anyhow, or when somebody who may change the ProviderToken runs: kubectl providertoken refresh %s -n %s", err, pt.Name, pt.Namespace)
	}
	err = t.conclude(ctx, c, []*request{r}, t.wait)
	if err == nil && len(others) > 0 {
		return t.also(others)
	}
	return err
}

// also says who else waits for the same login: each tries when it would have done so anyhow.
func (t *thaw) also(others []string) error {
	const most = 5
	for _, other := range others[:min(len(others), most)] {
		namespace, name, _ := strings.Cut(other, "/")
		if err := say(t.Out(), "%s uses the same login: kubectl providertoken refresh %s -n %s", other, name, namespace); err != nil {
			return err
		}
	}
	if more := len(others) - most; more > 0 {
		return say(t.Out(), "so do %d more, which try again by themselves when the freeze would have ended", more)
	}
	return nil
}

// find is the record that freezes the login of pt.
func (t *thaw) find(ctx context.Context, c *cluster, pt *v1alpha1.ProviderToken) (*corev1.ConfigMap, lockout.Record, error) {
	var list corev1.ConfigMapList
	err := c.List(ctx, &list, client.InNamespace(t.namespace), client.HasLabels{lockout.Label})
	if apierrors.IsForbidden(err) {
		return nil, lockout.Record{}, t.notAllowed(pt, "read")
	}
	if err != nil {
		return nil, lockout.Record{}, c.explain(err, "reading the login records in namespace "+t.namespace)
	}
	now := t.clock.Now()
	var frozen []frozenRecord
	for i := range list.Items {
		cm := &list.Items[i]
		rec, err := lockout.Parse(cm.Data[lockout.Key])
		if err != nil || rec.At(now).Freeze(now).Until.IsZero() {
			continue
		}
		frozen = append(frozen, frozenRecord{cm, rec})
	}
	// Of several with an earlier credential, that of the present one was tried last.
	slices.SortFunc(frozen, func(a, b frozenRecord) int { return b.last().Compare(a.last()) })
	for _, f := range frozen {
		users := lockout.Users(f.cm.Annotations[lockout.UsersAnnotation])
		if t.record == f.cm.Name || t.record == "" && slices.Contains(users, pt.Namespace+"/"+pt.Name) {
			return f.cm, f.record, nil
		}
	}
	return nil, lockout.Record{}, t.nothing(pt, frozen)
}

type frozenRecord struct {
	cm     *corev1.ConfigMap
	record lockout.Record
}

// last is when a login was tried last.
func (f frozenRecord) last() time.Time {
	var last time.Time
	for _, t := range f.record.Tries {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// nothing says why there is nothing to thaw.
func (t *thaw) nothing(pt *v1alpha1.ProviderToken, frozen []frozenRecord) error {
	is := "and the operator says no such thing of it"
	if f := pt.Status.Failure; f != nil {
		is = fmt.Sprintf("and what the operator says of it is %s", f.Reason)
		if f.Reason == v1alpha1.ReasonLoginFrozen {
			is = "although the operator says so of it: look for the operator's namespace, and name it by --operator-namespace"
		}
	}
	text := fmt.Sprintf("no record in namespace %q freezes a login of %s/%s, %s", t.namespace, pt.Namespace, pt.Name, is)
	if len(frozen) == 0 {
		return errors.New(text)
	}
	names := make([]string, 0, len(frozen))
	for _, f := range frozen {
		users := cmp.Or(f.cm.Annotations[lockout.UsersAnnotation], "nobody known")
		names = append(names, fmt.Sprintf("%s (used by %s)", f.cm.Name, users))
	}
	return fmt.Errorf("%s. Frozen are: %s; --record NAME thaws one of them", text, strings.Join(names, "; "))
}

// notAllowed says who may.
func (t *thaw) notAllowed(pt *v1alpha1.ProviderToken, verb string) error {
	return fmt.Errorf("you may not %s ConfigMaps in namespace %q, where the operator keeps what it knows of refused logins: ask those who run the operator to do \"kubectl providertoken thaw %s -n %s\"; a new credential in its Secret needs no thawing",
		verb, t.namespace, pt.Name, pt.Namespace)
}

// write the record, unless the operator wrote it meanwhile.
func (t *thaw) write(ctx context.Context, c *cluster, cm *corev1.ConfigMap, rec lockout.Record) error {
	text, err := rec.Text()
	if err != nil {
		return err
	}
	next := cm.DeepCopy()
	next.Data[lockout.Key] = text
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	next.Annotations[lockout.ThawedAnnotation] = stamp(t.clock.Now())
	err = c.Update(ctx, next, client.FieldOwner(userAgent))
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("you may read and not change ConfigMaps in namespace %q: ask those who run the operator to thaw it", t.namespace)
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		return errors.New("the operator wrote the record meanwhile, since it tried the login: look at the status, and thaw it again if it is still frozen")
	}
	return c.explain(err, fmt.Sprintf("writing login record %s/%s", cm.Namespace, cm.Name))
}
