package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
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

// display shows the demo to a person or to a log.
type display struct {
	out   io.Writer
	start time.Time
	// live: the table is drawn over itself; otherwise every change is a line.
	live  bool
	color bool
	drawn int // lines of the table on the screen
}

func newDisplay(out *os.File, start time.Time) *display {
	live := term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
	return &display{out: out, start: start, live: live, color: live && os.Getenv("NO_COLOR") == ""}
}

// say prints a line that stays, above the table if there is one.
func (d *display) say(format string, args ...any) {
	d.erase()
	_, _ = fmt.Fprintf(d.out, "%6.1f s  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// change prints what happened to one provider, where no table shows it.
func (d *display) change(provider, format string, args ...any) {
	if !d.live {
		d.say("%-16s %s", provider, fmt.Sprintf(format, args...))
	}
}

// update draws the table where it is alive.
func (d *display) update(lines []line) {
	if d.live {
		d.erase()
		d.table(lines)
	}
}

// table prints the table as it is now.
func (d *display) table(lines []line) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %-16s %-*s %-9s %-*s %9s %6s\n", "PROVIDER", stateMax, "STATE", "TOKEN", barWidth+7, "LEFT", "REFRESHES", "CALLS")
	for _, l := range lines {
		fmt.Fprintf(&b, "  %-16s %s %-9s %s %9d %6d\n",
			l.provider, d.paint(stateColor(l.state), pad(l.state, stateMax)), l.fingerprint, d.life(l), l.refreshes, l.calls)
	}
	_, _ = io.WriteString(d.out, b.String())
	d.drawn = strings.Count(b.String(), "\n")
}

func (d *display) erase() {
	if d.live && d.drawn > 0 {
		_, _ = fmt.Fprintf(d.out, "\x1b[%dA\x1b[J", d.drawn)
	}
	d.drawn = 0
}

func (d *display) life(l line) string {
	share := 0.0
	if l.life > 0 {
		share = min(1, float64(l.left)/float64(l.life))
	}
	return fmt.Sprintf("%s %4ds ", d.paint(lifeColor(share), bar(share, barWidth)), int(l.left.Seconds()))
}

// bar of a share between 0 and 1.
func bar(share float64, width int) string {
	full := int(share*float64(width) + 0.5)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// pad cuts or fills to width characters.
func pad(s string, width int) string {
	runes := []rune(s)
	if len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return s + strings.Repeat(" ", width-len(runes))
}

type color string

const (
	plain  color = ""
	red    color = "31"
	green  color = "32"
	yellow color = "33"
)

func lifeColor(share float64) color {
	switch {
	case share > 0.5:
		return green
	case share > 0.2:
		return yellow
	}
	return red
}

func stateColor(state string) color {
	switch {
	case state == stateReady:
		return green
	case strings.HasPrefix(state, stateReady):
		return yellow
	}
	return plain
}

func (d *display) paint(c color, s string) string {
	if !d.color || c == plain {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}
