package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/providertoken/operator/api/v1alpha1"
)

const listHelp = `List ProviderTokens, the most urgent first: expired ones, those that have no token, those
whose token cannot be replaced, and then by what expires first. A last line sums up.`

func newListCommand(p *plugin) *cobra.Command {
	var chosen selection
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls", "get"}, GroupID: groupSee, Args: none,
		Short: "List ProviderTokens, the most urgent first", Long: listHelp,
		Example: `  kubectl providertoken list -A
  kubectl providertoken list -l app=viewer -o wide
  kubectl providertoken list -o jsonpath='{range .items[*]}{.metadata.name} {.status.token.expiresAt}{"\n"}{end}'`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	chosen.seeing(cmd)
	out := newOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.cluster()
		if err != nil {
			return err
		}
		found, err := chosen.find(cmd.Context(), c)
		if err != nil {
			return err
		}
		now := p.clock.Now()
		byUrgency(found, now)
		if !out.table() {
			return out.object(p.Out(), asList(found))
		}
		if len(found) == 0 {
			_, err := fmt.Fprintf(p.Err(), "There is no ProviderToken %s.%s\n", chosen.phrase(c), elsewhere(&chosen))
			return err
		}
		if err := out.rows(p.Out(), listTable(found, now), chosen.everywhere); err != nil {
			return err
		}
		if out.noHeaders {
			return nil
		}
		_, err = fmt.Fprintf(p.Out(), "\n%s\n", summary(found, now))
		return err
	}
	return cmd
}

// elsewhere says where else to look, when there was nothing.
func elsewhere(s *selection) string {
	if s.everywhere || s.selector != "" {
		return ""
	}
	return " Look in another by -n, or in all by -A."
}

// asList is what programs read.
func asList(found []v1alpha1.ProviderToken) *v1alpha1.ProviderTokenList {
	for i := range found {
		named(&found[i])
	}
	list := &v1alpha1.ProviderTokenList{Items: found}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ProviderTokenList"))
	return list
}

// named gives a ProviderToken the kind that typed clients leave out.
func named(pt *v1alpha1.ProviderToken) *v1alpha1.ProviderToken {
	pt.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ProviderToken"))
	return pt
}

func listTable(found []v1alpha1.ProviderToken, now time.Time) *metav1.Table {
	t := &metav1.Table{}
	for _, name := range []string{"Name", "Ready", "Expires", "Refresh", "Failure", "Provider", "Target", "Age"} {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string"})
	}
	for _, name := range []string{"Since", "Host", "Message"} {
		t.ColumnDefinitions = append(t.ColumnDefinitions, metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1})
	}
	for i := range found {
		pt := &found[i]
		t.Rows = append(t.Rows, metav1.TableRow{Cells: cells(pt, now), Object: runtime.RawExtension{Object: pt}})
	}
	return t
}

func cells(pt *v1alpha1.ProviderToken, now time.Time) []any {
	const nothing = "-"
	s := judge(pt, now)
	reason, since, host := nothing, nothing, nothing
	if f := pt.Status.Failure; f != nil {
		reason, since = f.Reason, from(now, f.Since.Time)
	}
	if pt.Status.Provider != nil && pt.Status.Provider.Host != "" {
		host = pt.Status.Provider.Host
	}
	return []any{
		pt.Name, readiness(pt), coming(s.expires, now, nothing), refreshing(pt, s, now, nothing), reason,
		providerName(pt), pt.TargetName(), duration.HumanDuration(now.Sub(pt.CreationTimestamp.Time)), since, host, telling(pt, s),
	}
}

// telling is the message that matters most.
func telling(pt *v1alpha1.ProviderToken, s standing) string {
	kind := v1alpha1.ReadyCondition
	if s.urgency == failing {
		for _, c := range pt.Status.Conditions {
			if c.Status == metav1.ConditionFalse && c.Reason == pt.Status.Failure.Reason {
				kind = c.Type
			}
		}
	}
	for _, c := range pt.Status.Conditions {
		if c.Type == kind {
			return c.Message
		}
	}
	return "the operator has not looked at it yet"
}

// coming tells an instant, which may have passed.
func coming(at, now time.Time, nothing string) string {
	if at.IsZero() {
		return nothing
	}
	return from(now, at)
}

func refreshing(pt *v1alpha1.ProviderToken, s standing, now time.Time, nothing string) string {
	switch {
	case pt.Spec.Suspend:
		return "suspended"
	case s.refresh.IsZero():
		return nothing
	case !s.refresh.After(now) && now.Sub(s.refresh) <= overdueAfter:
		return "now"
	case !s.refresh.After(now) && s.urgency == overdue:
		return "overdue " + duration.HumanDuration(now.Sub(s.refresh))
	case !s.refresh.After(now):
		return "retrying"
	}
	return from(now, s.refresh)
}

// summary of a list, in one line.
func summary(found []v1alpha1.ProviderToken, now time.Time) string {
	count := map[urgency]int{}
	var expires, refresh time.Time
	for i := range found {
		s := judge(&found[i], now)
		count[s.urgency]++
		expires, refresh = sooner(expires, s.expires, now), sooner(refresh, s.refresh, now)
	}
	parts := []string{}
	for _, of := range []struct {
		urgency urgency
		words   string
	}{
		{fine, "fine"}, {suspended, "suspended"}, {overdue, "overdue (is the operator running?)"}, {failing, "with a token that cannot be replaced"},
		{waiting, "waiting for a token"}, {stuck, "without a token until somebody does what the message says"}, {expired, "with an expired token"},
	} {
		if n := count[of.urgency]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, of.words))
		}
	}
	text := plural(len(found), "ProviderToken") + ": " + strings.Join(parts, ", ")
	if !refresh.IsZero() {
		text += "; the next refresh is " + from(now, refresh)
	}
	if !expires.IsZero() {
		text += ", the next expiry " + from(now, expires)
	}
	return text + "."
}

// sooner is the earlier of two instants that are still to come.
func sooner(a, b, now time.Time) time.Time {
	if b.IsZero() || !b.After(now) || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// say writes one line.
func say(out io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(out, format+"\n", args...)
	return err
}
