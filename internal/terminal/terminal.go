// Package terminal draws what changes: a table over itself where there is a
// terminal, and lines that stay where there is none.
//
// It must not import other packages of the operator.
package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Screen is where a table and lines are written. Its zero value but for Out writes plain lines.
type Screen struct {
	Out io.Writer
	// Live: what was drawn last is drawn over; otherwise nothing is drawn.
	Live bool
	// Color: words may be painted.
	Color bool

	drawn int // lines of the table on the screen
}

// NewScreen looks at what out is. A terminal that does not know escapes (TERM=dumb), or
// that a build service pretends (CI), gets lines; NO_COLOR is honoured. getenv reads the
// environment.
func NewScreen(out io.Writer, getenv func(string) string) *Screen {
	f, ok := out.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd())) && getenv("TERM") != "dumb" && getenv("CI") == ""
	return &Screen{Out: out, Live: live, Color: live && getenv("NO_COLOR") == ""}
}

// Draw writes text, which ends in a new line, over what was drawn before.
func (s *Screen) Draw(text string) {
	s.Erase()
	_, _ = io.WriteString(s.Out, text)
	s.drawn = strings.Count(text, "\n")
}

// Say writes a line that stays, above what is drawn next.
func (s *Screen) Say(format string, args ...any) {
	s.Erase()
	_, _ = fmt.Fprintf(s.Out, format+"\n", args...)
}

// Erase takes back what was drawn, where that is possible.
func (s *Screen) Erase() {
	if s.Live && s.drawn > 0 {
		_, _ = fmt.Fprintf(s.Out, "\x1b[%dA\x1b[J", s.drawn)
	}
	s.drawn = 0
}

// Keep leaves what was drawn last where it is.
func (s *Screen) Keep() { s.drawn = 0 }

// Bar of a share between 0 and 1.
func Bar(share float64, width int) string {
	full := int(min(max(share, 0), 1)*float64(width) + 0.5)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// Pad cuts or fills to width characters.
func Pad(s string, width int) string {
	runes := []rune(s)
	if len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return s + strings.Repeat(" ", width-len(runes))
}

// Color of a word.
type Color string

// The colours that every terminal has.
const (
	Plain  Color = ""
	Red    Color = "31"
	Green  Color = "32"
	Yellow Color = "33"
)

// LifeColor suits the share of its life that a token has left.
func LifeColor(share float64) Color {
	switch {
	case share > 0.5:
		return Green
	case share > 0.2:
		return Yellow
	}
	return Red
}

// Paint colours s, where the screen shows colours.
func (s *Screen) Paint(c Color, text string) string {
	if !s.Color || c == Plain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
