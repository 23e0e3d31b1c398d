package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/terminal"
)

const (
	drawEvery = time.Second
	// rewatchAfter is the pause before a broken watch is begun anew.
	rewatchAfter = time.Second
	barWidth     = 16
	wordWidth    = 34
)

const watchHelp = `Show ProviderTokens as they change: a live table on a terminal, the most urgent first, and one
line for each change where there is none. Ctrl-C ends it.`

func newWatchCommand(p *plugin) *cobra.Command {
	var chosen selection
	cmd := &cobra.Command{
		Use: "watch [NAME...]", GroupID: groupSee,
		Short: "Show ProviderTokens as they change", Long: watchHelp,
		Example:           "  kubectl providertoken watch -A\n  kubectl providertoken watch up42-token",
		ValidArgsFunction: p.completeNames,
	}
	chosen.seeing(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && chosen.everywhere {
			return misuse("watch takes either names, or -A; see %s --help", cmd.CommandPath())
		}
		c, err := p.cluster()
		if err != nil {
			return err
		}
		v := &view{plugin: p, chosen: &chosen, names: args, tokens: map[client.ObjectKey]*v1alpha1.ProviderToken{}, told: map[client.ObjectKey]string{}}
		return v.run(cmd.Context(), c)
	}
	return cmd
}

// view is what watch shows. All of its fields belong to the goroutine that calls run.
type view struct {
	*plugin
	chosen *selection
	names  []string
	tokens map[client.ObjectKey]*v1alpha1.ProviderToken
	// told is what the last line about each said, where there is no table.
	told map[client.ObjectKey]string
}

// run until ctx ends, which is not an error: that is how a person ends it.
func (v *view) run(ctx context.Context, c *cluster) error {
	tick := v.clock.NewTicker(drawEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		w, err := v.begin(ctx, c)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return err
		}
		v.show()
		v.follow(ctx, w, tick.C())
		w.Stop()
		select {
		case <-ctx.Done():
		case <-v.clock.After(rewatchAfter):
		}
	}
	v.screen.Keep()
	return nil
}

// begin reads what there is, and watches from there.
func (v *view) begin(ctx context.Context, c *cluster) (watch.Interface, error) {
	options, err := v.chosen.options(c)
	if err != nil {
		return nil, err
	}
	var list v1alpha1.ProviderTokenList
	if err := c.List(ctx, &list, options...); err != nil {
		return nil, c.explain(err, "watching ProviderTokens "+v.chosen.phrase(c))
	}
	clear(v.tokens)
	for i := range list.Items {
		v.take(&list.Items[i])
	}
	for _, name := range v.names {
		if v.tokens[client.ObjectKey{Namespace: c.namespace, Name: name}] == nil {
			return nil, c.unknown(ctx, name)
		}
	}
	w, err := c.Watch(ctx, &v1alpha1.ProviderTokenList{}, append(options, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})...)
	return w, c.explain(err, "watching ProviderTokens "+v.chosen.phrase(c))
}

// follow one watch until it ends.
func (v *view) follow(ctx context.Context, w watch.Interface, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		case e, open := <-w.ResultChan():
			pt, known := e.Object.(*v1alpha1.ProviderToken)
			if !open || !known {
				return
			}
			if e.Type == watch.Deleted {
				v.drop(pt)
			} else {
				v.take(pt)
			}
		}
		v.show()
	}
}

func (v *view) take(pt *v1alpha1.ProviderToken) {
	if len(v.names) == 0 || slices.Contains(v.names, pt.Name) {
		v.tokens[client.ObjectKeyFromObject(pt)] = pt
	}
}

func (v *view) drop(pt *v1alpha1.ProviderToken) {
	key := client.ObjectKeyFromObject(pt)
	if v.tokens[key] == nil {
		return
	}
	delete(v.tokens, key)
	delete(v.told, key)
	if !v.screen.Live {
		v.screen.Say("%s  %s  deleted", stamp(v.clock.Now()), key)
	}
}

// show draws the table, or tells what changed.
func (v *view) show() {
	now := v.clock.Now()
	all := make([]v1alpha1.ProviderToken, 0, len(v.tokens))
	for _, pt := range v.tokens {
		all = append(all, *pt)
	}
	byUrgency(all, now)
	if v.screen.Live {
		v.screen.Draw(v.table(all, now))
		return
	}
	for i := range all {
		key := client.ObjectKeyFromObject(&all[i])
		if line := news(&all[i], now); line != v.told[key] {
			v.told[key] = line
			v.screen.Say("%s  %s  %s", stamp(now), key, line)
		}
	}
}

// news is a line about pt that changes only when something happened.
func news(pt *v1alpha1.ProviderToken, now time.Time) string {
	s := judge(pt, now)
	text := s.word
	if !s.expires.IsZero() {
		text += ", token until " + stamp(s.expires)
	}
	if s.urgency == fine && !s.refresh.IsZero() {
		text += ", next refresh at " + stamp(s.refresh)
	}
	return text
}

// table of all, as high as the terminal allows.
func (v *view) table(all []v1alpha1.ProviderToken, now time.Time) string {
	var b strings.Builder
	wide := len("NAME")
	for i := range all {
		wide = max(wide, len(v.title(&all[i])))
	}
	wide = min(wide, 44)
	fmt.Fprintf(&b, "  %s %s %s %-9s %s\n", terminal.Pad("NAME", wide), terminal.Pad("STATE", wordWidth), terminal.Pad("TOKEN'S LIFE", barWidth+6), "REFRESH", "PROVIDER")
	shown := all[:min(len(all), v.room())]
	for i := range shown {
		b.WriteString(v.row(&shown[i], wide, now))
	}
	if more := len(all) - len(shown); more > 0 {
		fmt.Fprintf(&b, "  … and %d more, which are less urgent\n", more)
	}
	if len(all) == 0 {
		b.WriteString("  there is no ProviderToken yet\n")
	}
	fmt.Fprintf(&b, "\n  %s\n", summary(all, now))
	return b.String()
}

func (v *view) title(pt *v1alpha1.ProviderToken) string {
	if v.chosen.everywhere {
		return pt.Namespace + "/" + pt.Name
	}
	return pt.Name
}

func (v *view) row(pt *v1alpha1.ProviderToken, wide int, now time.Time) string {
	s := judge(pt, now)
	share, left := 0.0, "-"
	if t := pt.Status.Token; t != nil {
		if life := t.ExpiresAt.Sub(t.IssuedAt.Time); life > 0 {
			share = max(0, float64(s.expires.Sub(now))/float64(life))
		}
		left = duration.ShortHumanDuration(max(0, s.expires.Sub(now)))
	}
	refresh := "-"
	if s.refresh.After(now) {
		refresh = duration.ShortHumanDuration(s.refresh.Sub(now))
	}
	return fmt.Sprintf("  %s %s %s %-5s %-9s %s\n", terminal.Pad(v.title(pt), wide),
		v.screen.Paint(urgencyColor(s.urgency), terminal.Pad(s.word, wordWidth)),
		v.screen.Paint(terminal.LifeColor(share), terminal.Bar(share, barWidth)), left, refresh, providerName(pt))
}

func urgencyColor(u urgency) terminal.Color {
	switch u {
	case fine:
		return terminal.Green
	case suspended, overdue, failing:
		return terminal.Yellow
	case expired, stuck:
		return terminal.Red
	default: // waiting
		return terminal.Plain
	}
}

// room is how many rows the terminal has for ProviderTokens.
func (v *view) room() int {
	const others, unknown, least = 5, 40, 3
	return max(least, height(v.Out(), unknown)-others)
}

// height of the terminal that out is.
func height(out io.Writer, unknown int) int {
	f, ok := out.(*os.File)
	if !ok {
		return unknown
	}
	_, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || rows <= 0 {
		return unknown
	}
	return rows
}
