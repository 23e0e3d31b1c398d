package trial

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Text writes a report for people.
func Text(out io.Writer, r Report) error {
	w := &strings.Builder{}
	section := func(title string) { fmt.Fprintf(w, "\n%s\n", title) }
	row := func(name, text string) { fmt.Fprintf(w, "  %-14s %s\n", name, text) }

	fmt.Fprintf(w, "ProviderToken %s\n", r.ProviderToken)
	name := fmt.Sprintf("%s (%s", r.Provider.Name, r.Provider.Kind)
	if r.Provider.Version != "" {
		name += ", version " + r.Provider.Version
	}
	row("provider", name+")")
	way := fmt.Sprintf("grant %s, client authentication %s", r.Provider.Grant, r.Provider.ClientAuthentication)
	if r.Provider.Method != "" {
		way = r.Provider.Method + ": " + way
	}
	row("way in", way)
	row("host", r.Provider.Host+": "+r.Provider.Trust)
	for _, c := range r.Credentials {
		row("credential", fmt.Sprintf("%s (%s), from %s", c.Name, c.Shape, c.From))
	}

	section("Request")
	fmt.Fprintf(w, "  %s %s\n", r.Request.Method, r.Request.URL)
	writeFields(w, r.Request.Headers, ": ")
	if r.Request.Certificate {
		fmt.Fprintln(w, "  (the client shows its certificate)")
	}
	if len(r.Request.Body) > 0 {
		fmt.Fprintln(w)
		writeFields(w, r.Request.Body, " = ")
	}
	if r.Answer != nil {
		writeAnswer(w, *r.Answer, section)
	}
	if len(r.Reading) > 0 {
		section("How it was read")
		for _, f := range r.Reading {
			text := f.Says
			if f.Pointer != "" {
				text += ", from " + f.Pointer
			}
			row(f.What, text)
		}
	}
	writeDecision(r, section, row)
	if len(r.Notes) > 0 {
		section("Notes")
		for _, n := range r.Notes {
			fmt.Fprintf(w, "  - %s\n", n)
		}
	}
	_, err := io.WriteString(out, w.String())
	return err
}

func writeAnswer(w *strings.Builder, a Answer, section func(string)) {
	section("Answer, after " + a.Took)
	fmt.Fprintf(w, "  HTTP %s\n", strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))))
	writeFields(w, a.Headers, ": ")
	if len(a.Body) > 0 {
		fmt.Fprintln(w)
		writeFields(w, a.Body, " = ")
	}
	if a.Text != "" {
		fmt.Fprintf(w, "\n  %s\n", a.Text)
	}
}

func writeFields(w *strings.Builder, fields []Field, between string) {
	for _, f := range fields {
		fmt.Fprintf(w, "  %s%s%s\n", f.Name, between, f.Value)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

func writeDecision(r Report, section func(string), row func(name, text string)) {
	if d := r.Decision; d != nil {
		section("Decision")
		if d.Success {
			row("success", d.Message)
		} else {
			row(d.Kind, d.Message)
			row("reason", d.Reason)
		}
		row("next", d.Next)
		if d.RetryAt != nil {
			row("retry at", stamp(*d.RetryAt))
		}
	}
	if p := r.Refresh; p != nil {
		section("Refresh")
		row("lifetime", fmt.Sprintf("%s, by %s", p.Lifetime, p.Source))
		row("issued", stamp(p.IssuedAt))
		row("refresh", fmt.Sprintf("%s; in the cluster between %s and %s, by the object's UID", stamp(p.RefreshAt), clock(p.Earliest), clock(p.Latest)))
		row("expires", stamp(p.ExpiresAt))
		row("why then", p.Why)
		if p.Warning != "" {
			row("warning", p.Warning)
		}
	}
}
