package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
)

// shownEvents is how many of the last events are told.
const shownEvents = 10

const statusHelp = `Tell how a ProviderToken stands: what it is, its conditions, what happened lately, what will
happen next and when, and the chain of objects that it depends on and that depend on it:
provider, credentials, target, pods.

No Secret's content is read, only whether it is there and how it is marked. Without the
right to read Secrets or pods the rest is told, and what could not be seen.`

func newStatusCommand(p *plugin) *cobra.Command {
	format := ""
	cmd := &cobra.Command{
		Use: "status NAME", Aliases: []string{"describe"}, GroupID: groupSee, Args: oneName,
		Short: "Tell how a ProviderToken stands, and what happens next", Long: statusHelp,
		Example: `  kubectl providertoken status up42-token -n imagery
  kubectl providertoken status up42-token -o json | jq .next`,
		ValidArgsFunction: p.completeOneName,
	}
	cmd.Flags().StringVarP(&format, "output", "o", "", "text (when left out), json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := reportWriter(format)
		if err != nil {
			return err
		}
		c, err := p.cluster()
		if err != nil {
			return err
		}
		pt, err := c.token(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		r := p.report(cmd.Context(), c, pt, p.clock.Now())
		return write(p.Out(), r)
	}
	return cmd
}

// report is all that status tells.
type report struct {
	Namespace  string      `json:"namespace"`
	Name       string      `json:"name"`
	Summary    string      `json:"summary"`
	Facts      []fact      `json:"facts"`
	Conditions []condition `json:"conditions"`
	Timeline   []moment    `json:"timeline"`
	Next       []moment    `json:"next"`
	Chain      []link      `json:"chain"`

	now time.Time
}

type fact struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

type condition struct {
	Type    string      `json:"type"`
	Status  string      `json:"status"`
	Reason  string      `json:"reason"`
	Since   metav1.Time `json:"since"`
	Message string      `json:"message"`
}

// moment is something that happened or will happen. What has no instant can happen at any time.
type moment struct {
	At   *metav1.Time `json:"at,omitempty"`
	What string       `json:"what"`
}

func at(t time.Time, format string, args ...any) moment {
	return moment{&metav1.Time{Time: t.UTC().Truncate(time.Second)}, fmt.Sprintf(format, args...)}
}

func (p *plugin) report(ctx context.Context, c *cluster, pt *v1alpha1.ProviderToken, now time.Time) *report {
	r := &report{Namespace: pt.Namespace, Name: pt.Name, Summary: headline(pt, now), Facts: whatItIs(pt, now), now: now}
	for _, k := range pt.Status.Conditions {
		r.Conditions = append(r.Conditions, condition{k.Type, string(k.Status), k.Reason, k.LastTransitionTime, k.Message})
	}
	r.Timeline = c.timeline(ctx, pt)
	r.Next = forecast(pt, now)
	r.Chain = p.chain(ctx, c, pt, now)
	return r
}

// headline is how pt stands, in one sentence.
func headline(pt *v1alpha1.ProviderToken, now time.Time) string {
	s := judge(pt, now)
	switch s.urgency {
	case expired:
		return fmt.Sprintf("the token in Secret %q expired %s (%s)", pt.TargetName(), from(now, s.expires), stamp(s.expires))
	case stuck:
		return fmt.Sprintf("there is no token, and none will come before somebody does what %s says", s.word)
	case waiting:
		return fmt.Sprintf("there is no token yet (%s)", s.word)
	case failing:
		return fmt.Sprintf("the token works until %s (%s), and cannot be replaced: %s since %s",
			stamp(s.expires), from(now, s.expires), pt.Status.Failure.Reason, stamp(pt.Status.Failure.Since.Time))
	case overdue:
		return fmt.Sprintf("the token works until %s (%s), and should have been replaced %s: is the operator running?", stamp(s.expires), from(now, s.expires), from(now, s.refresh))
	case suspended:
		return fmt.Sprintf("the token works until %s (%s), and is not replaced, because spec.suspend is true", stamp(s.expires), from(now, s.expires))
	default: // fine
	}
	return fmt.Sprintf("the token works until %s (%s)", stamp(s.expires), from(now, s.expires))
}

func whatItIs(pt *v1alpha1.ProviderToken, now time.Time) []fact {
	var facts []fact
	add := func(name, format string, args ...any) {
		facts = append(facts, fact{name, fmt.Sprintf(format, args...)})
	}
	add("provider", "%s", describeProvider(pt))
	if t := pt.Status.Token; t != nil {
		text := fmt.Sprintf("%s, requested %s (%s), good for %s", cmp.Or(t.Type, "no type"), from(now, t.IssuedAt.Time), stamp(t.IssuedAt.Time),
			duration.HumanDuration(t.ExpiresAt.Sub(t.IssuedAt.Time)))
		if t.ExpirySource != "" {
			text += ", as " + t.ExpirySource + " says"
		}
		if len(t.Scopes) > 0 {
			text += "; scopes " + strings.Join(t.Scopes, " ")
		}
		add("token", "%s", text)
	} else {
		add("token", "none")
	}
	keep := "goes with this ProviderToken"
	if pt.RetainsTarget() {
		keep = "stays when this ProviderToken goes"
	}
	add("target", "Secret %q, which %s", pt.TargetName(), keep)
	if f := pt.Status.Refresh; f != nil && f.MinimumLead != nil && f.MinimumInterval != nil {
		share := "two thirds"
		if f.AtPercent > 0 {
			share = fmt.Sprintf("%d %%", f.AtPercent)
		}
		add("refresh", "at %s of the token's life or %s before its end, whichever is earlier; at least %s apart",
			share, duration.HumanDuration(f.MinimumLead.Duration), duration.HumanDuration(f.MinimumInterval.Duration))
	}
	return facts
}

func describeProvider(pt *v1alpha1.ProviderToken) string {
	kind := string(v1alpha1.InlineProvider)
	if pt.Spec.ProviderRef != nil {
		kind = cmp.Or(string(pt.Spec.ProviderRef.Kind), string(v1alpha1.BuiltinProvider))
	}
	text := fmt.Sprintf("%s (%s)", providerName(pt), kind)
	if s := pt.Status.Provider; s != nil {
		if s.Method != "" {
			text += ", method " + s.Method
		}
		if s.TokenURL != "" {
			text += ", asks " + s.TokenURL
		}
	}
	return text
}

// timeline is what happened lately, the oldest first.
func (c *cluster) timeline(ctx context.Context, pt *v1alpha1.ProviderToken) []moment {
	moments := []moment{at(pt.CreationTimestamp.Time, "created")}
	if t := pt.Status.Token; t != nil {
		moments = append(moments, at(t.IssuedAt.Time, "the present token was requested"))
	}
	if f := pt.Status.Failure; f != nil {
		moments = append(moments, at(f.Since.Time, "%s began", f.Reason))
	}
	if told := pt.Status.Propagation; told != nil {
		moments = append(moments, at(told.ToldAt.Time, "%s told of the token", plural(int(told.Pods), "pod")))
	}
	events, err := c.events(ctx, pt)
	moments = append(moments, events...)
	slices.SortStableFunc(moments, func(a, b moment) int { return a.At.Compare(b.At.Time) })
	if err != nil {
		moments = append(moments, moment{What: "events could not be read: " + short(err)})
	}
	return moments
}

// events of pt, the last ones.
func (c *cluster) events(ctx context.Context, pt *v1alpha1.ProviderToken) ([]moment, error) {
	var list eventsv1.EventList
	err := c.List(ctx, &list, client.InNamespace(pt.Namespace), client.MatchingFields{"regarding.uid": string(pt.UID)})
	if err != nil {
		return nil, err
	}
	moments := make([]moment, 0, len(list.Items))
	for i := range list.Items {
		e := &list.Items[i]
		last, count := e.EventTime.Time, int32(1)
		if e.Series != nil {
			last, count = e.Series.LastObservedTime.Time, e.Series.Count
		}
		if last.IsZero() {
			last, count = e.DeprecatedLastTimestamp.Time, max(e.DeprecatedCount, 1)
		}
		times := ""
		if count > 1 {
			times = fmt.Sprintf(" (%d times)", count)
		}
		moments = append(moments, at(last, "%s %s%s: %s", e.Type, e.Reason, times, e.Note))
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return a.At.Compare(b.At.Time) })
	return moments[max(0, len(moments)-shownEvents):], nil
}

// forecast is what will happen next, and when.
func forecast(pt *v1alpha1.ProviderToken, now time.Time) []moment {
	s := judge(pt, now)
	var next []moment
	if pt.DeletionTimestamp != nil {
		return []moment{{What: "it is being deleted; no token is asked for any more"}}
	}
	if len(pt.Status.Conditions) > 0 && pt.Status.ObservedGeneration != pt.Generation {
		next = append(next, moment{What: "the operator looks at the present spec, which it has not done yet; if that lasts: does it run, and does it watch this namespace?"})
	}
	if wanted := pt.Annotations[v1alpha1.RefreshRequestedAtAnnotation]; wanted != "" && wanted != pt.Status.RefreshHandled {
		next = append(next, moment{What: fmt.Sprintf("a refresh was requested (%s), which the operator has not answered yet", wanted)})
	}
	next = append(next, upcoming(pt, s, now)...)
	if s.expires.After(now) {
		what := "the token expires, if it is not replaced before; Ready turns false then"
		if s.urgency == fine {
			what = "the present token would expire"
		}
		next = append(next, at(s.expires, "%s", what))
	}
	return next
}

// upcoming is what the operator, or a person, does next.
func upcoming(pt *v1alpha1.ProviderToken, s standing, now time.Time) []moment {
	host := "the provider"
	if pt.Status.Provider != nil && pt.Status.Provider.Host != "" {
		host = pt.Status.Provider.Host
	}
	switch {
	case pt.Spec.Suspend:
		return []moment{{What: fmt.Sprintf("nothing is asked of %s while spec.suspend is true; \"kubectl providertoken resume %s\" ends that", host, pt.Name)}}
	case pt.Status.Failure != nil:
		return []moment{{What: remedy(pt)}}
	case s.urgency == overdue:
		return []moment{at(s.refresh, "the operator should have asked %s for a new token; see whether it runs, and which namespaces and labels it watches", host)}
	case s.refresh.After(now):
		return []moment{at(s.refresh, "the operator asks %s for a new token and writes it into Secret %q", host, pt.TargetName())}
	case !s.refresh.IsZero():
		return []moment{{What: fmt.Sprintf("the operator is asking %s for a new token now", host)}}
	case len(pt.Status.Conditions) == 0:
		return []moment{{What: "the operator looks at it for the first time; if that lasts: does it run, and does it watch this namespace?"}}
	}
	return []moment{{What: "the operator asks " + host + " for the first token"}}
}

// remedy says what ends a failure.
func remedy(pt *v1alpha1.ProviderToken) string {
	reason := pt.Status.Failure.Reason
	says := ""
	for _, k := range pt.Status.Conditions {
		if k.Reason == reason && k.Status != metav1.ConditionTrue && k.Type != v1alpha1.StalledCondition {
			says = ", as " + k.Type + " says"
		}
	}
	switch {
	case reason == v1alpha1.ReasonLoginFrozen:
		return fmt.Sprintf("a new credential in its Secret is tried at once; if the present one is right by now, somebody who runs the operator can end the freeze: kubectl providertoken thaw %s -n %s", pt.Name, pt.Namespace)
	case meta.IsStatusConditionTrue(pt.Status.Conditions, v1alpha1.StalledCondition):
		return fmt.Sprintf("nothing gets better by itself; it goes on as soon as %s is mended%s", reason, says)
	}
	return fmt.Sprintf("the operator tries again by itself, until %s is over%s", reason, says)
}

// reportWriter of a format.
func reportWriter(format string) (func(io.Writer, *report) error, error) {
	switch format {
	case "", "text":
		return func(out io.Writer, r *report) error { return r.text(out) }, nil
	case "json":
		return func(out io.Writer, r *report) error {
			e := json.NewEncoder(out)
			e.SetIndent("", "  ")
			e.SetEscapeHTML(false)
			return e.Encode(r)
		}, nil
	case "yaml":
		return func(out io.Writer, r *report) error {
			text, err := yaml.Marshal(r)
			if err != nil {
				return err
			}
			_, err = out.Write(text)
			return err
		}, nil
	}
	return nil, misuse("-o %s: status knows text, json and yaml; for the object itself: kubectl get ptok NAME -o %s", format, format)
}

// text is for people.
func (r *report) text(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s: %s\n", r.Namespace, r.Name, r.Summary)
	section := func(title string, rows [][]string) {
		fmt.Fprintf(&b, "\n%s\n", title)
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, row := range rows {
			_, _ = fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
		}
		_ = w.Flush() // a Builder takes everything
	}
	rows := [][]string{}
	for _, f := range r.Facts {
		rows = append(rows, []string{f.Name, f.Text})
	}
	section("What it is", rows)
	rows = nil
	said := map[string]string{}
	for _, k := range r.Conditions {
		text := k.Message
		if before := said[text]; before != "" {
			text = "as " + before
		}
		said[k.Message] = k.Type
		rows = append(rows, []string{k.Type, words(k.Status), "since " + stamp(k.Since.Time), k.Reason + ": " + text})
	}
	if rows == nil {
		rows = [][]string{{"none: the operator has not looked at it yet"}}
	}
	section("Conditions", rows)
	section("What happened", r.instants(r.Timeline))
	section("What happens next", r.instants(r.Next))
	rows = nil
	for _, l := range r.Chain {
		rows = append(rows, []string{string(l.State), l.Kind, l.Name, l.Says})
	}
	section("Chain", rows)
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *report) instants(all []moment) [][]string {
	rows := make([][]string, 0, len(all))
	for _, m := range all {
		if m.At == nil {
			rows = append(rows, []string{"-", "-", m.What})
			continue
		}
		rows = append(rows, []string{stamp(m.At.Time), from(r.now, m.At.Time), m.What})
	}
	return rows
}

// words for the status of a condition.
func words(status string) string {
	switch metav1.ConditionStatus(status) {
	case metav1.ConditionTrue:
		return "yes"
	case metav1.ConditionFalse:
		return "no"
	default:
		return "not known"
	}
}
