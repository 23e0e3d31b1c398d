package terminal

import (
	"bytes"
	"strings"
	"testing"
)

func TestBarIsAlwaysAsWideAsAsked(t *testing.T) {
	for share, full := range map[float64]int{-1: 0, 0: 0, 0.04: 0, 0.5: 5, 0.96: 10, 1: 10, 3: 10} {
		got := Bar(share, 10)
		if n := strings.Count(got, "█"); n != full || len([]rune(got)) != 10 {
			t.Errorf("Bar(%v) = %s", share, got)
		}
	}
}

func TestPadKeepsColumns(t *testing.T) {
	for in, want := range map[string]string{"ab": "ab  ", "abcd": "abcd", "abcde": "abc…", "äöüß": "äöüß"} {
		if got := Pad(in, 4); got != want {
			t.Errorf("Pad(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestATableIsDrawnOverItself(t *testing.T) {
	var out bytes.Buffer
	s := &Screen{Out: &out, Live: true}
	s.Draw("a\nb\nc\n")
	out.Reset()
	s.Draw("d\n")
	if want := "\x1b[3A\x1b[Jd\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	s.Say("%d stays", 1)
	s.Say("and this")
	if want := "\x1b[1A\x1b[J1 stays\nand this\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestWithoutATerminalThereAreNoEscapes(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out, func(string) string { return "" })
	s.Draw("a\n")
	s.Draw(s.Paint(Red, "b") + "\n")
	if out.String() != "a\nb\n" {
		t.Errorf("%q", out.String())
	}
}
