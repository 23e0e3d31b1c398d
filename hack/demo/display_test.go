package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/terminal"
)

func TestTheTableIsDrawnOverItself(t *testing.T) {
	var out bytes.Buffer
	d := &display{Screen: &terminal.Screen{Out: &out, Live: true}}
	lines := []line{{provider: "up42", state: stateReady, fingerprint: "0123abcd", left: 10 * time.Second, life: 30 * time.Second, refreshes: 2, calls: 3}}
	d.update(lines)
	drawn := strings.Count(out.String(), "\n")
	out.Reset()
	d.update(lines)
	if want := "\x1b[3A\x1b[J"; drawn != 3 || !strings.HasPrefix(out.String(), want) {
		t.Errorf("%d lines, then %q", drawn, out.String())
	}
}

func TestWithoutATerminalEveryChangeIsALineWithoutEscapes(t *testing.T) {
	var out bytes.Buffer
	d := &display{Screen: &terminal.Screen{Out: &out}, start: time.Now()}
	d.update([]line{{provider: "up42"}})
	if out.Len() != 0 {
		t.Errorf("update wrote %q", out.String())
	}
	d.change("up42", "token %s", "0123abcd")
	if got := out.String(); strings.Contains(got, "\x1b") || strings.Count(got, "\n") != 1 {
		t.Errorf("change wrote %q", got)
	}
}
