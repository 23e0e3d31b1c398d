package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestEndedChild(t *testing.T) {
	for _, c := range []struct {
		name, stat string
		pid        int
		ended      bool
	}{
		{"ended", "4711 (runc) Z 1 1 1 0", 4711, true},
		{"running", "4711 (runc) S 1 1 1 0", 4711, false},
		{"of another", "4711 (runc) Z 99 1 1 0", 4711, false},
		{"with a name made to confuse", "4711 (x) Z 1 (y) S 99 1 1 0", 4711, false},
		{"empty", "", 0, false},
		{"cut", "4711 (runc)", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if pid, ended := endedChild(c.stat, 1); pid != c.pid || ended != c.ended {
				t.Errorf("got %d, %v; want %d, %v", pid, ended, c.pid, c.ended)
			}
		})
	}
}

func TestPodLogNamesTellRestartsAndPodsOfOneNameApart(t *testing.T) {
	names := map[string]bool{}
	for _, path := range []string{
		"/logs/.pods/default_web-0_11111111-aaaa/main/0.log",
		"/logs/.pods/default_web-0_11111111-aaaa/main/1.log",
		"/logs/.pods/default_web-0_11111111-aaaa/side/0.log",
		"/logs/.pods/default_web-0_22222222-bbbb/main/0.log",
	} {
		names[podLogName(path)] = true
	}
	if len(names) != 4 || !names["default_web-0_11111111_main_0.log"] {
		t.Errorf("got %v", names)
	}
}

func TestFlags(t *testing.T) {
	all := []string{"-assets=/a", "-logs=/l", "-pause=/p", "--", "go", "test", "-v"}
	o, err := parse(all)
	if err != nil || !slices.Equal(o.command, []string{"go", "test", "-v"}) {
		t.Errorf("got %v, %v", o.command, err)
	}
	for i := range 3 {
		if _, err := parse(slices.Delete(slices.Clone(all), i, i+1)); err == nil {
			t.Errorf("%s is not missed", all[i])
		}
	}
	if _, err := parse(all[:4]); err == nil {
		t.Error("the command is not missed")
	}
}

// The scripts are text that a shell must understand, also where a path has a quote in it.
func TestScripts(t *testing.T) {
	l := testLayout()
	l.dir = filepath.Join(t.TempDir(), "it's")
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	scripts := map[string]string{}
	for name, text := range l.scripts("pid:[1]", []string{"KUBECONFIG=" + l.kubeconfig("admin"), "EMPTY="}) {
		scripts[name] = filepath.Join(l.dir, name)
		if err := os.WriteFile(scripts[name], []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("environment runs a command with the variables", func(t *testing.T) {
		output, err := exec.Command(scripts["environment"], "sh", "-c", `echo "$KUBECONFIG|$EMPTY|$1"`, "sh", "a b").CombinedOutput()
		if want := l.kubeconfig("admin") + "||a b\n"; err != nil || string(output) != want {
			t.Errorf("got %q, %v; want %q", output, err, want)
		}
	})
	t.Run("restart-kubelet kills nobody outside the cluster", func(t *testing.T) {
		victim := exec.Command("sleep", "60")
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = victim.Process.Kill(); _ = victim.Wait() }()
		n := []byte(strconv.Itoa(victim.Process.Pid))
		if err := os.WriteFile(l.file("kubelet.pid"), n, 0o600); err != nil {
			t.Fatal(err)
		}
		output, err := exec.Command(scripts["restart-kubelet"]).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(string(output), l.file("enter")) {
			t.Errorf("got %q, %v; want a hint how to run it", output, err)
		}
		if err := victim.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("the process outside is gone: %v", err)
		}
	})
	t.Run("load-image wants a file", func(t *testing.T) {
		var exit *exec.ExitError
		if err := exec.Command(scripts["load-image"]).Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("got %v", err)
		}
	})
}

func TestPauseImageNamesWhatItHolds(t *testing.T) {
	image, err := pauseArchive([]byte("program"), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(image)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var manifest []struct {
		Config   string   `json:"Config"`
		RepoTags []string `json:"RepoTags"`
		Layers   []string `json:"Layers"`
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	var config struct {
		Architecture string `json:"architecture"`
		Rootfs       struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	layer := files[manifest[0].Layers[0]]
	if manifest[0].RepoTags[0] != pauseImage || config.Architecture != "arm64" || config.Rootfs.DiffIDs[0] != "sha256:"+digest(layer) {
		t.Errorf("got %+v, %+v", manifest, config)
	}
	if again, err := pauseArchive([]byte("program"), "arm64"); err != nil || !bytes.Equal(again, image) {
		t.Error("the same program makes another image")
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	if _, err := parse([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
}
