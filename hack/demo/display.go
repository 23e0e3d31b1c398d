package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/providertoken/operator/internal/terminal"
)

const (
	barWidth = 20
	stateMax = 34
)

// line is one provider in the table.
type line struct {
	provider, state, fingerprint string
	left, life                   time.Duration
	refreshes, calls             int
}

// display shows the demo to a person or to a log: as a live table, or every change as a line.
type display struct {
	*terminal.Screen
	start time.Time
}

func newDisplay(out *os.File, start time.Time) *display {
	return &display{Screen: terminal.NewScreen(out, os.Getenv), start: start}
}

// say prints a line that stays, above the table if there is one.
func (d *display) say(format string, args ...any) {
	d.Say("%6.1f s  %s", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// change prints what happened to one provider, where no table shows it.
func (d *display) change(provider, format string, args ...any) {
	if !d.Live {
		d.say("%-16s %s", provider, fmt.Sprintf(format, args...))
	}
}

// update draws the table where it is alive.
func (d *display) update(lines []line) {
	if d.Live {
		d.table(lines)
	}
}

// table prints the table as it is now.
func (d *display) table(lines []line) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %-16s %-*s %-9s %-*s %9s %6s\n", "PROVIDER", stateMax, "STATE", "TOKEN", barWidth+7, "LEFT", "REFRESHES", "CALLS")
	for _, l := range lines {
		fmt.Fprintf(&b, "  %-16s %s %-9s %s %9d %6d\n",
			l.provider, d.Paint(stateColor(l.state), terminal.Pad(l.state, stateMax)), l.fingerprint, d.life(l), l.refreshes, l.calls)
	}
	d.Draw(b.String())
}

func (d *display) life(l line) string {
	share := 0.0
	if l.life > 0 {
		share = min(1, float64(l.left)/float64(l.life))
	}
	return fmt.Sprintf("%s %4ds ", d.Paint(terminal.LifeColor(share), terminal.Bar(share, barWidth)), int(l.left.Seconds()))
}

func stateColor(state string) terminal.Color {
	switch {
	case state == stateReady:
		return terminal.Green
	case strings.HasPrefix(state, stateReady):
		return terminal.Yellow
	}
	return terminal.Plain
}
