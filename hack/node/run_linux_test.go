package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Directories stand for cgroups, which rmdir removes likewise, from the innermost on.
func TestRemovingACgroupRemovesThoseBelow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "providertoken-node-7")
	if err := os.MkdirAll(filepath.Join(path, "kubepods", "burstable", "pod1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"there", "gone"} {
		if err := removeCgroup(path); err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: %v", state, err)
		}
	}
}

func TestALockIsSeenUntilItsHolderEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := lockFile(path, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := lockFile(path, syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		_ = second.Close()
		t.Error("a second one got the lock")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockFile(path, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		t.Fatalf("nobody holds it any more: %v", err)
	}
	_ = again.Close()
}

func TestExitCodesAreAShells(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143} {
		cmd := exec.Command("sh", "-c", script)
		_ = cmd.Run()
		if got := exitCode(cmd.ProcessState); got != want {
			t.Errorf("%s: %d, want %d", script, got, want)
		}
	}
}
