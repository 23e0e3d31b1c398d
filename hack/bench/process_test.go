package main

import (
	"testing"
	"time"
)

func TestTheCPUTimeOfAProcessWithAnOddName(t *testing.T) {
	stat := "42 (an (odd) name) S 1 42 42 0 -1 4194304 100 0 0 0 150 25 7 8 20 0 9 0 1000 1 2 3\n"
	got, err := parseStat([]byte(stat))
	if err != nil || got != 1750*time.Millisecond {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{"", "42 (name", "42 (name) S 1"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestTheMemoryOfAProcess(t *testing.T) {
	status := []byte("Name:\tmanager\nVmHWM:\t  4096 kB\nVmRSS:\t  2560 kB\n")
	if got := statusMiB(status, "VmRSS:"); got != 2.5 {
		t.Errorf("got %v MiB", got)
	}
	if got := statusMiB(status, "VmSwap:"); got != 0 {
		t.Errorf("got %v MiB of what is not there", got)
	}
}
